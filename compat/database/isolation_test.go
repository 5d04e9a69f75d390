package database_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// TestIsolationUnderLoad wants everything to be served at any default isolation, with
// logins, reads, touches, renewals, revocations and the janitor at once.
func TestIsolationUnderLoad(t *testing.T) {
	depth.OnlyFull(t)
	for _, level := range []string{"repeatable read", "serializable"} {
		for _, d := range allDatabases[1:] {
			for _, limit := range []int{0, 5} {
				t.Run(fmt.Sprint(level, " ", d.name, " ", limit), func(t *testing.T) {
					db := openIsolated(t, d.name, d.open, level)
					db.SetMaxOpenConns(12)
					db.SetMaxIdleConns(12)
					m := opendb.Migrated(t, db, &usersession.Options{
						MaxSessions: limit, TouchInterval: time.Millisecond,
					})
					mixedLoad(t, m)
				})
			}
		}
	}
}

// openIsolated opens a database whose default isolation is another one.
func openIsolated(t *testing.T, name string, open opendb.Opener, level string) *sqlx.DB {
	t.Helper()
	if name == "MariaDB" {
		open(t) // skips here where there is none
		dsn := opendb.FreshMariaDB(t)
		sep := "?"
		if strings.Contains(dsn, "?") {
			sep = "&"
		}
		level = strings.ToUpper(strings.ReplaceAll(level, " ", "-"))
		db := opendb.Connect(t, "mysql", dsn+sep+"tx_isolation=%27"+level+"%27")
		wantLevel(t, db, "SELECT @@tx_isolation", level)
		return db
	}
	schema := open(t)
	opendb.MustExec(t, schema(t), `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''`+level+`''', current_database()); END $$`)
	db := schema(t)
	wantLevel(t, db, "SHOW transaction_isolation", level)
	return db
}

func wantLevel(t *testing.T, db *sqlx.DB, query, want string) {
	t.Helper()
	var level string
	if err := db.GetContext(t.Context(), &level, query); err != nil || level != want {
		t.Fatalf("the level is %q, %v, want %q", level, err, want)
	}
}

func mixedLoad(t *testing.T, m *usersession.Manager) {
	t.Helper()
	mux := http.NewServeMux()
	handle := func(path string, do func(ctx context.Context) error) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r.Context()); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
			}
		})
	}
	handle("/", func(context.Context) error { return nil })
	mux.HandleFunc("/login/{user}", func(w http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), r.PathValue("user")); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	handle("/renew", m.RenewToken)
	handle("/others", func(ctx context.Context) error { _, err := m.RevokeOtherSessions(ctx); return err })
	handle("/logout", m.Logout)
	h := m.LoadAndSave(mux)

	const workers, rounds = 8, 8
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			var cookie *http.Cookie
			ask := func(path string) {
				r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
				if cookie != nil {
					r.AddCookie(cookie)
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				res := w.Result()
				if res.StatusCode != http.StatusOK {
					body, _ := io.ReadAll(res.Body)
					t.Errorf("%s: %d %s", path, res.StatusCode, body)
				}
				for _, c := range res.Cookies() {
					cookie = c
				}
			}
			for i := range rounds {
				cookie = nil
				user := fmt.Sprintf("user%d-%d", worker, i%3)
				ask("/login/" + user)
				ask("/")
				ask("/renew")
				ask("/")
				switch i % 3 {
				case 0:
					ask("/others")
				case 1:
					ask("/logout")
				case 2:
					if _, err := m.RevokeAllSessions(t.Context(), user); err != nil {
						t.Errorf("revoke all: %v", err)
					}
				}
			}
		})
	}
	load, done := context.WithCancel(t.Context())
	var janitor sync.WaitGroup
	janitor.Go(func() {
		for load.Err() == nil {
			if _, err := m.Prune(t.Context()); err != nil {
				t.Errorf("prune: %v", err)
			}
		}
	})
	wg.Wait()
	done()
	janitor.Wait()
}
