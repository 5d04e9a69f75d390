package backendtest

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// A side that is down is never reported as success, and never as an anonymous
// visitor or an empty list (I10).
var failureBehaviours = []behaviour{
	{"store down: a read with a cookie is 503", storeDownRead},
	{"store down: a change is 503 and withheld", storeDownCommit},
	{"store down: a login is 503 and leaves nothing", storeDownLogin},
	{"store down: a login over a session keeps it", storeDownLoginOver},
	{"store down: a renewal keeps the session", storeDownRenewal},
	{"store down: a renewal that goes back finds a logout", storeDownRenewalLogout},
	{"store down: eviction refuses the login", storeDownEviction},
	{"time: every call returns though the store hangs", storeHangs},
	{"sql down: lists and revocations are errors", sqlDown},
	{"sql down: no login", sqlDownLogin},
	{"swapped: Store, Codec or IdleTimeout after New", swapped},
	{"cookies: what cannot be a token is anonymous", badCookies},
}

func (b *browser) nothing() http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, handlerBody) }
}

// wantUnavailable fails the test if the answer is not that of a side that is
// down.
func (e *env) wantUnavailable(a answer) {
	e.Helper()
	if a.status != http.StatusServiceUnavailable {
		e.Errorf("status %d, want 503", a.status)
	}
	e.wantWithheld(a)
}

func storeDownRead(t *testing.T, b backend) {
	e := b.startFaulty(t)
	laptop := e.browser()
	laptop.login("alice")
	e.faults.fail()
	e.wantUnavailable(laptop.serve(func(w http.ResponseWriter, r *http.Request) {
		t.Error("the handler is called")
	}))
	e.wantOK(e.browser().serve(laptop.nothing())) // without a cookie there is no need of it
	e.wantSessions("alice", 1)
	e.faults.recover()
	laptop.wantUser("alice")
}

func storeDownCommit(t *testing.T, b backend) {
	e := b.startFaulty(t)
	laptop, visitor := e.browser(), e.browser()
	laptop.login("alice")
	e.faults.fail("Update", "Create")
	e.wantUnavailable(laptop.put("cart", 1))
	e.wantUnavailable(visitor.put("cart", 1))
	if visitor.token() != "" {
		t.Error("a session that was not stored has a cookie")
	}
	e.faults.recover()
	laptop.wantUser("alice")
	if got := laptop.get("cart"); got != nil {
		t.Errorf("cart %v, want none", got)
	}
}

func storeDownLogin(t *testing.T, b backend) {
	e := b.startFaulty(t)
	laptop := e.browser()
	fresh := ""
	e.faults.fail("Create")
	e.wantUnavailable(laptop.do(func(ctx context.Context) {
		e.ok(e.m.Login(ctx, "alice"))
		fresh = e.m.Token(ctx)
	}))
	e.faults.recover()
	e.wantDead(fresh)
	e.wantSessions("alice", 0)
	if laptop.token() != "" {
		t.Error("the failed login set a cookie")
	}
	laptop.login("alice")
	laptop.wantUser("alice")
}

func storeDownLoginOver(t *testing.T, b backend) {
	e := b.startFaulty(t)
	laptop := e.browser()
	id := laptop.login("alice")
	token := laptop.token()
	e.faults.fail("Create")
	e.wantUnavailable(laptop.do(func(ctx context.Context) { e.ok(e.m.Login(ctx, "bob")) }))
	e.faults.recover()
	if laptop.token() != token {
		t.Error("the cookie has changed")
	}
	laptop.wantUser("alice")
	if list := e.list("alice"); len(list) != 1 || list[0].ID != id {
		t.Errorf("sessions %v, want the old one", list)
	}
	e.wantSessions("bob", 0)
}

