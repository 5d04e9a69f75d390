package standards

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

const (
	origin     = "https://shop.example"
	cookieName = "__Host-session"
)

var database struct {
	once sync.Once
	open func(t *testing.T) *sqlx.DB
}

// site is a program with a login, as README.md shows it, on a SQLite database.
type site struct {
	*testing.T
	db   *sqlx.DB
	m    *usersession.Manager
	h    http.Handler
	opts usersession.Options

	started time.Time

	mu     sync.Mutex
	log    bytes.Buffer
	events []usersession.Event
}

// later runs fn after d, by the clock of the program. That of the database stands still.
func (s *site) later(d time.Duration, fn func()) {
	s.Helper()
	outer := s.T
	defer func() { s.T = outer }()
	synctest.Test(outer, func(t *testing.T) {
		s.T = t
		time.Sleep(time.Until(s.started.Add(d))) // sleep: in a time of its own
		fn()
	})
}

// pass lets time pass by the clock of the database.
func (s *site) pass(d time.Duration) {
	s.Helper()
	us := d.Microseconds()
	_, err := s.db.ExecContext(s.Context(), `UPDATE user_sessions SET created_at = created_at - ?, authenticated_at = authenticated_at - ?,
		last_seen_at = last_seen_at - ?, expires_at = expires_at - ?, ended_at = ended_at - ?, purge_at = purge_at - ?`, us, us, us, us, us, us)
	s.ok(err)
	_, err = s.db.ExecContext(s.Context(), "UPDATE sessions SET expiry = expiry - ?", d.Hours()/24)
	s.ok(err)
}

// newSite starts a program. change may change its Options.
func newSite(t *testing.T, change ...func(*usersession.Options)) *site {
	t.Helper()
	database.once.Do(func() { database.open = opendb.MigratedSQLite(t) })
	s := &site{T: t, db: database.open(t), started: time.Now().Round(0)}
	s.opts = usersession.Options{
		ReadTimeout: time.Minute, WriteTimeout: time.Minute, // a busy machine is no fault
		Logger: slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnEvent: func(_ context.Context, e usersession.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		},
	}
	for _, f := range change {
		f(&s.opts)
	}
	opts := s.opts
	m, err := usersession.New(s.db, &opts)
	s.ok(err)
	s.m = m
	account, err := sessionui.Account(m, &sessionui.AccountOptions{Prefix: "/devices", SynchronizerToken: true, Logger: s.opts.Logger})
	s.ok(err)
	admin, err := sessionui.Admin(m, &sessionui.AdminOptions{
		Prefix: "/admin", Logger: s.opts.Logger, Context: t.Context(),
		Authorize: func(r *http.Request) bool { return m.UserID(r.Context()) == "admin" },
	})
	s.ok(err)
	mux := http.NewServeMux()
	mux.Handle("/devices/", account)
	mux.Handle("/admin/", admin)
	call := func(pattern string, fn func(ctx context.Context, r *http.Request) error) http.HandlerFunc {
		h := func(w http.ResponseWriter, r *http.Request) {
			if err := fn(r.Context(), r); err != nil {
				status := http.StatusServiceUnavailable
				if errors.Is(err, usersession.ErrAccountDisabled) || errors.Is(err, usersession.ErrRevokedMeanwhile) || errors.Is(err, usersession.ErrTooManySessions) {
					status = http.StatusForbidden
				}
				http.Error(w, http.StatusText(status), status)
			}
		}
		if pattern != "" {
			mux.HandleFunc(pattern, h)
		}
		return h
	}
	call("POST /login", func(ctx context.Context, r *http.Request) error { return m.Login(ctx, r.FormValue("user")) })
	call("POST /logout", func(ctx context.Context, r *http.Request) error { return m.Logout(ctx) })
	call("POST /put", func(ctx context.Context, r *http.Request) error {
		m.Put(ctx, r.FormValue("key"), r.FormValue("value"))
		return nil
	})
	mux.HandleFunc("GET /get", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, m.GetString(r.Context(), r.FormValue("key")))
	})
	mux.HandleFunc("GET /me", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, m.UserID(r.Context())) })
	user := func(pattern string, h http.Handler) { mux.Handle(pattern, m.RequireUser(h)) }
	user("GET /account", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "account of "+m.UserID(r.Context())) }))
	user("POST /reauth", call("", func(ctx context.Context, r *http.Request) error { return m.Reauthenticate(ctx) }))
	user("POST /password", call("", func(ctx context.Context, r *http.Request) error {
		_, err := m.PasswordChanged(ctx, m.UserID(ctx))
		return err
	}))
	mux.Handle("POST /email", m.RequireFresh(5*time.Minute)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "changed") })))
	s.h = http.NewCrossOriginProtection().Handler(m.LoadAndSave(mux))
	return s
}

// Write takes the lines of the log.
func (s *site) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

func (s *site) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// happened returns the events of a kind.
func (s *site) happened(kind usersession.EventKind) (events []usersession.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Kind == kind {
			events = append(events, e)
		}
	}
	return events
}

// RoundTrip is the network, with TLS where the address says so.
func (s *site) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.RequestURI, r.RemoteAddr = r.URL.RequestURI(), "192.0.2.7:1234"
	if r.URL.Scheme == "https" {
		r.TLS = &tls.ConnectionState{}
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	return w.Result(), nil
}

func (s *site) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// do runs fn in the handler of a request with a token. Other requests go their way
// meanwhile.
func (s *site) do(token string, fn func(ctx context.Context)) answer {
	s.Helper()
	r := s.request("POST", "/", token)
	r.RemoteAddr, r.TLS = "192.0.2.7:1234", &tls.ConnectionState{}
	w := httptest.NewRecorder()
	s.m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { fn(r.Context()) })).ServeHTTP(w, r)
	return s.read(w.Result())
}

