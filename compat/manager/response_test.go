package manager_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	_ "modernc.org/sqlite"
)

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
		{"error status", func(w http.ResponseWriter, _ func()) { http.Error(w, "no", http.StatusUnprocessableEntity) }, "GET", 422},
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
