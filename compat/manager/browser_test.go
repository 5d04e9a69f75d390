package manager_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/seed-296ca7ab/usersession"
)

// withCookies sends cookies of a name, in that order.
func withCookies(h http.Handler, path, name string, tokens ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	for _, tok := range tokens {
		r.AddCookie(&http.Cookie{Name: name, Value: tok})
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// sessionCookies returns the values of the cookies of a name that a response sets.
func sessionCookies(w *httptest.ResponseRecorder, name string) []string {
	var values []string
	for _, c := range w.Result().Cookies() {
		if c.Name == name {
			values = append(values, c.Value)
		}
	}
	return values
}

// A dead cookie of the session's name does not hide a live one, wherever it stands:
// the request is the user's, a login lasts, and a logout ends what came.
func TestDeadCookieBesideALiveOne(t *testing.T) {
	for _, name := range []string{"session", "__Host-session"} {
		for backend, store := range directBackends {
			t.Run(name+"/"+backend, func(t *testing.T) {
				sm := scs.New()
				sm.Cookie.Name, sm.Cookie.Secure, sm.Cookie.Path = name, true, "/"
				m := mwNew(t, &usersession.Options{SCS: sm, Store: store()})
				h := mwRoutes(m, nil)
				login := func(user string, with ...string) string {
					c := sessionCookies(withCookies(h, "/login?u="+user, name, with...), name)
					if len(c) != 1 || c[0] == "" {
						t.Fatalf("the login sets %q", c)
					}
					return c[0]
				}
				me := func(tokens ...string) string { return withCookies(h, "/me", name, tokens...).Body.String() }
				dead := login("d")
				withCookies(h, "/logout", name, dead)

				live := login("u", dead)
				for _, came := range [][]string{{live, dead}, {dead, live}, {"junk", dead, live}, {dead, dead, strings.Repeat("A", 43), live}} {
					if got := me(came...); got != "u" {
						t.Errorf("with the cookie at %d of %d the user is %q", slices.Index(came, live), len(came), got)
					}
				}
				var many []string
				for range 8 {
					one := login("d")
					withCookies(h, "/logout", name, one)
					many = append(many, one)
				}
				if got := me(append(many[:7:7], live)...); got != "u" {
					t.Errorf("the eighth cookie is not looked up, and is %q", got)
				}
				if got := me(append(many, live)...); got != "" {
					t.Errorf("the ninth cookie is looked up, and is %q", got)
				}

				w := withCookies(h, "/put?k=k&v=v", name, dead, live)
				if w.Code != 200 || len(sessionCookies(w, name)) != 0 {
					t.Errorf("a change is answered %d with the cookies %q", w.Code, sessionCookies(w, name))
				}
				if got := withCookies(h, "/get?k=k", name, live).Body.String(); got != "v" {
					t.Errorf("the change was lost: %q", got)
				}

				another := login("u")
				w = withCookies(h, "/logout", name, dead, live, another)
				if c := sessionCookies(w, name); w.Code != 200 || len(c) != 1 || c[0] != "" {
					t.Errorf("the logout answers %d and sets %q", w.Code, c)
				}
				scsDestroy := m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { m.SessionManager.Destroy(r.Context()) }))
				one, two := login("u"), login("u")
				withCookies(scsDestroy, "/", name, one, two)
				for _, tok := range []string{live, another, one, two} {
					if got := me(tok); got != "" {
						t.Errorf("after the logout a cookie that came is %q", got)
					}
				}
				mwWantSessions(t, m, "u", 0)
			})
		}
	}
}

// A request of another site comes without the cookie that the browser has, so its
// answer must not take that cookie away.
func TestNoCookieIsClearedThatDidNotCome(t *testing.T) {
	for name, act := range map[string]func(m *usersession.Manager, w http.ResponseWriter, ctx context.Context){
		"Logout":  func(m *usersession.Manager, w http.ResponseWriter, ctx context.Context) { m.Logout(ctx) },
		"Destroy": func(m *usersession.Manager, w http.ResponseWriter, ctx context.Context) { m.Destroy(ctx) },
		"scs Destroy": func(m *usersession.Manager, w http.ResponseWriter, ctx context.Context) {
			m.SessionManager.Destroy(ctx)
		},
		"Login and Logout": func(m *usersession.Manager, w http.ResponseWriter, ctx context.Context) {
			m.Login(ctx, "u")
			m.Logout(ctx)
		},
		"Login and scs Destroy": func(m *usersession.Manager, w http.ResponseWriter, ctx context.Context) {
			m.Login(ctx, "u")
			m.SessionManager.Destroy(ctx)
		},
		"Login, RevokeAllSessions": func(m *usersession.Manager, w http.ResponseWriter, ctx context.Context) {
			m.Login(ctx, "u")
			m.RevokeAllSessions(ctx, "u")
		},
		"Put and Logout": func(m *usersession.Manager, w http.ResponseWriter, ctx context.Context) {
			m.Put(ctx, "k", "v")
			m.Logout(ctx)
		},
		"Put and Clear": func(m *usersession.Manager, w http.ResponseWriter, ctx context.Context) {
			m.Put(ctx, "k", "v")
			m.Clear(ctx)
		},
		"Login and Clear": func(m *usersession.Manager, w http.ResponseWriter, ctx context.Context) {
			m.Login(ctx, "u")
			m.Clear(ctx)
		},
		"a cookie by hand, Logout": func(m *usersession.Manager, w http.ResponseWriter, ctx context.Context) {
			m.Login(ctx, "u")
			m.WriteSessionCookie(ctx, w, m.Token(ctx), m.Deadline(ctx))
			m.Logout(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := mwNew(t, nil)
			handler := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { act(m, w, r.Context()) }))
			w := withCookies(handler, "/", "__Host-session")
			if c := sessionCookies(w, "__Host-session"); w.Code != 200 || len(c) != 0 {
				t.Errorf("got %d, and the answer sets %q", w.Code, c)
			}
			if strings.HasSuffix(name, "Logout") {
				token := mwLogin(t, mwRoutes(m, nil), "u")
				for _, came := range []string{token, "junk"} {
					w := withCookies(handler, "/", "__Host-session", came)
					if c := sessionCookies(w, "__Host-session"); len(c) != 1 || c[0] != "" {
						t.Errorf("with a cookie, the answer sets %q", c)
					}
				}
			}
		})
	}
}