// list returns the live sessions of a user.
func (s *site) list(user string) []usersession.UserSession {
	s.Helper()
	list, err := s.m.ListSessions(s.Context(), user)
	s.ok(err)
	return list
}

func (s *site) wantSessions(user string, n int) {
	s.Helper()
	if list := s.list(user); len(list) != n {
		s.Errorf("%s has %d sessions, want %d", user, len(list), n)
	}
}

// count counts rows.
func (s *site) count(table string) (n int) {
	s.Helper()
	s.ok(s.db.GetContext(s.Context(), &n, "SELECT COUNT(*) FROM "+table))
	return n
}

// sent is one request that no browser would send.
func (s *site) sent(r *http.Request) answer {
	s.Helper()
	res, err := s.RoundTrip(r)
	s.ok(err)
	return s.read(res)
}

// request is one with a token, "" for none, and pairs of header fields.
func (s *site) request(method, path, token string, header ...string) *http.Request {
	r := httptest.NewRequestWithContext(s.Context(), method, origin+path, nil)
	if token != "" {
		r.Header.Set("Cookie", cookieName+"="+token)
	}
	for pair := range slices.Chunk(header, 2) {
		r.Header.Add(pair[0], pair[1])
	}
	return r
}

func (s *site) send(method, path, token string, header ...string) answer {
	s.Helper()
	return s.sent(s.request(method, path, token, header...))
}

// wantUser fails the test if a token is not taken for that of a user.
func (s *site) wantUser(token, user string) {
	s.Helper()
	if a := s.send("GET", "/me", token); a.status != http.StatusOK || a.body != user {
		s.Errorf("the token is taken for %q (%d), want %q", a.body, a.status, user)
	}
}

// answer is a response, read to its end. cookie is the one it sets; nil if none.
type answer struct {
	status int
	header http.Header
	body   string
	cookie *http.Cookie
}

func (s *site) read(res *http.Response) answer {
	s.Helper()
	body, err := io.ReadAll(res.Body)
	s.ok(err)
	a := answer{status: res.StatusCode, header: res.Header, body: string(body)}
	for _, c := range res.Cookies() {
		if c.Name == cookieName {
			a.cookie = c
		}
	}
	return a
}

// browser is a browser with its cookies.
type browser struct {
	*site
	http.Client
}

func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	s.ok(err)
	return &browser{site: s, Client: http.Client{Transport: s, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// get and post send a request of the site's own page. post has pairs of a form.
func (b *browser) get(path string) answer { return b.send("GET", path, "same-origin") }

func (b *browser) post(path string, form ...string) answer {
	return b.send("POST", path, "same-origin", form...)
}

// send sends a request as a page of some site makes the browser send it.
func (b *browser) send(method, path, site string, form ...string) answer {
	b.Helper()
	values := url.Values{}
	for pair := range slices.Chunk(form, 2) {
		values.Set(pair[0], pair[1])
	}
	r, err := http.NewRequestWithContext(b.Context(), method, origin+path, strings.NewReader(values.Encode()))
	b.ok(err)
	r.Header.Set("Sec-Fetch-Site", site)
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	if len(form) > 0 {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.Do(r)
	b.ok(err)
	return b.read(res)
}

// token returns what the browser would send.
func (b *browser) token() string {
	u, err := url.Parse(origin)
	b.ok(err)
	for _, c := range b.Jar.Cookies(u) {
		if c.Name == cookieName {
			return c.Value
		}
	}
	return ""
}

// plant puts a cookie into the browser, as an attacker might.
func (b *browser) plant(token string) {
	u, err := url.Parse(origin)
	b.ok(err)
	b.Jar.SetCookies(u, []*http.Cookie{{Name: cookieName, Value: token, Path: "/", Secure: true}})
}

// login logs a user in and returns the token.
func (b *browser) login(user string) string {
	b.Helper()
	if a := b.post("/login", "user", user); a.status != http.StatusOK || a.cookie == nil {
		b.Fatalf("login: %d %s", a.status, a.body)
	}
	return b.token()
}

// want fails the test if the browser is not that user's.
func (b *browser) want(user string) {
	b.Helper()
	if a := b.get("/me"); a.status != http.StatusOK || a.body != user {
		b.Errorf("the browser is %q (%d), want %q", a.body, a.status, user)
	}
}

// csrf returns the token of the forms of a page.
func (b *browser) csrf() string {
	b.Helper()
	_, rest, found := strings.Cut(b.get("/devices/").body, `name="csrf_token" value="`)
	token, _, _ := strings.Cut(rest, `"`)
	if !found || token == "" {
		b.Fatal("the page has no token against forgery")
	}
	return token
}

// fails is a Store that fails when it is told to.
type fails struct {
	usersession.Store
	err error
}

func (f *fails) AtomicUpdates() bool { return true }

func (f *fails) Find(ctx context.Context, key string) ([]byte, bool, error) {
	if f.err != nil {
		return nil, false, f.err
	}
	return f.Store.Find(ctx, key)
}

func (f *fails) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	if f.err != nil {
		return f.err
	}
	return f.Store.Create(ctx, key, data, expiry)
}

func (f *fails) Delete(ctx context.Context, keys ...string) error {
	if f.err != nil {
		return f.err
	}
	return f.Store.Delete(ctx, keys...)
}

func mustURL(t *testing.T) *url.URL {
	t.Helper()
	u, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
