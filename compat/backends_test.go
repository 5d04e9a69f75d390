package compat

import (
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/boltstore"
	"github.com/seed-296ca7ab/usersession/internal/backendtest"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/storetest"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// An opener prepares a database for a test and returns what opens empty ones in
// it for the test's parts.
type opener func(t *testing.T) func(t *testing.T) *sqlx.DB

func sqliteFiles(*testing.T) func(t *testing.T) *sqlx.DB {
	return func(t *testing.T) *sqlx.DB {
		t.Helper()
		return connect(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "test.db")+
			"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=foreign_keys(1)")
	}
}

// postgresSchemas opens new schemas in one new PostgreSQL database, through pgx.
func postgresSchemas(t *testing.T) func(t *testing.T) *sqlx.DB {
	t.Helper()
	dsn := freshPostgres(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	admin := connect(t, "pgx", dsn)
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
		return connect(t, "pgx", mine.String())
	}
}

func freshPostgres(t *testing.T) (dsn string) {
	t.Helper()
	return testserver.FreshPostgres(t, func(dsn string) (*sql.DB, error) { return sql.Open("pgx", dsn) })
}

func mariaDatabases(t *testing.T) func(t *testing.T) *sqlx.DB {
	t.Helper()
	testserver.MariaDBServer(t) // skips here where there is none
	return func(t *testing.T) *sqlx.DB {
		t.Helper()
		dsn := testserver.FreshMariaDB(t, func(dsn string) (*sql.DB, error) { return sql.Open("mysql", dsn) })
		return connect(t, "mysql", dsn)
	}
}

func connect(t *testing.T, driver, dsn string) *sqlx.DB {
	t.Helper()
	db, err := sqlx.Connect(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func mustExec(t *testing.T, db *sqlx.DB, query string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

var databases = []struct {
	name string
	open opener
	own  bool // this driver's other half is here, and not in the root module
}{
	{"MariaDB", mariaDatabases, true},
	{"PostgreSQL pgx", postgresSchemas, true},
	{"SQLite", sqliteFiles, false},
}

// TestBackends is the other half of the root module's table "regardless of the
// backend": the databases that are only here with every Store, and every store
// written for scs.
func TestBackends(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			open := d.open(t)
			var stores []backendtest.StoreCase
			if d.own {
				stores = backendtest.Stores(open)
			} else {
				stores = append(stores, backendtest.StoreCase{Name: "sixty lines over bbolt", New: sixtyLines})
			}
			for _, s := range scsStores {
				// Neither what a Store does with its data nor what the index does
				// with its rows depends on the other: one database is enough for
				// most.
				if s.open != nil && (s.everywhere || !d.own) {
					stores = append(stores, backendtest.StoreCase{Name: "scs " + s.name, Open: s.wrapped})
				}
			}
			backendtest.Run(t, open, stores)
		})
	}
}

// sixtyLines is the Store of docs/writing-a-store.md.
func sixtyLines(t *testing.T) usersession.Store {
	t.Helper()
	store, err := boltstore.New(openBolt(t))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestDatabases(t *testing.T) {
	for _, d := range databases {
		if d.own {
			t.Run(d.name, func(t *testing.T) { backendtest.RunDatabase(t, d.open(t)) })
		}
	}
}

// TestStores runs the contract kit on every Store that is only here.
func TestStores(t *testing.T) {
	for _, d := range databases {
		if !d.own {
			continue
		}
		t.Run("SQL store on "+d.name, func(t *testing.T) {
			t.Parallel()
			db := d.open(t)(t)
			storetest.Run(t, func(t *testing.T) usersession.Store {
				s, err := usersession.NewSQLStore(db, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
	for _, s := range scsStores {
		if s.open == nil {
			continue
		}
		t.Run("scs "+s.name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, s.wrapped(t))
		})
	}
}
