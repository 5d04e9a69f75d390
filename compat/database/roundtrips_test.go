package database_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2/memstore"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/sqlspy"
	usmemstore "github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/scsstore"
)

var databases = []struct {
	name string
	open opendb.Opener
}{
	{"SQLite", opendb.SQLite},
	{"PostgreSQL", opendb.Pq},
}

// countingStore notes the calls of a Store.
type countingStore struct {
	usersession.Store
	mu    sync.Mutex
	calls []string
}

func (s *countingStore) AtomicUpdates() bool {
	a, ok := s.Store.(usersession.AtomicUpdater)
	return ok && a.AtomicUpdates()
}

func (s *countingStore) note(method string) usersession.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, method)
	return s.Store
}

// take returns the calls since the last time.
func (s *countingStore) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := strings.Join(s.calls, " ")
	s.calls = nil
	return calls
}

func (s *countingStore) Find(ctx context.Context, key string) ([]byte, bool, error) {
	return s.note("Find").Find(ctx, key)
}

func (s *countingStore) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	return s.note("Create").Create(ctx, key, data, expiry)
}

func (s *countingStore) Update(ctx context.Context, key string, data []byte) (bool, error) {
	return s.note("Update").Update(ctx, key, data)
}

func (s *countingStore) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	return s.note("Touch").Touch(ctx, key, expiry)
}

func (s *countingStore) Delete(ctx context.Context, keys ...string) error {
	return s.note("Delete").Delete(ctx, keys...)
}

// client is a browser of one Manager, without a network.
type client struct {
	m      *usersession.Manager
	user   string
	cookie *http.Cookie

	userAgent string
}

// do sends a request whose handler calls fn.
func (c *client) do(t *testing.T, fn func(ctx context.Context)) {
	t.Helper()
	r := httptest.NewRequest("POST", "https://example.test/", nil)
	if c.cookie != nil {
		r.AddCookie(c.cookie)
	}
	if c.userAgent != "" {
		r.Header.Set("User-Agent", c.userAgent)
	}
	w := httptest.NewRecorder()
	c.m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { fn(r.Context()) })).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("status %d", w.Code)
	}
	for _, set := range w.Result().Cookies() {
		c.cookie = set
	}
}

// login logs the client in and returns the session's ID.
func (c *client) login(t *testing.T, user string) (id string) {
	t.Helper()
	c.do(t, func(ctx context.Context) {
		if err := c.m.Login(ctx, user); err != nil {
			t.Error(err)
		}
		s, err := c.m.Current(ctx)
		if err != nil {
			t.Error(err)
		}
		id = s.ID
	})
	return id
}

// trips is what one operation may cost, the load of its request included.
type trips struct {
	sql   int
	store string
}

