package manager_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// Inside InSession no method of another request's session is reached.
func TestInSessionInARequest(t *testing.T) {
	for _, c := range []struct {
		name  string
		act   func(m *usersession.Manager, ctx context.Context) error
		want  error
		ended bool
		k     string
	}{
		{"Put", func(m *usersession.Manager, ctx context.Context) error { m.Put(ctx, "k", "w"); return nil }, nil, false, "w"},
		{"Put on the scs manager", func(m *usersession.Manager, ctx context.Context) error {
			m.SessionManager.Put(ctx, "k", "w")
			return nil
		}, nil, false, "w"},
		{"Put and an error", func(m *usersession.Manager, ctx context.Context) error { m.Put(ctx, "k", "w"); return context.Canceled }, context.Canceled, false, "v"},
		{"Login", func(m *usersession.Manager, ctx context.Context) error { return m.Login(ctx, "intruder") }, usersession.ErrOtherSession, false, "v"},
		{"Reauthenticate", func(m *usersession.Manager, ctx context.Context) error { return m.Reauthenticate(ctx) }, usersession.ErrOtherSession, false, "v"},
		{"RenewToken", func(m *usersession.Manager, ctx context.Context) error { return m.RenewToken(ctx) }, usersession.ErrOtherSession, false, "v"},
		{"Destroy", func(m *usersession.Manager, ctx context.Context) error { return m.Destroy(ctx) }, nil, true, ""},
		{"Logout", func(m *usersession.Manager, ctx context.Context) error { return m.Logout(ctx) }, nil, true, ""},
		{"scs Destroy", func(m *usersession.Manager, ctx context.Context) error { return m.SessionManager.Destroy(ctx) }, nil, true, ""},
		{"RevokeAllSessions", func(m *usersession.Manager, ctx context.Context) error {
			_, err := m.RevokeAllSessions(ctx, "victim")
			return err
		}, nil, true, ""},
		{"RevokeOtherSessions", func(m *usersession.Manager, ctx context.Context) error {
			_, err := m.RevokeOtherSessions(ctx)
			return err
		}, nil, false, "v"},
		{"SetDeadline past", func(m *usersession.Manager, ctx context.Context) error {
			m.SetDeadline(ctx, time.Now().Add(-time.Hour))
			return nil
		}, usersession.ErrSessionEnded, true, ""},
	} {
		for backend, store := range directBackends {
			t.Run(backend+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				m := mwNew(t, &usersession.Options{Store: store()})
				h := mwRoutes(m, nil)
				admin, victim := mwLogin(t, h, "admin"), mwLogin(t, h, "victim")
				mwGet(h, "/put?k=k&v=mine", admin)
				mwGet(h, "/put?k=k&v=v", victim)
				id := mwIDs(t, m, "victim")[0]
				w := directRun(m, admin, func(ctx context.Context) {
					m.Put(ctx, "before", "x")
					err := m.InSession(ctx, "victim", id, func(inner context.Context) error {
						if u := m.UserID(inner); u != "victim" {
							t.Errorf("inside, the user is %q", u)
						}
						return c.act(m, inner)
					})
					if !errors.Is(err, c.want) {
						t.Errorf("InSession: %v, want %v", err, c.want)
					}
					if u := m.UserID(ctx); u != "admin" {
						t.Errorf("outside, the user is %q", u)
					}
				})
				if w.Code != 200 || w.Header().Get("Set-Cookie") != "" {
					t.Errorf("the request of the admin got %d and the cookie %q", w.Code, w.Header().Get("Set-Cookie"))
				}
				mwWantUser(t, m, h, admin, "admin")
				if got := mwGet(h, "/get?k=k", admin).Body.String(); got != "mine" {
					t.Errorf("the admin's data are %q", got)
				}
				mwWantSessions(t, m, "intruder", 0)
				user, n := "victim", 1
				if c.ended {
					user, n = "", 0
				}
				mwWantUser(t, m, h, victim, user)
				mwWantSessions(t, m, "victim", n)
				if got := mwGet(h, "/get?k=k", victim).Body.String(); got != c.k {
					t.Errorf("the victim's data are %q, want %q", got, c.k)
				}
			})
		}
	}
}

