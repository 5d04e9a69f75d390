package usersession_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
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
	db, err := sqlx.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)&_pragma=synchronous(OFF)")
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
	m, err := usersession.New(db, opts)
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

func TestCommitBeforeTheFirstByte(t *testing.T) {
	cases := []struct {
		name string
		// write answers; it may call wait to let the client act while the
		// handler is still running, which needs a flush.
		write  func(w http.ResponseWriter, wait func())
		method string
		status int
	}{
		{"write", func(w http.ResponseWriter, _ func()) { w.Write([]byte("x")) }, "GET", 200},
		{"write nothing", func(w http.ResponseWriter, _ func()) { w.Write(nil) }, "GET", 200},
		{"write header", func(w http.ResponseWriter, _ func()) { w.WriteHeader(201) }, "GET", 201},
		{"no write at all", func(w http.ResponseWriter, _ func()) {}, "GET", 200},
		{"flusher", func(w http.ResponseWriter, wait func()) { w.(http.Flusher).Flush(); wait() }, "GET", 200},
		{"controller flush", func(w http.ResponseWriter, wait func()) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
			wait()
		}, "GET", 200},
		{"write and flush", func(w http.ResponseWriter, wait func()) {
			io.WriteString(w, "x")
			http.NewResponseController(w).Flush()
			wait()
		}, "GET", 200},
		{"io.Copy", func(w http.ResponseWriter, _ func()) { io.Copy(w, strings.NewReader("x")) }, "GET", 200},
		{"read from", func(w http.ResponseWriter, _ func()) {
			w.(io.ReaderFrom).ReadFrom(io.LimitReader(strings.NewReader("xyz"), 2))
		}, "GET", 200},
		{"204", func(w http.ResponseWriter, _ func()) { w.WriteHeader(204) }, "GET", 204},
		{"304", func(w http.ResponseWriter, _ func()) { w.WriteHeader(304) }, "GET", 304},
		{"redirect", func(w http.ResponseWriter, _ func()) { w.Header().Set("Location", "/x"); w.WriteHeader(303) }, "POST", 303},
		{"head", func(w http.ResponseWriter, _ func()) { io.WriteString(w, "x") }, "HEAD", 200},
		{"error status", func(w http.ResponseWriter, _ func()) { http.Error(w, "no", 500) }, "GET", 500},
	}
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for _, c := range cases {
			t.Run(proto+"/"+c.name, func(t *testing.T) {
				m := mwNew(t, nil)
				var release chan struct{} // set where the handler waits
				waits := strings.Contains(c.name, "flush")
				if waits {
					release = make(chan struct{})
				}
				h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
					if r.Proto != proto {
						t.Errorf("the request is %s", r.Proto)
					}
					m.Put(r.Context(), "cart", "3")
					if err := m.Login(r.Context(), "u"); err != nil {
						t.Error(err)
					}
					c.write(w, func() { <-release })
				}})
				b := mwBrowse(t, mwServer(t, h, proto == "HTTP/2.0"))
				r, _ := http.NewRequestWithContext(t.Context(), c.method, b.base+"/x", nil)
				res, err := b.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				// The client has the header, and perhaps nothing else yet.
				b.want("/me", 200, "u")
				b.want("/get?k=cart", 200, "3")
				if waits {
					close(release)
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != c.status || res.Proto != proto {
					t.Errorf("got %s %d, want %d", res.Proto, res.StatusCode, c.status)
				}
				if n := len(res.Header.Values("Set-Cookie")); n != 1 {
					t.Errorf("%d cookies are set, want 1", n)
				}
				if got := res.Header.Get("Cache-Control"); got != "no-store" {
					t.Errorf("Cache-Control is %q", got)
				}
				mwWantSessions(t, m, "u", 1)
			})
		}
	}
}

func TestCommitBeforeHijack(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		m.Put(r.Context(), "cart", "3")
		m.Login(r.Context(), "u")
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(rw, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n")
		w.Header().Write(rw)
		fmt.Fprint(rw, "\r\nok")
		rw.Flush()
		if _, err := w.Write([]byte("x")); err == nil {
			t.Error("a write after Hijack returned no error")
		}
		if err := m.Login(r.Context(), "v"); !errors.Is(err, usersession.ErrResponseStarted) {
			t.Errorf("Login after Hijack: %v", err)
		}
	}})
	b := mwBrowse(t, mwServer(t, h, false))
	b.want("/x", 200, "ok")
	b.want("/me", 200, "u")
	b.want("/get?k=cart", 200, "3")
}

func TestInformationalResponsesDoNotCount(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2=%v", http2), func(t *testing.T) {
			m := mwNew(t, nil)
			h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Link", "</style.css>; rel=preload")
				w.WriteHeader(http.StatusEarlyHints)
				if err := m.Login(r.Context(), "u"); err != nil {
					t.Errorf("Login after 103: %v", err)
				}
				w.WriteHeader(http.StatusEarlyHints)
				m.Put(r.Context(), "cart", "3")
				w.WriteHeader(http.StatusAccepted)
			}})
			b := mwBrowse(t, mwServer(t, h, http2))
			hints := 0
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
					hints++
					if code != 103 || h.Get("Set-Cookie") != "" || h.Get("Link") == "" {
						t.Errorf("informational response %d with %v", code, h)
					}
					return nil
				},
			})
			r, _ := http.NewRequestWithContext(ctx, "GET", b.base+"/x", nil)
			res, err := b.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if hints != 2 || res.StatusCode != 202 || len(res.Cookies()) != 1 {
				t.Errorf("%d hints, %d, %d cookies; want 2, 202, 1", hints, res.StatusCode, len(res.Cookies()))
			}
			b.want("/me", 200, "u")
			b.want("/get?k=cart", 200, "3")
		})
	}
}

func TestSwitchingProtocolsIsTheResponse(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		m.Login(r.Context(), "u")
		w.Header().Set("Upgrade", "test")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
		if err := m.Login(r.Context(), "v"); !errors.Is(err, usersession.ErrResponseStarted) {
			t.Errorf("Login after 101: %v", err)
		}
	}})
	srv := mwServer(t, h, false)
	conn, err := tls.Dial("tcp", srv.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 101 || len(res.Cookies()) != 1 {
		t.Fatalf("got %d with %d cookies, want 101 with 1", res.StatusCode, len(res.Cookies()))
	}
	mwWantUser(t, m, h, res.Cookies()[0].Value, "u")
}

func TestResponseControllerWorksThroughUnwrap(t *testing.T) {
	m := mwNew(t, nil)
	far := time.Now().Add(time.Hour)
	h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		for name, err := range map[string]error{
			"SetReadDeadline": c.SetReadDeadline(far), "SetWriteDeadline": c.SetWriteDeadline(far),
			"EnableFullDuplex": c.EnableFullDuplex(),
		} {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		// None of them is the response.
		if err := m.Login(r.Context(), "u"); err != nil {
			t.Error(err)
		}
	}})
	b := mwBrowse(t, mwServer(t, h, false))
	b.want("/x", 200, "")
	b.want("/me", 200, "u")
}

// Gin's Stream asserts a deprecated interface of the writer it is given.
func TestCloseNotify(t *testing.T) {
	m := mwNew(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		notifier, ok := w.(interface{ CloseNotify() <-chan bool })
		if !ok {
			t.Fatalf("%T has no CloseNotify", w)
		}
		gone := notifier.CloseNotify()
		select {
		case <-gone:
			t.Error("the client has not gone")
		default:
		}
		cancel()
		<-gone
	}})
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/x", nil))
}

