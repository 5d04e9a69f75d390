package manager_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// stepRoutes are routes that ask for more than a user, and what comes to the program's
// own answer.
func stepRoutes(m *usersession.Manager) map[string]http.HandlerFunc {
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, m.UserID(r.Context())) })
	return map[string]http.HandlerFunc{
		"/fresh":  m.RequireFresh(time.Hour)(ok).ServeHTTP,
		"/one":    m.RequireLevel(usersession.AAL1, 0)(ok).ServeHTTP,
		"/two":    m.RequireLevel(usersession.AAL2, 0)(ok).ServeHTTP,
		"/hour":   m.RequireLevel(usersession.AAL2, time.Hour)(ok).ServeHTTP,
		"/moment": m.RequireLevel(usersession.AAL2, time.Nanosecond)(ok).ServeHTTP,
	}
}

// TestRequireLevelSaysWhatIsNeeded tells who has to log in, who to prove it again, and
// who to prove more.
func TestRequireLevelSaysWhatIsNeeded(t *testing.T) {
	var need usersession.StepUp
	o := &usersession.Options{OnStaleLogin: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		need, _ = usersession.StepUpOf(r.Context())
		w.WriteHeader(499)
	})}
	m := mwNew(t, o)
	h := mwRoutes(m, stepRoutes(m))
	login := func(opts ...usersession.LoginOption) string {
		return mwToken(directRun(m, "", func(ctx context.Context) {
			if err := m.Login(ctx, "u", opts...); err != nil {
				t.Error(err)
			}
		}))
	}
	none, one, two := login(), login(usersession.WithLevel(usersession.AAL1)), login(usersession.WithLevel(usersession.AAL2), usersession.WithIdleTimeout(time.Hour))
	const insufficient = `Session error="insufficient_user_authentication", `
	for _, c := range []struct {
		path, token string
		status      int
		challenge   string
		need        usersession.StepUp
	}{
		{"/two", "", 401, "", usersession.StepUp{}},
		{"/one", none, 499, insufficient + `acr_values="AAL1"`, usersession.StepUp{Level: usersession.AAL1}},
		{"/one", one, 200, "", usersession.StepUp{}},
		{"/one", two, 200, "", usersession.StepUp{}},
		{"/two", one, 499, insufficient + `acr_values="AAL2"`, usersession.StepUp{Level: usersession.AAL2, Have: usersession.AAL1}},
		{"/two", two, 200, "", usersession.StepUp{}},
		{"/hour", two, 200, "", usersession.StepUp{}},
		{"/hour", one, 499, insufficient + `acr_values="AAL2", max_age="3600"`, usersession.StepUp{Level: usersession.AAL2, Have: usersession.AAL1, MaxAge: time.Hour}},
		{"/moment", two, 499, insufficient + `acr_values="AAL2", max_age="0"`, usersession.StepUp{Level: usersession.AAL2, Have: usersession.AAL2, MaxAge: time.Nanosecond}},
		{"/fresh", one, 200, "", usersession.StepUp{}},
	} {
		need = usersession.StepUp{}
		w := mwGet(h, c.path, c.token)
		if got := w.Header().Get("WWW-Authenticate"); w.Code != c.status || got != c.challenge || need != c.need {
			t.Errorf("%s as %.4q: %d, %q, %+v; want %d, %q, %+v", c.path, c.token, w.Code, got, need, c.status, c.challenge, c.need)
		}
		if want := c.need.Level > c.need.Have; need.Higher() != want {
			t.Errorf("%s: Higher is %v", c.path, !want)
		}
	}
	if _, ok := usersession.StepUpOf(t.Context()); ok {
		t.Error("a context that was refused nothing has a StepUp")
	}
}

