package database_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// TestIdleConnectionsClosed has the server close what the pool holds. The logins are
// transactions, because they have a limit.
func TestIdleConnectionsClosed(t *testing.T) {
	depth.OnlyFull(t)
	for _, d := range allDatabases[1:] {
		t.Run(d.name, func(t *testing.T) {
			db := d.open(t)(t)
			_, admin := opendb.Spied(t, db)
			db.SetMaxIdleConns(8)
			m := opendb.Migrated(t, db, &usersession.Options{MaxSessions: 10})
			cookie := visit(t, m, nil).Cookies()[0]
			closed := func() {
				t.Helper()
				holdIdle(t, db, 8)
				if err := closeOthers(t.Context(), admin); err != nil {
					t.Fatal(err)
				}
			}
			closed()
			for range 20 {
				wantBody(t, visit(t, m, cookie), "u", "closing")
			}
			closed()
			for i := range 5 {
				if res := visit(t, m, nil); res.StatusCode != http.StatusOK {
					t.Errorf("login %d: %d", i, res.StatusCode)
				}
			}
			closed()
			if n, err := m.RevokeAllSessions(t.Context(), "u"); n != 6 || err != nil {
				t.Errorf("revoked %d, %v, want 6", n, err)
			}
		})
	}
}

// TestConnectionClosedInTransaction has the server close the connection of a login
// under a limit. The login is run again, unless COMMIT was sent.
func TestConnectionClosedInTransaction(t *testing.T) {
	depth.OnlyFull(t)
	for _, d := range allDatabases[1:] {
		for _, tc := range []struct {
			after string // in the text of the statement after which it is closed
			code  int
		}{
			{"ISOLATION LEVEL", http.StatusOK},
			{"lock", http.StatusOK},
			{insertOfLogin, http.StatusServiceUnavailable}, // what comes is COMMIT
		} {
			t.Run(d.name+" "+tc.after, func(t *testing.T) {
				admin := d.open(t)(t)
				spy, db := opendb.Spied(t, admin)
				var armed atomic.Bool
				var inserts atomic.Int64
				spy.Lost = func(query string) bool {
					if strings.Contains(query, insertOfLogin) {
						inserts.Add(1)
					}
					if strings.Contains(query, tc.after) && armed.CompareAndSwap(true, false) {
						if err := closeOthers(context.Background(), admin); err != nil {
							t.Error(err)
						}
					}
					return false
				}
				m := opendb.Migrated(t, db, &usersession.Options{MaxSessions: 10})
				armed.Store(true)
				res := visit(t, m, nil)
				var live int
				if err := admin.GetContext(t.Context(), &live, "SELECT count(*) FROM user_sessions"); err != nil {
					t.Fatal(err)
				}
				if want := len(res.Cookies()); res.StatusCode != tc.code || live != want || inserts.Load() != 1 || armed.Load() {
					t.Errorf("login = %d, %d rows of %d inserted, closed: %v; want %d, %d rows of 1", res.StatusCode, live, inserts.Load(), !armed.Load(), tc.code, want)
				}
			})
		}
	}
}

const insertOfLogin = "session_key, created_at"

// TestConnectionClosedUnderRead has the server close the connection on which a read
// is about to be sent, where the driver no longer asks whether it is open.
func TestConnectionClosedUnderRead(t *testing.T) {
	depth.OnlyFull(t)
	for _, d := range allDatabases[1:] {
		t.Run(d.name, func(t *testing.T) {
			admin := d.open(t)(t)
			spy, db := opendb.Spied(t, admin)
			var armed atomic.Bool
			spy.Hook = func(context.Context) func() {
				if armed.CompareAndSwap(true, false) {
					if err := closeOthers(context.Background(), admin); err != nil {
						t.Error(err)
					}
				}
				return func() {}
			}
			m := opendb.Migrated(t, db, &usersession.Options{})
			cookie := visit(t, m, nil).Cookies()[0]
			wantBody(t, visit(t, m, cookie), "u", "nothing") // the statement is kept now
			for range 3 {
				armed.Store(true)
				wantBody(t, visit(t, m, cookie), "u", "closing")
				if armed.Load() {
					t.Error("nothing was closed")
				}
			}
		})
	}
}

// closeOthers closes all connections of a database but the one it runs on, and comes
// back when they are closed.
func closeOthers(ctx context.Context, admin *sqlx.DB) error {
	cn, err := admin.Connx(ctx)
	if err != nil {
		return err
	}
	defer cn.Close()
	if admin.DriverName() != "mysql" {
		_, err := cn.ExecContext(ctx, "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		return err
	}
	for first := true; ; first = false {
		var ids []int
		if err := cn.SelectContext(ctx, &ids, "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"); err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if _, err := cn.ExecContext(ctx, fmt.Sprint("KILL ", id)); err != nil && first {
				return err
			}
		}
	}
}
