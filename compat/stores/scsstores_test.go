package stores_test

import (
	"bytes"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/badgerstore"
	"github.com/alexedwards/scs/boltstore"
	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/gormstore"
	"github.com/alexedwards/scs/mongodbstore"
	"github.com/alexedwards/scs/mssqlstore"
	"github.com/alexedwards/scs/mysqlstore"
	"github.com/alexedwards/scs/pgxstore"
	"github.com/alexedwards/scs/postgresstore"
	redigostore "github.com/alexedwards/scs/redisstore"
	"github.com/alexedwards/scs/sqlite3store"
	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/dgraph-io/badger"
	"github.com/gomodule/redigo/redis"
	"github.com/jackc/pgx/v5/pgxpool"
	goredis "github.com/redis/go-redis/v9"
	"go.etcd.io/bbolt"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/scsstore"
)

// An scsOpener prepares a backend for a test and returns what makes empty stores
// in it for the test's parts. None of the stores has a cleanup goroutine: what
// is not deleted by a test is dropped with its backend.
type scsOpener func(t *testing.T) func(t *testing.T) scs.Store

// An scsStore is a row of the table of stores written for scs.
type scsStore struct {
	name   string // the last element of its import path
	module string
	server string // what its data are in
	open   scsOpener
	notes  string
	// everywhere stores run the main job with the index in every database, the
	// others with the index in one.
	everywhere bool
}

// wrapped is open for what a program gives to usersession.
func (s scsStore) wrapped(t *testing.T) func(t *testing.T) usersession.Store {
	t.Helper()
	open := s.open(t)
	return func(t *testing.T) usersession.Store {
		t.Helper()
		return scsstore.Wrap(open(t))
	}
}

var scsStores = []scsStore{
	{"badgerstore", "github.com/alexedwards/scs/badgerstore", "Badger 1.6, embedded", badgerStores,
		"It counts whole seconds, and its `All` returns memory that is used again; `scsstore` makes up for both.", false},
	{"boltstore", "github.com/alexedwards/scs/boltstore", "bbolt 1.5, embedded", boltStores,
		"Not safe by itself: `Find` returns memory of the mapped file after its transaction, where the next write may change or unmap it. Tested behind a lock. [The Store of sixty lines](writing-a-store.md) keeps data in the same database, safely.", false},
	{"goredisstore", "github.com/alexedwards/scs/goredisstore", "Redis 7.0", goredisStores,
		"Its plain methods panic; only those with a context are called. An expiry that has passed would mean none at all to it; it is never given one. Prefer [redisstore](../redisstore/doc.go).", true},
	{"gormstore", "github.com/alexedwards/scs/gormstore", "PostgreSQL 15 through gorm", gormStores,
		"Looks and then inserts: a change that races a deletion may fail with a duplicate key. The request then fails, and the session stays ended.", false},
	{"memstore", "github.com/alexedwards/scs/v2", "memory", memStores,
		"Prefer `memstore` of this module.", false},
	{"mysqlstore", "github.com/alexedwards/scs/mysqlstore", "MariaDB 10.11", mysqlStores,
		"`data` must be `MEDIUMBLOB` for more than 64 KB, `token` must have a binary collation, and the connection's time zone must be UTC.", false},
	{"pgxstore", "github.com/alexedwards/scs/pgxstore", "PostgreSQL 15 through pgx", pgxStores,
		"Its plain methods panic; only those with a context are called.", false},
	{"postgresstore", "github.com/alexedwards/scs/postgresstore", "PostgreSQL 15", postgresStores,
		"", false},
	{"redisstore", "github.com/alexedwards/scs/redisstore", "Redis 7.0 through redigo", redigoStores,
		"`All`, and so `Iterate`, sends KEYS, which stops the server meanwhile.", false},
	{"sqlite3store", "github.com/alexedwards/scs/sqlite3store", "SQLite (modernc.org/sqlite)", sqlite3Stores,
		"", false},

	// There is no server for these in the distribution's packages.
	{"mongodbstore", "github.com/alexedwards/scs/mongodbstore", "MongoDB", nil, "Compiled, not run.", false},
	{"mssqlstore", "github.com/alexedwards/scs/mssqlstore", "SQL Server", nil, "Compiled, not run.", false},
}

var (
	_ scs.Store = (*mongodbstore.MongoDBStore)(nil)
	_ scs.Store = (*mssqlstore.MSSQLStore)(nil)
)

func memStores(*testing.T) func(t *testing.T) scs.Store {
	return func(*testing.T) scs.Store { return memstore.NewWithCleanupInterval(0) }
}

func badgerStores(t *testing.T) func(t *testing.T) scs.Store {
	t.Helper()
	db, err := badger.Open(badger.DefaultOptions(t.TempDir()).WithLogger(nil).WithSyncWrites(false))
	if err != nil {
		t.Fatal(err)
	}
	// It is not closed: the bloom filter that Badger 1.6 writes then does what
	// the checks of a program built with -race end that program for.
	return func(*testing.T) scs.Store { return badgerstore.NewWithPrefix(db, rand.Text()+":") }
}

