package compat

import (
	"os"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// TestEndedBySQL runs what docs/databases.md has for operators, on a store that is
// not verified.
func TestEndedBySQL(t *testing.T) {
	page, err := os.ReadFile("../docs/databases.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(page), "<!-- ended by SQL -->\n```sql\n")
	block, _, _ = strings.Cut(block, "```")
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			title, _, _ := strings.Cut(d.name, " ")
			_, statement, found := strings.Cut(block, "-- "+title+"\n")
			if !found {
				t.Fatalf("no statement for %s in %q", title, block)
			}
			statement, _, _ = strings.Cut(statement, ";")
			db := d.open(t)(t)
			m := opendb.Migrated(t, db, &usersession.Options{Store: memstore.New()})
			ctx, err := m.Load(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Login(ctx, "42"); err != nil {
				t.Fatal(err)
			}
			token, _, err := m.Commit(ctx)
			if err != nil {
				t.Fatal(err)
			}
			opendb.MustExec(t, db, statement)
			if list, err := m.ListSessions(t.Context(), "42"); len(list) != 0 || err != nil {
				t.Errorf("%d sessions, %v", len(list), err)
			}
			if _, err := m.Prune(t.Context()); err != nil {
				t.Fatal(err)
			}
			if ctx, err = m.Load(t.Context(), token); err != nil || m.UserID(ctx) != "" {
				t.Errorf("served as %q, %v", m.UserID(ctx), err)
			}
		})
	}
}
