package manager_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// While one request of a session renews its token, another ends the session through
// the application's scs manager. Whichever way the two meet, the session is over.
func TestDestroyBesideARenewal(t *testing.T) {
	renewals := map[string]func(m *usersession.Manager, ctx context.Context) error{
		"scs RenewToken": func(m *usersession.Manager, ctx context.Context) error { return m.SessionManager.RenewToken(ctx) },
		"RenewToken":     func(m *usersession.Manager, ctx context.Context) error { return m.RenewToken(ctx) },
		"Reauthenticate": func(m *usersession.Manager, ctx context.Context) error { return m.Reauthenticate(ctx) },
	}
	endings := map[string]func(m *usersession.Manager, ctx context.Context) error{
		"scs Destroy": func(m *usersession.Manager, ctx context.Context) error { return m.SessionManager.Destroy(ctx) },
		"scs Destroy and Put": func(m *usersession.Manager, ctx context.Context) error {
			defer m.Put(ctx, "k", "v")
			return m.SessionManager.Destroy(ctx)
		},
		"scs RenewToken and Destroy": func(m *usersession.Manager, ctx context.Context) error {
			m.SessionManager.RenewToken(ctx)
			return m.SessionManager.Destroy(ctx)
		},
		"Logout":            func(m *usersession.Manager, ctx context.Context) error { return m.Logout(ctx) },
		"RevokeAllSessions": func(m *usersession.Manager, ctx context.Context) error { return mwErr(m.RevokeAllSessions(ctx, "u")) },
		"Clear":             func(m *usersession.Manager, ctx context.Context) error { return m.Clear(ctx) },
	}
	for backend, store := range directBackends {
		for renewal, renew := range renewals {
			for ending, end := range endings {
				for _, when := range []string{"between renewal and commit", "after the commit"} {
					t.Run(backend+"/"+renewal+"/"+ending+"/"+when, func(t *testing.T) {
						t.Parallel()
						m := mwNew(t, &usersession.Options{Store: store()})
						h := mwRoutes(m, nil)
						token := mwLogin(t, h, "u")
						var w *httptest.ResponseRecorder
						code := directRun(m, token, func(ctx context.Context) { // the one that ends it, loaded first
							w = mwGet(m.LoadAndSave(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
								if err := renew(m, r.Context()); err != nil {
									t.Errorf("%s: %v", renewal, err)
								}
								if when == "after the commit" {
									rw.WriteHeader(200)
								}
								if err := end(m, ctx); err != nil {
									t.Errorf("%s: %v", ending, err)
								}
								if ending == "Clear" {
									m.Commit(ctx) // Clear ends it here
								}
							})), "/", token)
						}).Code
						if code == 503 {
							t.Errorf("%s: got %d", ending, code)
						}
						mwWantUser(t, m, h, mwToken(w), "")
						mwWantUser(t, m, h, token, "")
						mwWantSessions(t, m, "u", 0)
					})
				}
			}
		}
	}
}

// The same by hand: only the index knows.
func TestDestroyBesideARenewalByHand(t *testing.T) {
	for backend, store := range directBackends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			m := mwNew(t, &usersession.Options{Store: store()})
			h := mwRoutes(m, nil)
			s := m.SessionManager
			token := mwLogin(t, h, "u")
			one, err := s.Load(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			two, err := s.Load(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.RenewToken(one); err != nil {
				t.Fatal(err)
			}
			if err := s.Destroy(two); err != nil {
				t.Fatal(err)
			}
			next, _, err := s.Commit(one)
			if err == nil {
				t.Error("the renewal was committed")
			}
			mwWantUser(t, m, h, next, "")
			mwWantSessions(t, m, "u", 0)
		})
	}
}

// Of two renewals through scs at once the first one keeps the session.
func TestTwoScsRenewals(t *testing.T) {
	for backend, store := range directBackends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			m := mwNew(t, &usersession.Options{Store: store()})
			h := mwRoutes(m, nil)
			token := mwLogin(t, h, "u")
			var former *httptest.ResponseRecorder
			later := directRun(m, token, func(ctx context.Context) {
				former = directRun(m, token, func(inner context.Context) {
					m.SessionManager.RenewToken(inner)
					m.SessionManager.RenewToken(ctx)
				})
			})
			if former.Code != 200 || later.Code != 401 {
				t.Errorf("got %d and %d, want 200 and 401", former.Code, later.Code)
			}
			mwWantUser(t, m, h, mwToken(former), "u")
			mwWantUser(t, m, h, mwToken(later), "")
			mwWantSessions(t, m, "u", 1)
		})
	}
}

// What one request has detached through scs and given up, no renewal of another
// request brings back.
func TestDetachedStaysDetached(t *testing.T) {
	for backend, store := range directBackends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			m := mwNew(t, &usersession.Options{Store: store()})
			h := mwRoutes(m, nil)
			token := mwLogin(t, h, "u")
			w := directRun(m, token, func(ctx context.Context) {
				func() {
					defer func() { recover() }()
					directRun(m, token, func(inner context.Context) {
						m.SessionManager.RenewToken(inner)
						panic("given up")
					})
				}()
				if err := m.RenewToken(ctx); err != nil {
					t.Error(err)
				}
			})
			if w.Code != 401 {
				t.Errorf("got %d, want 401", w.Code)
			}
			mwWantUser(t, m, h, mwToken(w), "")
			mwWantUser(t, m, h, token, "")
			mwWantSessions(t, m, "u", 0)
		})
	}
}
