package manager_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
	_ "modernc.org/sqlite"
)

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
		{"Login", func(ctx context.Context, m *usersession.Manager) error {
			if err := m.Login(ctx, "u"); !errors.Is(err, context.Canceled) {
				return fmt.Errorf("Login: %w", err)
			}
			return nil
		},
			func(t *testing.T, m *usersession.Manager, h http.Handler, old string, w *httptest.ResponseRecorder) {
				mwWantUser(t, m, h, old, "u")
				mwWantSessions(t, m, "u", 2) // this one and the other device
			}},
		{"RenewToken", func(ctx context.Context, m *usersession.Manager) error { return m.RenewToken(ctx) },
			func(t *testing.T, m *usersession.Manager, h http.Handler, old string, w *httptest.ResponseRecorder) {
				mwWantUser(t, m, h, old, "u")
				if got := mwToken(w); got != "" {
					t.Errorf("a token that nobody gets: %q", got)
				}
			}},
		{"Reauthenticate", func(ctx context.Context, m *usersession.Manager) error { return m.Reauthenticate(ctx) },
			func(t *testing.T, m *usersession.Manager, h http.Handler, old string, w *httptest.ResponseRecorder) {
				mwWantUser(t, m, h, old, "u")
				if got := mwToken(w); got != "" {
					t.Errorf("a token that nobody gets: %q", got)
				}
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
				want := 200
				if c.name == "RenewToken" || c.name == "Reauthenticate" {
					want = 503
				}
				if w.Code != want {
					t.Errorf("got %d %q, want %d", w.Code, w.Body, want)
				}
				c.want(t, m, h, token, w)
				if strings.HasPrefix(c.name, "Revoke") {
					mwWantUser(t, m, h, other, "")
				}
			})
		}
	}
}

// A second Login of one request that fails leaves nobody logged in whom the
// commit will not log in.
func TestFailedSecondLogin(t *testing.T) {
	for _, c := range []struct{ name, former string }{{"visitor", ""}, {"logged in", "a"}} {
		t.Run(c.name, func(t *testing.T) {
			m := mwNew(t, &usersession.Options{MaxSessions: 1, OnLimit: usersession.LimitReject})
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
