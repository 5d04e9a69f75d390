package usersessiontest_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	scsmemstore "github.com/alexedwards/scs/v2/memstore"
	"github.com/jmoiron/sqlx"
	"github.com/redis/go-redis/v9"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/redisstore"
	"github.com/seed-296ca7ab/usersession/scsstore"
	"github.com/seed-296ca7ab/usersession/usersessiontest"
)

// drivers are the databases that a bubble can have, each with its name and DSN. A
// server begins outside of the bubble.
var drivers = []struct {
	name, driver string
	dsn          func(t *testing.T) string
}{
	{"SQLite in memory", "sqlite", func(*testing.T) string { return ":memory:" }},
	{"SQLite", "sqlite", func(t *testing.T) string { return "file:" + t.TempDir() + "/test.db?_pragma=busy_timeout(5000)" }},
	{"PostgreSQL, lib/pq", "postgres", func(t *testing.T) string { return opendb.FreshPostgres(t, "postgres") }},
	{"PostgreSQL, pgx", "pgx", func(t *testing.T) string { return opendb.FreshPostgres(t, "pgx") }},
	{"MariaDB", "mysql", opendb.FreshMariaDB},
}

// open opens a database in the bubble of t.
func open(t *testing.T, driver, dsn string) *sqlx.DB {
	t.Helper()
	db := opendb.Connect(t, driver, dsn)
	if dsn == ":memory:" {
		db.SetMaxOpenConns(1)
	}
	usersessiontest.InBubble(t, db.DB)
	return db
}

// site is a program whose routes log in, and answer with the user.
func site(m *usersession.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), r.FormValue("user")); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, m.UserID(r.Context()))
	})
	mux.HandleFunc("GET /ended", func(w http.ResponseWriter, r *http.Request) {
		s, _ := m.Ended(r.Context())
		io.WriteString(w, s.Reason)
	})
	mux.Handle("GET /fresh", m.RequireFresh(10*time.Minute)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	return m.LoadAndSave(mux)
}

// get returns the body of a page.
func get(t *testing.T, c *http.Client, path string) string {
	t.Helper()
	res, err := c.Get(usersessiontest.Origin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// want compares the user of a client.
func want(t *testing.T, c *http.Client, user string) {
	t.Helper()
	if got := get(t, c, "/"); got != user {
		t.Errorf("at %s the user is %q, want %q", time.Now().Format(time.DateTime), got, user)
	}
}

// run runs the janitor until the test ends.
func run(t *testing.T, m *usersession.Manager) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// timeouts goes through all of the times of a session, with the defaults of Options.
func timeouts(t *testing.T, m *usersession.Manager) {
	t.Helper()
	h := site(m)
	busy, idle := usersessiontest.Client(h), usersessiontest.Client(h)
	for _, c := range []*http.Client{busy, idle} {
		res, err := c.PostForm(usersessiontest.Origin+"/login", url.Values{"user": {"7"}})
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("login: %v, %v", res, err)
		}
	}
	list, err := m.ListSessions(t.Context(), "7")
	if err != nil || len(list) != 2 {
		t.Fatalf("%d sessions, %v", len(list), err)
	}
	if age := time.Since(list[0].CreatedAt); age < 0 || age > time.Minute {
		t.Errorf("a session is %v old, by the clock of the bubble", age)
	}
	for range 3 {
		time.Sleep(30 * time.Minute) // sleep: the clock of a bubble
		want(t, busy, "7")
	}
	if res, err := busy.Get(usersessiontest.Origin + "/fresh"); err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stale login: %v, %v", res, err)
	}
	want(t, idle, "") // for 90 minutes
	if got := get(t, idle, "/ended"); got != usersession.ReasonExpired {
		t.Errorf("the idle session has ended because of %q", got)
	}
	for range 44 {
		time.Sleep(30 * time.Minute) // sleep: the clock of a bubble
		want(t, busy, "7")
	}
	time.Sleep(30*time.Minute - 2*time.Second) // sleep: the clock of a bubble
	want(t, busy, "7")
	time.Sleep(5 * time.Second) // sleep: the clock of a bubble
	want(t, busy, "")           // after 24 hours
	if n, err := m.RevokeAllSessions(t.Context(), "7"); n != 0 || err != nil {
		t.Errorf("revoked %d, %v", n, err)
	}
	time.Sleep(time.Hour) // sleep: the clock of a bubble
	if s, err := m.Stats(t.Context()); err != nil || s.Active != 0 || s.Overdue != 0 {
		t.Errorf("an hour later: %+v, %v", s, err)
	}
}

// newManager returns a Manager whose janitor runs until the test ends.
func newManager(t *testing.T, db *sqlx.DB, opts *usersession.Options) *usersession.Manager {
	t.Helper()
	opts.PruneInterval = 20 * time.Minute
	m := opendb.Migrated(t, db, opts)
	run(t, m)
	return m
}

// TestDatabases lets a day go by on each database.
func TestDatabases(t *testing.T) {
	for i, d := range drivers {
		t.Run(d.name, func(t *testing.T) {
			if i > 0 {
				depth.OnlyFull(t)
			}
			dsn := d.dsn(t)
			synctest.Test(t, func(t *testing.T) {
				timeouts(t, newManager(t, open(t, d.driver, dsn), &usersession.Options{UserIDType: usersession.UserIDBigint}))
			})
		})
	}
}

// TestReconcile compares the two sides by the clock of the bubble.
func TestReconcile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, open(t, "sqlite", ":memory:"), &usersession.Options{})
		usersessiontest.Login(t, m, "42")
		res, err := m.ReconcileStore(t.Context(), usersession.ReconcileOptions{})
		if want := (usersession.ReconcileResult{Keys: 1}); err != nil || !reflect.DeepEqual(res, want) {
			t.Errorf("%+v, %v; want %+v", res, err, want)
		}
	})
}

// TestStores lets a day go by with each Store.
func TestStores(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T) func(t *testing.T) *usersession.Options{
		"memstore": func(*testing.T) func(t *testing.T) *usersession.Options {
			return func(*testing.T) *usersession.Options { return &usersession.Options{Store: memstore.New()} }
		},
		"a table in another database": func(*testing.T) func(t *testing.T) *usersession.Options {
			return func(t *testing.T) *usersession.Options {
				s, err := usersession.NewSQLStore(open(t, "sqlite", ":memory:"), nil)
				if err != nil {
					t.Fatal(err)
				}
				return &usersession.Options{Store: s}
			}
		},
		"a store for scs, and SCS": func(*testing.T) func(t *testing.T) *usersession.Options {
			return func(*testing.T) *usersession.Options {
				s := scs.New()
				s.Cookie.Secure = true
				return &usersession.Options{Store: scsstore.Wrap(scsmemstore.NewWithCleanupInterval(0)), SCS: s, IdleTimeout: time.Hour}
			}
		},
		// Its clock is its own, so that only the row can tell an idle session.
		"Redis, verified": func(t *testing.T) func(t *testing.T) *usersession.Options {
			addr := testserver.Redis(t)
			return func(t *testing.T) *usersession.Options {
				client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
				t.Cleanup(func() { client.Close() })
				s, err := redisstore.New(client, nil)
				if err != nil {
					t.Fatal(err)
				}
				return &usersession.Options{Store: s, VerifyEveryRequest: true}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "memstore" {
				depth.OnlyFull(t)
			}
			opts := prepare(t)
			synctest.Test(t, func(t *testing.T) {
				db := open(t, "sqlite", ":memory:")
				timeouts(t, newManager(t, db, opts(t)))
			})
		})
	}
}
