// Package adopt_test runs a program that uses plain scs beside one that adopts its
// sessions, over one store: everything that Options.Adopt promises.
package adopt_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/mysqlstore"
	"github.com/alexedwards/scs/postgresstore"
	"github.com/alexedwards/scs/sqlite3store"
	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	_ "github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/redisstore"
	"github.com/seed-296ca7ab/usersession/scsstore"
)

// kind is a store of plain scs, and the Store of this package over the same data.
type kind struct {
	name  string
	index opendb.Opener
	// open makes the store, which is empty, and what is Options.Store.
	open func(t *testing.T, db *sqlx.DB) (scs.Store, usersession.Store)
}

var kinds = []kind{
	{"SQLite", opendb.SQLite, func(t *testing.T, db *sqlx.DB) (scs.Store, usersession.Store) {
		opendb.MustExec(t, db, "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB NOT NULL, expiry REAL NOT NULL)")
		return sqlite3store.NewWithCleanupInterval(db.DB, 0), nil
	}},
	{"scs memstore, wrapped", opendb.MigratedSQLite, func(*testing.T, *sqlx.DB) (scs.Store, usersession.Store) {
		s := memstore.NewWithCleanupInterval(0)
		return s, scsstore.Wrap(s)
	}},
	{"Redis", opendb.MigratedSQLite, func(t *testing.T, _ *sqlx.DB) (scs.Store, usersession.Store) {
		client := redis.NewClient(&redis.Options{Addr: testserver.Redis(t), ContextTimeoutEnabled: true})
		t.Cleanup(func() { client.Close() })
		prefix := "scs:session:" + rand.Text() + ":"
		s, err := redisstore.New(client, &redisstore.Options{Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		return goredisstore.NewWithPrefix(client, prefix), s
	}},
	{"PostgreSQL", opendb.Pq, func(t *testing.T, db *sqlx.DB) (scs.Store, usersession.Store) {
		opendb.MustExec(t, db, "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL)")
		return postgresstore.NewWithCleanupInterval(db.DB, 0), nil
	}},
	{"MariaDB", opendb.MariaDB, func(t *testing.T, db *sqlx.DB) (scs.Store, usersession.Store) {
		opendb.MustExec(t, db, "CREATE TABLE sessions (token CHAR(43) PRIMARY KEY, data BLOB NOT NULL, expiry TIMESTAMP(6) NOT NULL)")
		return mysqlstore.NewWithCleanupInterval(db.DB, 0), nil
	}},
}

// site is a program before and after, over one store.
type site struct {
	*testing.T
	db     *sqlx.DB
	scs    scs.Store
	store  usersession.Store
	hashed bool

	plain   *scs.SessionManager
	old     http.Handler
	m       *usersession.Manager
	new     http.Handler
	adopted *atomic.Int64 // events
}

const cookieName = "session"

func manager(hashed bool) *scs.SessionManager {
	sm := scs.New()
	sm.HashTokenInStore = hashed
	sm.Lifetime = 12 * time.Hour
	sm.Cookie.Name = cookieName
	return sm
}

// some are the kinds that the fast depth has time for.
func some() []kind {
	if depth.Full() {
		return kinds
	}
	return kinds[:3]
}

// forEach runs a test over stores, with tokens as they are and hashed.
func forEach(t *testing.T, kinds []kind, test func(s *site)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			index := k.index(t)
			for _, hashed := range []bool{false, true} {
				t.Run(map[bool]string{false: "tokens", true: "hashed"}[hashed], func(t *testing.T) {
					s := &site{T: t, db: index(t), hashed: hashed, adopted: &atomic.Int64{}}
					s.scs, s.store = k.open(t, s.db)
					s.startOld()
					s.startNew()
					test(s)
				})
			}
		})
	}
}

// openSQLite opens a site with its data in SQLite, of which the old program runs.
func openSQLite(t *testing.T) *site {
	t.Helper()
	s := &site{T: t, db: opendb.SQLite(t)(t), adopted: &atomic.Int64{}}
	s.scs, s.store = kinds[0].open(t, s.db)
	s.startOld()
	return s
}

func (s *site) startOld() {
	s.plain = manager(s.hashed)
	s.plain.Store = s.scs
	s.old = s.plain.LoadAndSave(s.handler(s.plain, func(ctx context.Context, _ string) error { return s.plain.RenewToken(ctx) }, s.plain.Destroy))
}