// roundTrips is DESIGN section 7 in numbers. The statements of the SQL store
// count as SQL.
var roundTrips = []struct {
	name                    string
	prepare                 func(t *testing.T, c *client) // e.g. a login
	run                     func(t *testing.T, c *client, id string)
	fused, atomic, verified trips
	atOnce                  int // of fused, that PostgreSQL saves
}{
	{"anonymous", nil, inRequest(func(context.Context, *client) error { return nil }),
		trips{0, ""}, trips{0, ""}, trips{0, ""}, 0},
	{"read", loggedIn, inRequest(func(context.Context, *client) error { return nil }),
		trips{1, ""}, trips{0, "Find"}, trips{1, "Find"}, 0},
	{"change data", loggedIn, inRequest(func(ctx context.Context, c *client) error {
		c.m.Put(ctx, "cart", 1)
		return nil
	}), trips{2, ""}, trips{0, "Find Update"}, trips{1, "Find Update"}, 0},
	{"login", nil, inRequest(login), trips{3, ""}, trips{2, "Create"}, trips{2, "Create"}, 1},
	{"login by an identity provider", nil, inRequest(func(ctx context.Context, c *client) error {
		return c.m.Login(ctx, c.user, usersession.WithIdP("https://idp.example/", "248289761001", "08a5019c"))
	}), trips{5, ""}, trips{4, "Create"}, trips{4, "Create"}, 1},
	{"login of a visitor", func(t *testing.T, c *client) {
		c.do(t, func(ctx context.Context) { c.m.Put(ctx, "cart", 1) })
	}, inRequest(login), trips{5, ""}, trips{2, "Find Create Delete"}, trips{2, "Find Create Delete"}, 1},
	{"login over a session", loggedIn, inRequest(login),
		trips{5, ""}, trips{2, "Find Create Delete"}, trips{3, "Find Create Delete"}, 0},
	{"renewal", loggedIn, inRequest(func(ctx context.Context, c *client) error { return c.m.RenewToken(ctx) }),
		trips{5, ""}, trips{2, "Find Create Delete"}, trips{3, "Find Create Delete"}, 0},
	// One more than a renewal: it tells at once that the session has ended.
	{"reauthentication", loggedIn, inRequest(func(ctx context.Context, c *client) error { return c.m.Reauthenticate(ctx) }),
		trips{6, ""}, trips{3, "Find Create Delete"}, trips{4, "Find Create Delete"}, 0},
	{"logout", loggedIn, inRequest(func(ctx context.Context, c *client) error { return c.m.Logout(ctx) }),
		trips{3, ""}, trips{1, "Find Delete"}, trips{2, "Find Delete"}, 0},
	{"revoke one", loggedIn, func(t *testing.T, c *client, id string) {
		if err := c.m.RevokeSession(t.Context(), c.user, id); err != nil {
			t.Error(err)
		}
	}, trips{2, ""}, trips{1, "Delete"}, trips{1, "Delete"}, 0},
	{"revoke all", loggedIn, func(t *testing.T, c *client, id string) {
		if n, err := c.m.RevokeAllSessions(t.Context(), c.user); n == 0 || err != nil {
			t.Error(n, err)
		}
	}, trips{4, ""}, trips{3, "Delete"}, trips{3, "Delete"}, 2},
	{"revoke others", func(t *testing.T, c *client) {
		(&client{m: c.m}).login(t, c.user)
		c.login(t, c.user)
	}, inRequest(func(ctx context.Context, c *client) error {
		_, err := c.m.RevokeOtherSessions(ctx)
		return err
	}), trips{8, ""}, trips{6, "Find Delete"}, trips{7, "Find Delete"}, 0},
	{"list", loggedIn, func(t *testing.T, c *client, id string) {
		if list, err := c.m.ListSessions(t.Context(), c.user); len(list) == 0 || err != nil {
			t.Error(list, err)
		}
	}, trips{1, ""}, trips{1, ""}, trips{1, ""}, 0},
}

func login(ctx context.Context, c *client) error { return c.m.Login(ctx, c.user) }

func loggedIn(t *testing.T, c *client) { c.login(t, c.user) }