func TestFailedCommit(t *testing.T) {
	down := errors.New("the store is down")
	answers := map[string]func(t *testing.T, w http.ResponseWriter){
		"write": func(t *testing.T, w http.ResponseWriter) {
			for range 2 {
				if n, err := w.Write([]byte("secret")); err == nil || n != 0 {
					t.Errorf("Write returned %d, %v", n, err)
				}
			}
		},
		"write header": func(t *testing.T, w http.ResponseWriter) {
			w.WriteHeader(201)
			if _, err := io.WriteString(w, "secret"); err == nil {
				t.Error("Write returned no error")
			}
		},
		"flush": func(t *testing.T, w http.ResponseWriter) {
			if err := http.NewResponseController(w).Flush(); err == nil {
				t.Error("Flush returned no error")
			}
			w.(http.Flusher).Flush()
		},
		"copy": func(t *testing.T, w http.ResponseWriter) {
			if n, err := io.Copy(w, strings.NewReader("secret")); err == nil || n != 0 {
				t.Errorf("Copy returned %d, %v", n, err)
			}
		},
		"hijack": func(t *testing.T, w http.ResponseWriter) {
			if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
				t.Error("Hijack returned no error")
				c.Close()
			}
		},
		"nothing": func(*testing.T, http.ResponseWriter) {},
		"trailer after": func(t *testing.T, w http.ResponseWriter) {
			w.Write([]byte("secret"))
			w.Header().Set(http.TrailerPrefix+"X-Secret", "secret")
		},
		"early hints after": func(t *testing.T, w http.ResponseWriter) {
			w.Write([]byte("secret"))
			w.Header().Set("X-Secret", "secret")
			w.WriteHeader(103)
			w.Write([]byte("secret"))
		},
	}
	for _, http2 := range []bool{false, true} {
		for name, answer := range answers {
			t.Run(fmt.Sprintf("http2=%v/%s", http2, name), func(t *testing.T) {
				store := mwNewStore()
				m := mwNew(t, &usersession.Options{Store: store})
				h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "application/secret")
					w.Header().Set("Content-Length", "6")
					w.Header().Set("Cache-Control", "public, max-age=3600")
					w.Header().Set("Etag", `"secret"`)
					http.SetCookie(w, &http.Cookie{Name: "secret", Value: "secret"})
					m.Login(r.Context(), "u")
					store.before = func(op, _ string) error {
						if op == "create" {
							return down
						}
						return nil
					}
					answer(t, w)
				}})
				outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("X-Outer", "kept")
					h.ServeHTTP(w, r)
				})
				b := mwBrowse(t, mwServer(t, outer, http2))
				res, body := b.get("/x")
				if res.StatusCode != 503 {
					t.Errorf("status %d, want 503", res.StatusCode)
				}
				all := fmt.Sprint(body, res.Header, res.Trailer)
				if strings.Contains(all, "secret") || strings.Contains(all, "down") {
					t.Errorf("the response holds something of the handler or of the error: %s", all)
				}
				if got := res.Header.Values("Cache-Control"); !slices.Equal(got, []string{"no-store"}) {
					t.Errorf("Cache-Control is %q", got)
				}
				if len(res.Cookies()) != 0 {
					t.Errorf("cookies are set: %v", res.Cookies())
				}
				if res.Header.Get("X-Outer") != "kept" || res.Header.Get("Vary") != "Cookie" {
					t.Errorf("what was set before the middleware is gone: %v", res.Header)
				}
				mwWantSessions(t, m, "u", 0)
			})
		}
	}
}

// A login whose commit fails before it reaches the Store is given up as well.
func TestFailedEncodingAbortsTheLogin(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		m.Login(r.Context(), "u")
		m.Put(r.Context(), "unencodable", func() {})
	}})
	if w := mwGet(h, "/x", ""); w.Code != 503 || mwToken(w) != "" {
		t.Errorf("got %d, token %q; want 503 and none", w.Code, mwToken(w))
	}
	mwWantSessions(t, m, "u", 0)
}

func TestErrorFuncIsKept(t *testing.T) {
	t.Run("it answers", func(t *testing.T) {
		store := mwNewStore()
		s := scs.New()
		s.Cookie.Name, s.Cookie.Secure = "__Host-session", true
		var got error
		s.ErrorFunc = func(w http.ResponseWriter, r *http.Request, err error) {
			got = err
			w.WriteHeader(599)
			io.WriteString(w, "mine")
		}
		m := mwNew(t, &usersession.Options{Store: store, SCS: s})
		h := mwRoutes(m, nil)
		token := mwLogin(t, h, "u")
		down := errors.New("down")
		store.before = func(string, string) error { return down }
		for _, path := range []string{"/put?k=a&v=b", "/me"} {
			if w := mwGet(h, path, token); w.Code != 599 || w.Body.String() != "mine" || !errors.Is(got, down) {
				t.Errorf("%s: %d %q, error %v", path, w.Code, w.Body, got)
			}
		}
		got = nil
		store.before = func(op, _ string) error {
			if op == "update" {
				return down
			}
			return nil
		}
		if w := mwGet(h, "/put?k=a&v=b", token); w.Code != 599 || w.Body.String() != "mine" || !errors.Is(got, down) {
			t.Errorf("commit: %d %q, error %v", w.Code, w.Body, got)
		}
	})
	// I10: a commit that failed is not reported as 200, even where the
	// program's ErrorFunc only logs.
	t.Run("it writes nothing", func(t *testing.T) {
		store := mwNewStore()
		s := scs.New()
		s.Cookie.Name, s.Cookie.Secure = "__Host-session", true
		s.ErrorFunc = func(http.ResponseWriter, *http.Request, error) {}
		m := mwNew(t, &usersession.Options{Store: store, SCS: s})
		h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
			m.Put(r.Context(), "k", "v")
			io.WriteString(w, "done")
			w.Header().Set("X-Late", "secret")
		}})
		token := mwLogin(t, h, "u")
		store.before = func(op, _ string) error {
			if op == "update" {
				return errors.New("down")
			}
			return nil
		}
		if w := mwGet(h, "/x", token); w.Code < 400 || w.Result().Header.Get("X-Late") != "" {
			t.Errorf("a failed commit is answered %d, with %v", w.Code, w.Result().Header)
		}
	})
}

func TestSessionEndedMeanwhile(t *testing.T) {
	for _, custom := range []bool{false, true} {
		t.Run(fmt.Sprintf("OnUnauthenticated=%v", custom), func(t *testing.T) {
			o := &usersession.Options{}
			if custom {
				o.OnUnauthenticated = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, "/login-page", http.StatusSeeOther)
				})
			}
			m := mwNew(t, o)
			h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
				m.Put(r.Context(), "k", "v")
				if _, err := m.RevokeAllSessions(context.Background(), "u"); err != nil {
					t.Error(err)
				}
				w.Header().Set("X-Secret", "secret")
				if _, err := io.WriteString(w, "secret"); err == nil {
					t.Error("Write returned no error")
				}
			}})
			b := mwBrowse(t, mwServer(t, h, false))
			b.want("/login?u=u", 200, "")
			token := b.token()
			res, body := b.get("/x")
			want := 401
			if custom {
				want = 303
			}
			if res.StatusCode != want || strings.Contains(body+fmt.Sprint(res.Header), "secret") || len(res.Cookies()) != 0 {
				t.Errorf("got %d %q %v, want %d and nothing of the handler", res.StatusCode, body, res.Header, want)
			}
			if res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("Cache-Control is %q", res.Header.Get("Cache-Control"))
			}
			if b.token() != token {
				t.Error("the cookie was changed: a dead token never sets or clears one")
			}
			b.want("/me", 200, "")
			mwWantSessions(t, m, "u", 0)
		})
	}
}

