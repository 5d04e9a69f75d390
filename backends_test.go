package usersession_test

import (
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/backendtest"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// An opener prepares a database for a test and returns what opens empty ones in
// it for the test's parts.
type opener func(t *testing.T) func(t *testing.T) *sqlx.DB

// databases are the databases of the root module's own drivers.
var databases = []struct {
	name string
	open opener
}{
	{"SQLite", sqliteFiles},
	{"PostgreSQL", postgresSchemas},
}

// sqliteFiles opens new SQLite databases in files.
func sqliteFiles(*testing.T) func(t *testing.T) *sqlx.DB {
	return func(t *testing.T) *sqlx.DB {
		t.Helper()
		return connect(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "test.db")+
			"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=foreign_keys(1)")
	}
}

// postgresSchemas opens new schemas in one new PostgreSQL database, through
// lib/pq; it skips the test where there is no server. A schema takes a tenth of
// the time of a database.
func postgresSchemas(t *testing.T) func(t *testing.T) *sqlx.DB {
	t.Helper()
	dsn := testserver.FreshPostgres(t, func(dsn string) (*sql.DB, error) { return sql.Open("postgres", dsn) })
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	admin := connect(t, "postgres", dsn)
	var last atomic.Int64
	return func(t *testing.T) *sqlx.DB {
		t.Helper()
		name := fmt.Sprintf("test_%d", last.Add(1))
		if _, err := admin.ExecContext(t.Context(), "CREATE SCHEMA "+name); err != nil {
			t.Fatal(err)
		}
		mine := *u
		q := mine.Query()
		q.Set("search_path", name)
		mine.RawQuery = q.Encode()
		return connect(t, "postgres", mine.String())
	}
}

func connect(t *testing.T, driver, dsn string) *sqlx.DB {
	t.Helper()
	db, err := sqlx.Connect(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	dsns.Store(db, dsn)
	t.Cleanup(func() { dsns.Delete(db); db.Close() })
	return db
}

// TestBackends is the table "regardless of the backend". Its other half, with
// the drivers and stores the root module does not require, is in compat.
func TestBackends(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			open := d.open(t)
			backendtest.Run(t, open, backendtest.Stores(open))
		})
	}
}

func TestDatabases(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) { backendtest.RunDatabase(t, d.open(t)) })
	}
}
