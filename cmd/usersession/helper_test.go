package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

func TestMain(m *testing.M) {
	depth.Short()
	testserver.Main(m)
}

var update = flag.Bool("update", false, "write the golden files anew")

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	safari  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
	curl    = "curl/8.14.1"
)

// program is one whose sessions are looked after.
type program struct {
	t   *testing.T
	url string // as the tool gets it
	env map[string]string
	m   *usersession.Manager
	db  *sqlx.DB

	ids map[string]string // of sessions, by their names
}

// newProgram makes the tables of a program on a SQLite file.
func newProgram(t *testing.T) *program {
	t.Helper()
	file := filepath.Join(t.TempDir(), "app.db")
	return newProgramOn(t, "sqlite", "file:"+file+"?_pragma=busy_timeout(60000)&_pragma=synchronous(OFF)", "sqlite:"+file, &usersession.Options{})
}

func newProgramOn(t *testing.T, driver, dsn, url string, opts *usersession.Options) *program {
	t.Helper()
	db, err := sqlx.Connect(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	opts.InsecureCookies, opts.ReadTimeout, opts.WriteTimeout = true, time.Minute, time.Minute
	m, err := usersession.New(db, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &program{t: t, url: url, env: map[string]string{"USERSESSION_DB": url}, m: m, db: db, ids: map[string]string{}}
}

// login logs a user in from a browser, and returns its cookie. The session has a name
// in this test.
func (p *program) login(name, user, ip, agent string, opts ...usersession.LoginOption) *http.Cookie {
	p.t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(p.t.Context(), "POST", "/login", nil)
	r.RemoteAddr, r.Header = net.JoinHostPort(ip, "1234"), http.Header{"User-Agent": {agent}}
	p.m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := p.m.Login(r.Context(), user, opts...); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		s, err := p.m.Current(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
		p.ids[name] = s.ID
	})).ServeHTTP(w, r)
	if w.Code != http.StatusOK || len(w.Result().Cookies()) == 0 {
		p.t.Fatalf("login of %s: %d %s", name, w.Code, w.Body)
	}
	return w.Result().Cookies()[0]
}

// user returns who the browser with a cookie is.
func (p *program) user(cookie *http.Cookie) (id string) {
	r := httptest.NewRequestWithContext(p.t.Context(), "GET", "/", nil)
	r.AddCookie(cookie)
	p.m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { id = p.m.UserID(r.Context()) })).ServeHTTP(httptest.NewRecorder(), r)
	return id
}

// three logs in three sessions of two users, seen at different times.
func (p *program) three() (phone, laptop, bob *http.Cookie) {
	p.t.Helper()
	defer func() {
		for name, ago := range map[string]time.Duration{"alice-phone": 150 * time.Second, "alice-laptop": 750 * time.Second} {
			if _, err := p.db.Exec("UPDATE user_sessions SET last_seen_at = last_seen_at - ?, created_at = created_at - 10000000000 WHERE id = ?", ago.Microseconds(), p.ids[name]); err != nil {
				p.t.Fatal(err)
			}
		}
	}()
	return p.login("alice-phone", "alice", "203.0.113.7", safari, usersession.WithMeta(map[string]string{"app": "shop"})),
		p.login("alice-laptop", "alice", "198.51.100.23", firefox),
		p.login("bob", "bob@example.com", "2001:db8::17", curl)
}

// live returns how many sessions are live.
func (p *program) live() int {
	p.t.Helper()
	n, err := p.m.CountMatching(p.t.Context(), usersession.Filter{}, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// call is how the tool is called.
type call struct {
	width  int    // of the terminal; 0: there is none
	answer string // what is typed
	ctx    context.Context
	now    func() time.Time
	bars   bool
}

// result is what a call has written.
type result struct {
	out, err string
	code     int
}

// buffer may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
	on func(string) // is told what is written
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.b.Write(p)
	if b.on != nil {
		b.on(b.b.String())
	}
	return n, err
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// run runs the tool without a terminal.
func (p *program) run(args ...string) result { p.t.Helper(); return p.call(call{}, args...) }

func (p *program) call(c call, args ...string) result {
	p.t.Helper()
	var out, errs buffer
	return p.callTo(c, &out, &errs, args...)
}

func (p *program) callTo(c call, out, errs *buffer, args ...string) result {
	p.t.Helper()
	if c.ctx == nil {
		c.ctx = p.t.Context()
	}
	if c.now == nil {
		c.now = time.Now
	}
	s := surroundings{now: c.now, in: strings.NewReader(c.answer), out: out, err: errs, width: c.width, errWidth: c.width,
		asks: c.width > 0, bars: c.bars, getenv: func(name string) string { return p.env[name] }}
	code := run(c.ctx, s, args)
	r := result{out.String(), errs.String(), code}
	for what, secret := range p.secrets() {
		if strings.Contains(r.out+r.err, secret) {
			p.t.Errorf("%q: %s is shown:\n%s%s", args, what, r.out, r.err)
		}
	}
	return r
}

// secrets are the keys of all sessions.
func (p *program) secrets() map[string]string {
	secrets := map[string]string{}
	if p.db == nil {
		return secrets
	}
	var keys []string
	if err := p.db.Select(&keys, "SELECT session_key FROM user_sessions"); err != nil {
		return secrets // there is no such table here
	}
	for i, k := range keys {
		secrets[fmt.Sprint("key ", i)] = k
	}
	return secrets
}

var (
	timestamps = regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?Z`)
	clocks     = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d `)
	seconds    = regexp.MustCompile(`\b\d+s\b`)
	lefts      = regexp.MustCompile(`\b(?:in 1h|in 59m)\b`)
	versions   = regexp.MustCompile(`SQLite \d+\.\d+\.\d+`)
	millis     = regexp.MustCompile(`\b\d+(?:\.\d+)?ms\b`)
)

// normal is a text in which IDs, times and folders are always the same.
func (p *program) normal(s string) string {
	for name, id := range p.ids {
		s = strings.ReplaceAll(s, id, (name + strings.Repeat("-", 22))[:22])
	}
	s = timestamps.ReplaceAllString(s, "2026-01-02 15:04:05Z")
	s = clocks.ReplaceAllString(s, "15:04:05 ")
	s = seconds.ReplaceAllString(s, "0s")
	s = lefts.ReplaceAllString(s, "in 59m")
	s = versions.ReplaceAllString(s, "SQLite 3.0.0")
	s = millis.ReplaceAllString(s, "1ms")
	return strings.ReplaceAll(s, strings.TrimPrefix(p.url, "sqlite:"), "app.db")
}

// golden compares a call with the file of its name.
func (p *program) golden(name string, r result) {
	p.t.Helper()
	got := p.normal(r.out)
	if r.err != "" {
		got += "--- stderr\n" + p.normal(r.err)
	}
	got += fmt.Sprintf("--- exit %d\n", r.code)
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		p.t.Fatal(err)
	}
	if got != string(want) {
		p.t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}