func TestPanicInHandler(t *testing.T) {
	cases := map[string]func(m *usersession.Manager, r *http.Request){
		"at once":              func(*usersession.Manager, *http.Request) { panic("x") },
		"ErrAbortHandler":      func(*usersession.Manager, *http.Request) { panic(http.ErrAbortHandler) },
		"nil pointer":          func(_ *usersession.Manager, r *http.Request) { _ = *r.TLS },
		"after Put":            func(m *usersession.Manager, r *http.Request) { m.Put(r.Context(), "k", "lost"); panic("x") },
		"after Clear":          func(m *usersession.Manager, r *http.Request) { m.Clear(r.Context()); panic("x") },
		"after Login":          func(m *usersession.Manager, r *http.Request) { m.Login(r.Context(), "other"); panic("x") },
		"after Login of same":  func(m *usersession.Manager, r *http.Request) { m.Login(r.Context(), "u"); panic("x") },
		"after RenewToken":     func(m *usersession.Manager, r *http.Request) { m.RenewToken(r.Context()); panic("x") },
		"after Reauthenticate": func(m *usersession.Manager, r *http.Request) { m.Reauthenticate(r.Context()); panic("x") },
		"after SetDeadline":    func(m *usersession.Manager, r *http.Request) { m.SetDeadline(r.Context(), time.Now()); panic("x") },
		"after two logins": func(m *usersession.Manager, r *http.Request) {
			m.Login(r.Context(), "other")
			m.Login(r.Context(), "third")
			panic("x")
		},
	}
	for name, act := range cases {
		t.Run(name, func(t *testing.T) {
			m := mwNew(t, nil)
			h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Secret", "secret")
				act(m, r)
			}})
			token := mwLogin(t, h, "u")
			mwGet(h, "/put?k=k&v=kept", token)
			before := mwIDs(t, m, "u")
			goroutines := runtime.NumGoroutine()
			for range 20 {
				func() {
					defer func() {
						if recover() == nil {
							t.Error("the panic did not pass")
						}
					}()
					mwGet(h, "/x", token)
				}()
			}
			mwWantGoroutines(t, goroutines)
			mwWantUser(t, m, h, token, "u")
			if w := mwGet(h, "/get?k=k", token); w.Body.String() != "kept" {
				t.Errorf("the data are %q", w.Body)
			}
			if after := mwIDs(t, m, "u"); !slices.Equal(before, after) {
				t.Errorf("sessions before %v, after %v", before, after)
			}
			mwWantSessions(t, m, "other", 0)
			mwWantSessions(t, m, "third", 0)
		})
	}
	t.Run("Goexit", func(t *testing.T) {
		m := mwNew(t, nil)
		h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
			m.Login(r.Context(), "u")
			runtime.Goexit()
		}})
		done := make(chan struct{})
		go func() { defer close(done); mwGet(h, "/x", "") }()
		<-done
		mwWantSessions(t, m, "u", 0)
	})
	t.Run("on a server", func(t *testing.T) {
		m := mwNew(t, nil)
		h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
			m.Login(r.Context(), "u")
			panic(http.ErrAbortHandler)
		}})
		b := mwBrowse(t, mwServer(t, h, false))
		if res, err := b.Get(b.base + "/x"); err == nil {
			t.Errorf("the aborted request was answered %d", res.StatusCode)
			res.Body.Close()
		}
		mwWantSessions(t, m, "u", 0)
	})
	t.Run("recovered outside", func(t *testing.T) {
		m := mwNew(t, nil)
		h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
			m.Login(r.Context(), "u")
			panic("x")
		}})
		outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if recover() != nil {
					w.WriteHeader(500)
				}
			}()
			h.ServeHTTP(w, r)
		})
		if w := mwGet(outer, "/x", ""); w.Code != 500 || mwToken(w) != "" {
			t.Errorf("got %d, token %q", w.Code, mwToken(w))
		}
		mwWantSessions(t, m, "u", 0)
	})
}

// A Store that panics inside the commit is no committed session: what an inner
// recovery lets the handler write afterwards must not go out as a success.
func TestPanicInsideTheCommit(t *testing.T) {
	store := mwNewStore()
	m := mwNew(t, &usersession.Options{Store: store})
	h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		m.Put(r.Context(), "k", "v")
		defer func() {
			if recover() != nil {
				io.WriteString(w, "saved")
			}
		}()
		io.WriteString(w, "first")
	}})
	token := mwLogin(t, h, "u")
	store.before = func(op, _ string) error {
		if op == "update" {
			panic("store")
		}
		return nil
	}
	func() {
		defer func() { recover() }()
		if w := mwGet(h, "/x", token); w.Code == 200 && w.Body.Len() > 0 {
			t.Errorf("the commit panicked and the response is %d %q", w.Code, w.Body)
		}
	}()
}

// mwWantGoroutines waits until no more goroutines run than before.
func mwWantGoroutines(t *testing.T, before int) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
			return
		}
		runtime.Gosched()
	}
}

func TestClientDisconnect(t *testing.T) {
	cases := []struct {
		name string
		act  func(ctx context.Context, m *usersession.Manager) error
		want func(t *testing.T, m *usersession.Manager, h http.Handler, old string, w *httptest.ResponseRecorder)
	}{
		{"Put", func(ctx context.Context, m *usersession.Manager) error { m.Put(ctx, "k", "new"); return nil },
			func(t *testing.T, m *usersession.Manager, h http.Handler, old string, w *httptest.ResponseRecorder) {
				if got := mwGet(h, "/get?k=k", old).Body.String(); got != "new" {
					t.Errorf("the data are %q", got)
				}
			}},
		{"Login", func(ctx context.Context, m *usersession.Manager) error { return m.Login(ctx, "u") },
			func(t *testing.T, m *usersession.Manager, h http.Handler, old string, w *httptest.ResponseRecorder) {
				mwWantUser(t, m, h, mwToken(w), "u")
				mwWantUser(t, m, h, old, "")
				mwWantSessions(t, m, "u", 2) // this one and the other device
			}},
		{"RenewToken", func(ctx context.Context, m *usersession.Manager) error { return m.RenewToken(ctx) },
			func(t *testing.T, m *usersession.Manager, h http.Handler, old string, w *httptest.ResponseRecorder) {
				mwWantUser(t, m, h, mwToken(w), "u")
				mwWantUser(t, m, h, old, "")
			}},
		{"Reauthenticate", func(ctx context.Context, m *usersession.Manager) error { return m.Reauthenticate(ctx) },
			func(t *testing.T, m *usersession.Manager, h http.Handler, old string, w *httptest.ResponseRecorder) {
				mwWantUser(t, m, h, mwToken(w), "u")
				mwWantUser(t, m, h, old, "")
			}},
		{"Logout", func(ctx context.Context, m *usersession.Manager) error { return m.Logout(ctx) },
			func(t *testing.T, m *usersession.Manager, h http.Handler, old string, w *httptest.ResponseRecorder) {
				mwWantUser(t, m, h, old, "")
				mwWantSessions(t, m, "u", 1)
			}},
		{"RevokeOtherSessions", func(ctx context.Context, m *usersession.Manager) error {
			n, err := m.RevokeOtherSessions(ctx)
			if n != 1 {
				err = errors.Join(err, fmt.Errorf("%d revoked", n))
			}
			return err
		}, func(t *testing.T, m *usersession.Manager, h http.Handler, old string, w *httptest.ResponseRecorder) {
			mwWantUser(t, m, h, old, "u")
			mwWantSessions(t, m, "u", 1)
		}},
		{"RevokeAllSessions", func(ctx context.Context, m *usersession.Manager) error {
			_, err := m.RevokeAllSessions(ctx, "u")
			return err
		}, func(t *testing.T, m *usersession.Manager, h http.Handler, old string, w *httptest.ResponseRecorder) {
			mwWantUser(t, m, h, old, "")
			mwWantSessions(t, m, "u", 0)
		}},
		{"RevokeMatching", func(ctx context.Context, m *usersession.Manager) error {
			_, err := m.RevokeMatching(ctx, usersession.Filter{UserIDs: []string{"u"}})
			return err
		}, func(t *testing.T, m *usersession.Manager, h http.Handler, old string, w *httptest.ResponseRecorder) {
			mwWantUser(t, m, h, old, "")
			mwWantSessions(t, m, "u", 0)
		}},
	}
	for _, backend := range []string{"sql", "memory"} {
		for _, c := range cases {
			t.Run(backend+"/"+c.name, func(t *testing.T) {
				o := &usersession.Options{}
				if backend == "memory" {
					o.Store = memstore.New()
				}
				m := mwNew(t, o)
				ctx, cancel := context.WithCancel(t.Context())
				h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
					cancel() // the client hangs up between load and commit
					if err := c.act(r.Context(), m); err != nil {
						t.Errorf("%s: %v", c.name, err)
					}
				}})
				other := mwLogin(t, h, "u")
				token := mwLogin(t, h, "u")
				w := mwGetContext(ctx, h, "/x", token)
				if w.Code != 200 {
					t.Errorf("got %d %q", w.Code, w.Body)
				}
				c.want(t, m, h, token, w)
				if strings.HasPrefix(c.name, "Revoke") {
					mwWantUser(t, m, h, other, "")
				}
			})
		}
	}
}

