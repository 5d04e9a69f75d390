package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/mysqlstore"
	"github.com/alexedwards/scs/pgxstore"
	"github.com/alexedwards/scs/postgresstore"
	"github.com/alexedwards/scs/sqlite3store"
	"github.com/alexedwards/scs/v2"
	scsmemstore "github.com/alexedwards/scs/v2/memstore"
	"github.com/boj/redistore"
	"github.com/gorilla/sessions"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/redisstore"
)

// The names of the subjects, as they are in the tables.
const (
	ours          = "usersession"
	oursPgx       = "usersession, pgx (stdlib)"
	oursNative    = "usersession, pgx native"
	oursTouching  = "usersession, a touch due at every request"
	plainPq       = "scs + postgresstore (lib/pq)"
	plainPgx      = "scs + pgxstore"
	plainMariaDB  = "scs + mysqlstore"
	plainSQLite   = "scs + sqlite3store"
	plainRedis    = "scs + goredisstore"
	plainMemory   = "scs + memstore"
	byHand        = "scs + postgresstore + index by hand"
	gorillaRedis  = "gorilla/sessions + boj/redistore"
	rawSelect     = "raw SELECT, prepared"
	rawSelectPgx  = "raw SELECT, pgxpool"
	rawSelectSave = "raw SELECT and UPDATE, prepared"
	rawInsert     = "raw INSERT of session and row, prepared"
	rawGet        = "raw GET"
	rawGetSet     = "raw GET and SET XX"
	rawSetRow     = "raw SET, and INSERT of a row, prepared"
	noSessions    = "no sessions"
)

// library is a session library as an application calls it.
type library interface {
	wrap(next http.Handler) http.Handler
	login(w http.ResponseWriter, r *http.Request, user string) error
	read(r *http.Request) (user string, err error)
	write(w http.ResponseWriter, r *http.Request, n int) error
}

