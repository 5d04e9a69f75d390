package compat

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
)

// wrapped is a driver in another package's clothes, as tracing puts them on.
type wrapped struct{ inner driver.Driver }

func (d wrapped) Open(name string) (driver.Conn, error) { return d.inner.Open(name) }

func (d wrapped) Connect(context.Context) (driver.Conn, error) { return d.Open(":memory:") }

func (d wrapped) Driver() driver.Driver { return d }

// TestFromDB tells the dialect of each driver from its type, by what the Manager
// and the Store would migrate.
func TestFromDB(t *testing.T) {
	for _, c := range []struct {
		driver, dsn string
		dialect     usersession.Dialect
	}{
		{"postgres", "postgres://127.0.0.1:1/x", usersession.DialectPostgres},
		{"pgx", "postgres://127.0.0.1:1/x", usersession.DialectPostgres},
		{"mysql", "root@tcp(127.0.0.1:1)/x", usersession.DialectMariaDB},
		{"sqlite", "file:" + filepath.Join(t.TempDir(), "x.db"), usersession.DialectSQLite},
	} {
		t.Run(c.driver, func(t *testing.T) {
			db, err := sql.Open(c.driver, c.dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			told, err := usersession.NewFromDB(db, nil)
			if err != nil {
				t.Fatal(err)
			}
			named, err := usersession.New(sqlx.NewDb(db, "mine"), &usersession.Options{Index: usersession.IndexOptions{Dialect: c.dialect}})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := migrationTexts(t, told), migrationTexts(t, named); len(want) != 2 || !maps.Equal(got, want) {
				t.Errorf("the %d migrations are not the %d of %s", len(got), len(want), c.dialect)
			}
			// A Store of another dialect would not count as one in the same
			// database, and its table would not be among the migrations.
			store, err := usersession.NewSQLStoreFromDB(db, nil)
			if err != nil {
				t.Fatal(err)
			}
			with, err := usersession.NewFromDB(db, &usersession.Options{Store: store})
			if err != nil {
				t.Fatal(err)
			}
			if n := len(migrationTexts(t, with)); n != 2 {
				t.Errorf("%d migrations with the Store, want 2", n)
			}
		})
	}
}

func migrationTexts(t *testing.T, m *usersession.Manager) map[string]string {
	t.Helper()
	files, err := m.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	names, err := fs.Glob(files, "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	return texts
}

// TestFromDBRefuses says which option tells the dialect where the driver does
// not.
func TestFromDBRefuses(t *testing.T) {
	lite, err := sql.Open("sqlite", "")
	if err != nil {
		t.Fatal(err)
	}
	defer lite.Close()
	db := sql.OpenDB(wrapped{lite.Driver()})
	defer db.Close()
	db.SetMaxOpenConns(1)

	if _, err := usersession.NewFromDB(db, nil); err == nil || !strings.Contains(err.Error(), "Options.Index.Dialect: the driver compat.wrapped") {
		t.Errorf("New of a wrapped driver: %v", err)
	}
	if _, err := usersession.NewSQLStoreFromDB(db, nil); err == nil || !strings.Contains(err.Error(), "SQLStoreOptions.Dialect: the driver compat.wrapped") {
		t.Errorf("the Store of a wrapped driver: %v", err)
	}
	m, err := usersession.NewFromDB(db, &usersession.Options{Index: usersession.IndexOptions{Dialect: usersession.DialectSQLite}})
	if err == nil {
		err = m.Migrate(t.Context())
	}
	if err != nil {
		t.Errorf("a wrapped driver and a Dialect: %v", err)
	}
	if _, err := usersession.NewSQLStoreFromDB(db, &usersession.SQLStoreOptions{Dialect: usersession.DialectSQLite}); err != nil {
		t.Errorf("the Store of a wrapped driver and a Dialect: %v", err)
	}

	if _, err := usersession.NewFromDB(nil, nil); err == nil || !strings.Contains(err.Error(), "db is nil") {
		t.Errorf("New of nil: %v", err)
	}
	if _, err := usersession.NewSQLStoreFromDB(nil, nil); err == nil || !strings.Contains(err.Error(), "db is nil") {
		t.Errorf("the Store of nil: %v", err)
	}
}