// mwHostile are cookie values that cannot be tokens.
func mwHostile(token string) map[string]string {
	last := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(last, token[len(token)-1])
	return map[string]string{
		"64 KiB":              strings.Repeat("A", 64<<10),
		"path":                "../../../../../../etc/passwd",
		"path of full length": strings.Repeat("../", 14) + "x",
		"star":                "*",
		"43 stars":            strings.Repeat("*", 43),
		"one short":           token[:42],
		"one long":            token + "A",
		"padded":              token + "=",
		"other last bits":     token[:42] + string(last[i^1]),
		"standard alphabet":   "+/" + token[2:],
		"percent":             "%00" + token[3:],
		"handle":              "~" + strings.Repeat("A", 26) + "~" + token,
		"tilde":               "~" + token[1:],
		"brace":               "{user}" + token[6:],
		"comma":               "," + token[1:],
		"space inside":        token[:20] + " " + token[21:],
		"single character":    "x",
		"word":                "null",
	}
}

func TestHostileCookies(t *testing.T) {
	for _, backend := range []string{"sql", "memory"} {
		o := &usersession.Options{}
		store := mwNewStore()
		if backend == "memory" {
			o.Store = store
		}
		m, db := mwNewDB(t, o)
		h := mwRoutes(m, nil)
		token := mwLogin(t, h, "u")
		srv := mwServer(t, h, false)
		db.Close() // whoever asks the index now is answered 503
		calls := store.calls.Load()
		for name, value := range mwHostile(token) {
			t.Run(backend+"/"+name, func(t *testing.T) {
				r, _ := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/me", nil)
				r.Header.Set("Cookie", "__Host-session="+value)
				res, err := srv.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				body, _ := io.ReadAll(res.Body)
				if res.StatusCode != 200 || len(body) != 0 {
					t.Errorf("got %d %q, want an anonymous 200", res.StatusCode, body)
				}
				cookies := res.Cookies()
				if len(cookies) != 1 || cookies[0].Name != "__Host-session" || cookies[0].Value != "" || cookies[0].MaxAge >= 0 ||
					!cookies[0].Secure || cookies[0].Path != "/" {
					t.Errorf("cookies %v, want the session's cleared", cookies)
				}
				if n := store.calls.Load(); n != calls {
					t.Errorf("%d calls of the Store", n-calls)
				}
			})
		}
		// net/http does not show these to a handler at all: nothing to clear.
		for name, value := range map[string]string{"NUL": "\x00" + token[1:], "quote inside": `a"b`, "backslash": `\` + token[1:], "empty": ""} {
			t.Run(backend+"/"+name, func(t *testing.T) {
				if w := mwGet(h, "/me", value); w.Code != 200 || w.Body.Len() != 0 {
					t.Errorf("got %d %q, want an anonymous 200", w.Code, w.Body)
				}
				if n := store.calls.Load(); n != calls {
					t.Errorf("%d calls of the Store", n-calls)
				}
			})
		}
	}
}

// A hostile cookie does not keep a browser from logging in, and one response
// never both sets and clears.
func TestLoginWithAHostileCookie(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, nil)
	for name, value := range mwHostile(strings.Repeat("A", 43)) {
		t.Run(name, func(t *testing.T) {
			w := mwGet(h, "/login?u=u", value)
			if n := len(w.Result().Cookies()); n != 1 {
				t.Errorf("%d cookies", n)
			}
			mwWantUser(t, m, h, mwToken(w), "u")
		})
	}
}

func TestTwoCookiesOfOneName(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, nil)
	a, b := mwLogin(t, h, "a"), mwLogin(t, h, "b")
	unknown := strings.Repeat("A", 43)
	cases := []struct{ name, cookies, user, set string }{
		{"the first", "__Host-session=" + a + "; __Host-session=" + b, "a", "no"},
		{"the other way round", "__Host-session=" + b + "; __Host-session=" + a, "b", "no"},
		{"first well-formed", "__Host-session=junk; __Host-session=" + a, "a", "no"},
		{"second junk", "__Host-session=" + a + "; __Host-session=junk", "a", "no"},
		{"unknown before known", "__Host-session=" + unknown + "; __Host-session=" + a, "", "no"},
		// net/http takes the quotes away, as for scs (RFC 6265, 4.1.1).
		{"quoted", `__Host-session="` + a + `"`, "a", "no"},
		{"quoted junk", `__Host-session="junk"`, "", "cleared"},
		{"half quoted", `__Host-session="` + a, "", "no"},
		{"only junk", "__Host-session=junk; __Host-session=more", "", "cleared"},
		{"other names", "session=" + a + "; __host-session=" + b + "; __Secure-session=" + a, "", "no"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/me", nil)
			r.Header.Set("Cookie", c.cookies)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != 200 || w.Body.String() != c.user {
				t.Errorf("got %d %q, want %q", w.Code, w.Body, c.user)
			}
			if set := len(w.Result().Cookies()) > 0; set != (c.set == "cleared") {
				t.Errorf("cookies %v, want %s", w.Result().Cookies(), c.set)
			}
		})
	}
}

func TestDeadTokenNeverSetsACookie(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, nil)
	revoked := mwLogin(t, h, "u")
	if _, err := m.RevokeAllSessions(t.Context(), "u"); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"revoked": revoked, "unknown": strings.Repeat("A", 43)} {
		t.Run(name, func(t *testing.T) {
			w := mwGet(h, "/me", token)
			if w.Code != 200 || w.Body.Len() != 0 || w.Result().Header.Get("Set-Cookie") != "" {
				t.Errorf("got %d %q %v", w.Code, w.Body, w.Result().Header)
			}
		})
	}
	// Tab one is slow on the old token, tab two logs in, tab one finishes.
	t.Run("two tabs", func(t *testing.T) {
		for name, write := range map[string]bool{"reading": false, "writing": true} {
			loaded, finish := make(chan struct{}), make(chan struct{})
			h := mwRoutes(m, map[string]http.HandlerFunc{"/slow": func(w http.ResponseWriter, r *http.Request) {
				close(loaded)
				<-finish
				if write {
					m.Put(r.Context(), "k", "v")
				}
			}})
			b := mwBrowse(t, mwServer(t, h, true))
			b.want("/login?u=u", 200, "")
			done := make(chan int)
			go func() {
				res, err := b.Get(b.base + "/slow")
				if err != nil {
					done <- 0
					return
				}
				res.Body.Close()
				done <- res.StatusCode
			}()
			<-loaded
			b.want("/login?u=u", 200, "")
			token := b.token()
			close(finish)
			status := <-done
			if want := map[bool]int{false: 200, true: 401}[write]; status != want {
				t.Errorf("%s: tab one got %d, want %d", name, status, want)
			}
			if b.token() != token {
				t.Errorf("%s: tab one changed the cookie", name)
			}
			b.want("/me", 200, "u")
		}
	})
}