// values are what a session holds besides the user: six values with that, 260
// bytes of gob.
func values(put func(key string, value any)) {
	put("name", "Alice Example")
	put("csrf", "w3q9Vb1k5Xc7r0T2y4u6i8o0p1a3s5d7")
	put("cart", int64(3))
	put("admin", false)
	put("seen", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
}

func init() { gob.Register(time.Time{}) } // which scs's codec needs

// usersessionLibrary is this one.
type usersessionLibrary struct{ *usersession.Manager }

func (l usersessionLibrary) wrap(next http.Handler) http.Handler { return l.LoadAndSave(next) }

func (l usersessionLibrary) login(_ http.ResponseWriter, r *http.Request, user string) error {
	values(func(k string, v any) { l.Put(r.Context(), k, v) })
	return l.Login(r.Context(), user)
}

func (l usersessionLibrary) read(r *http.Request) (string, error) {
	if l.GetString(r.Context(), "name") == "" {
		return "", nil
	}
	return l.UserID(r.Context()), nil
}

func (l usersessionLibrary) write(_ http.ResponseWriter, r *http.Request, n int) error {
	l.Put(r.Context(), "cart", int64(n))
	return nil
}

// scsLibrary is plain scs.
type scsLibrary struct{ *scs.SessionManager }

func newSCS(store scs.Store) *scs.SessionManager {
	s := scs.New()
	s.Store = store
	return s
}

func (l scsLibrary) wrap(next http.Handler) http.Handler { return l.LoadAndSave(next) }

func (l scsLibrary) login(_ http.ResponseWriter, r *http.Request, user string) error {
	values(func(k string, v any) { l.Put(r.Context(), k, v) })
	l.Put(r.Context(), "user", user)
	return l.RenewToken(r.Context())
}

func (l scsLibrary) read(r *http.Request) (string, error) {
	if l.GetString(r.Context(), "name") == "" {
		return "", nil
	}
	return l.GetString(r.Context(), "user"), nil
}

func (l scsLibrary) write(_ http.ResponseWriter, r *http.Request, n int) error {
	l.Put(r.Context(), "cart", int64(n))
	return nil
}

// byHandLibrary is scs with the table that an application adds to list and
// revoke: a row at login, and a look at it in each request of a user, without
// which a revocation is undone by any request in flight.
type byHandLibrary struct {
	scsLibrary
	find, insert *sqlx.Stmt
}

func (l byHandLibrary) login(w http.ResponseWriter, r *http.Request, user string) error {
	if err := l.scsLibrary.login(w, r, user); err != nil {
		return err
	}
	_, err := l.insert.ExecContext(r.Context(), user, l.Token(r.Context()))
	return err
}

func (l byHandLibrary) read(r *http.Request) (string, error) {
	user, err := l.scsLibrary.read(r)
	if err != nil || user == "" {
		return "", err
	}
	var n int
	if err := l.find.GetContext(r.Context(), &n, l.Token(r.Context())); err != nil {
		return "", err
	}
	return user, nil
}

func (l byHandLibrary) write(w http.ResponseWriter, r *http.Request, n int) error {
	if _, err := l.read(r); err != nil {
		return err
	}
	return l.scsLibrary.write(w, r, n)
}

// gorillaLibrary is gorilla/sessions.
type gorillaLibrary struct{ store sessions.Store }

const gorillaCookie = "session"

func (l gorillaLibrary) wrap(next http.Handler) http.Handler { return next }

func (l gorillaLibrary) login(w http.ResponseWriter, r *http.Request, user string) error {
	s, err := l.store.Get(r, gorillaCookie)
	if err != nil {
		return err
	}
	values(func(k string, v any) { s.Values[k] = v })
	s.Values["user"] = user
	return s.Save(r, w)
}

func (l gorillaLibrary) read(r *http.Request) (string, error) {
	s, err := l.store.Get(r, gorillaCookie)
	if err != nil {
		return "", err
	}
	user, _ := s.Values["user"].(string)
	return user, nil
}

func (l gorillaLibrary) write(w http.ResponseWriter, r *http.Request, n int) error {
	s, err := l.store.Get(r, gorillaCookie)
	if err != nil {
		return err
	}
	s.Values["cart"] = int64(n)
	return s.Save(r, w)
}

// app is an application with one of the libraries.
type app struct {
	library
	anonymousHandler, readHandler, writeHandler, loginHandler http.Handler
	requests                                                  []*http.Request // of open sessions, without a body
	writers                                                   [poolSize]writer
	visitor                                                   *http.Request
}

var errNobody = errors.New("nobody is logged in")

func newApp(l library) *app {
	a := &app{library: l, visitor: httptest.NewRequest("GET", "https://example.test/", nil)}
	fail := func(w http.ResponseWriter, err error) { http.Error(w, err.Error(), http.StatusInternalServerError) }
	a.anonymousHandler = l.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusOK) }))
	a.readHandler = l.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := l.read(r)
		if err == nil && user == "" {
			err = errNobody
		}
		if err != nil {
			fail(w, err)
			return
		}
		w.WriteHeader(http.StatusOK)
	}))
	a.writeHandler = l.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := l.write(w, r, int(time.Now().UnixNano())); err != nil {
			fail(w, err)
			return
		}
		w.WriteHeader(http.StatusOK)
	}))
	a.loginHandler = l.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := l.login(w, r, r.Header.Get("User")); err != nil {
			fail(w, err)
			return
		}
		w.WriteHeader(http.StatusOK)
	}))
	return a
}

// open logs n users in and keeps their cookies.
func (a *app) open(n int) error {
	for i := range n {
		w := httptest.NewRecorder()
		a.loginHandler.ServeHTTP(w, loginRequest(fmt.Sprint("user", i)))
		cookies := w.Result().Cookies()
		if w.Code != http.StatusOK || len(cookies) != 1 {
			return fmt.Errorf("login: status %d, %d cookies: %s", w.Code, len(cookies), w.Body)
		}
		r := httptest.NewRequest("GET", "https://example.test/", nil)
		r.AddCookie(&http.Cookie{Name: cookies[0].Name, Value: cookies[0].Value})
		a.requests = append(a.requests, r)
	}
	return nil
}

func loginRequest(user string) *http.Request {
	r := httptest.NewRequest("POST", "https://example.test/login", nil)
	r.Header.Set("User", user)
	r.Header.Set("User-Agent", userAgent)
	return r
}

// serve sends a request to a handler, on the goroutine of a client.
func (a *app) serve(h http.Handler, client int, r *http.Request) error {
	w := &a.writers[client]
	w.code = 0
	clear(w.Header())
	h.ServeHTTP(w, r.WithContext(context.Background())) // a request of its own: gorilla writes into it
	if w.code != http.StatusOK {
		return fmt.Errorf("status %d", w.code)
	}
	return nil
}

func (a *app) anonymous(client, _ int) error { return a.serve(a.anonymousHandler, client, a.visitor) }

func (a *app) reading(client, i int) error {
	return a.serve(a.readHandler, client, a.requests[i%len(a.requests)])
}

func (a *app) writing(client, i int) error {
	return a.serve(a.writeHandler, client, a.requests[i%len(a.requests)])
}