func inRequest(fn func(context.Context, *client) error) func(t *testing.T, c *client, id string) {
	return func(t *testing.T, c *client, _ string) {
		t.Helper()
		c.do(t, func(ctx context.Context) {
			if err := fn(ctx, c); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRoundTrips counts what each operation asks of the database and of the
// Store, once its statements are prepared.
func TestRoundTrips(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			open := d.open(t)
			for _, s := range []struct {
				name  string
				store usersession.Store
				want  func(fused, atomic, verified trips) trips
			}{
				{"SQL store", nil, func(fused, _, _ trips) trips { return fused }},
				{"atomic store", usmemstore.New(), func(_, atomic, _ trips) trips { return atomic }},
				{"verified store", scsstore.Wrap(memstore.NewWithCleanupInterval(0)), func(_, _, verified trips) trips { return verified }},
			} {
				t.Run(s.name, func(t *testing.T) {
					spy, db := opendb.Spied(t, open(t))
					opts := &usersession.Options{}
					counted := &countingStore{Store: s.store}
					if s.store != nil {
						opts.Store = counted
					}
					m := opendb.Migrated(t, db, opts)
					for _, c := range roundTrips {
						t.Run(c.name, func(t *testing.T) {
							var got trips
							var calls []sqlspy.Call
							for pass := range 2 { // the first one prepares the statements
								cl := &client{m: m, user: fmt.Sprint(c.name, pass)}
								id := ""
								if c.prepare != nil {
									c.prepare(t, cl)
									if list, err := m.ListSessions(t.Context(), cl.user); err == nil && len(list) > 0 {
										id = list[0].ID
									}
								}
								counted.take()
								spy.Take()
								c.run(t, cl, id)
								calls = spy.Take()
								got = trips{len(calls), counted.take()}
							}
							want := s.want(c.fused, c.atomic, c.verified)
							if s.store == nil && d.name == "PostgreSQL" {
								want.sql -= c.atOnce
							}
							if got != want {
								t.Errorf("%d SQL and %q, want %d and %q: %+v", got.sql, got.store, want.sql, want.store, calls)
							}
							// To lib/pq a statement that is not prepared is two trips. One with a
							// list is not prepared, for lists have any length.
							inTx := slices.ContainsFunc(calls, func(c sqlspy.Call) bool { return strings.HasPrefix(c.Query, "BEGIN") })
							for _, c := range calls {
								if !c.Prepared && !inTx && !strings.Contains(c.Query, "id IN (") {
									t.Errorf("not prepared: %s", c.Query)
								}
							}
						})
					}
				})
			}
		})
	}
}

// TestRoundTripsOfALimit counts what Options.MaxSessions adds to a login. What the
// default adds is in TestRoundTrips.
func TestRoundTripsOfALimit(t *testing.T) {
	for _, d := range []struct {
		name                       string
		open                       opendb.Opener
		none, byDefault, below, at int
	}{
		{"SQLite", opendb.SQLite, 2, 2, 2, 9},
		{"PostgreSQL", opendb.Pq, 2, 2, 5, 9},
		// Its statements that write lock what they read, so that a fence is looked at
		// by one of its own.
		{"MariaDB", opendb.MariaDB, 4, 4, 11, 26},
	} {
		t.Run(d.name, func(t *testing.T) {
			open := d.open(t)
			for _, c := range []struct {
				name         string
				max, devices int
				want         trips
			}{
				{"no limit", usersession.NoMaxSessions, 2, trips{d.none, "Create"}},
				{"the default", 0, 2, trips{d.byDefault, "Create"}},
				{"below", 2, 0, trips{d.below, "Create"}},
				{"at it", 2, 2, trips{d.at, "Delete Create"}},
			} {
				t.Run(c.name, func(t *testing.T) {
					spy, db := opendb.Spied(t, open(t))
					counted := &countingStore{Store: usmemstore.New()}
					m := opendb.Migrated(t, db, &usersession.Options{Store: counted, MaxSessions: c.max})
					(&client{m: m}).do(t, func(ctx context.Context) { m.Login(ctx, "bob") }) // prepares
					for range c.devices {
						(&client{m: m}).login(t, "alice")
					}
					counted.take()
					spy.Take()
					(&client{m: m}).do(t, func(ctx context.Context) {
						if err := m.Login(ctx, "alice"); err != nil {
							t.Error(err)
						}
					})
					if got := (trips{len(spy.Take()), counted.take()}); got != c.want {
						t.Errorf("%d SQL and %q, want %d and %q", got.sql, got.store, c.want.sql, c.want.store)
					}
				})
			}
		})
	}
}

// TestRoundTripsOfATouch counts what a touch adds to the read that is due.
func TestRoundTripsOfATouch(t *testing.T) {
	open := opendb.SQLite(t)
	for _, c := range []struct {
		name  string
		store usersession.Store
		want  trips
	}{
		{"SQL store", nil, trips{1 + 1, ""}},
		{"atomic store", usmemstore.New(), trips{1, "Find Touch"}},
		{"verified store", scsstore.Wrap(memstore.NewWithCleanupInterval(0)), trips{1 + 1, "Find"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			spy, db := opendb.Spied(t, open(t))
			opts := &usersession.Options{TouchInterval: time.Millisecond}
			counted := &countingStore{Store: c.store}
			if c.store != nil {
				opts.Store = counted
			}
			m := opendb.Migrated(t, db, opts)
			cl := &client{m: m}
			cl.login(t, "alice")
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			var got trips
			for range 2 { // the first time prepares the statements
				<-tick.C
				<-tick.C
				counted.take()
				spy.Take()
				cl.do(t, func(context.Context) {})
				got = trips{len(spy.Take()), counted.take()}
			}
			if got != c.want {
				t.Errorf("%d SQL and %q, want %d and %q", got.sql, got.store, c.want.sql, c.want.store)
			}
		})
	}
}
