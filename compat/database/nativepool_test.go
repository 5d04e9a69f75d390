package database_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
)

// TestNativePool shares the pool of a program that uses pgx without database/sql. The
// limits of that pool count for both.
func TestNativePool(t *testing.T) {
	config, err := pgxpool.ParseConfig(opendb.FreshPostgres(t, "pgx"))
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 4
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	m, err := usersession.NewFromDB(db, &usersession.Options{MaxSessions: 5, ReadTimeout: time.Minute, WriteTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := &client{m: m}
	id := c.login(t, "alice")
	c.do(t, func(ctx context.Context) {
		if err := m.RenewToken(ctx); err != nil {
			t.Error(err)
		}
	})
	for i := range 7 { // more than the limit, each with a transaction
		(&client{m: m}).login(t, fmt.Sprint("user", i%2))
	}
	if err := m.RevokeSession(t.Context(), "alice", id); err != nil {
		t.Error(err)
	}
	// The program's own statements see what the library has written.
	var rows int
	if err := pool.QueryRow(t.Context(), "SELECT COUNT(*) FROM user_sessions WHERE ended_at IS NULL").Scan(&rows); err != nil || rows != 7 {
		t.Errorf("%d live rows, %v, want 7", rows, err)
	}
	if total := pool.Stat().TotalConns(); total > 4 {
		t.Errorf("%d connections, at most 4", total)
	}
}
