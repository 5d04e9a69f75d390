package database_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	usmemstore "github.com/seed-296ca7ab/usersession/memstore"
)

// TestSecondLook shows why a login looks at the fence once more when it is confirmed.
// Its statement has looked, and is held back before its row is there for others. A
// revocation raises its fence, finds no row and has returned. Then the row comes.
func TestSecondLook(t *testing.T) {
	for _, c := range []struct {
		name    string
		open    opendb.Opener
		store   usersession.Store
		users   string // a table of users
		hold    string // keeps a row of alice from being inserted, and nobody from ending rows
		waiting string // how many statements wait, or can do nothing but wait
	}{
		{"PostgreSQL", opendb.Pq, nil, "people", "SELECT id FROM people WHERE id = 'alice' FOR UPDATE",
			"SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.datname = current_database()"},
		{"PostgreSQL, memstore", opendb.Pq, usmemstore.New(), "people", "SELECT id FROM people WHERE id = 'alice' FOR UPDATE",
			"SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.datname = current_database()"},
		{"MariaDB", opendb.MariaDB, nil, "", "SELECT id FROM user_sessions WHERE id > '' FOR UPDATE",
			"SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID() AND info LIKE '%INSERT INTO%user_sessions%'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := c.open(t)(t)
			if c.users != "" {
				opendb.MustExec(t, db, "CREATE TABLE people (id text PRIMARY KEY)")
				opendb.MustExec(t, db, "INSERT INTO people VALUES ('alice')")
			}
			m := opendb.Migrated(t, db, &usersession.Options{Store: c.store, UsersTable: c.users})
			var user string
			var refused error
			h := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/login" {
					refused = m.Login(r.Context(), "alice")
				}
				user = m.UserID(r.Context())
			}))
			send := func(path string, cookies []*http.Cookie) *http.Response {
				r := httptest.NewRequestWithContext(t.Context(), "POST", "https://example.test"+path, nil)
				for _, c := range cookies {
					r.AddCookie(c)
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				return w.Result()
			}

			held, err := db.BeginTxx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer held.Rollback()
			if _, err := held.ExecContext(t.Context(), c.hold); err != nil {
				t.Fatal(err)
			}
			answer := make(chan *http.Response, 1)
			go func() { answer <- send("/login", nil) }()
			inFlight := waits(t, db, c.waiting)
			ended, err := m.RevokeAllSessions(t.Context(), "alice")
			held.Rollback()
			res := <-answer
			if !inFlight || err != nil || ended != 0 || refused != nil {
				t.Fatalf("the row was held back: %v; the revocation: %d, %v; Login: %v", inFlight, ended, err, refused)
			}
			if res.StatusCode == http.StatusOK {
				t.Errorf("the login is answered %d", res.StatusCode)
			}
			send("/", res.Cookies())
			list, err := m.ListSessions(t.Context(), "alice")
			if user != "" || len(list) != 0 || err != nil {
				t.Errorf("a session outlives the revocation: the client is %q, %d sessions, %v", user, len(list), err)
			}
		})
	}
}

// waits reports whether a statement comes to wait for a lock.
func waits(t *testing.T, db *sqlx.DB, query string) bool {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		var n int
		if err := db.GetContext(ctx, &n, query); err != nil {
			t.Error(err)
			return false
		}
		if n > 0 {
			return true
		}
		runtime.Gosched()
	}
	return false
}
