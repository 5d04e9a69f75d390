package main

import (
	"context"
	"strings"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"
	"github.com/redis/go-redis/v9"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/redisstore"
	_ "modernc.org/sqlite"
)

// openDatabase opens an SQLite file, or the PostgreSQL database of a URL.
func openDatabase(database string) (*sqlx.DB, error) {
	if strings.HasPrefix(database, "postgres:") || strings.HasPrefix(database, "postgresql:") {
		return sqlx.Connect("postgres", database)
	}
	return sqlx.Connect("sqlite", "file:"+database+
		"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)")
}

// openStore opens the Redis of a URL as a Store, to be closed at the end; without
// a URL the Store is nil, which is the one in the database.
func openStore(ctx context.Context, url string) (usersession.Store, func() error, error) {
	if url == "" {
		return nil, func() error { return nil }, nil
	}
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, nil, err
	}
	opts.ContextTimeoutEnabled = true
	client := redis.NewClient(opts)
	store, err := redisstore.New(client, nil)
	if err == nil {
		err = store.Check(ctx)
	}
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	return store, client.Close, nil
}
