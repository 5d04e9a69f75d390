package manager_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/seed-296ca7ab/usersession"
)

func TestScsDirectInARequest(t *testing.T) {
	cases := []struct {
		name string
		act  func(e *directEnv, ctx context.Context)
		// who the old token and the browser's token afterwards are taken for,
		// and what is left of the value "k" for the browser.
		old, now, k string
		status      int // 0: 200
		other       int // sessions of "other" afterwards
		check       func(e *directEnv, before, after string)
	}{
		{name: "nothing", act: func(e *directEnv, ctx context.Context) {}, old: "u", now: "u", k: "v", other: 1},
		{name: "Put", act: func(e *directEnv, ctx context.Context) { e.s.Put(ctx, "k", "w") }, old: "u", now: "u", k: "w", other: 1},
		{name: "RenewToken", act: func(e *directEnv, ctx context.Context) {
			if err := e.s.RenewToken(ctx); err != nil {
				e.t.Error(err)
			}
		}, now: "u", k: "v", other: 1, check: directSameID},
		{name: "RenewToken twice", act: func(e *directEnv, ctx context.Context) { e.s.RenewToken(ctx); e.s.RenewToken(ctx) }, now: "u", k: "v", other: 1, check: directSameID},
		{name: "Manager.RenewToken", act: func(e *directEnv, ctx context.Context) { e.m.RenewToken(ctx) }, now: "u", k: "v", other: 1, check: directSameID},
		{name: "RenewToken of both", act: func(e *directEnv, ctx context.Context) { e.s.RenewToken(ctx); e.m.RenewToken(ctx) }, now: "u", k: "v", other: 1, check: directSameID},
		{name: "RenewToken of both, the other way", act: func(e *directEnv, ctx context.Context) { e.m.RenewToken(ctx); e.s.RenewToken(ctx) }, now: "u", k: "v", other: 1, check: directSameID},
		{name: "RenewToken and Login", act: func(e *directEnv, ctx context.Context) { e.s.RenewToken(ctx); e.m.Login(ctx, "u") }, now: "u", k: "v", other: 1},
		{name: "Login and RenewToken", act: func(e *directEnv, ctx context.Context) { e.m.Login(ctx, "u"); e.s.RenewToken(ctx) }, now: "u", k: "v", other: 1},
		{name: "RenewToken and Reauthenticate", act: func(e *directEnv, ctx context.Context) {
			e.s.RenewToken(ctx)
			e.m.Reauthenticate(ctx) // may say ErrSessionEnded; the session must stay in one piece
		}, now: "u", k: "v", other: 1, check: directSameID},
		{name: "RenewToken and Logout", act: func(e *directEnv, ctx context.Context) { e.s.RenewToken(ctx); e.m.Logout(ctx) }, other: 1},
		{name: "RenewToken and Destroy", act: func(e *directEnv, ctx context.Context) { e.s.RenewToken(ctx); e.s.Destroy(ctx) }, other: 1},
		{name: "Destroy", act: func(e *directEnv, ctx context.Context) {
			if err := e.s.Destroy(ctx); err != nil {
				e.t.Error(err)
			}
		}, other: 1},
		{name: "Manager.Destroy", act: func(e *directEnv, ctx context.Context) { e.m.Destroy(ctx) }, other: 1},
		{name: "Destroy and Put", act: func(e *directEnv, ctx context.Context) { e.s.Destroy(ctx); e.s.Put(ctx, "k", "w") }, k: "w", other: 1},
		{name: "Destroy and Login", act: func(e *directEnv, ctx context.Context) { e.s.Destroy(ctx); e.m.Login(ctx, "u") }, now: "u", other: 1},
		{name: "Login and Destroy", act: func(e *directEnv, ctx context.Context) { e.m.Login(ctx, "u"); e.s.Destroy(ctx) }, other: 1},
		{name: "Login, Destroy and Put", act: func(e *directEnv, ctx context.Context) { e.m.Login(ctx, "u"); e.s.Destroy(ctx); e.s.Put(ctx, "k", "w") }, k: "w", other: 1},
		{name: "Clear", act: func(e *directEnv, ctx context.Context) { e.s.Clear(ctx) }, other: 1},
		{name: "Clear and Put", act: func(e *directEnv, ctx context.Context) { e.s.Clear(ctx); e.s.Put(ctx, "k", "w") }, k: "w", other: 1},
		{name: "Clear and Login", act: func(e *directEnv, ctx context.Context) { e.s.Clear(ctx); e.m.Login(ctx, "u") }, now: "u", other: 1},
		{name: "Login and Clear", act: func(e *directEnv, ctx context.Context) { e.m.Login(ctx, "u"); e.s.Clear(ctx) }, other: 1},
		{name: "RenewToken and Clear", act: func(e *directEnv, ctx context.Context) { e.m.RenewToken(ctx); e.s.Clear(ctx); e.s.Put(ctx, "k", "w") }, k: "w", other: 1},
		{name: "Clear and RenewToken", act: func(e *directEnv, ctx context.Context) { e.s.Clear(ctx); e.s.RenewToken(ctx); e.s.Put(ctx, "k", "w") }, k: "w", other: 1},
		{name: "Clear and Manager.RenewToken", act: func(e *directEnv, ctx context.Context) { e.s.Clear(ctx); e.m.RenewToken(ctx); e.s.Put(ctx, "k", "w") }, k: "w", other: 1},
		{name: "Clear, Commit and Put", act: func(e *directEnv, ctx context.Context) {
			e.s.Clear(ctx)
			e.s.Commit(ctx)
			e.s.Put(ctx, "k", "w")
		}, k: "w", other: 1, check: func(e *directEnv, before, after string) {
			if before == after {
				e.t.Error("the token of the ended session is the token of a new one")
			}
		}},
		{name: "Remove", act: func(e *directEnv, ctx context.Context) { e.s.Remove(ctx, "k") }, old: "u", now: "u", other: 1},
		{name: "Remove the reserved key", act: func(e *directEnv, ctx context.Context) { e.s.Remove(ctx, "__usersession") }, k: "v", other: 1},
		{name: "Pop the reserved key", act: func(e *directEnv, ctx context.Context) { e.s.Pop(ctx, "__usersession") }, k: "v", other: 1},
		{name: "forged identity", act: func(e *directEnv, ctx context.Context) {
			for _, v := range []any{"other", map[string]any{"userID": "other"}, []byte("other"), 42} {
				e.s.Put(ctx, "__usersession", v)
				if u := e.m.UserID(ctx); u != "" {
					e.t.Errorf("UserID is %q with a forged %T", u, v)
				}
			}
		}, k: "v", other: 1},
		{name: "stolen identity", act: func(e *directEnv, ctx context.Context) {
			foreign, err := e.s.Load(context.Background(), e.other)
			if err != nil {
				e.t.Error(err)
			}
			e.s.Put(ctx, "__usersession", e.s.Get(foreign, "__usersession"))
		}, old: "u", now: "u", k: "v", other: 1},
		{name: "MergeSession", act: func(e *directEnv, ctx context.Context) {
			if err := e.s.MergeSession(ctx, e.other); err != nil {
				e.t.Error(err)
			}
			if u := e.m.UserID(ctx); u != "u" {
				e.t.Errorf("UserID is %q", u)
			}
			if got := e.m.GetString(ctx, "of"); got != "other" {
				e.t.Errorf("the merged value is %q", got)
			}
		}, old: "u", now: "u", k: "other", other: 0},
		{name: "MergeSession of itself", act: func(e *directEnv, ctx context.Context) { e.s.MergeSession(ctx, e.s.Token(ctx)) }, old: "u", now: "u", k: "v", other: 1},
		{name: "MergeSession of nothing", act: func(e *directEnv, ctx context.Context) {
			for _, tok := range []string{"", "junk", strings.Repeat("A", 43), "~x"} {
				if err := e.s.MergeSession(ctx, tok); err != nil {
					e.t.Error(err)
				}
			}
		}, old: "u", now: "u", k: "v", other: 1},
		{name: "MergeSession and RenewToken", act: func(e *directEnv, ctx context.Context) { e.s.MergeSession(ctx, e.other); e.s.RenewToken(ctx) }, now: "u", k: "other", other: 0, check: directSameID},
		{name: "Login and MergeSession", act: func(e *directEnv, ctx context.Context) { e.m.Login(ctx, "u"); e.s.MergeSession(ctx, e.other) }, now: "u", k: "other", other: 0},
		{name: "Manager.RenewToken and MergeSession", act: func(e *directEnv, ctx context.Context) { e.m.RenewToken(ctx); e.s.MergeSession(ctx, e.other) }, now: "u", k: "other", other: 0},
		{name: "MergeSession and Clear", act: func(e *directEnv, ctx context.Context) { e.s.MergeSession(ctx, e.other); e.s.Clear(ctx) }, other: 0},
		{name: "Commit by hand", act: func(e *directEnv, ctx context.Context) {
			for _, v := range []string{"1", "2"} {
				e.s.Put(ctx, "k", v)
				if _, _, err := e.s.Commit(ctx); err != nil {
					e.t.Error(err)
				}
			}
		}, old: "u", now: "u", k: "2", other: 1},
		{name: "Login and Commit by hand", act: func(e *directEnv, ctx context.Context) {
			e.m.Login(ctx, "u")
			if _, _, err := e.s.Commit(ctx); err != nil {
				e.t.Error(err)
			}
			e.s.Put(ctx, "k", "2")
		}, now: "u", k: "2", other: 1},
		{name: "SetDeadline shorter", act: func(e *directEnv, ctx context.Context) { e.s.SetDeadline(ctx, time.Now().Add(10*time.Minute)) }, old: "u", now: "u", k: "v", other: 1,
			check: directExpires(0, 11*time.Minute)},
		{name: "SetDeadline longer", act: func(e *directEnv, ctx context.Context) { e.s.SetDeadline(ctx, time.Now().Add(1000*time.Hour)) }, old: "u", now: "u", k: "v", other: 1,
			check: directExpires(20*time.Minute, 31*time.Minute)},
		{name: "SetDeadline longer and RenewToken", act: func(e *directEnv, ctx context.Context) {
			e.s.RenewToken(ctx)
			e.s.SetDeadline(ctx, time.Now().Add(1000*time.Hour))
		}, now: "u", k: "v", other: 1, check: directExpires(20*time.Minute, 31*time.Minute)},
		{name: "SetDeadline longer and Manager.RenewToken", act: func(e *directEnv, ctx context.Context) {
			e.m.RenewToken(ctx)
			e.s.SetDeadline(ctx, time.Now().Add(1000*time.Hour))
		}, now: "u", k: "v", other: 1, check: directExpires(20*time.Minute, 31*time.Minute)},
		{name: "Login and SetDeadline shorter", act: func(e *directEnv, ctx context.Context) {
			e.m.Login(ctx, "u")
			e.s.SetDeadline(ctx, time.Now().Add(10*time.Minute))
		}, now: "u", k: "v", other: 1, check: directExpires(0, 11*time.Minute)},
		{name: "Login and SetDeadline past", act: func(e *directEnv, ctx context.Context) {
			e.m.Login(ctx, "u")
			e.s.SetDeadline(ctx, time.Now().Add(-time.Minute))
		}, old: "u", now: "u", k: "v", status: 401, other: 1, check: directSameID},
		{name: "Login and RevokeSession of itself", act: func(e *directEnv, ctx context.Context) {
			e.m.Login(ctx, "u")
			s, err := e.m.Current(ctx)
			if err != nil {
				e.t.Error(err)
			}
			if err := e.m.RevokeSession(ctx, "u", s.ID); err != nil { // "is a logout"
				e.t.Error(err)
			}
		}, other: 1},
		{name: "SetDeadline past", act: func(e *directEnv, ctx context.Context) { e.s.SetDeadline(ctx, time.Now().Add(-time.Minute)) }, status: 401, other: 1},
		{name: "RememberMe", act: func(e *directEnv, ctx context.Context) { e.s.RememberMe(ctx, true) }, old: "u", now: "u", k: "v", other: 1},
		{name: "Token, Status and Keys", act: func(e *directEnv, ctx context.Context) {
			if e.s.Status(ctx) != scs.Unmodified || len(e.s.Token(ctx)) != 43 {
				e.t.Errorf("status %v, token %q", e.s.Status(ctx), e.s.Token(ctx))
			}
			if keys := e.m.Keys(ctx); !slices.Equal(keys, []string{"k"}) {
				e.t.Errorf("the keys are %q", keys)
			}
		}, old: "u", now: "u", k: "v", other: 1},
		{name: "Pop", act: func(e *directEnv, ctx context.Context) { e.s.PopString(ctx, "k") }, old: "u", now: "u", other: 1},
	}
	for backend, store := range directBackends {
		for _, codec := range []scs.Codec{scs.GobCodec{}, directJSON{}} {
			for _, c := range cases {
				t.Run(fmt.Sprintf("%s/%T/%s", backend, codec, c.name), func(t *testing.T) {
					t.Parallel()
					s := scs.New()
					s.Codec, s.Cookie.Name, s.Cookie.Secure = codec, "__Host-session", true
					m := mwNew(t, &usersession.Options{SCS: s, Store: store(), Lifetime: 30 * time.Minute})
					h := mwRoutes(m, nil)
					e := &directEnv{t: t, m: m, s: s, other: mwLogin(t, h, "other")}
					mwGet(h, "/put?k=of&v=other", e.other)
					mwGet(h, "/put?k=k&v=other", e.other)
					before := mwLogin(t, h, "u")
					mwGet(h, "/put?k=k&v=v", before)
					e.id = mwIDs(t, m, "u")[0]

					w := directRun(m, before, func(ctx context.Context) { c.act(e, ctx) })
					if c.status == 0 {
						c.status = 200
					}
					if w.Code != c.status {
						t.Errorf("got %d %q, want %d", w.Code, w.Body, c.status)
					}
					after := before
					if cookies := w.Result().Cookies(); len(cookies) > 0 {
						after = cookies[len(cookies)-1].Value
					}
					mwWantUser(t, m, h, before, c.old)
					mwWantUser(t, m, h, after, c.now)
					if got := mwGet(h, "/get?k=k", after).Body.String(); got != c.k {
						t.Errorf("k is %q, want %q", got, c.k)
					}
					n := 0
					if c.now != "" {
						n = 1
					}
					mwWantSessions(t, m, "u", n)
					mwWantSessions(t, m, "other", c.other)
					if who := map[int]string{0: "", 1: "other"}[c.other]; mwGet(h, "/me", e.other).Body.String() != who {
						t.Errorf("the token of other is not taken for %q", who)
					}
					if c.check != nil {
						c.check(e, before, after)
					}
					if c.now == "" {
						return
					}
					// What is left can be ended.
					if got := mwIDs(t, m, "u"); len(got) == 1 {
						if err := m.RevokeSession(t.Context(), "u", got[0]); err != nil {
							t.Error(err)
						}
					}
					mwWantUser(t, m, h, after, "")
				})
			}
		}
	}
}