// TestReauthenticateRaisesTheLevel wants a proof to count for the session whose user has
// given it, under a new token only.
func TestReauthenticateRaisesTheLevel(t *testing.T) {
	for name, store := range directBackends {
		t.Run(name, func(t *testing.T) {
			m := mwNew(t, &usersession.Options{Store: store()})
			h := mwRoutes(m, stepRoutes(m))
			want := func(when, path, token string, status int) {
				t.Helper()
				if w := mwGet(h, path, token); w.Code != status {
					t.Errorf("%s: %s = %d, want %d", when, path, w.Code, status)
				}
			}
			reauthenticate := func(token string, target error, opts ...usersession.LoginOption) string {
				t.Helper()
				return mwToken(directRun(m, token, func(ctx context.Context) {
					if err := m.Reauthenticate(ctx, opts...); !errors.Is(err, target) {
						t.Errorf("Reauthenticate: %v, want %v", err, target)
					}
				}))
			}
			low := mwToken(directRun(m, "", func(ctx context.Context) {
				m.Login(ctx, "u", usersession.WithLevel(usersession.AAL1), usersession.WithMethod("password"), usersession.WithUserID("u"))
			}))
			level2 := usersession.WithLevel(usersession.AAL2)
			if tok := reauthenticate(low, usersession.ErrOtherUser, level2, usersession.WithUserID("v")); tok != "" {
				t.Error("a new token for the credentials of another user")
			}
			want("after another user's proof", "/two", low, 401)
			high := reauthenticate(low, nil, level2, usersession.WithUserID("u"), usersession.WithMethod("passkey"))
			want("raised", "/hour", high, 200)
			want("the old token", "/one", low, 401)
			mwWantUser(t, m, h, low, "")

			list, err := m.ListSessions(t.Context(), "u")
			if err != nil || len(list) != 1 || list[0].Level() != usersession.AAL2 || list[0].Meta[usersession.MetaMethod] != "passkey" {
				t.Fatalf("the list has %+v, %v", list, err)
			}
			var at time.Time
			directRun(m, high, func(ctx context.Context) { _, at = m.Level(ctx) })
			lower := reauthenticate(high, nil, usersession.WithLevel(usersession.AAL1))
			want("after a lower proof", "/two", lower, 200)
			directRun(m, lower, func(ctx context.Context) {
				if l, since := m.Level(ctx); l != usersession.AAL2 || !since.Equal(at) {
					t.Errorf("a lower proof left level %v of %v, want %v of %v", l, since, usersession.AAL2, at)
				}
				if s, err := m.Current(ctx); err != nil || s.Level() != usersession.AAL2 {
					t.Errorf("the row has level %v, %v", s.Level(), err)
				}
			})
			again := reauthenticate(lower, nil, level2)
			directRun(m, again, func(ctx context.Context) {
				if _, since := m.Level(ctx); !since.After(at) {
					t.Error("the same proof again did not make the level fresh")
				}
				m.Put(ctx, "k", "v")
			})
			want("after new data", "/two", again, 200)
			renewed := mwToken(directRun(m, again, func(ctx context.Context) { m.RenewToken(ctx) }))
			want("after RenewToken", "/two", renewed, 200)
			if err := m.InSession(t.Context(), "u", list[0].ID, func(ctx context.Context) error { m.Put(ctx, "k", "w"); return nil }); err != nil {
				t.Fatal(err)
			}
			want("after InSession", "/two", renewed, 200)
			if other := mwLogin(t, h, "u"); mwGet(h, "/one", other).Code != 401 {
				t.Error("another session of the user has the level")
			}
		})
	}
}

// TestLevelIsNotRaisedByHalf lets the Store fail in the middle: the token that the
// browser keeps has the level that it had.
func TestLevelIsNotRaisedByHalf(t *testing.T) {
	for _, op := range []string{"create", "delete"} {
		store := mwNewStore()
		m := mwNew(t, &usersession.Options{Store: store})
		h := mwRoutes(m, stepRoutes(m))
		low := mwLogin(t, h, "u")
		store.before = func(asked, _ string) error {
			if asked == op {
				return errors.New("down")
			}
			return nil
		}
		w := directRun(m, low, func(ctx context.Context) { m.Reauthenticate(ctx, usersession.WithLevel(usersession.AAL2)) })
		store.before = nil
		if w.Code != 503 || mwToken(w) != "" {
			t.Errorf("%s failed: %d and a cookie %q, want 503 and none", op, w.Code, mwToken(w))
		}
		if got := mwGet(h, "/two", low).Code; got != 401 {
			t.Errorf("%s failed: the old token has the new level, %d", op, got)
		}
		mwWantUser(t, m, h, low, "u")
	}
}

