// Package manager tests the Manager over SQLite: options, the middleware, cookies,
// what scs is asked for directly, and what has once been wrong.
package manager_test

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
	_ "modernc.org/sqlite"
)

// mwOpen opens a SQLite file of its own and returns its path.
func mwOpen(t *testing.T) (*sqlx.DB, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mw.db")
	db, err := sqlx.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)&_pragma=synchronous(OFF)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, path
}

// mwNew returns a Manager on a SQLite file of its own.
func mwNew(t *testing.T, opts *usersession.Options) *usersession.Manager {
	t.Helper()
	m, _ := mwNewDB(t, opts)
	return m
}

func mwNewDB(t *testing.T, opts *usersession.Options) (*usersession.Manager, *sqlx.DB) {
	t.Helper()
	db, _ := mwOpen(t)
	var o usersession.Options
	if opts != nil {
		o = *opts
	}
	// A busy machine must not be taken for a database that does not answer.
	o.ReadTimeout = cmp.Or(o.ReadTimeout, time.Minute)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, time.Minute)
	m, err := usersession.New(db, &o)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m, db
}

// mwStore counts what is asked of a Store and fails where it is told to.
type mwStore struct {
	*memstore.Store
	calls  atomic.Int64
	before func(op, key string) error // nil: nothing

	mu      sync.Mutex
	written map[string][]byte // everything ever stored
}

func mwNewStore() *mwStore {
	return &mwStore{Store: memstore.New(), written: make(map[string][]byte)}
}

func (s *mwStore) op(op, key string, data []byte) error {
	s.calls.Add(1)
	s.mu.Lock()
	s.written[key] = append(s.written[key], data...)
	s.mu.Unlock()
	if s.before != nil {
		return s.before(op, key)
	}
	return nil
}

func (s *mwStore) Find(ctx context.Context, key string) ([]byte, bool, error) {
	if err := s.op("find", key, nil); err != nil {
		return nil, false, err
	}
	return s.Store.Find(ctx, key)
}

func (s *mwStore) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	if err := s.op("create", key, data); err != nil {
		return err
	}
	return s.Store.Create(ctx, key, data, expiry)
}

func (s *mwStore) Update(ctx context.Context, key string, data []byte) (bool, error) {
	if err := s.op("update", key, data); err != nil {
		return false, err
	}
	return s.Store.Update(ctx, key, data)
}

func (s *mwStore) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	if err := s.op("touch", key, nil); err != nil {
		return false, err
	}
	return s.Store.Touch(ctx, key, expiry)
}

func (s *mwStore) Delete(ctx context.Context, keys ...string) error {
	for _, k := range keys {
		if err := s.op("delete", k, nil); err != nil {
			return err
		}
	}
	return s.Store.Delete(ctx, keys...)
}

// mwRoutes are the routes most tests need, under the middleware of m.
func mwRoutes(m *usersession.Manager, more map[string]http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	routes := map[string]http.HandlerFunc{
		"/login": func(w http.ResponseWriter, r *http.Request) {
			if err := m.Login(r.Context(), r.FormValue("u")); err != nil {
				http.Error(w, err.Error(), http.StatusTeapot)
			}
		},
		"/logout": func(w http.ResponseWriter, r *http.Request) {
			if err := m.Logout(r.Context()); err != nil {
				http.Error(w, err.Error(), http.StatusTeapot)
			}
		},
		"/me": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, m.UserID(r.Context())) },
		"/put": func(w http.ResponseWriter, r *http.Request) {
			m.Put(r.Context(), r.FormValue("k"), r.FormValue("v"))
		},
		"/get": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, m.GetString(r.Context(), r.FormValue("k")))
		},
	}
	for path, h := range more {
		routes[path] = h
	}
	for path, h := range routes {
		mux.HandleFunc(path, h)
	}
	return m.LoadAndSave(mux)
}

// mwServer is a TLS server whose log is discarded: handlers panic on purpose.
func mwServer(t *testing.T, h http.Handler, http2 bool) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = http2
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

// mwBrowser is a client with cookies.
type mwBrowser struct {
	t    *testing.T
	base string
	*http.Client
}

func mwBrowse(t *testing.T, srv *httptest.Server) *mwBrowser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := *srv.Client()
	c.Jar = jar
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &mwBrowser{t, srv.URL, &c}
}

// get returns the response and its body.
func (b *mwBrowser) get(path string) (*http.Response, string) {
	b.t.Helper()
	return b.send("GET", path)
}

func (b *mwBrowser) send(method, path string) (*http.Response, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	res, err := b.Do(r)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res, string(body)
}

