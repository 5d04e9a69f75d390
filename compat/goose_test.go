package compat

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/seed-296ca7ab/usersession"
)

// TestGoose hands Migrations to goose: up, a program on the tables, down.
func TestGoose(t *testing.T) {
	dialects := map[string]database.Dialect{
		"MariaDB": database.DialectMySQL, "PostgreSQL": database.DialectPostgres, "PostgreSQL pgx": database.DialectPostgres, "PostgreSQL pgxdb": database.DialectPostgres, "SQLite": database.DialectSQLite3,
	}
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			open := d.open(t)
			for _, c := range []struct {
				name   string
				opts   usersession.Options
				tables []string
			}{
				{"defaults", usersession.Options{}, []string{"user_sessions", "sessions"}},
				{"names and types", usersession.Options{
					Index: usersession.IndexOptions{Table: "logins"}, UserIDType: usersession.UserIDBigint, UsersTable: "people(person)",
				}, []string{"logins", "sessions"}},
			} {
				t.Run(c.name, func(t *testing.T) {
					db := open(t)
					if _, err := db.ExecContext(t.Context(), "CREATE TABLE people (person BIGINT NOT NULL PRIMARY KEY)"); err != nil {
						t.Fatal(err)
					}
					if _, err := db.ExecContext(t.Context(), "INSERT INTO people (person) VALUES (42)"); err != nil {
						t.Fatal(err)
					}
					m, err := usersession.New(db, &c.opts)
					if err != nil {
						t.Fatal(err)
					}
					files, err := m.Migrations()
					if err != nil {
						t.Fatal(err)
					}
					gooseUpDown(t, db, dialects[d.name], files, m, c.tables)
				})
			}
		})
	}
}

func gooseUpDown(t *testing.T, db *sqlx.DB, dialect database.Dialect, files fs.FS, m *usersession.Manager, tables []string) {
	t.Helper()
	p, err := goose.NewProvider(dialect, db.DB, files)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{2, 0} {
		done, err := p.Up(t.Context())
		if err != nil || len(done) != want {
			t.Fatalf("Up: %d migrations, %v; want %d", len(done), err, want)
		}
	}
	ctx, err := m.Load(t.Context(), "")
	if err == nil {
		err = m.Login(ctx, "42")
	}
	if err == nil {
		_, _, err = m.Commit(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	if list, err := m.ListSessions(t.Context(), "42"); err != nil || len(list) != 1 {
		t.Errorf("sessions %v, %v; want one", list, err)
	}
	// Both ways at once are no trouble, whichever comes first.
	if err := m.Migrate(t.Context()); err != nil {
		t.Errorf("Migrate after goose: %v", err)
	}
	if _, err := p.DownTo(t.Context(), 0); err != nil {
		t.Fatalf("Down: %v", err)
	}
	for _, table := range tables {
		if _, err := db.ExecContext(t.Context(), "SELECT 1 FROM "+table); err == nil || !strings.Contains(strings.ToLower(err.Error()), table) {
			t.Errorf("%s is still there: %v", table, err)
		}
	}
}