func TestSessionFixation(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, map[string]http.HandlerFunc{
		"/renew":  func(w http.ResponseWriter, r *http.Request) { m.RenewToken(r.Context()) },
		"/reauth": func(w http.ResponseWriter, r *http.Request) { m.Reauthenticate(r.Context()) },
	})
	t.Run("chosen token is not adopted by Put", func(t *testing.T) {
		chosen := strings.Repeat("Z", 42) + "A"
		w := mwGet(h, "/put?k=k&v=v", chosen)
		if got := mwToken(w); got == "" || got == chosen {
			t.Errorf("the session's token is %q", got)
		}
		if got := mwGet(h, "/get?k=k", chosen).Body.String(); got != "" {
			t.Errorf("the chosen token loads %q", got)
		}
	})
	t.Run("chosen token is not adopted by Login", func(t *testing.T) {
		chosen := strings.Repeat("Y", 42) + "A"
		w := mwGet(h, "/login?u=u", chosen)
		mwWantUser(t, m, h, mwToken(w), "u")
		mwWantUser(t, m, h, chosen, "")
	})
	t.Run("planted anonymous session", func(t *testing.T) {
		planted := mwToken(mwGet(h, "/put?k=k&v=v", ""))
		w := mwGet(h, "/login?u=u", planted)
		mwWantUser(t, m, h, mwToken(w), "u")
		mwWantUser(t, m, h, planted, "")
		if got := mwGet(h, "/get?k=k", mwToken(w)).Body.String(); got != "v" {
			t.Errorf("anonymous data are %q after the login", got)
		}
		if got := mwGet(h, "/get?k=k", planted).Body.String(); got != "" {
			t.Errorf("the planted token still loads %q", got)
		}
	})
	for _, path := range []string{"/login?u=u", "/login?u=v", "/renew", "/reauth"} {
		t.Run("old token is dead after "+path, func(t *testing.T) {
			old := mwLogin(t, h, "u")
			w := mwGet(h, path, old)
			if mwToken(w) == "" || mwToken(w) == old {
				t.Fatalf("the token is %q", mwToken(w))
			}
			mwWantUser(t, m, h, old, "")
		})
	}
}

func TestConcurrentUseInOneRequest(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				m.Put(ctx, fmt.Sprint("k", i), "v")
				m.GetString(ctx, "k0")
				m.UserID(ctx)
				m.Keys(ctx)
				if _, err := m.ListSessions(ctx, "u"); err != nil {
					t.Error(err)
				}
				if _, err := m.Current(ctx); err != nil && !errors.Is(err, usersession.ErrSessionEnded) {
					t.Error(err)
				}
				switch i % 4 {
				case 0:
					if err := m.Login(ctx, "u"); err != nil {
						t.Error(err)
					}
				case 1:
					if err := m.RenewToken(ctx); err != nil {
						t.Error(err)
					}
				case 2:
					if err := m.Reauthenticate(ctx); err != nil && !errors.Is(err, usersession.ErrSessionEnded) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}})
	old := mwLogin(t, h, "u")
	w := mwGet(h, "/x", old)
	if w.Code != 200 {
		t.Fatalf("got %d %q", w.Code, w.Body)
	}
	mwWantUser(t, m, h, mwToken(w), "u")
	mwWantUser(t, m, h, old, "")
	mwWantSessions(t, m, "u", 1)
	for i := range 8 {
		if got := mwGet(h, fmt.Sprint("/get?k=k", i), mwToken(w)).Body.String(); got != "v" {
			t.Errorf("k%d is %q", i, got)
		}
	}
}

func TestLoginFromManyGoroutines(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				if err := m.Login(r.Context(), fmt.Sprint("u", i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}})
	w := mwGet(h, "/x", "")
	who := mwGet(h, "/me", mwToken(w)).Body.String()
	if who == "" {
		t.Fatal("nobody is logged in")
	}
	for i := range 6 {
		want := 0
		if fmt.Sprint("u", i) == who {
			want = 1
		}
		mwWantSessions(t, m, fmt.Sprint("u", i), want)
	}
}

func TestWrappedTwice(t *testing.T) {
	m := mwNew(t, nil)
	h := m.LoadAndSave(m.LoadAndSave(mwRoutes(m, nil)))
	w := mwGet(h, "/login?u=u", "")
	if n := len(w.Result().Header.Values("Set-Cookie")); n != 1 {
		t.Errorf("%d cookies", n)
	}
	if v := w.Result().Header.Values("Vary"); !slices.Equal(v, []string{"Cookie"}) {
		t.Errorf("Vary is %q", v)
	}
	mwWantUser(t, m, h, mwToken(w), "u")
}

func TestTwoManagersInOneChain(t *testing.T) {
	outer := mwNew(t, nil)
	s := scs.New()
	s.Cookie.Name, s.Cookie.Secure = "admin", true
	inner := mwNew(t, &usersession.Options{SCS: s})
	fail := false
	h := outer.LoadAndSave(inner.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u := r.FormValue("outer"); u != "" {
			if err := outer.Login(r.Context(), u); err != nil {
				t.Error(err)
			}
		}
		if u := r.FormValue("inner"); u != "" {
			if err := inner.Login(r.Context(), u); err != nil {
				t.Error(err)
			}
		}
		if fail {
			inner.Put(r.Context(), "k", "v")
			outer.Put(r.Context(), "k", "v")
			inner.RevokeAllSessions(context.Background(), "b")
		}
		fmt.Fprintf(w, "%s,%s", outer.UserID(r.Context()), inner.UserID(r.Context()))
	})))
	b := mwBrowse(t, mwServer(t, h, false))
	res := b.want("/?outer=a&inner=b", 200, "a,b")
	if n := len(res.Cookies()); n != 2 {
		t.Errorf("%d cookies", n)
	}
	if v := res.Header.Values("Vary"); !slices.Equal(v, []string{"Cookie"}) {
		t.Errorf("Vary is %q", v)
	}
	b.want("/", 200, "a,b")
	fail = true
	if res, body := b.get("/"); res.StatusCode != 401 || strings.Contains(body, "a,b") {
		t.Errorf("got %d %q", res.StatusCode, body)
	}
	fail = false
	b.want("/", 200, "a,")
	if got := mwGet(h, "/", res.Cookies()[0].Value).Body.String(); got == ",a" || got == "b," {
		t.Errorf("a token of one manager is accepted by the other: %q", got)
	}
}

