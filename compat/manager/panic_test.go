package manager_test

import (
	"io"
	"net/http"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/goroutines"
	_ "modernc.org/sqlite"
)

func TestPanicInHandler(t *testing.T) {
	cases := map[string]func(m *usersession.Manager, r *http.Request){
		"at once":              func(*usersession.Manager, *http.Request) { panic("x") },
		"ErrAbortHandler":      func(*usersession.Manager, *http.Request) { panic(http.ErrAbortHandler) },
		"nil pointer":          func(_ *usersession.Manager, r *http.Request) { _ = *r.TLS },
		"after Put":            func(m *usersession.Manager, r *http.Request) { m.Put(r.Context(), "k", "lost"); panic("x") },
		"after Clear":          func(m *usersession.Manager, r *http.Request) { m.Clear(r.Context()); panic("x") },
		"after Login":          func(m *usersession.Manager, r *http.Request) { m.Login(r.Context(), "other"); panic("x") },
		"after Login of same":  func(m *usersession.Manager, r *http.Request) { m.Login(r.Context(), "u"); panic("x") },
		"after RenewToken":     func(m *usersession.Manager, r *http.Request) { m.RenewToken(r.Context()); panic("x") },
		"after Reauthenticate": func(m *usersession.Manager, r *http.Request) { m.Reauthenticate(r.Context()); panic("x") },
		"after SetDeadline":    func(m *usersession.Manager, r *http.Request) { m.SetDeadline(r.Context(), time.Now()); panic("x") },
		"after two logins": func(m *usersession.Manager, r *http.Request) {
			m.Login(r.Context(), "other")
			m.Login(r.Context(), "third")
			panic("x")
		},
	}
	for name, act := range cases {
		t.Run(name, func(t *testing.T) {
			count := goroutines.Counter(t)
			m := mwNew(t, nil)
			h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Secret", "secret")
				act(m, r)
			}})
			token := mwLogin(t, h, "u")
			mwGet(h, "/put?k=k&v=kept", token)
			before := mwIDs(t, m, "u")
			running := count()
			for range 20 {
				func() {
					defer func() {
						if recover() == nil {
							t.Error("the panic did not pass")
						}
					}()
					mwGet(h, "/x", token)
				}()
			}
			mwWantGoroutines(t, count, running)
			mwWantUser(t, m, h, token, "u")
			if w := mwGet(h, "/get?k=k", token); w.Body.String() != "kept" {
				t.Errorf("the data are %q", w.Body)
			}
			if after := mwIDs(t, m, "u"); !slices.Equal(before, after) {
				t.Errorf("sessions before %v, after %v", before, after)
			}
			mwWantSessions(t, m, "other", 0)
			mwWantSessions(t, m, "third", 0)
		})
	}
	t.Run("Goexit", func(t *testing.T) {
		m := mwNew(t, nil)
		h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
			m.Login(r.Context(), "u")
			runtime.Goexit()
		}})
		done := make(chan struct{})
		go func() { defer close(done); mwGet(h, "/x", "") }()
		<-done
		mwWantSessions(t, m, "u", 0)
	})
	t.Run("on a server", func(t *testing.T) {
		m := mwNew(t, nil)
		h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
			m.Login(r.Context(), "u")
			panic(http.ErrAbortHandler)
		}})
		b := mwBrowse(t, mwServer(t, h, false))
		if res, err := b.Get(b.base + "/x"); err == nil {
			t.Errorf("the aborted request was answered %d", res.StatusCode)
			res.Body.Close()
		}
		mwWantSessions(t, m, "u", 0)
	})
	t.Run("recovered outside", func(t *testing.T) {
		m := mwNew(t, nil)
		h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
			m.Login(r.Context(), "u")
			panic("x")
		}})
		outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if recover() != nil {
					w.WriteHeader(500)
				}
			}()
			h.ServeHTTP(w, r)
		})
		if w := mwGet(outer, "/x", ""); w.Code != 500 || mwToken(w) != "" {
			t.Errorf("got %d, token %q", w.Code, mwToken(w))
		}
		mwWantSessions(t, m, "u", 0)
	})
}

// A Store that panics inside the commit is no committed session: what an inner
// recovery lets the handler write afterwards must not go out as a success.
func TestPanicInsideTheCommit(t *testing.T) {
	store := mwNewStore()
	m := mwNew(t, &usersession.Options{Store: store})
	h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		m.Put(r.Context(), "k", "v")
		defer func() {
			if recover() != nil {
				io.WriteString(w, "saved")
			}
		}()
		io.WriteString(w, "first")
	}})
	token := mwLogin(t, h, "u")
	store.before = func(op, _ string) error {
		if op == "update" {
			panic("store")
		}
		return nil
	}
	func() {
		defer func() { recover() }()
		if w := mwGet(h, "/x", token); w.Code == 200 && w.Body.Len() > 0 {
			t.Errorf("the commit panicked and the response is %d %q", w.Code, w.Body)
		}
	}()
}

// mwWantGoroutines waits until no more of the test's goroutines run than before.
func mwWantGoroutines(t *testing.T, count func() int, before int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for count() > before {
		if time.Now().After(deadline) {
			t.Errorf("%d goroutines before, %d after", before, count())
			return
		}
		runtime.Gosched()
	}
}
