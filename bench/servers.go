package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// poolSize is the most connections each subject may open: the same for all.
const poolSize = 64

// place says how to reach the servers: directly, or through what counts.
type place struct {
	tb       testing.TB
	postgres string // URL of the maintenance database
	redis    string // host:port
	mariadb  string // DSN without a database
	// The processes of these servers, whose CPU counts.
	databases []int
}

// startServers starts the throwaway servers. What is acknowledged is on the disk,
// as in production: fsync and synchronous_commit are on, and full_page_writes too
// unless it is to be seen what those cost.
func startServers(tb testing.TB, fullPageWrites string) *place {
	postgres, dsn := testserver.OwnPostgres(tb,
		"fsync=on", "synchronous_commit=on", "full_page_writes="+fullPageWrites,
		"max_connections=2000", "shared_buffers=1GB", "maintenance_work_mem=1GB", "max_wal_size=4GB",
		"wal_level=minimal", "max_wal_senders=0", "autovacuum=on")
	redis := testserver.OwnRedis(tb)
	mariadb, mariaDSN := testserver.OwnMariaDB(tb,
		"--innodb-flush-log-at-trx-commit=1", "--innodb-flush-method=fsync", "--innodb-doublewrite=ON",
		"--innodb-buffer-pool-size=256M", "--innodb-log-file-size=256M")
	return &place{
		tb: tb, postgres: dsn, redis: redis.Addr, mariadb: mariaDSN,
		databases: []int{postgres.PID(), redis.PID(), mariadb.PID()},
	}
}

// mariaDatabase makes a database of MariaDB unless it is there, and opens it.
func (p *place) mariaDatabase(name string) *sqlx.DB {
	run(p.tb, p.opened("mysql", p.mariadb), "CREATE DATABASE IF NOT EXISTS "+name)
	return p.opened("mysql", p.mariadb+name)
}

// sqliteDatabase opens a new file of SQLite, set up as docs/databases.md says.
func (p *place) sqliteDatabase(name string) *sqlx.DB {
	return p.opened("sqlite", "file:"+filepath.Join(p.tb.TempDir(), name+".db")+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)")
}

// pgxDatabase opens a database with pgx behind database/sql.
func (p *place) pgxDatabase(name string) *sqlx.DB {
	p.database(name)
	return p.opened("pgx", p.dsn(name))
}

// pgxPool opens a database with the pool of pgx itself.
func (p *place) pgxPool(name string) *pgxpool.Pool {
	p.database(name)
	config := must[*pgxpool.Config](p.tb)(pgxpool.ParseConfig(p.dsn(name)))
	config.MaxConns = poolSize
	pool := must[*pgxpool.Pool](p.tb)(pgxpool.NewWithConfig(context.Background(), config))
	p.tb.Cleanup(pool.Close)
	return pool
}

func (p *place) opened(driver, dsn string) *sqlx.DB {
	db := must[*sqlx.DB](p.tb)(sqlx.Open(driver, dsn))
	db.SetMaxOpenConns(poolSize)
	db.SetMaxIdleConns(poolSize)
	p.tb.Cleanup(func() { db.Close() })
	return db
}

// dsn returns the URL of a database of the place's server.
func (p *place) dsn(database string) string {
	u, err := url.Parse(p.postgres)
	if err != nil {
		p.tb.Fatal(err)
	}
	u.Path = "/" + database
	return u.String()
}

// database makes a database unless it is there, and opens it with lib/pq.
func (p *place) database(name string) *sqlx.DB {
	admin := p.open(p.postgres)
	_, err := admin.Exec("CREATE DATABASE " + name)
	if err != nil && !strings.Contains(err.Error(), "already exists") {
		p.tb.Fatal(err)
	}
	return p.open(p.dsn(name))
}

func (p *place) open(dsn string) *sqlx.DB {
	connector, err := pq.NewConnector(dsn)
	if err != nil {
		p.tb.Fatal(err)
	}
	db := sqlx.NewDb(sql.OpenDB(connector), "postgres")
	db.SetMaxOpenConns(poolSize)
	db.SetMaxIdleConns(poolSize)
	p.tb.Cleanup(func() { db.Close() })
	return db
}

func (p *place) redisClient() *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: p.redis, PoolSize: poolSize, ContextTimeoutEnabled: true})
	p.tb.Cleanup(func() { client.Close() })
	return client
}

// tripCounter is a place whose connections pass by a counter of round trips: how
// often a client spoke after the server had.
type tripCounter struct {
	place
	trips atomic.Int64
}

func countTrips(p *place) *tripCounter {
	t := &tripCounter{place: *p}
	u, err := url.Parse(p.postgres)
	if err != nil {
		p.tb.Fatal(err)
	}
	u.Host = t.listen(u.Host)
	t.postgres, t.redis = u.String(), t.listen(p.redis)
	maria, err := mysql.ParseDSN(p.mariadb)
	if err != nil {
		p.tb.Fatal(err)
	}
	maria.Addr = t.listen(maria.Addr)
	t.mariadb = maria.FormatDSN()
	return t
}

// listen passes connections on to a server and returns where it listens.
func (t *tripCounter) listen(server string) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.tb.Fatal(err)
	}
	t.tb.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go t.pass(client, server)
		}
	}()
	return l.Addr().String()
}

func (t *tripCounter) pass(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	var answered atomic.Bool // what follows is the next trip
	answered.Store(true)
	go func() {
		copyNoting(client, server, func() { answered.Store(true) })
		client.Close()
	}()
	copyNoting(server, client, func() {
		if answered.CompareAndSwap(true, false) {
			t.trips.Add(1)
		}
	})
}

func copyNoting(to io.Writer, from io.Reader, note func()) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			note()
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// versions of what is measured on.
func (p *place) versions(ctx context.Context) (postgres, redis, mariadb string) {
	db := p.open(p.postgres)
	if err := db.GetContext(ctx, &postgres, "SHOW server_version"); err != nil {
		p.tb.Fatal(err)
	}
	postgres, _, _ = strings.Cut(postgres, " ")
	info, err := p.redisClient().Info(ctx, "server").Result()
	if err != nil {
		p.tb.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			redis = v
		}
	}
	if err := p.opened("mysql", p.mariadb).GetContext(ctx, &mariadb, "SELECT version()"); err != nil {
		p.tb.Fatal(err)
	}
	mariadb, _, _ = strings.Cut(mariadb, "-")
	return postgres, redis, mariadb
}

func must[T any](tb testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func run(tb testing.TB, db *sqlx.DB, query string, args ...any) {
	if _, err := db.Exec(query, args...); err != nil {
		tb.Fatal(fmt.Errorf("%w: %s", err, query))
	}
}
