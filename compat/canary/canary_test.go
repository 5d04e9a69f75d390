package canary

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/redis/go-redis/v9"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/redisstore"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// TestCanary runs the program on each database and Store. Nothing that it leaves behind
// holds a token or a key of the seal, and nothing but index and Store holds a store key.
func TestCanary(t *testing.T) {
	depth.OnlyFull(t)
	for name, c := range map[string]struct {
		open   opendb.Opener
		store  string
		sealed bool
	}{
		"SQLite and memory": {opendb.SQLite, "memory", false},
		"SQLite and Redis":  {opendb.SQLite, "redis", true},
		"PostgreSQL":        {opendb.Pq, "", true},
		"MariaDB":           {opendb.MariaDB, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRun(t, c.open(t)(t), c.store, c.sealed)
			r.everything()
			if found := r.hits(r.secrets); len(found) > 0 {
				t.Errorf("%d hits:\n%s", len(found), strings.Join(found, "\n"))
			}
			r.wantRead()
		})
	}
}

// The search finds each secret in each place and form. Without this, 0 hits would mean
// nothing.
func TestCanaryFinds(t *testing.T) {
	tok := newToken()
	secrets := tokenSecrets(tok)
	for what, leak := range map[string]func(p *places, text string, raw []byte){
		"a log": func(p *places, text string, raw []byte) {
			slog.New(slog.NewJSONHandler(p.of("log"), nil)).Info("x", "token", text)
		},
		"an error": func(p *places, text string, raw []byte) { p.failed(fmt.Errorf("x: %w", errors.New("not "+text))) },
		"joined": func(p *places, text string, raw []byte) {
			p.failed(errors.Join(nil, fmt.Errorf("x: %w", errors.New(text))))
		},
		"a value":  func(p *places, text string, raw []byte) { p.print("value", struct{ a string }{text}) },
		"bytes":    func(p *places, text string, raw []byte) { p.print("value", struct{ a []byte }{raw}) },
		"JSON":     func(p *places, text string, raw []byte) { p.print("value", map[string][]byte{"a": raw}) },
		"the head": func(p *places, text string, raw []byte) { io.WriteString(p.of("log"), text[:20]) },
		"the tail": func(p *places, text string, raw []byte) { io.WriteString(p.of("log"), text[20:]) },
		"a stack": func(p *places, text string, raw []byte) {
			defer func() { fmt.Fprint(p.of("panics"), recover()) }()
			panic("no " + text)
		},
	} {
		for _, s := range []string{tok, token.Key(tok)} {
			var p places
			raw, _ := base64.RawURLEncoding.DecodeString(s)
			leak(&p, s, raw)
			if len(p.hits(secrets)) == 0 {
				t.Errorf("%s is not found", what)
			}
		}
	}
	db := opendb.SQLite(t)(t)
	opendb.MustExec(t, db, "CREATE TABLE x (a BLOB)")
	db.MustExec("INSERT INTO x VALUES (?)", "a token "+tok)
	var p places
	if err := p.tables(db); err != nil || len(p.hits(secrets)) == 0 {
		t.Errorf("a token in a table is not found: %v", err)
	}
	p = places{}
	fmt.Fprint(p.of("stored in SQL"), token.Key(tok))
	if found := p.hits(secrets); len(found) > 0 {
		t.Errorf("a store key may be where it is stored: %v", found)
	}
}

func newToken() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// run is one run of the program.
type run struct {
	*testing.T
	places
	m       *usersession.Manager
	db      *sqlx.DB
	store   *leakyStore // nil: the Manager's own
	client  *redis.Client
	prefix  string
	opts    usersession.Options
	secrets []secret
	h       http.Handler
}

// leakyStore fails on demand, and dumps the goroutines that wait for it.
type leakyStore struct {
	usersession.Store
	r    *run
	fail error
}

func (s *leakyStore) Find(ctx context.Context, key string) ([]byte, bool, error) {
	s.r.print("contexts", ctx)
	if s.fail != nil {
		return nil, false, s.fail
	}
	return s.Store.Find(ctx, key)
}

func (s *leakyStore) Update(ctx context.Context, key string, data []byte) (bool, error) {
	s.r.dump()
	s.r.print("contexts", ctx)
	if s.fail != nil {
		return false, s.fail
	}
	return s.Store.Update(ctx, key, data)
}

