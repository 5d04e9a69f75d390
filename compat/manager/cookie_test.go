package manager_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/seed-296ca7ab/usersession"
	_ "modernc.org/sqlite"
)

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
		{"unknown before known", "__Host-session=" + unknown + "; __Host-session=" + a, "a", "no"},
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
		"Cookie.Name":        func(m *usersession.Manager) { m.Cookie.Name = "x y" },
		"Cookie.Secure":      func(m *usersession.Manager) { m.Cookie.Secure = false },
		"Cookie.HttpOnly":    func(m *usersession.Manager) { m.Cookie.HttpOnly = false },
		"Cookie.SameSite":    func(m *usersession.Manager) { m.Cookie.SameSite = http.SameSiteNoneMode },
		"Cookie.Path":        func(m *usersession.Manager) { m.Cookie.Path = "/app" },
		"Cookie.Domain":      func(m *usersession.Manager) { m.Cookie.Domain = "example.com" },
		"Cookie.Partitioned": func(m *usersession.Manager) { m.Cookie.Partitioned = true },
		"Cookie.Persist":     func(m *usersession.Manager) { m.Cookie.Persist = true },
		"Lifetime":           func(m *usersession.Manager) { m.Lifetime = 48 * time.Hour },
		"nil ErrorFunc":      func(m *usersession.Manager) { m.ErrorFunc = nil },
		"Store":              func(m *usersession.Manager) { m.Store = scs.New().Store },
		"nil Store":          func(m *usersession.Manager) { m.Store = nil },
		"Codec":              func(m *usersession.Manager) { m.Codec = scs.GobCodec{} },
		"nil Codec":          func(m *usersession.Manager) { m.Codec = nil },
		"IdleTimeout":        func(m *usersession.Manager) { m.IdleTimeout = time.Hour },
		"HashTokenInStore":   func(m *usersession.Manager) { m.HashTokenInStore = true },
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
			if w := mwGet(h, "/login?u=u", ""); w.Code != 500 || w.Header()["Set-Cookie"] != nil {
				t.Errorf("a login: got %d with the cookies %q", w.Code, w.Header()["Set-Cookie"])
			}
			want := strings.TrimPrefix(name, "nil ") + " of the scs manager was changed after New"
			if strings.Count(log.String(), "\n") != 2 || strings.Count(log.String(), want) != 2 {
				t.Errorf("the log says %q, want two lines with %q", log.String(), want)
			}
		})
	}
}

// It is the value that counts, and ErrorFunc may be another.
func TestSwappedBack(t *testing.T) {
	m := mwNew(t, nil)
	h := m.LoadAndSave(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	name := m.Cookie.Name
	m.Cookie.Name = "x"
	if w := mwGet(h, "/", ""); w.Code != 500 {
		t.Errorf("changed: got %d", w.Code)
	}
	m.Cookie.Name = strings.Clone(name)
	m.ErrorFunc = func(http.ResponseWriter, *http.Request, error) {}
	if w := mwGet(h, "/", ""); w.Code != 200 {
		t.Errorf("changed back, and another ErrorFunc: got %d", w.Code)
	}
}

// Around LoadAndSave that of scs would load and commit the session a second time.
func TestInsideLoadAndSaveOfSCS(t *testing.T) {
	var log bytes.Buffer
	m := mwNew(t, &usersession.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	h := m.SessionManager.LoadAndSave(mwRoutes(m, nil))
	if w := mwGet(h, "/login?u=u", ""); w.Code != 500 || w.Header()["Set-Cookie"] != nil {
		t.Errorf("got %d with the cookies %q", w.Code, w.Header()["Set-Cookie"])
	}
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "outside LoadAndSave") {
		t.Errorf("the log says %q, want one line", log.String())
	}
	mwWantSessions(t, m, "u", 0)
}
