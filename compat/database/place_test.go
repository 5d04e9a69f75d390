package database_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
)

// TestDataInAnotherDatabase has tables of one name in several databases of one server. A
// program with another one than the session's does not take its data for deleted.
func TestDataInAnotherDatabase(t *testing.T) {
	for name, fresh := range map[string]func(t *testing.T) string{
		"postgres": func(t *testing.T) string { return opendb.FreshPostgres(t, "postgres") },
		"pgx":      func(t *testing.T) string { return opendb.FreshPostgres(t, "pgx") },
		"mysql":    opendb.FreshMariaDB,
	} {
		t.Run(name, func(t *testing.T) {
			index := opendb.SQLite(t)(t)
			program := func(data *sqlx.DB) *usersession.Manager {
				s, err := usersession.NewSQLStore(data, nil)
				if err != nil {
					t.Fatal(err)
				}
				return opendb.Migrated(t, index, &usersession.Options{Store: s})
			}
			dsn := fresh(t)
			app, same, other := program(opendb.Connect(t, name, dsn)), program(opendb.Connect(t, name, dsn)), program(opendb.Connect(t, name, fresh(t)))
			c := &client{m: app}
			revoke := func(m *usersession.Manager) error {
				t.Helper()
				n, err := m.RevokeAllSessions(t.Context(), "alice")
				if n != 1 {
					t.Errorf("%d ended, want 1: %v", n, err)
				}
				return err
			}
			served := func() (user string) {
				again := client{m: app, cookie: c.cookie}
				again.do(t, func(ctx context.Context) { user = app.UserID(ctx) })
				return user
			}

			c.login(t, "alice")
			if err := revoke(other); !errors.Is(err, usersession.ErrRevocationPending) {
				t.Errorf("from another database: %v, want ErrRevocationPending", err)
			}
			if _, err := app.Prune(t.Context()); err != nil {
				t.Error(err)
			}
			if got := served(); got != "" {
				t.Errorf("%q is served", got)
			}

			c.login(t, "alice")
			if err := revoke(same); err != nil {
				t.Errorf("from the same database: %v", err)
			}
			if got := served(); got != "" {
				t.Errorf("%q is served", got)
			}

			// A row of an earlier version.
			c.login(t, "alice")
			opendb.MustExec(t, index, "UPDATE user_sessions SET place = 'sql  sessions' WHERE ended_at IS NULL")
			if err := revoke(same); err != nil {
				t.Errorf("a row of an earlier version: %v", err)
			}
			if got := served(); got != "" {
				t.Errorf("%q is served", got)
			}
		})
	}
}