func (s *leakyStore) Delete(ctx context.Context, keys ...string) error {
	if s.fail != nil {
		return s.fail
	}
	return s.Store.Delete(ctx, keys...)
}

func (s *leakyStore) AtomicUpdates() bool { return true }

func newRun(t *testing.T, db *sqlx.DB, store string, sealed bool) *run {
	r := &run{T: t, db: db}
	r.opts = usersession.Options{
		MaxSessions: 3, ReadTimeout: time.Minute, WriteTimeout: time.Minute, TouchInterval: time.Millisecond,
		Watch:  usersession.WatchOptions{Interval: time.Hour}, // who prints a context reads what is behind it, without a lock
		Logger: slog.New(slog.NewJSONHandler(r.of("log"), &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true})),
		OnEvent: func(ctx context.Context, e usersession.Event) {
			r.print("events", e, &e, ctx)
			r.failed(e.Err)
		},
	}
	if sealed {
		keys := [][]byte{make([]byte, 32), make([]byte, 32)}
		for _, k := range keys {
			rand.Read(k)
			r.secrets = append(r.secrets, newSecret("key of the seal", "", bytes.Clone(k), false))
		}
		r.opts.Seal = &usersession.Seal{Keys: keys, Name: "canary"}
	}
	switch store {
	case "memory":
		r.store = &leakyStore{Store: memstore.New(), r: r}
	case "redis":
		r.client = redis.NewClient(&redis.Options{Addr: testserver.Redis(t), ContextTimeoutEnabled: true})
		t.Cleanup(func() { r.client.Close() })
		r.prefix = "canary:" + newToken()[:8] + ":"
		s, err := redisstore.New(r.client, &redisstore.Options{Prefix: r.prefix})
		if err != nil {
			t.Fatal(err)
		}
		r.store = &leakyStore{Store: s, r: r}
	}
	if r.store != nil {
		r.opts.Store = r.store
	}
	var err error
	if r.m, err = usersession.New(db, &r.opts); err != nil {
		t.Fatal(err)
	}
	if err = r.m.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.h = r.handler()
	return r
}

// note prints what a call has returned.
func (r *run) note(values ...any) {
	for _, v := range values {
		if err, ok := v.(error); ok {
			r.failed(err)
		} else if v != nil {
			r.print("results", v)
		}
	}
}