// Anything at once in one request: whatever a browser is left with is listed if
// it is accepted (I1), and dead once everything is revoked (I2).
func TestChaosInOneRequest(t *testing.T) {
	ops := []func(m *usersession.Manager, ctx context.Context){
		func(m *usersession.Manager, ctx context.Context) { m.Login(ctx, "u") },
		func(m *usersession.Manager, ctx context.Context) { m.Login(ctx, "v") },
		func(m *usersession.Manager, ctx context.Context) { m.Logout(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.RenewToken(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.Reauthenticate(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.SessionManager.RenewToken(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.SessionManager.Destroy(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.SessionManager.Commit(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.Clear(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.Put(ctx, "k", "v") },
		func(m *usersession.Manager, ctx context.Context) { m.RevokeAllSessions(ctx, "u") },
		func(m *usersession.Manager, ctx context.Context) { m.RevokeOtherSessions(ctx) },
		func(m *usersession.Manager, ctx context.Context) { m.Keys(ctx); m.UserID(ctx); m.Current(ctx) },
	}
	for backend, store := range directBackends {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			m := mwNew(t, &usersession.Options{Store: store()})
			h := mwRoutes(m, nil)
			for round := range 25 {
				token := mwLogin(t, h, "u")
				var mu sync.Mutex
				tokens := []string{token}
				var names []int
				w := directRun(m, token, func(ctx context.Context) {
					var wg sync.WaitGroup
					for g := range 3 {
						i := rand.IntN(len(ops))
						names = append(names, i)
						wg.Go(func() {
							ops[i](m, ctx)
							mu.Lock()
							defer mu.Unlock()
							if tok := m.Token(ctx); tok != "" {
								tokens = append(tokens, tok)
							}
							_ = g
						})
					}
					wg.Wait()
				})
				if w.Code != 200 && w.Code != 401 && w.Code != 503 {
					t.Errorf("round %d, operations %v: %d %q", round, names, w.Code, w.Body)
				}
				tokens = append(tokens, mwToken(w))
				for _, tok := range tokens {
					if u := mwGet(h, "/me", tok).Body.String(); u != "" && len(mwIDs(t, m, u)) == 0 {
						t.Errorf("I1: round %d, operations %v: a token is accepted as %s, who has no session", round, names, u)
					}
				}
				for _, u := range []string{"u", "v"} {
					if _, err := m.RevokeAllSessions(t.Context(), u); err != nil {
						t.Fatal(err)
					}
				}
				for _, tok := range tokens {
					if u := mwGet(h, "/me", tok).Body.String(); u != "" {
						t.Errorf("I2: round %d, operations %v: a token is still accepted as %s", round, names, u)
					}
				}
			}
		})
	}
}

// directHook is a context that lets another goroutine run fn, once, at the n-th
// time anybody looks for scs's session in it, and waits until fn is done or
// clearly waits for a lock: the moment is not left to chance.
type directHook struct {
	context.Context
	n    *int
	fn   func(ctx context.Context)
	done chan struct{} // closed when fn is done
}

func (h directHook) Value(key any) any {
	if fmt.Sprintf("%T", key) == "scs.contextKey" && !directLocked() {
		if *h.n--; *h.n == 0 {
			go func() {
				defer close(h.done)
				h.fn(h.Context)
			}()
			select {
			case <-h.done:
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	return h.Context.Value(key)
}

// directLocked reports whether the caller's caller may hold a lock that fn would
// wait for: scs does inside the adapter, and Manager.request looks under one.
func directLocked() bool {
	stack := debug.Stack()
	return bytes.Contains(stack, []byte("(*adapter)")) || bytes.Contains(stack, []byte("(*Manager).request("))
}

// A session that is ended by one goroutine of a handler while another changes
// its token stays ended, and what is accepted afterwards is listed.
func TestEndedWhileTheTokenChanges(t *testing.T) {
	changes := map[string]func(m *usersession.Manager, ctx context.Context) error{
		"Reauthenticate": func(m *usersession.Manager, ctx context.Context) error { return m.Reauthenticate(ctx) },
		"RenewToken":     func(m *usersession.Manager, ctx context.Context) error { return m.RenewToken(ctx) },
		"scs RenewToken": func(m *usersession.Manager, ctx context.Context) error { return m.SessionManager.RenewToken(ctx) },
		"Login":          func(m *usersession.Manager, ctx context.Context) error { return m.Login(ctx, "u") },
		"Login of other": func(m *usersession.Manager, ctx context.Context) error { return m.Login(ctx, "w") },
	}
	ends := map[string]func(m *usersession.Manager, ctx context.Context){
		"RevokeAllSessions": func(m *usersession.Manager, ctx context.Context) { m.RevokeAllSessions(ctx, "u") },
		"RevokeAllSessions from outside": func(m *usersession.Manager, _ context.Context) {
			m.RevokeAllSessions(context.Background(), "u")
		},
		"Clear and Commit": func(m *usersession.Manager, ctx context.Context) { m.Clear(ctx); m.SessionManager.Commit(ctx) },
		"Clear":            func(m *usersession.Manager, ctx context.Context) { m.Clear(ctx) },
		"scs Destroy":      func(m *usersession.Manager, ctx context.Context) { m.SessionManager.Destroy(ctx) },
		"Commit":           func(m *usersession.Manager, ctx context.Context) { m.SessionManager.Commit(ctx) },
	}
	for backend, store := range directBackends {
		for change, act := range changes {
			for end, fn := range ends {
				t.Run(backend+"/"+change+"/"+end, func(t *testing.T) {
					t.Parallel()
					m := mwNew(t, &usersession.Options{Store: store()})
					h := mwRoutes(m, nil)
					for n := 1; n < 20; n++ {
						token := mwLogin(t, h, "u")
						tokens := []string{token}
						left := n
						var err error
						w := directRun(m, token, func(ctx context.Context) {
							done := make(chan struct{})
							var inner string
							err = act(m, directHook{ctx, &left, func(ctx context.Context) {
								fn(m, ctx)
								inner = m.Token(ctx)
							}, done})
							if left <= 0 {
								<-done
							}
							tokens = append(tokens, inner, m.Token(ctx))
						})
						tokens = append(tokens, mwToken(w))
						if left > 0 {
							break // nobody looks that often
						}
						live := false
						for _, tok := range tokens {
							u := mwGet(h, "/me", tok).Body.String()
							live = live || u != ""
							if u != "" && len(mwIDs(t, m, u)) == 0 {
								t.Errorf("I1: look %d: a token is accepted as %s, who has no session", n, u)
							}
						}
						if live && !strings.HasPrefix(change, "Login") && (strings.HasPrefix(end, "Revoke") || end == "scs Destroy") {
							t.Errorf("I2: look %d: the session lives on (%s returned %v)", n, change, err)
						}
						for _, u := range []string{"u", "w"} {
							if _, err := m.RevokeAllSessions(t.Context(), u); err != nil {
								t.Fatal(err)
							}
						}
						for _, tok := range tokens {
							if u := mwGet(h, "/me", tok).Body.String(); u != "" {
								t.Errorf("I2: look %d: a token is accepted as %s after everything was revoked", n, u)
							}
						}
					}
				})
			}
		}
	}
}