func TestCacheControlAndVary(t *testing.T) {
	m := mwNew(t, nil)
	own := func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Cache-Control", "private, max-age=1") }
	mux := http.NewServeMux()
	mux.HandleFunc("/anonymous", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) { m.Login(r.Context(), "u") })
	mux.HandleFunc("/login-own", func(w http.ResponseWriter, r *http.Request) { own(w, r); m.Login(r.Context(), "u") })
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) { m.Logout(r.Context()) })
	mux.HandleFunc("/vary", func(w http.ResponseWriter, r *http.Request) { w.Header().Add("Vary", "Accept") })
	mux.Handle("/private", m.RequireUser(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	mux.Handle("/private-own", m.RequireUser(http.HandlerFunc(own)))
	h := m.LoadAndSave(mux)
	token := mwToken(mwGet(h, "/login", ""))
	cases := []struct{ path, token, cache string }{
		{"/anonymous", "", ""}, {"/anonymous", token, ""}, {"/anonymous", "junk", "no-store"},
		{"/login", "", "no-store"}, {"/login-own", "", "private, max-age=1"},
		{"/private", "", "no-store"}, {"/private", token, "no-store"}, {"/private-own", token, "private, max-age=1"},
		{"/private-own", "", "no-store"}, {"/vary", token, ""},
	}
	for _, c := range cases {
		t.Run(c.path+" "+c.token, func(t *testing.T) {
			res := mwGet(h, c.path, c.token).Result()
			if got := strings.Join(res.Header.Values("Cache-Control"), " | "); got != c.cache {
				t.Errorf("Cache-Control is %q, want %q", got, c.cache)
			}
			n := 0
			for _, v := range res.Header.Values("Vary") {
				n += strings.Count(v, "Cookie")
			}
			if n != 1 {
				t.Errorf("Vary is %q", res.Header.Values("Vary"))
			}
		})
	}
	if got := mwGet(h, "/logout", token).Result().Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("logout: Cache-Control is %q", got)
	}
}

func TestCookieAttributes(t *testing.T) {
	login := func(opts ...usersession.LoginOption) func(context.Context, *usersession.Manager) {
		return func(ctx context.Context, m *usersession.Manager) { m.Login(ctx, "u", opts...) }
	}
	withSCS := func(fn func(*scs.SessionManager)) func() *usersession.Options {
		return func() *usersession.Options {
			s := scs.New()
			fn(s)
			return &usersession.Options{SCS: s}
		}
	}
	defaults := func() *usersession.Options { return nil }
	persist := withSCS(func(s *scs.SessionManager) { s.Cookie.Persist = true })
	const day = 24 * 60 * 60
	cases := []struct {
		name   string
		opts   func() *usersession.Options
		act    func(context.Context, *usersession.Manager)
		want   string // without value and expiry
		maxAge int    // seconds; 0: the cookie does not persist
	}{
		{"default", defaults, login(), "__Host-session; Path=/; HttpOnly; Secure; SameSite=Lax", 0},
		{"anonymous", defaults, func(ctx context.Context, m *usersession.Manager) { m.Put(ctx, "k", "v") }, "__Host-session; Path=/; HttpOnly; Secure; SameSite=Lax", 0},
		{"insecure", func() *usersession.Options { return &usersession.Options{InsecureCookies: true} }, login(), "session; Path=/; HttpOnly; SameSite=Lax", 0},
		{"WithPersistentCookie(true)", defaults, login(usersession.WithPersistentCookie(true)), "__Host-session; Path=/; HttpOnly; Secure; SameSite=Lax", day},
		{"WithPersistentCookie(true) and a lifetime", defaults, login(usersession.WithPersistentCookie(true), usersession.WithLifetime(30*day*time.Second)), "__Host-session; Path=/; HttpOnly; Secure; SameSite=Lax", 30 * day},
		{"WithPersistentCookie(false) over Persist", persist, login(usersession.WithPersistentCookie(false)), "session; Path=/; HttpOnly; SameSite=Lax", 0},
		{"scs Persist", persist, login(), "session; Path=/; HttpOnly; SameSite=Lax", day},
		{"RememberMe", defaults, func(ctx context.Context, m *usersession.Manager) { m.Login(ctx, "u"); m.RememberMe(ctx, true) }, "__Host-session; Path=/; HttpOnly; Secure; SameSite=Lax", day},
		{"RememberMe before Login", defaults, func(ctx context.Context, m *usersession.Manager) { m.RememberMe(ctx, true); m.Login(ctx, "u") }, "__Host-session; Path=/; HttpOnly; Secure; SameSite=Lax", day},
		{"RememberMe(false) over Persist", persist, func(ctx context.Context, m *usersession.Manager) { m.Login(ctx, "u"); m.RememberMe(ctx, false) }, "session; Path=/; HttpOnly; SameSite=Lax", day},
		{"SetDeadline", persist, func(ctx context.Context, m *usersession.Manager) {
			m.Login(ctx, "u")
			m.SetDeadline(ctx, time.Now().Add(time.Hour))
		}, "session; Path=/; HttpOnly; SameSite=Lax", 60 * 60},
		{"scs settings", withSCS(func(s *scs.SessionManager) {
			s.Cookie.Name, s.Cookie.Domain, s.Cookie.Path = "mine", "example.com", "/app"
			s.Cookie.HttpOnly, s.Cookie.Secure, s.Cookie.Partitioned, s.Cookie.Persist = false, true, true, false
			s.Cookie.SameSite = http.SameSiteStrictMode
		}), login(), "mine; Path=/app; Domain=example.com; Secure; SameSite=Strict; Partitioned", 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := mwNew(t, c.opts())
			h := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.act(r.Context(), m) }))
			cookies := mwGet(h, "/", "").Result().Cookies()
			if len(cookies) != 1 {
				t.Fatalf("%d cookies", len(cookies))
			}
			got := *cookies[0]
			if raw, err := base64.RawURLEncoding.DecodeString(got.Value); err != nil || len(raw) != 32 {
				t.Errorf("the token is %q", got.Value)
			}
			if c.maxAge == 0 && (got.MaxAge != 0 || !got.Expires.IsZero()) {
				t.Errorf("the cookie persists: %d, %v", got.MaxAge, got.Expires)
			}
			if c.maxAge > 0 && (got.MaxAge < c.maxAge-60 || got.MaxAge > c.maxAge+1 ||
				time.Until(got.Expires).Seconds() > float64(c.maxAge+2) || time.Until(got.Expires).Seconds() < float64(c.maxAge-60)) {
				t.Errorf("Max-Age is %d, Expires in %v, want %d", got.MaxAge, time.Until(got.Expires), c.maxAge)
			}
			got.Value, got.MaxAge, got.Expires, got.RawExpires = "", 0, time.Time{}, ""
			if s := strings.Replace(got.String(), "=;", ";", 1); s != c.want {
				t.Errorf("the cookie is %q, want %q", s, c.want)
			}
		})
	}
}

// A program must not swap what the index relies on.
func TestSwappedAfterNew(t *testing.T) {
	for name, swap := range map[string]func(*usersession.Manager){
		"Store":            func(m *usersession.Manager) { m.Store = scs.New().Store },
		"nil Store":        func(m *usersession.Manager) { m.Store = nil },
		"Codec":            func(m *usersession.Manager) { m.Codec = scs.GobCodec{} },
		"nil Codec":        func(m *usersession.Manager) { m.Codec = nil },
		"IdleTimeout":      func(m *usersession.Manager) { m.IdleTimeout = time.Hour },
		"HashTokenInStore": func(m *usersession.Manager) { m.HashTokenInStore = true },
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			m := mwNew(t, &usersession.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			h := mwRoutes(m, nil)
			token := mwLogin(t, h, "u")
			swap(m)
			if w := mwGet(h, "/me", token); w.Code != 500 || strings.Contains(w.Body.String(), "u\n") {
				t.Errorf("got %d %q", w.Code, w.Body)
			}
			if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "after New") {
				t.Errorf("the log says %q, want one line", log.String())
			}
		})
	}
}

