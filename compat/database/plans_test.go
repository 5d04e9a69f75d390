package database_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// visit sends one request, which logs u in if it has no cookie.
func visit(t *testing.T, m *usersession.Manager, cookie *http.Cookie) *http.Response {
	t.Helper()
	h := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cookie == nil {
			if err := m.Login(r.Context(), "u"); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		io.WriteString(w, m.UserID(r.Context()))
	}))
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	if cookie != nil {
		r.AddCookie(cookie)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// TestKeptStatements changes what the statements that a connection keeps were planned for.
func TestKeptStatements(t *testing.T) {
	depth.OnlyFull(t)
	for _, d := range allDatabases[1:3] {
		// With a limit a login is a transaction, and the third one ends the first.
		for name, limit := range map[string]int{"": 0, " limited": 2} {
			t.Run(d.name+name, func(t *testing.T) {
				db := d.open(t)(t)
				db.SetMaxOpenConns(1) // so that each change meets the statements that are kept
				m := opendb.Migrated(t, db, &usersession.Options{MaxSessions: limit})
				for _, change := range []string{
					"SELECT 1", // so that each statement is kept
					"ALTER TABLE user_sessions ADD COLUMN note text",
					"CREATE INDEX notes ON user_sessions (note)",
					"ANALYZE user_sessions",
					"ALTER TABLE user_sessions DROP COLUMN note",
					"ALTER TABLE user_sessions ALTER COLUMN id TYPE varchar(64), ALTER COLUMN user_id TYPE varchar(64)",
					"ALTER TABLE user_sessions ALTER COLUMN id TYPE text, ALTER COLUMN user_id TYPE text",
					"DISCARD PLANS", "DEALLOCATE ALL", "DISCARD ALL",
				} {
					opendb.MustExec(t, db, change)
					for range limit {
						if res := visit(t, m, nil); res.StatusCode != http.StatusOK {
							t.Errorf("after %q: login = %d", change, res.StatusCode)
						}
					}
					revokesOthers(t, m, change)
					serves(t, m, change)
				}
			})
		}
	}
}

func serves(t *testing.T, m *usersession.Manager, after string) {
	t.Helper()
	res := visit(t, m, nil)
	if res.StatusCode != 200 || len(res.Cookies()) != 1 {
		body, _ := io.ReadAll(res.Body)
		t.Errorf("after %q: login = %d %q with %d cookies", after, res.StatusCode, body, len(res.Cookies()))
		return
	}
	cookie := res.Cookies()[0]
	for range 3 {
		wantBody(t, visit(t, m, cookie), "u", after)
	}
	if list, err := m.ListSessions(t.Context(), "u"); len(list) != 1 || err != nil {
		t.Errorf("after %q: %d sessions, %v, want 1", after, len(list), err)
	}
	if n, err := m.RevokeAllSessions(t.Context(), "u"); n != 1 || err != nil {
		t.Errorf("after %q: revoked %d, %v, want 1", after, n, err)
	}
	wantBody(t, visit(t, m, cookie), "", after)
}

// revokesOthers logs in and ends the user's other sessions.
func revokesOthers(t *testing.T, m *usersession.Manager, after string) {
	t.Helper()
	h := m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := m.RevokeOtherSessions(r.Context()); err != nil {
			t.Errorf("after %q: %v", after, err)
		}
		if _, err := m.RevokeAllSessions(r.Context(), "u"); err != nil {
			t.Errorf("after %q: %v", after, err)
		}
	}))
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	for _, c := range visit(t, m, nil).Cookies() {
		r.AddCookie(c)
	}
	h.ServeHTTP(httptest.NewRecorder(), r)
}

func wantBody(t *testing.T, res *http.Response, want, after string) {
	t.Helper()
	if body, err := io.ReadAll(res.Body); res.StatusCode != 200 || string(body) != want || err != nil {
		t.Errorf("after %q: %d %q, %v, want %q", after, res.StatusCode, body, err, want)
	}
}

// TestReadOnlyDatabase wants reads to be served, and no change to be said to be done.
func TestReadOnlyDatabase(t *testing.T) {
	for _, d := range []struct {
		name string
		open opendb.Opener
		lock string
	}{
		{"SQLite", opendb.SQLite, "PRAGMA query_only = 1"},
		{"PostgreSQL", opendb.Pq, "SET default_transaction_read_only = on"},
		{"PostgreSQL pgx", opendb.Pgx, "SET default_transaction_read_only = on"},
		{"MariaDB", opendb.MariaDB, "SET SESSION TRANSACTION READ ONLY"},
	} {
		t.Run(d.name, func(t *testing.T) {
			if d.name != "SQLite" {
				depth.OnlyFull(t)
			}
			db := d.open(t)(t)
			m := opendb.Migrated(t, db, &usersession.Options{})
			cookie := visit(t, m, nil).Cookies()[0]
			onlyConn(t, db, d.lock)
			wantBody(t, visit(t, m, cookie), "u", d.lock)
			if res := visit(t, m, nil); res.StatusCode != 503 || len(res.Cookies()) != 0 {
				t.Errorf("login = %d with %d cookies, want 503 with none", res.StatusCode, len(res.Cookies()))
			}
			if n, err := m.RevokeAllSessions(t.Context(), "u"); n != 0 || err == nil {
				t.Errorf("revoked %d, %v, want an error", n, err)
			}
			wantBody(t, visit(t, m, cookie), "u", d.lock)
		})
	}
}

// onlyConn leaves the pool one connection, on which it runs a statement.
func onlyConn(t *testing.T, db *sqlx.DB, query string) {
	t.Helper()
	db.SetMaxIdleConns(1)
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(context.Background(), query); err != nil {
		t.Fatal(err)
	}
}