// boltStores opens a file for each store: the name of the bucket is fixed.
func boltStores(*testing.T) func(t *testing.T) scs.Store {
	return func(t *testing.T) scs.Store {
		t.Helper()
		return &locked{inner: boltstore.NewWithCleanupInterval(openBolt(t), 0)}
	}
}

func openBolt(t *testing.T) *bbolt.DB {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "bolt"), 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// locked lets nobody write while data are copied that a store returns without
// owning them.
type locked struct {
	mu    sync.RWMutex
	inner *boltstore.BoltStore
}

func (s *locked) Find(key string) ([]byte, bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	data, found, err := s.inner.Find(key)
	return bytes.Clone(data), found, err
}

func (s *locked) All() (map[string][]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all, err := s.inner.All()
	for key, data := range all {
		all[key] = bytes.Clone(data)
	}
	return all, err
}

func (s *locked) Commit(key string, data []byte, expiry time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inner.Commit(key, data, expiry)
}

func (s *locked) Delete(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inner.Delete(key)
}

func sqlite3Stores(t *testing.T) func(t *testing.T) scs.Store {
	t.Helper()
	open := opendb.SQLite(t)
	return func(t *testing.T) scs.Store {
		t.Helper()
		db := open(t)
		opendb.MustExec(t, db, "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB NOT NULL, expiry REAL NOT NULL)")
		return sqlite3store.NewWithCleanupInterval(db.DB, 0)
	}
}

func goredisStores(t *testing.T) func(t *testing.T) scs.Store {
	t.Helper()
	client := goredis.NewClient(&goredis.Options{Addr: testserver.Redis(t)})
	t.Cleanup(func() { client.Close() })
	return func(*testing.T) scs.Store { return goredisstore.NewWithPrefix(client, rand.Text()+":") }
}

func redigoStores(t *testing.T) func(t *testing.T) scs.Store {
	t.Helper()
	addr := testserver.Redis(t)
	pool := &redis.Pool{Dial: func() (redis.Conn, error) { return redis.Dial("tcp", addr) }, MaxIdle: 4}
	t.Cleanup(func() { pool.Close() })
	return func(*testing.T) scs.Store { return redigostore.NewWithPrefix(pool, rand.Text()+":") }
}

const postgresTable = " (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL)"

func postgresStores(t *testing.T) func(t *testing.T) scs.Store {
	t.Helper()
	db := opendb.Connect(t, "pgx", opendb.FreshPostgres(t, "pgx"))
	var last atomic.Int64
	return func(t *testing.T) scs.Store {
		t.Helper()
		table := fmt.Sprintf("sessions_%d", last.Add(1))
		opendb.MustExec(t, db, "CREATE TABLE "+table+postgresTable)
		return postgresstore.NewWithConfig(db.DB, postgresstore.Config{TableName: table})
	}
}

func pgxStores(t *testing.T) func(t *testing.T) scs.Store {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), opendb.FreshPostgres(t, "pgx"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	var last atomic.Int64
	return func(t *testing.T) scs.Store {
		t.Helper()
		table := fmt.Sprintf("sessions_%d", last.Add(1))
		if _, err := pool.Exec(t.Context(), "CREATE TABLE "+table+postgresTable); err != nil {
			t.Fatal(err)
		}
		return pgxstore.NewWithConfig(pool, pgxstore.Config{TableName: table})
	}
}

// gormStores opens a schema for each store: the name of the table is fixed.
func gormStores(t *testing.T) func(t *testing.T) scs.Store {
	t.Helper()
	open := opendb.Pgx(t)
	return func(t *testing.T) scs.Store {
		t.Helper()
		db, err := gorm.Open(postgres.New(postgres.Config{Conn: open(t).DB}), &gorm.Config{Logger: logger.Discard})
		if err != nil {
			t.Fatal(err)
		}
		s, err := gormstore.NewWithCleanupInterval(db, 0)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func mysqlStores(t *testing.T) func(t *testing.T) scs.Store {
	t.Helper()
	// The store writes UTC and compares with UTC; its column is a TIMESTAMP,
	// which the server converts from the zone of the connection.
	dsn := testserver.FreshMariaDB(t, func(dsn string) (*sql.DB, error) { return sql.Open("mysql", dsn) })
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	db := opendb.Connect(t, "mysql", dsn+separator+"time_zone="+url.QueryEscape("'+00:00'"))
	var last atomic.Int64
	return func(t *testing.T) scs.Store {
		t.Helper()
		table := fmt.Sprintf("sessions_%d", last.Add(1))
		opendb.MustExec(t, db, "CREATE TABLE "+table+
			" (token CHAR(43) COLLATE utf8mb4_bin PRIMARY KEY, data MEDIUMBLOB NOT NULL, expiry TIMESTAMP(6) NOT NULL)")
		return mysqlstore.NewWithConfig(db.DB, mysqlstore.Config{TableName: table})
	}
}