func TestRequireUserAndRequireFresh(t *testing.T) {
	for _, custom := range []bool{false, true} {
		o := &usersession.Options{}
		refused := 401
		if custom {
			refused = 303
			o.OnUnauthenticated = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/login", http.StatusSeeOther)
			})
		}
		m := mwNew(t, o)
		inside := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, m.UserID(r.Context())) })
		mux := http.NewServeMux()
		mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) { m.Login(r.Context(), "u") })
		mux.HandleFunc("/put", func(w http.ResponseWriter, r *http.Request) { m.Put(r.Context(), "k", "v") })
		mux.Handle("/user", m.RequireUser(inside))
		mux.Handle("/fresh", m.RequireFresh(time.Hour)(inside))
		mux.Handle("/stale", m.RequireFresh(time.Nanosecond)(inside))
		mux.Handle("/zero", m.RequireFresh(0)(inside))
		mux.Handle("/negative", m.RequireFresh(-time.Hour)(inside))
		mux.Handle("/just", m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m.Login(r.Context(), "u")
			m.RequireFresh(time.Minute)(inside).ServeHTTP(w, r) // in the same request
		})))
		h := m.LoadAndSave(mux)
		user, visitor := mwToken(mwGet(h, "/login", "")), mwToken(mwGet(h, "/put", ""))
		for _, c := range []struct {
			path, token string
			status      int
		}{
			{"/user", user, 200}, {"/user", visitor, refused}, {"/user", "", refused}, {"/user", "junk", refused},
			{"/fresh", user, 200}, {"/fresh", visitor, refused}, {"/fresh", "", refused},
			{"/stale", user, refused}, {"/zero", user, refused}, {"/negative", user, refused}, {"/just", "", 200},
		} {
			t.Run(fmt.Sprintf("custom=%v%s %.3s", custom, c.path, c.token), func(t *testing.T) {
				w := mwGet(h, c.path, c.token)
				if w.Code != c.status || w.Code == 200 && w.Body.String() != "u" {
					t.Errorf("got %d %q, want %d", w.Code, w.Body, c.status)
				}
				if got := w.Result().Header.Get("Cache-Control"); got != "no-store" {
					t.Errorf("Cache-Control is %q", got)
				}
			})
		}
	}
}

// Without LoadAndSave around it, RequireUser lets nobody in.
func TestRequireUserOutside(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, nil)
	token := mwLogin(t, h, "u")
	for name, outside := range map[string]http.Handler{"RequireUser": m.RequireUser(h), "RequireFresh": m.RequireFresh(time.Hour)(h)} {
		if w := mwGet(outside, "/me", token); w.Code != 401 {
			t.Errorf("%s: %d %q", name, w.Code, w.Body)
		}
	}
}

func TestAfterTheResponseStarted(t *testing.T) {
	m := mwNew(t, nil)
	calls := map[string]func(context.Context) error{
		"Login":          func(ctx context.Context) error { return m.Login(ctx, "v") },
		"Reauthenticate": func(ctx context.Context) error { return m.Reauthenticate(ctx) },
		"RenewToken":     func(ctx context.Context) error { return m.RenewToken(ctx) },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			var late context.Context
			h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
				late = r.Context()
				io.WriteString(w, "x")
				if err := call(r.Context()); !errors.Is(err, usersession.ErrResponseStarted) {
					t.Errorf("%s: %v", name, err)
				}
			}})
			token := mwLogin(t, h, "u")
			before := mwIDs(t, m, "u")
			mwGet(h, "/x", token)
			if err := call(late); !errors.Is(err, usersession.ErrResponseStarted) {
				t.Errorf("%s after the request: %v", name, err)
			}
			mwWantUser(t, m, h, token, "u")
			mwWantSessions(t, m, "v", 0)
			if after := mwIDs(t, m, "u"); !slices.Equal(before, after) {
				t.Errorf("sessions before %v, after %v", before, after)
			}
		})
	}
}

// A login that overlaps the first byte either takes effect or says that it does
// not (I10).
func TestLoginWhileTheResponseStarts(t *testing.T) {
	var respond func()
	m := mwNew(t, &usersession.Options{MaxSessions: 1, OnEvent: func(_ context.Context, e usersession.Event) {
		if e.Kind == usersession.EventEnded && respond != nil {
			// Login has evicted a session and is not done: another goroutine
			// of the handler would write at this moment.
			fn := respond
			respond = nil
			fn()
		}
	}})
	var err error
	h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		respond = func() { io.WriteString(w, "x") }
		err = m.Login(r.Context(), "u")
	}})
	mwLogin(t, h, "u")
	w := mwGet(h, "/x", "")
	loggedIn := mwToken(w) != "" && mwGet(h, "/me", mwToken(w)).Body.String() == "u"
	if loggedIn != (err == nil) {
		t.Errorf("Login returned %v, and the browser is logged in: %v", err, loggedIn)
	}
}

func TestWithoutTheMiddleware(t *testing.T) {
	m, other := mwNew(t, nil), mwNew(t, nil)
	ctx := t.Context()
	if got := m.UserID(ctx); got != "" {
		t.Errorf("UserID is %q", got)
	}
	foreign, err := other.Load(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, ctx := range map[string]context.Context{"bare": ctx, "of another manager": foreign} {
		for call, err := range map[string]error{
			"Login":               m.Login(ctx, "u"),
			"Reauthenticate":      m.Reauthenticate(ctx),
			"Logout":              m.Logout(ctx),
			"Current":             mwErr(m.Current(ctx)),
			"RevokeOtherSessions": mwErr(m.RevokeOtherSessions(ctx)),
		} {
			if !errors.Is(err, usersession.ErrNoSession) {
				t.Errorf("%s, %s context: %v", call, name, err)
			}
		}
	}
	mwWantSessions(t, m, "u", 0)
}

func mwErr[T any](_ T, err error) error { return err }

// I7: the raw token is in the browser and in the request's memory, nowhere else.
func TestTokenIsSecret(t *testing.T) {
	for _, backend := range []string{"sql", "memory"} {
		t.Run(backend, func(t *testing.T) {
			var logged, events, texts bytes.Buffer
			var mu sync.Mutex
			store := mwNewStore()
			o := &usersession.Options{
				Logger: slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
				OnEvent: func(_ context.Context, e usersession.Event) {
					mu.Lock()
					defer mu.Unlock()
					fmt.Fprintf(&events, "%+v %v\n", e, e.Err)
				},
				MaxSessions: 2,
			}
			if backend == "memory" {
				o.Store = store
			}
			db, path := mwOpen(t)
			m, err := usersession.New(db, o)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			note := func(err error) { fmt.Fprintf(&texts, "%v\n%+v\n%#v\n", err, err, err) }
			h := mwRoutes(m, map[string]http.HandlerFunc{
				"/renew":  func(w http.ResponseWriter, r *http.Request) { note(m.RenewToken(r.Context())) },
				"/reauth": func(w http.ResponseWriter, r *http.Request) { note(m.Reauthenticate(r.Context())) },
				"/scs":    func(w http.ResponseWriter, r *http.Request) { note(m.SessionManager.RenewToken(r.Context())) },
				"/merge": func(w http.ResponseWriter, r *http.Request) {
					note(m.MergeSession(r.Context(), r.FormValue("t")))
				},
				"/ended": func(w http.ResponseWriter, r *http.Request) {
					m.Put(r.Context(), "k", "v")
					m.RevokeAllSessions(context.Background(), "u")
					_, err := io.WriteString(w, "x")
					note(err)
				},
				"/panic": func(w http.ResponseWriter, r *http.Request) { m.Login(r.Context(), "u"); panic("x") },
			})
			var tokens []string
			step := func(path, token string) string {
				w := mwGet(h, path, token)
				if got := mwToken(w); got != "" {
					tokens = append(tokens, got)
					return got
				}
				return token
			}
			tok := step("/put?k=a&v=b", "")
			tok = step("/login?u=u", tok)
			for range 3 {
				step("/login?u=u", "")
			}
			tok = step("/login?u=u", tok)
			for _, p := range []string{"/renew", "/reauth", "/scs", "/put?k=c&v=d"} {
				tok = step(p, tok)
			}
			step("/merge?t="+step("/put?k=m&v=n", ""), tok)
			func() {
				defer func() { recover() }()
				step("/panic", tok)
			}()
			step("/ended", tok)
			tok = step("/login?u=u", "")
			if backend == "memory" {
				store.before = func(string, string) error { return errors.New("down") }
				step("/put?k=c&v=d", tok)
				_, err := m.RevokeAllSessions(t.Context(), "u")
				note(err)
				store.before = nil
			}
			_, err = m.Prune(t.Context())
			note(err)
			step("/logout", tok)
			tok = step("/login?u=u", "")
			db.Close()
			step("/me", tok)
			step("/put?k=c&v=d", tok)

			places := map[string][]byte{"log": logged.Bytes(), "events": events.Bytes(), "errors": texts.Bytes()}
			files, _ := filepath.Glob(path + "*")
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				places[filepath.Base(f)] = b
			}
			for key, data := range store.written {
				places["store key "+key] = []byte(key)
				places["store value "+key] = data
			}
			if len(tokens) < 10 || events.Len() == 0 || logged.Len() == 0 || len(places["mw.db"]) == 0 {
				t.Fatalf("%d tokens, %d events, %d log bytes, %d places: nothing is tested", len(tokens), events.Len(), logged.Len(), len(places))
			}
			for _, token := range tokens {
				raw, _ := base64.RawURLEncoding.DecodeString(token)
				for place, b := range places {
					for form, secret := range map[string][]byte{
						"token": []byte(token), "head": []byte(token[:16]), "tail": []byte(token[20:36]),
						"bytes": raw, "hex": []byte(hex.EncodeToString(raw)[:24]),
					} {
						if bytes.Contains(b, secret) {
							t.Errorf("the %s of a token is in the %s", form, place)
						}
					}
				}
			}
		})
	}
}