// want fetches path and checks status and body.
func (b *mwBrowser) want(path string, status int, body string) *http.Response {
	b.t.Helper()
	res, got := b.get(path)
	if res.StatusCode != status || status == 200 && got != body {
		b.t.Fatalf("GET %s = %d %q, want %d %q", path, res.StatusCode, got, status, body)
	}
	return res
}

// token returns what the browser would send.
func (b *mwBrowser) token() string {
	u, _ := url.Parse(b.base)
	for _, c := range b.Jar.Cookies(u) {
		if c.Name == "__Host-session" || c.Name == "session" {
			return c.Value
		}
	}
	return ""
}

// mwGet runs one request without a network. token "" sends no cookie.
func mwGet(h http.Handler, path, token string) *httptest.ResponseRecorder {
	return mwGetContext(context.Background(), h, path, token)
}

func mwGetContext(ctx context.Context, h http.Handler, path, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, "GET", path, nil)
	r.Header.Set("X-Forwarded-Proto", "https") // without which there is a warning about the Secure cookie
	if token != "" {
		r.Header.Set("Cookie", "__Host-session="+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// mwToken returns the token a response sets; "" if it sets none.
func mwToken(w *httptest.ResponseRecorder) string {
	for _, c := range w.Result().Cookies() {
		if c.Name == "__Host-session" {
			return c.Value
		}
	}
	return ""
}

// mwLogin logs a user in without a network and returns the token.
func mwLogin(t *testing.T, h http.Handler, user string) string {
	t.Helper()
	w := mwGet(h, "/login?u="+user, "")
	token := mwToken(w)
	if w.Code != 200 || token == "" {
		t.Fatalf("login = %d %q, token %q", w.Code, w.Body, token)
	}
	return token
}

// mwIDs lists the IDs of a user's sessions.
func mwIDs(t *testing.T, m *usersession.Manager, user string) []string {
	t.Helper()
	list, err := m.ListSessions(context.Background(), user)
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	slices.Sort(ids)
	return ids
}

// mwWantUser checks who a token is taken for, and that the index agrees: a token
// that is accepted as a user is listed, and one that is not is not.
func mwWantUser(t *testing.T, m *usersession.Manager, h http.Handler, token, user string) {
	t.Helper()
	w := mwGet(h, "/me", token)
	if w.Code != 200 || w.Body.String() != user {
		t.Errorf("the token is taken for %q (%d), want %q", w.Body, w.Code, user)
	}
	if user != "" && w.Body.String() == user && len(mwIDs(t, m, user)) == 0 {
		t.Errorf("I1: the token is accepted as %s, who has no session in the list", user)
	}
}

func mwWantSessions(t *testing.T, m *usersession.Manager, user string, n int) {
	t.Helper()
	if ids := mwIDs(t, m, user); len(ids) != n {
		t.Errorf("%s has %d sessions, want %d", user, len(ids), n)
	}
}

func mwErr[T any](_ T, err error) error { return err }

// directBackends are the Stores that the direct use of scs is tested on: one
// statement with the index, atomic, and verified on every request.
var directBackends = map[string]func() usersession.Store{
	"sql":      func() usersession.Store { return nil },
	"memory":   func() usersession.Store { return memstore.New() },
	"verified": func() usersession.Store { return directUnatomic{memstore.New()} },
}

type directUnatomic struct{ *memstore.Store }

func (directUnatomic) AtomicUpdates() bool { return false }

// directJSON is a codec of an application.
type directJSON struct{}

func (directJSON) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	return json.Marshal(map[string]any{"deadline": deadline, "values": values})
}

func (directJSON) Decode(b []byte) (time.Time, map[string]any, error) {
	var v struct {
		Deadline time.Time
		Values   map[string]any
	}
	err := json.Unmarshal(b, &v)
	return v.Deadline, v.Values, err
}

// directRaw is a codec whose bytes are the application's value and nothing else.
type directRaw struct{}

func (directRaw) Encode(_ time.Time, values map[string]any) ([]byte, error) {
	s, _ := values["raw"].(string)
	return []byte(s), nil
}

func (directRaw) Decode(b []byte) (time.Time, map[string]any, error) {
	return time.Now().Add(24 * time.Hour), map[string]any{"raw": string(b)}, nil
}

// directEnv is what a case acts on.
type directEnv struct {
	t     *testing.T
	m     *usersession.Manager
	s     *scs.SessionManager // the application's own pointer
	other string              // a token of the user "other"
	id    string              // the ID of u's session
}

// directRun runs fn as the handler of one request with a token.
func directRun(m *usersession.Manager, token string, fn func(ctx context.Context)) *httptest.ResponseRecorder {
	return mwGet(m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fn(r.Context()) })), "/", token)
}
