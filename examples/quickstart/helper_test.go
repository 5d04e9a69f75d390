package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// session is what a client reads of one.
type session struct {
	ID      string
	UserID  string `json:"user_id"`
	Current bool
	IP      string
	Meta    map[string]string
}

type app struct {
	url string
	log *logBuffer
}

func (a *app) wantLog(t *testing.T, want string) {
	t.Helper()
	if !strings.Contains(a.log.String(), want) {
		t.Errorf("the log lacks %s:\n%s", want, a.log)
	}
}

func (a *app) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(a.url)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{ExpectContinueTimeout: time.Minute}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{base: base, jar: jar, accept: "application/json", client: &http.Client{
		Jar: jar, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (a *app) login(t *testing.T, user string) *browser {
	t.Helper()
	b := a.browser(t)
	if got := b.want(t, http.StatusOK, "POST", "/login", "user="+user+"&password=demo"); got != `{"user":"`+user+`"}` {
		t.Fatalf("login: %s", got)
	}
	return b
}

// browser is a client with a cookie jar of its own.
type browser struct {
	base                              *url.URL
	jar                               http.CookieJar
	client                            *http.Client
	accept, userAgent, name, password string
}

func (b *browser) cookies(t *testing.T) []*http.Cookie {
	t.Helper()
	return b.jar.Cookies(b.base)
}

// want sends a request, checks the status, and returns the body, or the Location
// of a redirect.
func (b *browser) want(t *testing.T, status int, method, path string, form ...string) string {
	t.Helper()
	got, answer := b.do(t, b.request(t, method, path, form...))
	if got != status {
		t.Fatalf("%s %s: %d %s, want %d", method, path, got, answer, status)
	}
	return answer
}

func (b *browser) raw(t *testing.T, method, path, form string) *http.Response {
	t.Helper()
	w, err := b.client.Do(b.request(t, method, path, form))
	if err != nil {
		t.Fatal(err)
	}
	w.Body.Close()
	return w
}

func (b *browser) request(t *testing.T, method, path string, form ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.base.String()+path, strings.NewReader(strings.Join(form, "&")))
	if err != nil {
		t.Fatal(err)
	}
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func (b *browser) do(t *testing.T, r *http.Request) (status int, answer string) {
	t.Helper()
	r.Header.Set("Accept", b.accept)
	r.Header.Set("User-Agent", b.userAgent)
	if b.name != "" {
		r.SetBasicAuth(b.name, b.password)
	}
	w, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if location := w.Header.Get("Location"); location != "" {
		return w.StatusCode, location
	}
	return w.StatusCode, strings.TrimSpace(string(body))
}

func (b *browser) id(t *testing.T) string {
	t.Helper()
	var me struct{ Session session }
	if err := json.Unmarshal([]byte(b.want(t, http.StatusOK, "GET", "/me")), &me); err != nil {
		t.Fatal(err)
	}
	return me.Session.ID
}

func (b *browser) sessions(t *testing.T) []session {
	t.Helper()
	return b.list(t, "/sessions")
}

func (b *browser) list(t *testing.T, path string) (list []session) {
	t.Helper()
	if err := json.Unmarshal([]byte(b.want(t, http.StatusOK, "GET", path)), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// logBuffer is what the program logs.
type logBuffer struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	onWrite func(string)
}

func captureLog(t *testing.T) *logBuffer {
	log, former := &logBuffer{}, slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(log, nil)))
	t.Cleanup(func() { slog.SetDefault(former) })
	return log
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.onWrite != nil {
		l.onWrite(string(p))
	}
	return l.buf.Write(p)
}

func (l *logBuffer) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Reset()
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