func directSameID(e *directEnv, _, _ string) {
	e.t.Helper()
	if got := mwIDs(e.t, e.m, "u"); !slices.Equal(got, []string{e.id}) {
		e.t.Errorf("the session is %v, was %s", got, e.id)
	}
}

// directExpires checks when u's session ends.
func directExpires(from, to time.Duration) func(e *directEnv, before, after string) {
	return func(e *directEnv, _, _ string) {
		e.t.Helper()
		list, err := e.m.ListSessions(context.Background(), "u")
		if err != nil || len(list) != 1 {
			e.t.Errorf("%v, %v", list, err)
			return
		}
		if left := time.Until(list[0].ExpiresAt); left < from || left > to {
			e.t.Errorf("the session ends in %v, want %v to %v", left, from, to)
		}
	}
}

// scs's own LoadAndSave serves sessions and keeps the index right.
func TestScsOwnMiddleware(t *testing.T) {
	for backend, store := range directBackends {
		t.Run(backend, func(t *testing.T) {
			m := mwNew(t, &usersession.Options{Store: store()})
			h := mwRoutes(m, nil)
			s := m.SessionManager
			plain := s.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/put":
					s.Put(r.Context(), "k", "v")
				case "/renew":
					s.RenewToken(r.Context())
				case "/destroy":
					s.Destroy(r.Context())
				}
				fmt.Fprint(w, m.UserID(r.Context()))
			}))
			token := mwLogin(t, h, "u")
			if w := mwGet(plain, "/put", token); w.Code != 200 || w.Body.String() != "u" {
				t.Errorf("put: %d %q", w.Code, w.Body)
			}
			renewed := mwToken(mwGet(plain, "/renew", token))
			mwWantUser(t, m, h, token, "")
			mwWantUser(t, m, h, renewed, "u")
			mwWantSessions(t, m, "u", 1)
			mwGet(plain, "/destroy", renewed)
			mwWantUser(t, m, h, renewed, "")
			mwWantSessions(t, m, "u", 0)
			if got := mwToken(mwGet(plain, "/put", renewed)); got == renewed {
				t.Error("a dead token was adopted")
			}
		})
	}
}
