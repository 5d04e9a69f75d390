// Package backends opens the Stores and databases that the loads of this module
// run on, so that every call to them can be stopped in the middle.
package backends

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/postgresstore"
	"github.com/alexedwards/scs/v2"
	scsmemstore "github.com/alexedwards/scs/v2/memstore"
	_ "github.com/go-sql-driver/mysql" // MariaDB
	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq" // PostgreSQL
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite" // SQLite

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/sqlspy"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/redisstore"
	"github.com/seed-296ca7ab/usersession/scsstore"
)

// poolSize is how many connections a pool may open, and keep.
const poolSize = 24

// A Backend is a Store and the database of the index.
type Backend struct {
	Name string
	// DB opens an empty database.
	DB func(tb testing.TB) *sqlx.DB
	// Store opens an empty Store. Nil: the sessions are in the database of the
	// index.
	Store func(tb testing.TB) usersession.Store
}

// List are the backends, those with servers first.
var List = []Backend{
	{"Redis + PostgreSQL", Postgres, redisStore},
	{"PostgreSQL", Postgres, nil},
	{"SQLite", SQLite, nil},
	{"MariaDB", MariaDB, nil},
	{"scs goredisstore, wrapped + PostgreSQL", Postgres, func(tb testing.TB) usersession.Store {
		return stopping{scsstore.Wrap(scsRedis(tb))}
	}},
	{"memstore + SQLite", SQLite, func(testing.TB) usersession.Store { return stopping{memstore.New()} }},
}

// Named returns the Backend of List with a name. It panics if there is none.
func Named(name string) Backend {
	for _, b := range List {
		if b.Name == name {
			return b
		}
	}
	panic("backends: no backend is called " + name)
}

// Open opens the backend and returns what a Manager on it needs, with the tables
// of index and sessions migrated.
func (b Backend) Open(tb testing.TB) (*sqlx.DB, usersession.Store) {
	tb.Helper()
	db := b.DB(tb)
	var store usersession.Store
	if b.Store != nil {
		store = b.Store(tb)
	}
	m, err := usersession.New(db, &usersession.Options{Store: store, InsecureCookies: true})
	if err != nil {
		tb.Fatal(err)
	}
	if err := m.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return db, store
}

// A Plain is an scs store without this library, and a database for an index
// that is made by hand.
type Plain struct {
	Name string
	Open func(tb testing.TB) (*sqlx.DB, scs.CtxStore)
}

// Plains are the stores that scs offers for the same servers.
var Plains = []Plain{
	{"scs goredisstore + PostgreSQL", func(tb testing.TB) (*sqlx.DB, scs.CtxStore) {
		return Postgres(tb), stoppingSCS{scsRedis(tb)}
	}},
	{"scs postgresstore", func(tb testing.TB) (*sqlx.DB, scs.CtxStore) {
		tb.Helper()
		db := Postgres(tb)
		if _, err := db.ExecContext(tb.Context(),
			"CREATE TABLE sessions (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL)"); err != nil {
			tb.Fatal(err)
		}
		return db, stoppingSCS{postgresstore.NewWithCleanupInterval(db.DB, 0)}
	}},
	{"scs memstore + SQLite", func(tb testing.TB) (*sqlx.DB, scs.CtxStore) {
		return SQLite(tb), stoppingSCS{scsmemstore.NewWithCleanupInterval(0)}
	}},
}

// Postgres opens a new PostgreSQL database.
func Postgres(tb testing.TB) *sqlx.DB {
	tb.Helper()
	return open(tb, "postgres", testserver.FreshPostgres(tb, func(dsn string) (*sql.DB, error) { return sql.Open("postgres", dsn) }))
}

// MariaDB opens a new MariaDB database.
func MariaDB(tb testing.TB) *sqlx.DB {
	tb.Helper()
	return open(tb, "mysql", testserver.FreshMariaDB(tb, func(dsn string) (*sql.DB, error) { return sql.Open("mysql", dsn) }))
}

// SQLite opens a new SQLite database in a file.
func SQLite(tb testing.TB) *sqlx.DB {
	tb.Helper()
	return open(tb, "sqlite", "file:"+tb.TempDir()+"/test.db"+
		"?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=foreign_keys(1)")
}

func open(tb testing.TB, driver, dsn string) *sqlx.DB {
	tb.Helper()
	plain, err := (&sqlspy.Spy{Hook: pass}).Open(driver, dsn)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { plain.Close() })
	plain.SetMaxOpenConns(poolSize)
	plain.SetMaxIdleConns(poolSize)
	return sqlx.NewDb(plain, driver)
}

// RedisClient connects to a Redis server.
func RedisClient(tb testing.TB) *redis.Client {
	tb.Helper()
	c := redis.NewClient(&redis.Options{Addr: testserver.Redis(tb), PoolSize: poolSize, ContextTimeoutEnabled: true})
	tb.Cleanup(func() { c.Close() })
	return c
}

// prefix starts the keys of one test or program in Redis.
func prefix(tb testing.TB) string {
	return "robustness:" + strings.Map(func(r rune) rune {
		if r == '/' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, tb.Name()) + ":"
}

func redisStore(tb testing.TB) usersession.Store {
	tb.Helper()
	p := prefix(tb)
	s, err := redisstore.New(RedisClient(tb), &redisstore.Options{Prefix: p[max(0, len(p)-64):]})
	if err != nil {
		tb.Fatal(err)
	}
	return stopping{s}
}

func scsRedis(tb testing.TB) scs.Store {
	tb.Helper()
	return goredisstore.NewWithPrefix(RedisClient(tb), "scs:"+prefix(tb))
}
