package hanging

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// call is one thing a program does. It calls held when everything but the call
// itself has been done; the time counts from when held returns.
type call struct {
	name string
	may  time.Duration // take at most
	run  func(b browser, held func()) error
}

// A request that changes something may take the time to load, to call, to commit
// and to give up what it has begun.
const (
	reading  = ReadTimeout
	ending   = 2 * WriteTimeout // and to note that it is pending
	changing = ReadTimeout + 4*WriteTimeout
	pruning  = 6 * 4 * WriteTimeout // six kinds of batches
)

// calls are all public calls that reach a backend, but for those that have only
// the context they are given: Migrate and RevokeMatchingTx.
func calls(m *usersession.Manager) []call {
	plain := func(name string, may time.Duration, fn func(ctx context.Context, b browser) error) call {
		return call{name, may, func(b browser, held func()) error {
			held()
			return fn(context.Background(), b)
		}}
	}
	// arriving sends a request whose session has to be loaded while it hangs.
	arriving := func(name string, may time.Duration, fn func(ctx context.Context, b browser) error) call {
		return plain(name, may, func(_ context.Context, b browser) error {
			return send(m, b.token, func(ctx context.Context) error { return fn(ctx, b) })
		})
	}
	// within calls in a handler whose session was loaded before.
	within := func(name string, may time.Duration, fn func(ctx context.Context, b browser) error) call {
		return call{"in a handler: " + name, may, func(b browser, held func()) error {
			return send(m, b.token, func(ctx context.Context) error {
				held()
				return fn(ctx, b)
			})
		}}
	}
	nothing := func(context.Context, browser) error { return nil }
	put := func(ctx context.Context, _ browser) error { m.Put(ctx, "n", 1); return nil }
	loginAs := func(ctx context.Context, b browser) error { return m.Login(ctx, b.user) }
	return []call{
		plain("ListSessions", reading, func(ctx context.Context, b browser) error { _, err := m.ListSessions(ctx, b.user); return err }),
		plain("Session", reading, func(ctx context.Context, b browser) error { _, err := m.Session(ctx, b.user, b.id); return err }),
		plain("InSession", changing, func(ctx context.Context, b browser) error {
			return m.InSession(ctx, b.user, b.id, func(ctx context.Context) error { return put(ctx, b) })
		}),
		plain("RevokeSession", ending, func(ctx context.Context, b browser) error { return m.RevokeSession(ctx, b.user, b.id) }),
		plain("RevokeAllSessions", ending, func(ctx context.Context, b browser) error { _, err := m.RevokeAllSessions(ctx, b.user); return err }),
		plain("RevokeMatching", ending, func(ctx context.Context, b browser) error {
			_, err := m.RevokeMatching(ctx, usersession.Filter{UserIDs: []string{b.user}})
			return err
		}),
		plain("ListMatching", WriteTimeout, func(ctx context.Context, _ browser) error {
			for _, err := range m.ListMatching(ctx, usersession.Filter{}, usersession.Page{}) {
				if err != nil {
					return err
				}
			}
			return nil
		}),
		plain("Prune", pruning, func(ctx context.Context, _ browser) error { _, err := m.Prune(ctx); return err }),
		plain("Run", pruning, func(ctx context.Context, _ browser) error {
			ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			return m.Run(ctx)
		}),
		arriving("read", changing, nothing),
		arriving("write", changing, put),
		arriving("login", changing, loginAs),
		arriving("logout", changing, func(ctx context.Context, _ browser) error { return m.Logout(ctx) }),
		within("Current", reading, func(ctx context.Context, _ browser) error { _, err := m.Current(ctx); return err }),
		within("Put", changing, put),
		within("Login", changing, loginAs),
		within("Logout", changing, func(ctx context.Context, _ browser) error { return m.Logout(ctx) }),
		within("RenewToken", changing, func(ctx context.Context, _ browser) error { return m.RenewToken(ctx) }),
		within("Reauthenticate", changing, func(ctx context.Context, _ browser) error { return m.Reauthenticate(ctx) }),
		within("RevokeOtherSessions", ending, func(ctx context.Context, _ browser) error { _, err := m.RevokeOtherSessions(ctx); return err }),
		within("RevokeSession of its own", changing, func(ctx context.Context, b browser) error { return m.RevokeSession(ctx, b.user, b.id) }),
		within("Destroy of scs", changing, func(ctx context.Context, _ browser) error { return m.Destroy(ctx) }),
		within("Clear of scs", changing, func(ctx context.Context, _ browser) error { return m.Clear(ctx) }),
	}
}

// send sends a request through the middleware.
func send(m *usersession.Manager, token string, fn func(ctx context.Context) error) error {
	var err error
	h := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err = fn(r.Context()); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if token != "" {
		r.AddCookie(&http.Cookie{Name: "session", Value: token})
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if err == nil && rec.Code != http.StatusOK {
		err = fmt.Errorf("answered %d", rec.Code)
	}
	return err
}

func loginOnce(m *usersession.Manager, user string) (browser, error) {
	b := browser{user: user}
	h := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.Login(r.Context(), user) != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	for _, c := range rec.Result().Cookies() {
		b.token = c.Value
	}
	list, err := m.ListSessions(context.Background(), user)
	if err != nil {
		return b, err
	}
	if rec.Code != http.StatusOK || b.token == "" || len(list) != 1 {
		return b, fmt.Errorf("login: %d, %d sessions", rec.Code, len(list))
	}
	b.id = list[0].ID
	return b, nil
}

// login logs in, with some patience for a busy machine.
func login(tb testing.TB, m *usersession.Manager, user string) browser {
	tb.Helper()
	var err error
	for i := range 20 {
		var b browser
		if b, err = loginOnce(m, fmt.Sprintf("%s-%d", user, i)); err == nil {
			return b
		}
	}
	tb.Fatal(err)
	return browser{}
}

// works reports whether a user can log in, be served and be listed.
func works(m *usersession.Manager) error {
	b, err := loginOnce(m, fmt.Sprintf("after-%d", time.Now().UnixNano()))
	if err != nil {
		return err
	}
	return send(m, b.token, func(ctx context.Context) error {
		if m.UserID(ctx) != b.user {
			return errors.New("a new session is not served")
		}
		return nil
	})
}
