package database_test

import (
	"fmt"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// TestServerBehindThePool wants reads and writes to go on after the server has
// changed a column or closed the connections of the pool.
func TestServerBehindThePool(t *testing.T) {
	depth.OnlyFull(t)
	for _, d := range []struct {
		name string
		open opendb.Opener
	}{{"lib/pq", opendb.Pq}, {"pgx", opendb.Pgx}, {"pgxdb", opendb.PgxPool}} {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			open := d.open(t)
			db, admin := open(t), open(t)
			db.SetMaxIdleConns(8)
			m := newManager(t, db, nil)
			if err := m.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			use := func(when string) {
				t.Helper()
				for i := range 3 {
					if _, err := m.ListSessions(t.Context(), "ann"); err != nil {
						t.Errorf("%s, list %d: %v", when, i, err)
					}
					if _, err := m.RevokeAllSessions(t.Context(), "ann"); err != nil {
						t.Errorf("%s, revoke %d: %v", when, i, err)
					}
				}
			}
			use("at first")
			var schema string
			if err := db.Get(&schema, "SELECT current_schema()"); err != nil {
				t.Fatal(err)
			}
			for i, to := range []string{"varchar(64)", "text", "varchar(128)"} {
				admin.MustExec(fmt.Sprintf("ALTER TABLE %s.user_sessions ALTER COLUMN user_id TYPE %s", schema, to))
				use(fmt.Sprint("changed ", i))
			}
			holdIdle(t, db, 8)
			admin.MustExec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
			use("closed")
		})
	}
}

// holdIdle has the pool hold n idle connections.
func holdIdle(t *testing.T, db *sqlx.DB, n int) {
	t.Helper()
	for range n {
		cn, err := db.Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer cn.Close()
	}
}
