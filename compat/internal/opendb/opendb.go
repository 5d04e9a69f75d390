// Package opendb opens empty databases for tests: SQLite files, and databases of
// the servers that testserver finds. It brings the drivers.
package opendb

import (
	"cmp"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"
	_ "modernc.org/sqlite"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/sqlspy"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/pgxdb"
)

// An Opener prepares a database for a test and returns what opens empty ones in
// it for the test's parts. It skips the test where there is no server.
type Opener func(t *testing.T) func(t *testing.T) *sqlx.DB

// SQLite opens new SQLite databases in files.
func SQLite(*testing.T) func(t *testing.T) *sqlx.DB {
	return func(t *testing.T) *sqlx.DB {
		t.Helper()
		return openSQLite(t, filepath.Join(t.TempDir(), "test.db"))
	}
}

// openSQLite opens a file. Whoever waits for a lock waits patiently, so that a busy
// machine is not taken for a deadlock.
func openSQLite(t *testing.T, file string) *sqlx.DB {
	t.Helper()
	return Connect(t, "sqlite", "file:"+file+
		"?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=foreign_keys(1)")
}

// MigratedSQLite opens new SQLite databases that have the tables already. Each is
// a copy of one in which they were made.
func MigratedSQLite(t *testing.T) func(t *testing.T) *sqlx.DB {
	t.Helper()
	file := filepath.Join(t.TempDir(), "template.db")
	db := openSQLite(t, file)
	Migrated(t, db, &usersession.Options{})
	db.Close() // which leaves everything in the one file
	template, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T) *sqlx.DB {
		t.Helper()
		file := filepath.Join(t.TempDir(), "test.db")
		if err := os.WriteFile(file, template, 0o600); err != nil {
			t.Fatal(err)
		}
		return openSQLite(t, file)
	}
}

// Pq opens new schemas in one new PostgreSQL database, through lib/pq.
func Pq(t *testing.T) func(t *testing.T) *sqlx.DB {
	t.Helper()
	return schemas(t, "postgres")
}

// Pgx opens new schemas in one new PostgreSQL database, through pgx.
func Pgx(t *testing.T) func(t *testing.T) *sqlx.DB {
	t.Helper()
	return schemas(t, "pgx")
}

// PgxPool opens new schemas in one new PostgreSQL database, through pgx itself on a
// pool of its own.
func PgxPool(t *testing.T) func(t *testing.T) *sqlx.DB {
	t.Helper()
	open := schemas(t, "pgx")
	return func(t *testing.T) *sqlx.DB {
		t.Helper()
		dsn, _ := dsns.Load(open(t))
		config, err := pgxpool.ParseConfig(dsn.(string))
		if err != nil {
			t.Fatal(err)
		}
		config.MaxConns = 16
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		db := pgxdb.Open(pool)
		dsns.Store(db, dsn)
		t.Cleanup(func() { dsns.Delete(db); db.Close(); pool.Close() })
		return db
	}
}

// schemas opens new schemas in one new PostgreSQL database. A schema takes a
// tenth of the time of a database.
func schemas(t *testing.T, driver string) func(t *testing.T) *sqlx.DB {
	t.Helper()
	dsn := FreshPostgres(t, driver)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	admin := Connect(t, driver, dsn)
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
		return Connect(t, driver, mine.String())
	}
}

// FreshPostgres makes a new PostgreSQL database through a driver, and drops it
// when the test ends.
func FreshPostgres(t *testing.T, driver string) (dsn string) {
	t.Helper()
	return testserver.FreshPostgres(t, func(dsn string) (*sql.DB, error) { return sql.Open(driver, dsn) })
}

// MariaDB opens new MariaDB databases.
func MariaDB(t *testing.T) func(t *testing.T) *sqlx.DB {
	t.Helper()
	testserver.MariaDBServer(t) // skips here where there is none
	return func(t *testing.T) *sqlx.DB {
		t.Helper()
		return Connect(t, "mysql", FreshMariaDB(t))
	}
}

// FreshMariaDB makes a new MariaDB database, and drops it when the test ends.
func FreshMariaDB(t *testing.T) (dsn string) {
	t.Helper()
	return testserver.FreshMariaDB(t, func(dsn string) (*sql.DB, error) { return sql.Open("mysql", dsn) })
}

// dsns are those of the pools that Connect has opened.
var dsns sync.Map // *sqlx.DB: string

// Connect opens a pool and closes it when the test ends.
func Connect(t *testing.T, driver, dsn string) *sqlx.DB {
	t.Helper()
	db, err := sqlx.Connect(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	dsns.Store(db, dsn)
	t.Cleanup(func() { dsns.Delete(db); db.Close() })
	return db
}

// Spied opens the database of a pool of Connect once more, with one connection,
// and records what is asked of it.
func Spied(t *testing.T, db *sqlx.DB) (*sqlspy.Spy, *sqlx.DB) {
	t.Helper()
	dsn, _ := dsns.Load(db)
	var spy sqlspy.Spy
	pool, err := spy.Open(db.DriverName(), dsn.(string))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	pool.SetMaxOpenConns(1) // statements are prepared per connection
	return &spy, sqlx.NewDb(pool, db.DriverName())
}

// Migrated returns a Manager on a database that has its tables. It is patient where
// opts say nothing else, so that a busy machine is not taken for a fault.
func Migrated(t *testing.T, db *sqlx.DB, opts *usersession.Options) *usersession.Manager {
	t.Helper()
	opts.ReadTimeout = cmp.Or(opts.ReadTimeout, time.Minute)
	opts.WriteTimeout = cmp.Or(opts.WriteTimeout, time.Minute)
	m, err := usersession.New(db, opts)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := opts.Store.(*usersession.SQLStore); ok {
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// MustExec runs a statement of the test's own.
func MustExec(t *testing.T, db *sqlx.DB, query string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}
