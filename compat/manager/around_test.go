package manager_test

import (
	"bufio"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// zipWriter compresses what is written, and flushes through.
type zipWriter struct {
	http.ResponseWriter
	zip *gzip.Writer
}

func (w zipWriter) Write(b []byte) (int, error) { return w.zip.Write(b) }

func (w zipWriter) FlushError() error {
	if err := w.zip.Flush(); err != nil {
		return err
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func compressed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		defer zip.Close()
		h.ServeHTTP(zipWriter{w, zip}, r)
	})
}

func TestCompressionOnEitherSide(t *testing.T) {
	for _, side := range []string{"outside", "inside"} {
		for _, flush := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/flush=%t", side, flush), func(t *testing.T) {
				m := mwNew(t, nil)
				var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/login" {
						m.Put(r.Context(), "cart", "3")
						if err := m.Login(r.Context(), "u"); err != nil {
							t.Error(err)
						}
					}
					io.WriteString(w, m.UserID(r.Context()))
					if flush {
						if err := http.NewResponseController(w).Flush(); err != nil {
							t.Error(err)
						}
					}
					io.WriteString(w, m.GetString(r.Context(), "cart"))
				})
				if side == "inside" {
					h = m.LoadAndSave(compressed(h))
				} else {
					h = compressed(m.LoadAndSave(h))
				}
				b := mwBrowse(t, mwServer(t, h, false))
				b.Transport.(*http.Transport).DisableCompression = true
				for _, path := range []string{"/login", "/"} {
					res, body := b.get(path)
					if n := len(res.Cookies()); res.StatusCode != 200 || path == "/login" && n != 1 {
						t.Fatalf("%s = %d with %d cookies", path, res.StatusCode, n)
					}
					if got := unzip(t, body); path == "/" && got != "u3" {
						t.Errorf("%s = %q, want u3", path, got)
					}
				}
				mwWantSessions(t, m, "u", 1)
			})
		}
	}
}

func unzip(t *testing.T, body string) string {
	t.Helper()
	zip, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestUpgradeThroughAProxy has the middleware before and behind a reverse proxy.
func TestUpgradeThroughAProxy(t *testing.T) {
	for _, side := range []string{"before the proxy", "behind the proxy"} {
		t.Run(side, func(t *testing.T) {
			m := mwNew(t, nil)
			var echo http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				user := "-"
				if side == "behind the proxy" {
					user = m.UserID(r.Context())
				}
				fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
				rw.Flush()
				line, _ := rw.ReadString('\n')
				fmt.Fprint(rw, user, " ", line)
				rw.Flush()
			})
			if side == "behind the proxy" {
				echo = m.LoadAndSave(echo)
			}
			back := httptest.NewServer(echo)
			defer back.Close()
			target, err := url.Parse(back.URL)
			if err != nil {
				t.Fatal(err)
			}
			var front http.Handler = httputil.NewSingleHostReverseProxy(target)
			want := "u hello\n"
			if side == "before the proxy" {
				front = m.LoadAndSave(front)
				want = "- hello\n"
			}
			tok := mwLogin(t, mwRoutes(m, nil), "u")
			srv := mwServer(t, front, false)
			conn, err := tls.Dial("tcp", srv.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nCookie: __Host-session=%s\r\n\r\n", tok)
			in := bufio.NewReader(conn)
			res, err := http.ReadResponse(in, nil)
			if err != nil || res.StatusCode != 101 {
				t.Fatalf("got %v, %v, want 101", res, err)
			}
			fmt.Fprint(conn, "hello\n")
			if line, err := in.ReadString('\n'); line != want {
				t.Errorf("got %q, %v, want %q", line, err, want)
			}
			mwWantSessions(t, m, "u", 1)
		})
	}
}

// TestGoroutinesOfOneHandler needs the race detector to say all that it can.
func TestGoroutinesOfOneHandler(t *testing.T) {
	for name, store := range directBackends {
		t.Run(name, func(t *testing.T) {
			m := mwNew(t, &usersession.Options{Store: store()})
			h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
				var all sync.WaitGroup
				for i := range 24 {
					all.Go(func() {
						key := "k" + strconv.Itoa(i)
						m.Put(r.Context(), key, key)
						if got := m.GetString(r.Context(), key); got != key {
							t.Errorf("%s is %q", key, got)
						}
						if i%3 == 0 {
							if err := m.Login(r.Context(), "u"); err != nil {
								t.Error(err)
							}
						}
						if i%3 == 1 {
							if _, err := m.ListSessions(r.Context(), "u"); err != nil {
								t.Error(err)
							}
						}
					})
				}
				all.Wait()
			}})
			w := mwGet(h, "/x", "")
			tok := mwToken(w)
			if w.Code != 200 || tok == "" {
				t.Fatalf("got %d, token %q", w.Code, tok)
			}
			mwWantUser(t, m, h, tok, "u")
			mwWantSessions(t, m, "u", 1)
			for i := range 24 {
				key := "k" + strconv.Itoa(i)
				if got := mwGet(h, "/get?k="+key, tok).Body.String(); got != key {
					t.Errorf("%s is %q afterwards", key, got)
				}
			}
		})
	}
}
