package database_test

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
)

// TestRowSecurity shows what docs/databases.md says of row level security: a role
// that does not see rows ends nothing, and the policies shown there let it.
func TestRowSecurity(t *testing.T) {
	page, err := os.ReadFile("../../docs/databases.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(page), "<!-- row level security -->\n```sql\n")
	block, _, _ = strings.Cut(block, "```")
	if !found {
		t.Fatal("docs/databases.md has no policies")
	}
	role := "us_" + strings.ToLower(rand.Text()[:10])
	db := opendb.Pq(t)(t)
	db.SetMaxOpenConns(1) // the role is that of a connection
	m := opendb.Migrated(t, db, &usersession.Options{})
	ctx, err := m.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Login(ctx, "42"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	opendb.MustExec(t, db, "CREATE ROLE "+role)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		db.ExecContext(ctx, "RESET ROLE")
		db.ExecContext(ctx, "DROP OWNED BY "+role)
		db.ExecContext(ctx, "DROP ROLE "+role)
	})
	var schema string
	if err := db.GetContext(t.Context(), &schema, "SELECT current_schema()"); err != nil {
		t.Fatal(err)
	}
	opendb.MustExec(t, db, "GRANT USAGE ON SCHEMA "+schema+" TO "+role)
	opendb.MustExec(t, db, "GRANT SELECT, INSERT, UPDATE, DELETE ON user_sessions, user_sessions_fences, user_sessions_signouts, user_sessions_replicas, user_sessions_inbox, sessions TO "+role)
	opendb.MustExec(t, db, "ALTER TABLE user_sessions ENABLE ROW LEVEL SECURITY")
	opendb.MustExec(t, db, "ALTER TABLE user_sessions FORCE ROW LEVEL SECURITY")
	opendb.MustExec(t, db, "ALTER TABLE sessions ENABLE ROW LEVEL SECURITY")
	revoked := func(want int) {
		t.Helper()
		opendb.MustExec(t, db, "SET ROLE "+role)
		defer opendb.MustExec(t, db, "RESET ROLE")
		list, err := m.ListSessions(t.Context(), "42")
		if err != nil || len(list) != want {
			t.Errorf("%d sessions are listed, %v; want %d", len(list), err, want)
		}
		if n, err := m.RevokeAllSessions(t.Context(), "42"); n != want || err != nil {
			t.Errorf("%d sessions are revoked, %v; want %d", n, err, want)
		}
	}
	revoked(0)
	for _, statement := range strings.Split(strings.TrimSpace(block), ";\n") {
		opendb.MustExec(t, db, strings.ReplaceAll(statement, "app_role", role))
	}
	revoked(1)
}
