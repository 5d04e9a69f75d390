package manager_test

import (
	"context"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// Iterate, alone and inside a request of somebody else: whatever is called in
// the loop acts on the session of the loop and never on that of the request.
func TestIterate(t *testing.T) {
	type step func(t *testing.T, m *usersession.Manager, ctx context.Context) error
	save := func(m *usersession.Manager, ctx context.Context) error {
		_, _, err := m.SessionManager.Commit(ctx)
		return err
	}
	cases := []struct {
		name   string
		victim step // for the sessions of "victim"
		ended  bool
		k      string
	}{
		{"look", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			if keys := m.Keys(ctx); !slices.Equal(keys, []string{"k"}) {
				t.Errorf("the keys are %q", keys)
			}
			return nil
		}, false, "v"},
		{"Put and Commit", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			m.Put(ctx, "k", "w")
			return save(m, ctx)
		}, false, "w"},
		{"Put without Commit", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			m.Put(ctx, "k", "w")
			return nil
		}, false, "v"},
		{"Manager.Destroy", func(t *testing.T, m *usersession.Manager, ctx context.Context) error { return m.Destroy(ctx) }, true, ""},
		{"Logout", func(t *testing.T, m *usersession.Manager, ctx context.Context) error { return m.Logout(ctx) }, true, ""},
		{"scs Destroy", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			return m.SessionManager.Destroy(ctx)
		}, true, ""},
		{"RevokeSession", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			s, err := m.Current(ctx)
			if err != nil {
				return err
			}
			return m.RevokeSession(ctx, s.UserID, s.ID)
		}, true, ""},
		{"RevokeAllSessions", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			_, err := m.RevokeAllSessions(ctx, m.UserID(ctx))
			return err
		}, true, ""},
		{"RevokeOtherSessions", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			_, err := m.RevokeOtherSessions(ctx)
			return err
		}, false, "v"},
		{"Clear and Commit", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			m.Clear(ctx)
			save(m, ctx)
			return nil
		}, true, ""},
		{"RenewToken is not the request's", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			m.RenewToken(ctx)
			return nil
		}, false, "-"},
		{"Login is refused", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			if err := m.Login(ctx, "intruder"); err == nil {
				t.Error("Login in a loop over sessions returned nil")
			}
			return nil
		}, false, "-"},
		{"Reauthenticate is refused", func(t *testing.T, m *usersession.Manager, ctx context.Context) error {
			if err := m.Reauthenticate(ctx); err == nil {
				t.Error("Reauthenticate in a loop over sessions returned nil")
			}
			return nil
		}, false, "-"},
	}
	for _, where := range []string{"alone", "in a request", "in a request that writes"} {
		for backend, store := range directBackends {
			for _, c := range cases {
				t.Run(where+"/"+backend+"/"+c.name, func(t *testing.T) {
					t.Parallel()
					m := mwNew(t, &usersession.Options{Store: store()})
					h := mwRoutes(m, nil)
					admin, victim := mwLogin(t, h, "admin"), mwLogin(t, h, "victim")
					mwGet(h, "/put?k=k&v=mine", admin)
					mwGet(h, "/put?k=k&v=v", victim)
					seen := 0
					loop := func(ctx context.Context) {
						if err := m.Iterate(ctx, func(ctx context.Context) error {
							if m.UserID(ctx) == "victim" {
								seen++
								return c.victim(t, m, ctx)
							}
							return nil
						}); err != nil {
							t.Errorf("Iterate: %v", err)
						}
					}
					var w *httptest.ResponseRecorder
					if where == "alone" {
						loop(t.Context())
					} else {
						w = directRun(m, admin, func(ctx context.Context) {
							loop(ctx)
							if u := m.UserID(ctx); u != "admin" {
								t.Errorf("after the loop the request is %q's", u)
							}
							if where == "in a request that writes" {
								m.Put(ctx, "k", "still mine")
							}
						})
						if w.Code != 200 || w.Header().Get("Set-Cookie") != "" {
							t.Errorf("the request of the admin got %d and the cookie %q", w.Code, w.Header().Get("Set-Cookie"))
						}
					}
					if seen != 1 {
						t.Errorf("the session was seen %d times", seen)
					}
					mwWantUser(t, m, h, admin, "admin")
					want := "mine"
					if where == "in a request that writes" {
						want = "still mine"
					}
					if got := mwGet(h, "/get?k=k", admin).Body.String(); got != want {
						t.Errorf("the admin's data are %q, want %q", got, want)
					}
					mwWantSessions(t, m, "admin", 1)
					mwWantSessions(t, m, "intruder", 0)
					if c.k == "-" {
						return
					}
					if c.ended {
						mwWantUser(t, m, h, victim, "")
						mwWantSessions(t, m, "victim", 0)
					} else {
						mwWantUser(t, m, h, victim, "victim")
						mwWantSessions(t, m, "victim", 1)
						if got := mwGet(h, "/get?k=k", victim).Body.String(); got != c.k {
							t.Errorf("the victim's data are %q, want %q", got, c.k)
						}
					}
				})
			}
		}
	}
}
