package database_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// createEnded is in docs/oidc.md.
const createEnded = `CREATE INDEX CONCURRENTLY user_sessions_ended ON user_sessions (ended_at) WHERE ended_at IS NOT NULL;`

// TestExplainEnded asks PostgreSQL how it would read what has ended lately, as
// signals.Transmitter does, with the index that docs/oidc.md has for it. Without it every
// look reads the table.
func TestExplainEnded(t *testing.T) {
	depth.OnlyFull(t)
	if page, err := os.ReadFile("../../docs/oidc.md"); err != nil || !strings.Contains(string(page), createEnded) {
		t.Errorf("docs/oidc.md has another index, %v", err)
	}
	db := opendb.Pq(t)(t)
	spy, spied := opendb.Spied(t, db)
	m := opendb.Migrated(t, spied, &usersession.Options{})
	fill(t, db, 20_000)
	conn, err := db.Connx(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	plan := func() string {
		t.Helper()
		spy.Take()
		f := usersession.Filter{Ended: true, EndedAfter: time.Now().Add(-5 * time.Minute)}
		for _, err := range m.ListMatching(t.Context(), f, usersession.Page{}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range spy.Take() {
			if strings.Contains(c.Query, "ended_at >") && !c.Prepare {
				return explain(t, conn, c)
			}
		}
		t.Fatal("the query was not seen")
		return ""
	}
	if p := plan(); strings.Contains(p, "user_sessions_ended") {
		t.Errorf("without the index:\n%s", p)
	}
	opendb.MustExec(t, db, createEnded)
	opendb.MustExec(t, db, "ANALYZE user_sessions")
	if p := plan(); !strings.Contains(p, "user_sessions_ended") {
		t.Errorf("with the index:\n%s", p)
	}
}