func storeDownRenewal(t *testing.T, b backend) {
	for _, method := range []string{"Create", "Delete"} {
		t.Run(method, func(t *testing.T) {
			e := b.startFaulty(t, func(o *usersession.Options) { o.TouchInterval = time.Millisecond })
			laptop := e.browser()
			laptop.login("alice")
			token, fresh := laptop.token(), ""
			e.faults.fail(method)
			if method == "Delete" { // another tab asks meanwhile, and its touch is due
				e.faults.before("Delete", func() {
					e.faults.before("", nil)
					e.faults.recover()
					pass(t, 2*time.Millisecond)
					e.wantDead(token)
					e.faults.fail(method)
				})
			}
			a := laptop.do(func(ctx context.Context) {
				e.ok(e.m.RenewToken(ctx))
				fresh = e.m.Token(ctx)
			})
			e.faults.recover()
			if a.status == http.StatusOK {
				// The row speaks on every request: the old token is dead.
				if !e.verified() || method == "Create" {
					t.Error("the renewal is reported as done")
				}
				e.wantDead(token)
			} else {
				e.wantUnavailable(a)
				if laptop.token() != token {
					t.Error("the cookie has changed")
				}
				if method == "Create" {
					e.wantDead(fresh)
				}
			}
			laptop.wantUser("alice")
			e.wantSessions("alice", 1)
			// What could not be deleted is covered by what ends the session.
			_, err := e.m.RevokeAllSessions(t.Context(), "alice")
			e.ok(err)
			e.wantDead(token)
			e.wantDead(fresh)
			e.wantStored(0)
		})
	}
}

// storeDownRenewalLogout has another tab with the old cookie end the session, or not, when
// the renewal has swapped the keys and is to go back.
func storeDownRenewalLogout(t *testing.T, b backend) {
	for name, c := range map[string]struct {
		do   func(e *env, ctx context.Context) error
		ends bool
	}{
		"Logout":  {func(e *env, ctx context.Context) error { return e.m.Logout(ctx) }, true},
		"Destroy": {func(e *env, ctx context.Context) error { return e.m.SessionManager.Destroy(ctx) }, true},
		"Login":   {func(e *env, ctx context.Context) error { return e.m.Login(ctx, "bob") }, true},
		"Destroy and Put": {func(e *env, ctx context.Context) error {
			err := e.m.SessionManager.Destroy(ctx)
			e.m.Put(ctx, "flash", "bye")
			return err
		}, true},
		"Put": {func(e *env, ctx context.Context) error { e.m.Put(ctx, "cart", 1); return nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := b.startFaulty(t, func(o *usersession.Options) { o.TouchInterval = time.Millisecond })
			laptop := e.browser()
			laptop.login("alice")
			old := laptop.token()
			fresh := ""
			e.faults.before("Delete", func() {
				e.faults.before("", nil)
				pass(t, 2*time.Millisecond)
				user := ""
				e.wantOK(e.thief(old).do(func(ctx context.Context) {
					user = e.m.UserID(ctx)
					e.ok(c.do(e, ctx))
				}))
				if user != "" {
					t.Errorf("the old token is served as %q", user)
				}
				e.faults.fail("Delete")
			})
			laptop.do(func(ctx context.Context) {
				e.ok(e.m.RenewToken(ctx))
				fresh = e.m.Token(ctx)
			})
			e.faults.recover()
			if !c.ends {
				laptop.wantUser("alice")
				e.wantSessions("alice", 1)
				return
			}
			e.wantDead(old)
			e.wantDead(fresh)
			e.wantSessions("alice", 0)
		})
	}
}

func storeDownEviction(t *testing.T, b backend) {
	e := b.startFaulty(t, limited(1, usersession.LimitEvictOldest))
	laptop, phone := e.browser(), e.browser()
	laptop.login("alice")
	phone.login("bob")
	phone.put("cart", 7)
	e.faults.fail("Delete")
	e.wantOK(phone.do(func(ctx context.Context) {
		e.want(e.m.Login(ctx, "alice"), usersession.ErrRevocationPending)
		e.faults.recover()
	}))
	phone.wantUser("bob")
	if got := phone.get("cart"); got != 7 {
		t.Errorf("cart %v, want 7", got)
	}
	e.prune()
	e.wantDead(laptop.token())
	e.wantSessions("alice", 0)
	phone.login("alice")
	e.wantStored(1)
}

func storeHangs(t *testing.T, b backend) {
	e := b.startFaulty(t, func(o *usersession.Options) {
		o.ReadTimeout, o.WriteTimeout = 2*time.Second, 2*time.Second
	})
	laptop := e.browser()
	id := laptop.login("alice")
	e.faults.hang(true)
	start := time.Now()
	e.wantUnavailable(laptop.serve(laptop.nothing()))
	e.want(e.m.RevokeSession(t.Context(), "alice", id), usersession.ErrRevocationPending)
	if d := time.Since(start); d > patience/2 {
		t.Errorf("two calls took %v", d)
	}
	e.faults.hang(false)
	e.ok(e.m.RevokeSession(t.Context(), "alice", id))
	e.wantDead(laptop.token())
	e.wantSessions("alice", 0)
}

