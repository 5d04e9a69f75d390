package database_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/pgxdb"
)

// TestNativePool shares the pool of a program that uses pgx without database/sql. The
// limits of that pool count for both. What is no transaction goes around database/sql.
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
	db := pgxdb.Open(pool)
	defer db.Close()
	m, err := usersession.NewFromDB(db.DB, &usersession.Options{MaxSessions: 5, ReadTimeout: time.Minute, WriteTimeout: time.Minute})
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
	// A revocation in the program's transaction, in which pgx itself works as well.
	tx, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Close()
	inTx := revokeIn(t, m, tx, usersession.Filter{UserIDs: []string{"user1"}})
	if list, err := m.ListSessions(t.Context(), "user1"); len(list) != 0 || inTx != 3 || err != nil {
		t.Errorf("%d of 3 ended, %d are left, %v", inTx, len(list), err)
	}
	before := db.Stats()
	c.do(t, func(context.Context) {})
	if _, err := m.ListSessions(t.Context(), "user0"); err != nil {
		t.Error(err)
	}
	if after := db.Stats(); after.MaxIdleClosed != before.MaxIdleClosed {
		t.Error("a read has taken a connection of database/sql")
	}
	// The program's own statements see what the library has written.
	var rows int
	if err := pool.QueryRow(t.Context(), "SELECT COUNT(*) FROM user_sessions WHERE ended_at IS NULL").Scan(&rows); err != nil || rows != 4 {
		t.Errorf("%d live rows, %v, want 4", rows, err)
	}
	if total := pool.Stat().TotalConns(); total > 4 {
		t.Errorf("%d connections, at most 4", total)
	}
}

// revokeIn revokes in a transaction of the program, and returns how many ended.
func revokeIn(t *testing.T, m *usersession.Manager, cn *sql.Conn, f usersession.Filter) int {
	t.Helper()
	tx, err := cn.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	r, err := m.RevokeMatchingTx(t.Context(), tx, f)
	if err != nil {
		t.Fatal(err)
	}
	if err := cn.Raw(func(dc any) error {
		_, err := dc.(*stdlib.Conn).Conn().Exec(t.Context(), "CREATE TABLE mine (id int)")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := r.Finish(t.Context()); err != nil {
		t.Error(err)
	}
	return r.Count()
}
