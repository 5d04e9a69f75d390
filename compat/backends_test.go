package compat

import (
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/postgresstore"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite"

	"github.com/redis/go-redis/v9"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/backendtest"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/scsstore"
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
	dsn := testserver.FreshPostgres(t, func(dsn string) (*sql.DB, error) { return sql.Open("pgx", dsn) })
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

// redisStore is scs's goredisstore, with a prefix of its own.
func redisStore(t *testing.T) usersession.Store {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: testserver.Redis(t)})
	t.Cleanup(func() { client.Close() })
	return scsstore.Wrap(goredisstore.NewWithPrefix(client, "compat:"+strings.ReplaceAll(t.Name(), " ", "_")+":"))
}

// postgresStore is scs's postgresstore.
func postgresStore(t *testing.T) usersession.Store {
	t.Helper()
	dsn := testserver.FreshPostgres(t, func(dsn string) (*sql.DB, error) { return sql.Open("pgx", dsn) })
	db := connect(t, "pgx", dsn)
	const table = "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL)"
	if _, err := db.ExecContext(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	return scsstore.Wrap(postgresstore.NewWithCleanupInterval(db.DB, 0))
}

// scsStores are the rows that are stores written for scs.
var scsStores = []backendtest.StoreCase{
	{Name: "scs goredisstore", New: redisStore},
	{Name: "scs postgresstore", New: postgresStore},
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
// backend".
func TestBackends(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			open := d.open(t)
			stores := scsStores
			if d.own {
				stores = append(backendtest.Stores(open), stores...)
			}
			backendtest.Run(t, open, stores)
		})
	}
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
		t.Run(s.Name, func(t *testing.T) { storetest.Run(t, s.New) })
	}
}
