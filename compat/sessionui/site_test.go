// Package sessionui tests the pages as clients see them.
package sessionui_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/sqlspy"
	"github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/sessionui"
	_ "modernc.org/sqlite"
)

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
	iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
	chrome  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)

// faultyStore is a store that fails, or waits, when it is told to.
type faultyStore struct {
	*memstore.Store
	mu                   sync.Mutex
	failFind, failDelete bool
	gate                 chan struct{} // Delete waits for it to be closed
}

var errFault = errors.New("the store is down")

func (s *faultyStore) set(change func(s *faultyStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *faultyStore) Find(ctx context.Context, key string) ([]byte, bool, error) {
	s.mu.Lock()
	fail := s.failFind
	s.mu.Unlock()
	if fail {
		return nil, false, errFault
	}
	return s.Store.Find(ctx, key)
}

func (s *faultyStore) Delete(ctx context.Context, keys ...string) error {
	s.mu.Lock()
	fail, gate := s.failDelete, s.gate
	s.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fail {
		return errFault
	}
	return s.Store.Delete(ctx, keys...)
}

// site is an application with both handlers.
type site struct {
	t       testing.TB
	spy     sqlspy.Spy // sees what db is asked
	db      *sqlx.DB
	m       *usersession.Manager
	store   *faultyStore // nil: the SQL store
	handler http.Handler
	log     *syncBuffer
}

// syncBuffer keeps the log, and knows from it which jobs are running.
type syncBuffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	running sync.WaitGroup
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	switch {
	case bytes.Contains(p, []byte("admin: end sessions")):
		b.running.Add(1)
	case bytes.Contains(p, []byte("admin: ended ")):
		defer b.running.Done()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func isAdmin(m *usersession.Manager) func(*http.Request) bool {
	return func(r *http.Request) bool { return m.UserID(r.Context()) == "root" }
}

// newSite serves Account under /me/devices/ and Admin under /admin/. Options may
// be nil. With a store the session data are in it.
func newSite(t testing.TB, store *faultyStore, account *sessionui.AccountOptions, admin *sessionui.AdminOptions) *site {
	t.Helper()
	s := &site{t: t, store: store, log: &syncBuffer{}}
	pool, err := s.spy.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "db")+
		"?_txlock=immediate&_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(off)")
	if err != nil {
		t.Fatal(err)
	}
	s.db = sqlx.NewDb(pool, "sqlite")
	t.Cleanup(func() {
		s.log.running.Wait() // jobs survive their requests
		s.db.Close()
	})
	opts := &usersession.Options{InsecureCookies: true, Retention: time.Hour, ReadTimeout: time.Minute, WriteTimeout: time.Minute}
	if store != nil {
		store.Store = memstore.New()
		opts.Store = store
	}
	if s.m, err = usersession.New(s.db, opts); err != nil {
		t.Fatal(err)
	}
	if err := s.m.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ao sessionui.AccountOptions
	if account != nil {
		ao = *account
	}
	ao.Prefix = "/me/devices"
	do := sessionui.AdminOptions{}
	if admin != nil {
		do = *admin
	}
	do.Prefix = "/admin"
	do.Logger = slog.New(slog.NewJSONHandler(s.log, nil))
	ao.Logger = do.Logger
	if do.Authorize == nil {
		do.Authorize = isAdmin(s.m)
	}
	a, err := sessionui.Account(s.m, &ao)
	if err != nil {
		t.Fatal(err)
	}
	d, err := sessionui.Admin(s.m, &do)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/me/devices/", a)
	mux.Handle("/admin/", d)
	s.handler = mux
	return s
}

// browser is a client with its own cookie.
type browser struct {
	s      *site
	cookie *http.Cookie
	id     string
}

func (s *site) anonymous() *browser { return &browser{s: s} }

// login logs a user in.
func (s *site) login(user, userAgent string, opts ...usersession.LoginOption) *browser {
	s.t.Helper()
	b := s.anonymous()
	h := s.m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.m.Login(r.Context(), user, opts...); err != nil {
			s.t.Error(err)
			return
		}
		c, err := s.m.Current(r.Context())
		if err != nil {
			s.t.Error(err)
		}
		b.id = c.ID
	}))
	r := httptest.NewRequest("POST", "/login", nil)
	r.Header.Set("User-Agent", userAgent)
	r.RemoteAddr = "203.0.113.9:1234"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if cookies := w.Result().Cookies(); len(cookies) == 1 {
		b.cookie = cookies[0]
	} else {
		s.t.Fatalf("login of %s: %d cookies, status %d", user, len(cookies), w.Code)
	}
	return b
}

// do sends a request. Headers are pairs; one that is "-" is left out.
func (b *browser) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	b.s.t.Helper()
	return b.doContext(b.s.t.Context(), method, target, body, headers...)
}

func (b *browser) doContext(ctx context.Context, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	b.s.t.Helper()
	r := httptest.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Del(headers[i])
		if headers[i+1] != "-" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	w := httptest.NewRecorder()
	b.s.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		b.cookie = c
		if c.MaxAge < 0 {
			b.cookie = nil
		}
	}
	return w
}

func (b *browser) get(target string, headers ...string) *httptest.ResponseRecorder {
	b.s.t.Helper()
	return b.do("GET", target, "", headers...)
}

func (b *browser) post(target string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	b.s.t.Helper()
	return b.do("POST", target, form.Encode(), headers...)
}

var asJSON = []string{"Accept", "application/json"}

// live returns the IDs of the live sessions of users.
func (s *site) live(users ...string) map[string]bool {
	s.t.Helper()
	ids := make(map[string]bool)
	for _, u := range users {
		list, err := s.m.ListSessions(s.t.Context(), u)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, one := range list {
			ids[one.ID] = true
		}
	}
	return ids
}

// shift moves a time of a session into the past.
func (s *site) shift(id, column string, by time.Duration) {
	s.t.Helper()
	res, err := s.db.Exec(fmt.Sprintf("UPDATE user_sessions SET %[1]s = %[1]s - ? WHERE id = ?", column), by.Microseconds(), id)
	if n, _ := res.RowsAffected(); err != nil || n != 1 {
		s.t.Fatal("shift:", n, err)
	}
}

func fromIP(s string) usersession.LoginOption { return usersession.WithIP(netip.MustParseAddr(s)) }

// want checks a status and returns the body.
func want(t testing.TB, w *httptest.ResponseRecorder, status int) string {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status %d, want %d; body:\n%s", w.Code, status, w.Body)
	}
	return w.Body.String()
}

// follow resolves the Location of a response to a request of target.
func follow(t *testing.T, w *httptest.ResponseRecorder, target string) string {
	t.Helper()
	base, err := url.Parse("http://example.com" + target)
	if err != nil {
		t.Fatal(err)
	}
	to, err := base.Parse(w.Header().Get("Location"))
	if err != nil || w.Header().Get("Location") == "" {
		t.Fatalf("Location %q: %v", w.Header().Get("Location"), err)
	}
	if to.Host != "example.com" {
		return to.String()
	}
	return to.RequestURI()
}

func inOrder(t *testing.T, body string, parts ...string) {
	t.Helper()
	rest := body
	for _, p := range parts {
		i := strings.Index(rest, p)
		if i < 0 {
			t.Fatalf("%q is missing or out of order in:\n%s", p, body)
		}
		rest = rest[i+len(p):]
	}
}