// startNew starts the program that adopts.
func (s *site) startNew(change ...func(*usersession.Options)) {
	s.Helper()
	opts := &usersession.Options{
		SCS: manager(s.hashed), Store: s.store, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		Adopt: &usersession.Adopt{UserID: userID},
		OnEvent: func(_ context.Context, e usersession.Event) {
			if e.Kind == usersession.EventAdopted {
				s.adopted.Add(1)
			}
		},
	}
	for _, f := range change {
		f(opts)
	}
	s.m = opendb.Migrated(s.T, s.db, opts)
	m := s.m
	s.new = m.LoadAndSave(s.handler(m.SessionManager, func(ctx context.Context, user string) error { return m.Login(ctx, user) }, m.Logout))
}

// rekey starts the program of the second deployment.
func (s *site) rekey() {
	s.Helper()
	s.startNew(func(o *usersession.Options) { o.Adopt.Rekey = true })
}

// userID reads the user as the old program has put it.
func userID(values map[string]any) string {
	id, ok := values["userID"].(int)
	if !ok {
		return ""
	}
	return strconv.Itoa(id)
}

// handler is the same program on any manager: a handler of plain scs that has learnt
// to log in by the way of this package.
func (s *site) handler(sm *scs.SessionManager, login func(context.Context, string) error, logout func(context.Context) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, q := r.Context(), r.URL.Query()
		var err error
		switch r.URL.Path {
		case "/login":
			if err = login(ctx, q.Get("user")); err == nil {
				id, _ := strconv.Atoi(q.Get("user"))
				sm.Put(ctx, "userID", id)
			}
		case "/logout":
			err = logout(ctx)
		case "/remove":
			sm.Remove(ctx, "userID")
		case "/put":
			sm.Put(ctx, "cart", q.Get("cart"))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		fmt.Fprintf(w, "%d %s", sm.GetInt(ctx, "userID"), sm.GetString(ctx, "cart"))
	})
}

// browser has one cookie.
type browser struct{ token string }

// get sends a request and returns the answer: the user, a space and the cart.
func (b *browser) get(h http.Handler, path string) string {
	r := httptest.NewRequest("GET", path, nil)
	if b.token != "" {
		r.AddCookie(&http.Cookie{Name: cookieName, Value: b.token})
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		b.token = c.Value
	}
	if w.Code != http.StatusOK {
		return fmt.Sprintf("%d: %s", w.Code, strings.TrimSpace(w.Body.String()))
	}
	return w.Body.String()
}

// want sends a request whose answer is known.
func (s *site) want(b *browser, h http.Handler, path, answer string) {
	s.Helper()
	program := "the old program"
	if fmt.Sprintf("%p", h) == fmt.Sprintf("%p", s.new) {
		program = "the new program"
	}
	token := b.token
	if got := b.get(h, path); got != answer {
		s.Errorf("%s answers %s with %q, want %q", program, path, got, answer)
	}
	if path == "/" && b.token != token {
		s.Errorf("%s changes the cookie", program)
	}
}

// login logs a new browser in.
func (s *site) login(h http.Handler, user int) *browser {
	s.Helper()
	b := &browser{}
	s.want(b, h, fmt.Sprintf("/login?user=%d", user), fmt.Sprintf("%d ", user))
	return b
}

// key is that of a browser's data for plain scs.
func (s *site) key(b *browser) string {
	if s.hashed {
		return keyOf(b.token)
	}
	return b.token
}

// data returns those of a browser for plain scs; nil if there are none.
func (s *site) data(b *browser) []byte {
	s.Helper()
	data, found, err := s.find(s.key(b))
	if err != nil {
		s.Fatal(err)
	}
	if !found {
		return nil
	}
	return data
}

func (s *site) find(key string) ([]byte, bool, error) {
	if c, ok := s.scs.(scs.CtxStore); ok {
		return c.FindCtx(s.Context(), key)
	}
	return s.scs.Find(key)
}

// write is what a request of plain scs in flight does, whatever happened meanwhile.
func (s *site) write(key string, data []byte) {
	s.Helper()
	commit := func(key string, data []byte, expiry time.Time) error { return s.scs.Commit(key, data, expiry) }
	if c, ok := s.scs.(scs.CtxStore); ok {
		commit = func(key string, data []byte, expiry time.Time) error {
			return c.CommitCtx(s.Context(), key, data, expiry)
		}
	}
	if err := commit(key, data, time.Now().Add(time.Hour)); err != nil {
		s.Fatal(err)
	}
}

// listed returns how many sessions a user has.
func (s *site) listed(user int) int {
	s.Helper()
	list, err := s.m.ListSessions(s.Context(), strconv.Itoa(user))
	if err != nil {
		s.Fatal(err)
	}
	return len(list)
}

func (s *site) wantListed(user, n int) {
	s.Helper()
	if got := s.listed(user); got != n {
		s.Errorf("user %d has %d sessions listed, want %d", user, got, n)
	}
}
