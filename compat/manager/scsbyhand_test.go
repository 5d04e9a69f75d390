package manager_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// Load and Commit by hand: through the Manager, which knows what was loaded, and
// through the application's own scs manager, where only the index knows.
func TestScsDirectByHand(t *testing.T) {
	type load func(context.Context, string) (context.Context, error)
	for backend, store := range directBackends {
		for _, through := range []string{"Manager", "scs"} {
			setup := func(t *testing.T) (*usersession.Manager, http.Handler, load) {
				m := mwNew(t, &usersession.Options{Store: store(), Lifetime: 30 * time.Minute})
				l := load(m.Load)
				if through == "scs" {
					l = m.SessionManager.Load
				}
				return m, mwRoutes(m, nil), l
			}
			mustLoad := func(t *testing.T, l load, token string) context.Context {
				t.Helper()
				ctx, err := l(context.Background(), token)
				if err != nil {
					t.Fatal(err)
				}
				return ctx
			}
			name := backend + "/" + through + "/"
			t.Run(name+"anonymous, twice", func(t *testing.T) {
				m, h, l := setup(t)
				ctx := mustLoad(t, l, "")
				m.Put(ctx, "k", "1")
				first, expiry, err := m.SessionManager.Commit(ctx)
				if err != nil || time.Until(expiry) > 31*time.Minute {
					t.Fatal(err, expiry)
				}
				m.Put(ctx, "k", "2")
				second, _, err := m.SessionManager.Commit(ctx)
				if err != nil || first != second {
					t.Fatal(err, first == second)
				}
				if got := mwGet(h, "/get?k=k", first).Body.String(); got != "2" {
					t.Errorf("k is %q", got)
				}
			})
			t.Run(name+"user, twice", func(t *testing.T) {
				m, h, l := setup(t)
				token := mwLogin(t, h, "u")
				ctx := mustLoad(t, l, token)
				for _, v := range []string{"1", "2"} {
					m.Put(ctx, "k", v)
					if got, _, err := m.SessionManager.Commit(ctx); err != nil || got != token {
						t.Fatal(err)
					}
				}
				if got := mwGet(h, "/get?k=k", token).Body.String(); got != "2" {
					t.Errorf("k is %q", got)
				}
				mwWantUser(t, m, h, token, "u")
				mwWantSessions(t, m, "u", 1)
			})
			t.Run(name+"RenewToken between", func(t *testing.T) {
				m, h, l := setup(t)
				old := mwLogin(t, h, "u")
				id := mwIDs(t, m, "u")
				ctx := mustLoad(t, l, old)
				tokens := []string{old}
				for range 3 {
					if err := m.RenewToken(ctx); err != nil {
						t.Fatal(err)
					}
					token, _, err := m.SessionManager.Commit(ctx)
					if err != nil {
						t.Fatal(err)
					}
					tokens = append(tokens, token)
				}
				for _, token := range tokens[:3] {
					mwWantUser(t, m, h, token, "")
				}
				mwWantUser(t, m, h, tokens[3], "u")
				if got := mwIDs(t, m, "u"); !slices.Equal(got, id) {
					t.Errorf("the sessions are %v, were %v", got, id)
				}
			})
			t.Run(name+"scs RenewToken between", func(t *testing.T) {
				m, h, l := setup(t)
				old := mwLogin(t, h, "u")
				ctx := mustLoad(t, l, old)
				if err := m.SessionManager.RenewToken(ctx); err != nil {
					t.Fatal(err)
				}
				mwWantUser(t, m, h, old, "")
				token, _, err := m.SessionManager.Commit(ctx)
				if err != nil {
					t.Fatal(err)
				}
				mwWantUser(t, m, h, token, "u")
				mwWantSessions(t, m, "u", 1)
			})
			t.Run(name+"RenewToken twice, one Commit", func(t *testing.T) {
				m, h, l := setup(t)
				old := mwLogin(t, h, "u")
				ctx := mustLoad(t, l, old)
				m.SessionManager.RenewToken(ctx)
				m.SessionManager.RenewToken(ctx)
				token, _, err := m.SessionManager.Commit(ctx)
				if err != nil {
					t.Fatal(err)
				}
				mwWantUser(t, m, h, token, "u")
				mwWantSessions(t, m, "u", 1)
			})
			t.Run(name+"Clear between", func(t *testing.T) {
				m, h, l := setup(t)
				token := mwLogin(t, h, "u")
				ctx := mustLoad(t, l, token)
				m.Clear(ctx)
				if _, _, err := m.SessionManager.Commit(ctx); !errors.Is(err, usersession.ErrSessionEnded) {
					t.Errorf("Commit after Clear: %v", err)
				}
				mwWantUser(t, m, h, token, "")
				mwWantSessions(t, m, "u", 0)
				// The token of an ended session is never one again (I4).
				m.Put(ctx, "k", "v")
				again, _, err := m.SessionManager.Commit(ctx)
				if err == nil && again == token {
					t.Error("the token of the ended session is that of a new one")
				}
				if got := mwGet(h, "/get?k=k", token).Body.String(); got != "" {
					t.Errorf("the token of the ended session loads %q", got)
				}
			})
			t.Run(name+"Destroy", func(t *testing.T) {
				m, h, l := setup(t)
				token := mwLogin(t, h, "u")
				ctx := mustLoad(t, l, token)
				if err := m.SessionManager.Destroy(ctx); err != nil {
					t.Fatal(err)
				}
				mwWantUser(t, m, h, token, "")
				mwWantSessions(t, m, "u", 0)
			})
			t.Run(name+"revoked meanwhile", func(t *testing.T) {
				for how, change := range map[string]func(m *usersession.Manager, ctx context.Context){
					"Put":            func(m *usersession.Manager, ctx context.Context) { m.Put(ctx, "k", "v") },
					"RenewToken":     func(m *usersession.Manager, ctx context.Context) { m.RenewToken(ctx) },
					"scs RenewToken": func(m *usersession.Manager, ctx context.Context) { m.SessionManager.RenewToken(ctx) },
				} {
					m, h, l := setup(t)
					token := mwLogin(t, h, "u")
					ctx := mustLoad(t, l, token)
					if _, err := m.RevokeAllSessions(t.Context(), "u"); err != nil {
						t.Fatal(err)
					}
					change(m, ctx)
					for range 2 {
						if got, _, err := m.SessionManager.Commit(ctx); !errors.Is(err, usersession.ErrSessionEnded) {
							t.Errorf("%s: Commit gives %q, %v", how, got, err)
						}
					}
					mwWantUser(t, m, h, m.Token(ctx), "")
					mwWantUser(t, m, h, token, "")
					mwWantSessions(t, m, "u", 0)
				}
			})
			t.Run(name+"MergeSession", func(t *testing.T) {
				m, h, l := setup(t)
				token, other := mwLogin(t, h, "u"), mwLogin(t, h, "other")
				ctx := mustLoad(t, l, token)
				if err := m.MergeSession(ctx, other); err != nil {
					t.Fatal(err)
				}
				if _, _, err := m.SessionManager.Commit(ctx); err != nil {
					t.Fatal(err)
				}
				mwWantUser(t, m, h, token, "u")
				mwWantUser(t, m, h, other, "")
				mwWantSessions(t, m, "u", 1)
				mwWantSessions(t, m, "other", 0)
			})
			t.Run(name+"visitor merges a login", func(t *testing.T) {
				m, h, l := setup(t)
				other := mwLogin(t, h, "other")
				ctx := mustLoad(t, l, "")
				if err := m.MergeSession(ctx, other); err != nil {
					t.Fatal(err)
				}
				if u := m.UserID(ctx); u != "" {
					t.Errorf("merging logged %q in", u)
				}
				token, _, err := m.SessionManager.Commit(ctx)
				if err != nil {
					t.Fatal(err)
				}
				mwWantUser(t, m, h, token, "")
				mwWantUser(t, m, h, other, "")
				mwWantSessions(t, m, "other", 0)
			})
		}
	}
}

// Login, Reauthenticate and Logout by hand, without the middleware.
func TestLoginByHand(t *testing.T) {
	m := mwNew(t, nil)
	h := mwRoutes(m, nil)
	ctx, err := m.Load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Login(ctx, "u"); err != nil {
		t.Fatal(err)
	}
	first, _, err := m.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mwWantUser(t, m, h, first, "u")
	if err := m.Reauthenticate(ctx); err != nil {
		t.Fatal(err)
	}
	second, _, err := m.Commit(ctx)
	if err != nil || first == second {
		t.Fatal(err, first == second)
	}
	mwWantUser(t, m, h, first, "")
	mwWantUser(t, m, h, second, "u")
	mwWantSessions(t, m, "u", 1)
	if err := m.Logout(ctx); err != nil {
		t.Fatal(err)
	}
	mwWantUser(t, m, h, second, "")
	mwWantSessions(t, m, "u", 0)
}