func TestStepUpOptionsAreChecked(t *testing.T) {
	m := mwNew(t, nil)
	for name, opts := range map[string][]usersession.LoginOption{
		"WithLevel":            {usersession.WithLevel(4)},
		"WithMeta: the key":    {usersession.WithMeta(map[string]string{usersession.MetaLevel: "AAL3"})},
		`"impersonated_by"`:    {usersession.WithMeta(map[string]string{usersession.MetaImpersonator: "x"})},
		"the credentials are ": {usersession.WithUserID("v")},
		"user ID is empty":     {usersession.WithUserID("")},
	} {
		directRun(m, "", func(ctx context.Context) {
			if err := m.Login(ctx, "u", opts...); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%q: the error is %v", name, err)
			}
		})
	}
	mwWantSessions(t, m, "u", 0)
	for _, level := range []usersession.Level{0, 4, -1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("RequireLevel(%v) did not panic", level)
				}
			}()
			m.RequireLevel(level, 0)
		}()
	}
}

func TestClearSiteData(t *testing.T) {
	m := mwNew(t, &usersession.Options{ClearSiteData: []string{"cache", "cookies"}})
	h := mwRoutes(m, map[string]http.HandlerFunc{
		"/out": func(w http.ResponseWriter, r *http.Request) {
			m.Logout(r.Context())
			m.Put(r.Context(), "flash", "you are logged out")
		},
		"/switch": func(w http.ResponseWriter, r *http.Request) {
			m.Logout(r.Context())
			m.Login(r.Context(), "v")
		},
		"/all": func(w http.ResponseWriter, r *http.Request) { m.RevokeAllSessions(r.Context(), "u") },
	})
	const all = `"cache", "cookies"`
	for _, c := range []struct{ path, token, want string }{
		{"/logout", mwLogin(t, h, "u"), all},
		{"/all", mwLogin(t, h, "u"), all},
		{"/out", mwLogin(t, h, "u"), `"cache"`},
		{"/switch", mwLogin(t, h, "u"), ""},
		{"/me", mwLogin(t, h, "u"), ""},
		{"/logout", "", ""},         // of another site
		{"/me", "no token", ""},     // which clears the cookie
		{"/logout", "no token", ""}, // as well
		{"/logout", strings.Repeat("A", 43), all},
	} {
		w := mwGet(h, c.path, c.token)
		if got := w.Header().Get("Clear-Site-Data"); w.Code != 200 || got != c.want {
			t.Errorf("%s with %.4q: %d, %q; want %q", c.path, c.token, w.Code, got, c.want)
		}
	}
	plain := mwNew(t, &usersession.Options{ClearSiteData: []string{"storage"}, InsecureCookies: true})
	b := mwBrowse(t, mwServer(t, mwRoutes(plain, nil), false))
	b.get("/login?u=u")
	if res, _ := b.get("/logout"); res.Header.Get("Clear-Site-Data") != `"storage"` {
		t.Errorf("over TLS: %v", res.Header)
	}
	r, _ := http.NewRequest("GET", "/logout", nil)
	r.AddCookie(&http.Cookie{Name: "session", Value: strings.Repeat("A", 43)})
	if w := recordOf(mwRoutes(plain, nil), r); w.Header().Get("Clear-Site-Data") != "" {
		t.Errorf("over plain http: %v", w.Header())
	}
	db, _ := mwOpen(t)
	for _, bad := range []string{"*", `"cache"`, ""} {
		if _, err := usersession.New(db, &usersession.Options{ClearSiteData: []string{bad}}); err == nil || !strings.Contains(err.Error(), "Options.ClearSiteData: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestFreshByIdP has a login that is as fresh as the proof at the identity provider.
func TestFreshByIdP(t *testing.T) {
	m := mwNew(t, &usersession.Options{})
	h := mwRoutes(m, map[string]http.HandlerFunc{"/pay": m.RequireFresh(5 * time.Minute)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP})
	for ago, want := range map[time.Duration]int{time.Minute: 200, 10 * time.Minute: 401} {
		token := mwToken(directRun(m, "", func(ctx context.Context) {
			if err := m.Login(ctx, "u", usersession.WithIdP("https://idp.example", "s", ""), usersession.WithCheckedAt(time.Now().Add(-ago))); err != nil {
				t.Error(err)
			}
		}))
		if w := mwGet(h, "/pay", token); w.Code != want {
			t.Errorf("%v after the proof: %d, want %d", ago, w.Code, want)
		}
	}
}