// Whatever a handler and the middleware around LoadAndSave say, no shared cache may
// keep a response that sets the session's cookie. internal/header has more of what they
// may say.
func TestCookieIsNotCached(t *testing.T) {
	type headers map[string]string
	m := mwNew(t, nil)
	for _, c := range []struct {
		name string
		set  headers
		want string // Cache-Control
	}{
		{"nothing", nil, "no-store"},
		{"public", headers{"Cache-Control": "public, max-age=3600"}, "no-store"},
		{"private", headers{"Cache-Control": "Private, max-age=60"}, "Private, max-age=60"},
		{"surrogates", headers{
			"Cache-Control": "private", "Surrogate-Control": "max-age=60", "CDN-Cache-Control": "max-age=60",
			"Cloudflare-CDN-Cache-Control": "max-age=60", "X-Accel-Expires": "60", "Edge-Control": "cache-maxage=60",
		}, "private"},
		{"Vary", headers{"Vary": "Accept-Encoding"}, "no-store"},
	} {
		for _, where := range []string{"handler", "outside"} {
			for path, act := range map[string]func(ctx context.Context, w http.ResponseWriter){
				"login":  func(ctx context.Context, w http.ResponseWriter) { m.Login(ctx, "u") },
				"put":    func(ctx context.Context, w http.ResponseWriter) { m.Put(ctx, "k", "v") },
				"logout": func(ctx context.Context, w http.ResponseWriter) { m.Logout(ctx) },
				"by hand": func(ctx context.Context, w http.ResponseWriter) {
					m.WriteSessionCookie(ctx, w, m.Token(ctx), m.Deadline(ctx))
				},
			} {
				t.Run(c.name+"/"+where+"/"+path, func(t *testing.T) {
					set := func(h http.Header) {
						for k, v := range c.set {
							h.Set(k, v)
						}
					}
					inner := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						act(r.Context(), w)
						if where == "handler" {
							set(w.Header())
						}
					}))
					w := withCookies(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if where == "outside" {
							set(w.Header())
						}
						inner.ServeHTTP(w, r)
					}), "/", "__Host-session", "junk")
					h := w.Result().Header
					if len(sessionCookies(w, "__Host-session")) != 1 {
						t.Fatalf("the cookies are %q", h["Set-Cookie"])
					}
					// scs adds to what is there.
					if got := strings.Join(h.Values("Cache-Control"), ", "); !strings.HasPrefix(got, c.want) {
						t.Errorf("Cache-Control is %q, want %q", got, c.want)
					}
					if got := h.Get("Cache-Control"); strings.Contains(got, "public") || strings.Contains(strings.ToLower(got), "s-maxage") {
						t.Errorf("Cache-Control is %q", got)
					}
					for k := range c.set {
						if k != "Cache-Control" && k != "Vary" && h.Get(k) != "" {
							t.Errorf("%s is %q", k, h.Get(k))
						}
					}
					if vary := strings.Join(h.Values("Vary"), ", "); !strings.Contains(vary, "Cookie") {
						t.Errorf("Vary is %q", vary)
					}
				})
			}
		}
	}
	t.Run("other spellings of the names", func(t *testing.T) {
		w := mwGet(m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m.Login(r.Context(), "u")
			w.Header()["cache-control"], w.Header()["CDN-Cache-Control"] = []string{"public"}, []string{"max-age=60"}
			w.Header()["expires"] = []string{"Fri, 01 Jan 2100 00:00:00 GMT"}
			w.WriteHeader(http.StatusEarlyHints)
			http.Redirect(w, r, "/", http.StatusMovedPermanently)
		})), "/", "")
		for _, name := range []string{"cache-control", "CDN-Cache-Control", "expires"} {
			if got := w.Header()[name]; got != nil {
				t.Errorf("%s is %q", name, got)
			}
		}
		if got := w.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control is %q", got)
		}
	})
	t.Run("a page for users is not for a surrogate", func(t *testing.T) {
		inner := m.LoadAndSave(m.RequireUser(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
		for _, token := range []string{"", mwLogin(t, mwRoutes(m, nil), "u")} {
			w := mwGet(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Surrogate-Control", "max-age=60")
				w.Header().Set("Cache-Control", "public")
				inner.ServeHTTP(w, r)
			}), "/", token)
			if h := w.Header(); h.Get("Surrogate-Control") != "" || h.Get("Cache-Control") != "no-store" {
				t.Errorf("the answer %d has %v", w.Code, h)
			}
		}
	})
	t.Run("without a cookie the handler decides", func(t *testing.T) {
		w := directRun(m, "", func(context.Context) {})
		if got := w.Header().Get("Cache-Control"); got != "" {
			t.Errorf("Cache-Control is %q", got)
		}
		w = mwGet(m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "public, max-age=60")
			w.Header().Set("Vary", "Accept")
		})), "/", "")
		if got := w.Header().Get("Cache-Control"); got != "public, max-age=60" {
			t.Errorf("Cache-Control is %q", got)
		}
		if got := w.Header().Values("Vary"); !slices.Equal(got, []string{"Accept", "Cookie"}) {
			t.Errorf("Vary is %q", got)
		}
	})
}