func (r *run) handler() http.Handler {
	m, mux := r.m, http.NewServeMux()
	handle := func(path string, fn func(ctx context.Context, q *http.Request) error) {
		mux.HandleFunc(path, func(w http.ResponseWriter, q *http.Request) {
			err := fn(q.Context(), q)
			r.print("contexts", q.Context())
			r.print("managers", m, m.SessionManager)
			if err != nil {
				r.failed(err)
				http.Error(w, err.Error(), http.StatusTeapot)
			}
			current, err := m.Current(q.Context())
			r.note(current, &current, err)
		})
	}
	handle("/login", func(ctx context.Context, q *http.Request) error {
		return m.Login(ctx, q.FormValue("u"), usersession.WithMeta(map[string]string{"method": "password"}))
	})
	handle("/put", func(ctx context.Context, q *http.Request) error { m.Put(ctx, "k", q.FormValue("v")); return nil })
	handle("/me", func(context.Context, *http.Request) error { r.dump(); return nil })
	handle("/renew", func(ctx context.Context, _ *http.Request) error { return m.RenewToken(ctx) })
	handle("/scsrenew", func(ctx context.Context, _ *http.Request) error { return m.SessionManager.RenewToken(ctx) })
	handle("/reauth", func(ctx context.Context, _ *http.Request) error { return m.Reauthenticate(ctx) })
	handle("/logout", func(ctx context.Context, _ *http.Request) error { return m.Logout(ctx) })
	handle("/clear", func(ctx context.Context, _ *http.Request) error { return m.Clear(ctx) })
	handle("/touch", func(ctx context.Context, _ *http.Request) error { return m.Touch(ctx) })
	handle("/merge", func(ctx context.Context, q *http.Request) error { return m.MergeSession(ctx, q.FormValue("t")) })
	handle("/others", func(ctx context.Context, _ *http.Request) error {
		_, err := m.RevokeOtherSessions(ctx)
		return err
	})
	handle("/all", func(ctx context.Context, _ *http.Request) error {
		m.Put(ctx, "k", "after")
		_, err := m.RevokeAllSessions(context.Background(), m.UserID(ctx))
		return err
	})
	handle("/inside", func(ctx context.Context, _ *http.Request) error {
		list, err := m.ListSessions(ctx, m.UserID(ctx))
		r.note(list, err)
		for _, s := range list {
			r.note(m.InSession(ctx, s.UserID, s.ID, func(ctx context.Context) error {
				r.print("contexts", ctx)
				m.Put(ctx, "inside", 1)
				return nil
			}))
		}
		return m.Iterate(ctx, func(ctx context.Context) error { r.print("contexts", ctx); return nil })
	})
	mux.HandleFunc("/panic", func(_ http.ResponseWriter, q *http.Request) {
		r.failed(m.Login(q.Context(), "u"))
		panic(fmt.Sprintf("%v %+v", q.Context(), m))
	})
	mux.HandleFunc("/500", func(w http.ResponseWriter, q *http.Request) {
		r.failed(m.Login(q.Context(), "u"))
		w.WriteHeader(http.StatusInternalServerError)
	})
	account, err := sessionui.Account(m, &sessionui.AccountOptions{Logger: r.opts.Logger})
	if err != nil {
		r.Fatal(err)
	}
	admin, err := sessionui.Admin(m, &sessionui.AdminOptions{Logger: r.opts.Logger, Authorize: func(*http.Request) bool { return true }})
	if err != nil {
		r.Fatal(err)
	}
	mux.Handle("/account/", http.StripPrefix("/account", account))
	mux.Handle("/admin/", http.StripPrefix("/admin", admin))
	return m.LoadAndSave(mux)
}

// get sends a request, notes its answer and returns the token that the browser has then.
func (r *run) get(path, tok string) string {
	q := httptest.NewRequestWithContext(r.Context(), "GET", "https://example.com"+path, nil)
	q.Header.Set("User-Agent", "canary")
	if tok != "" {
		q.Header.Set("Cookie", "__Host-session="+tok)
	}
	w := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil {
				log.New(r.of("panics"), "", 0).Printf("%v\n", p)
				r.dump()
			}
		}()
		r.h.ServeHTTP(w, q)
	}()
	for _, c := range w.Result().Cookies() {
		if c.Value != "" {
			tok = c.Value
			r.secrets = append(r.secrets, tokenSecrets(tok)...)
		}
	}
	w.Header().Del("Set-Cookie")
	fmt.Fprintln(r.of("answers"), w.Code, w.Header(), w.Body)
	return tok
}