// OnEvent may call the Manager, and its context has no session to wait for.
func TestOnEventMayCallTheManager(t *testing.T) {
	var m *usersession.Manager
	seen := make(map[usersession.EventKind]int)
	opts := &usersession.Options{MaxSessions: 1, OnEvent: func(ctx context.Context, e usersession.Event) {
		seen[e.Kind]++
		if u := m.UserID(ctx); u != "" {
			t.Errorf("%s: the context is %s's", e.Kind, u)
		}
		if _, err := m.ListSessions(ctx, "u"); err != nil {
			t.Errorf("%s: %v", e.Kind, err)
		}
		if err := m.Login(ctx, "v"); !errors.Is(err, usersession.ErrNoSession) {
			t.Errorf("%s: Login: %v", e.Kind, err)
		}
		if e.Kind == usersession.EventLogin {
			if err := m.WithSession(ctx, e.UserID, e.SessionID, func(ctx context.Context) error {
				m.Put(ctx, "seen", "yes")
				return nil
			}); err != nil {
				t.Errorf("WithSession: %v", err)
			}
		}
	}}
	m = mwNew(t, opts)
	h := mwRoutes(m, map[string]http.HandlerFunc{
		"/renew": func(w http.ResponseWriter, r *http.Request) { m.RenewToken(r.Context()) },
		"/ended": func(w http.ResponseWriter, r *http.Request) {
			m.Put(r.Context(), "k", "v")
			m.RevokeAllSessions(r.Context(), "u")
			m.Put(r.Context(), "k", "v")
		},
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		mwLogin(t, h, "u")
		tok := mwLogin(t, h, "u")
		if got := mwGet(h, "/get?k=seen", tok).Body.String(); got != "yes" {
			t.Errorf("what OnEvent put is %q", got)
		}
		tok = mwToken(mwGet(h, "/renew", tok))
		mwGet(h, "/ended", tok)
		mwGet(h, "/logout", mwLogin(t, h, "u"))
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("deadlock")
	}
	for _, kind := range []usersession.EventKind{usersession.EventLogin, usersession.EventRenewed, usersession.EventEnded} {
		if seen[kind] == 0 {
			t.Errorf("no event %s", kind)
		}
	}
}

// A second Login of one request that fails leaves nobody logged in whom the
// commit will not log in.
func TestFailedSecondLogin(t *testing.T) {
	for _, c := range []struct{ name, former string }{{"visitor", ""}, {"logged in", "a"}} {
		t.Run(c.name, func(t *testing.T) {
			m := mwNew(t, &usersession.Options{MaxSessions: 1, OnLimit: usersession.Reject})
			var inside string
			h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
				if err := m.Login(r.Context(), "b"); err != nil {
					t.Error(err)
				}
				m.Put(r.Context(), "of", "b")
				if err := m.Login(r.Context(), "full"); !errors.Is(err, usersession.ErrTooManySessions) {
					t.Errorf("the second Login: %v", err)
				}
				inside = m.UserID(r.Context())
			}})
			mwLogin(t, h, "full")
			token := ""
			if c.former != "" {
				token = mwLogin(t, h, c.former)
				mwGet(h, "/put?k=mine&v=yes", token)
			}
			w := mwGet(h, "/x", token)
			if got := mwToken(w); got != "" {
				token = got
			}
			after := mwGet(h, "/me", token).Body.String()
			if inside != after {
				t.Errorf("inside the request the user is %q, afterwards %q", inside, after)
			}
			if after == c.former {
				if got := mwGet(h, "/get?k=of", token).Body.String(); c.former != "" && got != "" {
					t.Errorf("the session of %s holds data of %s", c.former, got)
				}
			}
			n := 0
			if after == "b" {
				n = 1
			}
			mwWantSessions(t, m, "b", n)
		})
	}
}

// Metadata of a Reauthenticate take effect with the response, and within the
// limits of WithMeta.
func TestReauthenticateMeta(t *testing.T) {
	many := func(prefix string) usersession.LoginOption {
		pairs := make(map[string]string)
		for i := range 32 {
			pairs[fmt.Sprint(prefix, i)] = "v"
		}
		return usersession.WithMeta(pairs)
	}
	m := mwNew(t, nil)
	var err error
	h := mwRoutes(m, map[string]http.HandlerFunc{
		"/panic": func(w http.ResponseWriter, r *http.Request) {
			m.Reauthenticate(r.Context(), usersession.WithMethod("passkey"))
			panic("x")
		},
		"/many": func(w http.ResponseWriter, r *http.Request) {
			err = m.Reauthenticate(r.Context(), many(r.FormValue("p")))
		},
	})
	token := mwLogin(t, h, "u")
	t.Run("not before the commit", func(t *testing.T) {
		func() {
			defer func() { recover() }()
			mwGet(h, "/panic", token)
		}()
		if list, _ := m.ListSessions(t.Context(), "u"); len(list[0].Meta) != 0 {
			t.Errorf("the metadata are %v", list[0].Meta)
		}
	})
	t.Run("bounded", func(t *testing.T) {
		for _, p := range []string{"a", "b", "c"} {
			if got := mwToken(mwGet(h, "/many?p="+p, token)); got != "" {
				token = got
			}
		}
		if list, _ := m.ListSessions(t.Context(), "u"); len(list[0].Meta) > 32 {
			t.Errorf("%d pairs of metadata, last error %v", len(list[0].Meta), err)
		}
	})
}
