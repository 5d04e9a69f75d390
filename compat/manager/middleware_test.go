package manager_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/seed-296ca7ab/usersession"
	_ "modernc.org/sqlite"
)

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

// TestOnStaleLogin tells who has to prove again that it is they from who has to
// log in.
func TestOnStaleLogin(t *testing.T) {
	answer := func(status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
	}
	for _, c := range []struct {
		name          string
		o             usersession.Options
		nobody, stale int
	}{
		{"defaults", usersession.Options{}, 401, 401},
		{"OnUnauthenticated", usersession.Options{OnUnauthenticated: answer(404)}, 404, 404},
		{"OnStaleLogin", usersession.Options{OnStaleLogin: answer(403)}, 401, 403},
		{"both", usersession.Options{OnUnauthenticated: answer(404), OnStaleLogin: answer(403)}, 404, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mwNew(t, &c.o)
			h := mwRoutes(m, map[string]http.HandlerFunc{"/pay": m.RequireFresh(-5 * time.Minute)(answer(200)).ServeHTTP})
			user := mwLogin(t, h, "u")
			for token, want := range map[string]struct {
				status    int
				challenge string
			}{
				"":   {c.nobody, ""},
				user: {c.stale, `Session error="insufficient_user_authentication", max_age="0"`},
			} {
				w := mwGet(h, "/pay", token)
				if got := w.Header().Get("WWW-Authenticate"); w.Code != want.status || got != want.challenge {
					t.Errorf("%.3q: %d, WWW-Authenticate %q; want %d, %q", token, w.Code, got, want.status, want.challenge)
				}
			}
		})
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
			if err := m.InSession(ctx, e.UserID, e.SessionID, func(ctx context.Context) error {
				m.Put(ctx, "seen", "yes")
				return nil
			}); err != nil {
				t.Errorf("InSession: %v", err)
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
		login := func() (token string) { // without ending the test: this is not its goroutine
			w := mwGet(h, "/login?u=u", "")
			if token = mwToken(w); token == "" {
				t.Errorf("login = %d %q", w.Code, w.Body)
			}
			return token
		}
		login()
		tok := login()
		if got := mwGet(h, "/get?k=seen", tok).Body.String(); got != "yes" {
			t.Errorf("what OnEvent put is %q", got)
		}
		tok = mwToken(mwGet(h, "/renew", tok))
		mwGet(h, "/ended", tok)
		mwGet(h, "/logout", login())
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("deadlock")
	}
	for _, kind := range []usersession.EventKind{usersession.EventLogin, usersession.EventRenewed, usersession.EventEnded} {
		if seen[kind] == 0 {
			t.Errorf("no event %s", kind)
		}
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