// everything calls all there is.
func (r *run) everything() {
	m, ctx := r.m, r.Context()
	running, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- m.Run(running) }()

	guessed := newToken()
	r.secrets = append(r.secrets, tokenSecrets(guessed)...)
	for _, path := range []string{"/me", "/put?v=1", "/login?u=u", "/logout"} {
		r.get(path, guessed)
		r.get(path, guessed[:40])
	}
	visitor := r.get("/put?v=a", "")
	tok := r.get("/login?u=u", visitor)
	for range 4 { // over the limit
		r.get("/login?u=u", "")
	}
	for _, path := range []string{"/put?v=1", "/me", "/renew", "/reauth", "/touch", "/scsrenew", "/put?v=2", "/inside", "/others", "/account/", "/account/sessions", "/admin/", "/admin/sessions"} {
		tok = r.get(path, tok)
	}
	r.get("/me", visitor)
	r.get("/merge?t="+r.get("/put?v=m", ""), tok)
	r.get("/panic", tok)
	r.get("/500", tok)
	tok = r.get("/login?u=u", tok)

	// By hand.
	loaded, err := m.Load(ctx, tok)
	r.note(err)
	m.Put(loaded, "k", "by hand")
	_, _, err = m.Commit(loaded)
	r.note(err)
	r.print("contexts", loaded)
	_, _, err = m.SessionManager.Commit(contextOf(m.SessionManager.Load(ctx, tok)))
	r.note(err)

	list, err := m.ListSessions(ctx, "u")
	r.note(list, err)
	ended, err := m.ListEndedSessions(ctx, "u", 100)
	r.note(ended, err)
	for s, err := range m.ListMatching(ctx, usersession.Filter{Everyone: true}, usersession.Page{}) {
		r.note(s, err)
	}
	n, err := m.CountMatching(ctx, usersession.Filter{UserIDs: []string{"u"}}, 0)
	r.note(n, err)
	stats, err := m.Stats(ctx)
	r.note(stats, err)
	pruned, err := m.Prune(ctx)
	r.note(pruned, err)
	n, err = m.Reconcile(ctx)
	r.note(n, err, usersession.Filter{UserIDs: []string{"u"}}, usersession.Page{})
	tx, err := r.db.Beginx()
	if err != nil {
		r.Fatal(err)
	}
	revocation, err := m.RevokeMatchingTx(ctx, tx, usersession.Filter{UserIDs: []string{"u"}})
	r.note(revocation, err)
	if err == nil {
		r.note(revocation.Finish(ctx))
		r.note(tx.Commit())
		r.note(revocation.Finish(ctx), revocation)
	} else {
		tx.Rollback()
	}
	tok = r.get("/login?u=v", "")
	r.get("/clear", tok)
	tok = r.get("/login?u=v", "")

	// The Store's data are spoilt, and then it is down.
	if r.store != nil {
		key := token.Key(tok)
		data, _, err := r.store.Store.Find(ctx, key)
		r.note(err)
		_, err = r.store.Store.Update(ctx, key, append(data[:len(data)/2:len(data)/2], data[len(data)/2+1:]...))
		r.note(err)
		r.get("/me", tok)
		tok = r.get("/login?u=v", "")
		r.store.fail = errors.New("the store is down")
		for _, path := range []string{"/me", "/put?v=3", "/renew", "/all", "/logout"} {
			r.get(path, tok)
		}
		n, err := m.RevokeAllSessions(ctx, "v")
		r.note(n, err)
		r.store.fail = nil
	}
	r.get("/all", r.get("/login?u=w", ""))
	tok = r.get("/login?u=w", "")
	r.dump()
	if err := r.tables(r.db); err != nil {
		r.Fatal(err)
	}
	r.redis()
	stop()
	r.note(<-ran)

	// The database is down.
	r.db.Close()
	for _, path := range []string{"/me", "/put?v=4", "/renew", "/login?u=x", "/all", "/logout", "/account/", "/admin/"} {
		r.get(path, tok)
	}
	_, err = m.ListSessions(ctx, "u")
	r.note(err, m.Migrate(ctx))
	_, err = usersession.New(r.db, &usersession.Options{Lifetime: -1, Seal: &usersession.Seal{Keys: [][]byte{make([]byte, 5)}}})
	r.note(err)
	r.print("managers", m, m.SessionManager, r.opts, &r.opts, r.opts.Seal)
	if r.store != nil {
		r.print("stores", r.store.Store)
	}
}

func contextOf(ctx context.Context, _ error) context.Context { return ctx }

// redis writes all that a Redis holds under the prefix.
func (r *run) redis() {
	if r.client == nil {
		return
	}
	for keys := r.client.Scan(r.Context(), 0, r.prefix+"*", 1000).Iterator(); keys.Next(r.Context()); {
		value, err := r.client.Get(r.Context(), keys.Val()).Bytes()
		if err != nil {
			r.Fatal(err)
		}
		fmt.Fprintln(r.of("stored in Redis"), keys.Val())
		r.of("stored in Redis").Write(value)
	}
}

// wantRead fails the test if a place is empty.
func (r *run) wantRead() {
	wanted := []string{"log", "panics", "goroutines", "answers", "stored in SQL", "printed events", "printed errors", "printed contexts", "printed results", "printed managers"}
	if r.client != nil {
		wanted = append(wanted, "stored in Redis")
	}
	for _, name := range wanted {
		if b := r.all[name]; b == nil || b.Len() < 100 {
			r.Errorf("%s has nothing to read", name)
		}
	}
	if len(r.secrets) < 30 {
		r.Errorf("there are %d secrets", len(r.secrets))
	}
}
