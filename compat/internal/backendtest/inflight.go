package backendtest

import (
	"context"
	"net/http"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// The invariant I2: nothing in flight brings a session back.
var inFlightBehaviours = []behaviour{
	{"in flight: ended by whatever ends a session", inFlightEnded},
	{"in flight: a request that only reads is served", inFlightReading},
	{"in flight: many requests at once", inFlightMany},
	{"in flight: a renewal", inFlightRenewal},
	{"in flight: a login", inFlightLogin},
	{"two tabs: the slow one on the old token does no harm", twoTabs},
	{"two tabs: the slow one of an anonymous session does no harm", twoTabsAnonymous},
}

func inFlightEnded(t *testing.T, b backend) {
	all := func(ctx context.Context, e *env) error {
		_, err := e.m.RevokeAllSessions(ctx, "alice")
		return err
	}
	for _, end := range []struct {
		name string
		end  func(e *env, laptop, phone *browser, id string)
	}{
		{"RevokeSession", func(e *env, laptop, phone *browser, id string) {
			e.ok(e.m.RevokeSession(e.Context(), "alice", id))
		}},
		{"RevokeAllSessions", func(e *env, laptop, phone *browser, id string) { e.ok(all(e.Context(), e)) }},
		{"RevokeOtherSessions", func(e *env, laptop, phone *browser, id string) {
			phone.do(func(ctx context.Context) {
				_, err := e.m.RevokeOtherSessions(ctx)
				e.ok(err)
			})
		}},
		{"RevokeMatching", func(e *env, laptop, phone *browser, id string) {
			_, err := e.m.RevokeMatching(e.Context(), usersession.Filter{Everyone: true})
			e.ok(err)
		}},
		{"Logout in another tab", func(e *env, laptop, phone *browser, id string) {
			laptop.do(func(ctx context.Context) { e.ok(e.m.Logout(ctx)) })
		}},
		{"scs Destroy in another tab", func(e *env, laptop, phone *browser, id string) {
			laptop.do(func(ctx context.Context) { e.ok(e.m.SessionManager.Destroy(ctx)) })
		}},
		{"Clear in another tab", func(e *env, laptop, phone *browser, id string) {
			laptop.do(func(ctx context.Context) { e.ok(e.m.Clear(ctx)) })
		}},
		{"a login in another tab", func(e *env, laptop, phone *browser, id string) { laptop.login("bob") }},
		{"eviction", func(e *env, laptop, phone *browser, id string) {
			for range 2 {
				e.browser().login("alice")
			}
		}},
	} {
		t.Run(end.name, func(t *testing.T) {
			e := b.start(t, func(o *usersession.Options) { o.MaxSessions = 2 })
			laptop, phone := e.browser(), e.browser()
			id := laptop.login("alice")
			phone.login("alice")
			token := laptop.token()
			slow := laptop.begin(func(ctx context.Context) { e.m.Put(ctx, "cart", 1) })
			end.end(e, laptop, phone, id)
			after := laptop.token()
			e.wantRefused(slow.finish())
			if laptop.token() != after {
				t.Error("the refused request changed the cookie")
			}
			e.wantDead(token)
			for _, s := range e.list("alice") {
				if s.ID == id {
					t.Error("the session is listed")
				}
			}
		})
	}
}

func inFlightReading(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	id := laptop.login("alice")
	token := laptop.token()
	slow := laptop.begin(func(ctx context.Context) { e.m.GetInt(ctx, "cart") })
	e.ok(e.m.RevokeSession(t.Context(), "alice", id))
	a := slow.finish()
	e.wantOK(a)
	if c := a.header.Values("Set-Cookie"); len(c) > 0 {
		t.Errorf("it sets a cookie: %q", c)
	}
	e.wantDead(token)
	e.wantStored(0)
}

func inFlightMany(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	laptop.login("alice")
	token := laptop.token()
	var writing, stopped sync.WaitGroup
	const workers = 4
	writing.Add(workers)
	for range workers {
		thief := e.thief(token)
		stopped.Go(func() {
			for i := 0; ; i++ {
				var user string
				a := thief.do(func(ctx context.Context) {
					user = e.m.UserID(ctx)
					if user != "" {
						e.m.Put(ctx, "n", i)
					}
				})
				if i == 0 {
					writing.Done()
				}
				if a.status == http.StatusUnauthorized || user == "" {
					return
				}
			}
		})
	}
	writing.Wait()
	n, err := e.m.RevokeAllSessions(t.Context(), "alice")
	if n != 1 || err != nil {
		t.Errorf("revoked %d, %v; want 1", n, err)
	}
	stopped.Wait()
	e.wantDead(token)
	e.wantSessions("alice", 0)
	e.wantStored(0) // verified Stores: whoever finds a dead key deletes it
}

func inFlightRenewal(t *testing.T, b backend) {
	for _, how := range renewals {
		t.Run(how.name, func(t *testing.T) {
			e := b.start(t)
			laptop := e.browser()
			id := laptop.login("alice")
			token, fresh := laptop.token(), ""
			slow := laptop.begin(func(ctx context.Context) {
				e.ok(how.renew(ctx, e.m))
				fresh = e.m.Token(ctx)
			})
			n, err := e.m.RevokeAllSessions(t.Context(), "alice")
			if err != nil || n > 1 {
				t.Errorf("revoked %d, %v", n, err)
			}
			e.wantRefused(slow.finish())
			e.wantDead(token)
			e.wantDead(fresh)
			e.wantSessions("alice", 0)
			e.wantStored(0)
			if _, ok := e.ended(id); !ok {
				t.Error("the row has not ended")
			}
		})
	}
}

func inFlightLogin(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	fresh := ""
	slow := laptop.begin(func(ctx context.Context) {
		e.ok(e.m.Login(ctx, "alice"))
		fresh = e.m.Token(ctx)
	})
	e.wantSessions("alice", 1) // what is about to be accepted is listed, and so can be revoked
	if n, err := e.m.RevokeAllSessions(t.Context(), "alice"); n != 1 || err != nil {
		t.Errorf("revoked %d, %v; want 1", n, err)
	}
	e.wantRefused(slow.finish())
	e.wantDead(fresh)
	if laptop.token() != "" {
		t.Error("the refused login set a cookie")
	}
	e.wantSessions("alice", 0)
	e.wantStored(0)
}

func twoTabs(t *testing.T, b backend) {
	for _, one := range []struct {
		name string
		slow func(ctx context.Context, m *usersession.Manager)
	}{
		{"changes data", func(ctx context.Context, m *usersession.Manager) { m.Put(ctx, "cart", 1) }},
		{"reads", func(ctx context.Context, m *usersession.Manager) { m.Get(ctx, "cart") }},
		{"renews", func(ctx context.Context, m *usersession.Manager) { m.RenewToken(ctx) }},
	} {
		t.Run(one.name, func(t *testing.T) {
			e := b.start(t)
			tabs := e.browser()
			tabs.login("alice")
			slow := tabs.begin(func(ctx context.Context) { one.slow(ctx, e.m) })
			id := tabs.login("alice")
			token := tabs.token()
			a := slow.finish()
			if c := a.header.Values("Set-Cookie"); len(c) > 0 {
				t.Errorf("tab one sets a cookie: %q", c)
			}
			if tabs.token() != token {
				t.Error("tab one changed the browser's cookie")
			}
			tabs.wantUser("alice")
			if list := e.list("alice"); len(list) != 1 || list[0].ID != id {
				t.Errorf("sessions %v, want that of tab two", list)
			}
		})
	}
}

func twoTabsAnonymous(t *testing.T, b backend) {
	for _, one := range []struct {
		name string
		slow func(ctx context.Context, m *usersession.Manager)
	}{
		{"changes data", func(ctx context.Context, m *usersession.Manager) { m.Put(ctx, "cart", 2) }},
		{"renews", func(ctx context.Context, m *usersession.Manager) { m.RenewToken(ctx) }},
	} {
		t.Run(one.name, func(t *testing.T) {
			e := b.start(t)
			tabs := e.browser()
			tabs.put("cart", 1)
			old := tabs.token()
			slow := tabs.begin(func(ctx context.Context) { one.slow(ctx, e.m) })
			tabs.login("alice")
			token := tabs.token()
			e.wantRefused(slow.finish())
			if tabs.token() != token {
				t.Error("tab one changed the browser's cookie")
			}
			tabs.wantUser("alice")
			e.wantDead(old)
			e.wantStored(1)
		})
	}
}