func sqlDown(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	id := laptop.login("alice")
	down, stop := context.WithCancel(t.Context())
	stop()
	for _, ctx := range []context.Context{down, t.Context()} {
		list, err := e.m.ListSessions(ctx, "alice")
		if err == nil || list != nil {
			t.Errorf("ListSessions: %v, %v; want nil and an error", list, err)
		}
		if _, err := e.m.Session(ctx, "alice", id); err == nil {
			t.Error("Session: no error")
		} else if err == usersession.ErrSessionNotFound {
			t.Error("Session: not found")
		}
		n := 0
		for _, err = range e.m.ListMatching(ctx, usersession.Filter{}, usersession.Page{}) {
			n++
		}
		if n != 1 || err == nil {
			t.Errorf("ListMatching: %d yields, %v; want one error", n, err)
		}
		e.db.Close()
	}
	for name, revoke := range map[string]func() (int, error){
		"RevokeSession":     func() (int, error) { return 0, e.m.RevokeSession(t.Context(), "alice", id) },
		"RevokeAllSessions": func() (int, error) { return e.m.RevokeAllSessions(t.Context(), "alice") },
		"RevokeMatching": func() (int, error) {
			return e.m.RevokeMatching(t.Context(), usersession.Filter{Everyone: true})
		},
	} {
		n, err := revoke()
		if n != 0 || err == nil || err == usersession.ErrSessionNotFound {
			t.Errorf("%s: %d, %v; want an error", name, n, err)
		}
	}
	if _, err := e.m.Prune(t.Context()); err == nil {
		t.Error("Prune: no error")
	}
	a := laptop.serve(laptop.nothing())
	if e.verified() {
		e.wantUnavailable(a)
	} else {
		e.wantOK(a)
	}
}

func sqlDownLogin(t *testing.T, b backend) {
	e := b.start(t)
	visitor := e.browser()
	e.db.Close()
	visitor.serve(func(w http.ResponseWriter, r *http.Request) {
		if err := e.m.Login(r.Context(), "alice"); err == nil {
			t.Error("Login: no error")
		}
		if u := e.m.UserID(r.Context()); u != "" {
			t.Errorf("logged in as %q after the error", u)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	if visitor.token() != "" {
		t.Error("the failed login set a cookie")
	}
	e.wantOK(visitor.serve(visitor.nothing()))
	e.wantStoredAfterClose()
}

// wantStoredAfterClose is wantStored(0) where the Store is another database.
func (e *env) wantStoredAfterClose() {
	e.Helper()
	if e.store != nil {
		e.wantStored(0)
	}
}

func swapped(t *testing.T, b backend) {
	for name, swap := range map[string]func(*env){
		"Cookie":      func(e *env) { e.m.Cookie.Secure = !e.m.Cookie.Secure },
		"Lifetime":    func(e *env) { e.m.Lifetime++ },
		"Store":       func(e *env) { e.m.SessionManager.Store = nil },
		"Codec":       func(e *env) { e.m.Codec = nil },
		"IdleTimeout": func(e *env) { e.m.IdleTimeout = time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			e := b.start(t)
			swap(e)
			if a := e.browser().serve(func(w http.ResponseWriter, r *http.Request) { t.Error("the handler is called") }); a.status != 500 {
				t.Errorf("status %d, want 500", a.status)
			}
		})
	}
}

func badCookies(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	laptop.login("alice")
	good := laptop.token()
	e.db.Close() // no I/O: it would fail
	long := make([]byte, 16<<10)
	for i := range long {
		long[i] = 'A'
	}
	for _, value := range []string{"x", "../../etc/passwd", "*", string(long), good[:42], good + "A", good[:42] + "="} {
		thief := e.thief(value)
		a := thief.serve(thief.nothing())
		if a.status != http.StatusOK || a.body != handlerBody {
			t.Errorf("%.20q: %d %q", value, a.status, oneLine(a.body))
		}
		if thief.token() != "" {
			t.Errorf("%.20q: the cookie was not cleared", value)
		}
	}
}
