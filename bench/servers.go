package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/redis/go-redis/v9"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// poolSize is the most connections each subject may open: the same for all.
const poolSize = 64

// place says how to reach the servers: directly, or through what counts.
type place struct {
	tb       testing.TB
	postgres string // URL of the maintenance database
	redis    string // host:port
}

// startServers starts the throwaway servers. What is acknowledged is on the disk,
// as in production: fsync and synchronous_commit are on, and full_page_writes too,
// which WAL figures depend on.
func startServers(tb testing.TB) *place {
	_, dsn := testserver.OwnPostgres(tb,
		"fsync=on", "synchronous_commit=on", "full_page_writes=on",
		"max_connections=2000", "shared_buffers=1GB", "maintenance_work_mem=1GB", "max_wal_size=4GB",
		"wal_level=minimal", "max_wal_senders=0", "autovacuum=on")
	server := testserver.OwnRedis(tb)
	return &place{tb: tb, postgres: dsn, redis: server.Addr}
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
func (p *place) versions(ctx context.Context) (postgres, redis string) {
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
	return postgres, redis
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