func (a *app) loggingIn(client, i int) error {
	return a.serve(a.loginHandler, client, loginRequest(fmt.Sprint("new", i)))
}

// writer is a response that nobody reads: it costs next to nothing, so that what
// is measured is the library.
type writer struct {
	header http.Header
	code   int
	_      [64]byte // of other clients
}

func (w *writer) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header)
	}
	return w.header
}

func (w *writer) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
}

func (w *writer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return len(b), nil
}

// plainTable is what scs's SQL stores want.
const plainTable = `
CREATE TABLE IF NOT EXISTS sessions (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_expiry_idx ON sessions (expiry)`

// byHandTable is the index as applications write it.
const byHandTable = `
CREATE TABLE IF NOT EXISTS sessions_of_users (token TEXT PRIMARY KEY, user_id TEXT NOT NULL, created_at TIMESTAMPTZ NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS sessions_of_users_user ON sessions_of_users (user_id)`

// manager returns a Manager of this library on an index of its own.
func (p *place) manager(database string, opts *usersession.Options) *usersession.Manager {
	return p.managerOn(p.database(database), opts)
}

// oursOn is an application with the default Store in a database.
func (p *place) oursOn(db *sqlx.DB) *app { return newApp(usersessionLibrary{p.managerOn(db, nil)}) }

func (p *place) managerOn(db *sqlx.DB, opts *usersession.Options) *usersession.Manager {
	m := must[*usersession.Manager](p.tb)(usersession.New(db, opts))
	if err := m.Migrate(p.tb.Context()); err != nil {
		p.tb.Fatal(err)
	}
	return m
}

func (p *place) redisStore(prefix string) usersession.Store {
	return must[*redisstore.Store](p.tb)(redisstore.New(p.redisClient(), &redisstore.Options{Prefix: prefix}))
}

func (p *place) plainPostgres(database string, idle time.Duration) *app {
	db := p.database(database)
	run(p.tb, db, plainTable)
	s := newSCS(postgresstore.NewWithCleanupInterval(db.DB, 0))
	s.IdleTimeout = idle
	return newApp(scsLibrary{s})
}

func (p *place) plainPgx() *app {
	pool := p.pgxPool("pgx")
	run(p.tb, p.database("pgx"), plainTable)
	return newApp(scsLibrary{newSCS(pgxstore.NewWithCleanupInterval(pool, 0))})
}

func (p *place) plainMariaDB() *app {
	db := p.mariaDatabase("plain")
	run(p.tb, db, "CREATE TABLE IF NOT EXISTS sessions (token CHAR(43) PRIMARY KEY, data BLOB NOT NULL, expiry TIMESTAMP(6) NOT NULL)")
	return newApp(scsLibrary{newSCS(mysqlstore.NewWithCleanupInterval(db.DB, 0))})
}

func (p *place) plainSQLite() *app {
	db := p.sqliteDatabase("plain")
	run(p.tb, db, "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB NOT NULL, expiry REAL NOT NULL)")
	return newApp(scsLibrary{newSCS(sqlite3store.NewWithCleanupInterval(db.DB, 0))})
}

func (p *place) byHand() *app {
	db := p.database("byhand")
	run(p.tb, db, plainTable)
	run(p.tb, db, byHandTable)
	stmt := must[*sqlx.Stmt](p.tb)
	return newApp(byHandLibrary{
		scsLibrary{newSCS(postgresstore.NewWithCleanupInterval(db.DB, 0))},
		stmt(db.Preparex("SELECT 1 FROM sessions_of_users WHERE token = $1")),
		stmt(db.Preparex("INSERT INTO sessions_of_users (user_id, token) VALUES ($1, $2) ON CONFLICT (token) DO NOTHING")),
	})
}

func (p *place) plainRedis(idle time.Duration) *app {
	s := newSCS(goredisstore.NewWithPrefix(p.redisClient(), "plain:"))
	s.IdleTimeout = idle
	return newApp(scsLibrary{s})
}

func (p *place) gorillaRedis() *app {
	s, err := redistore.NewRediStore(poolSize, "tcp", p.redis, "", "", []byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		p.tb.Fatal(err)
	}
	p.tb.Cleanup(func() { s.Close() })
	return newApp(gorillaLibrary{s})
}

func (p *place) plainMemory() *app {
	return newApp(scsLibrary{newSCS(scsmemstore.NewWithCleanupInterval(0))})
}

func (p *place) oursMemory() *app {
	return newApp(usersessionLibrary{p.manager("memory", &usersession.Options{Store: memstore.New()})})
}
