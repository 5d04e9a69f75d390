package backendtest

import (
	"context"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

var renewalBehaviours = []behaviour{
	{"renewal: keeps ID and data, kills the old token", renewalKeeps},
	{"renewal: with a request in flight on the old token", renewalOldInFlight},
	{"renewal: of two at once one wins", renewalTwice},
	{"renewal: of an anonymous session", renewalAnonymous},
	{"renewal: a revocation covers both keys", renewalBothKeys},
	{"renewal: revoked while the new key is created", renewalRevoked},
	{"renewal: overtaken while the new key is created", renewalOvertaken},
	{"renewal: what the Store could not delete is deleted by the janitor", renewalLeavesNothing},
	{"renewal: a second commit after one that could not delete", renewalSecondCommit},
	{"time: renewal does not extend the lifetime, Reauthenticate does", renewalLifetime},
	{"reauthenticate: metadata are added", reauthenticateMeta},
}

// renewals are the ways to a new token of the same session.
var renewals = []struct {
	name  string
	renew func(context.Context, *usersession.Manager) error
}{
	{"RenewToken", func(ctx context.Context, m *usersession.Manager) error { return m.RenewToken(ctx) }},
	{"scs RenewToken", func(ctx context.Context, m *usersession.Manager) error { return m.SessionManager.RenewToken(ctx) }},
	{"Reauthenticate", func(ctx context.Context, m *usersession.Manager) error { return m.Reauthenticate(ctx) }},
	{"twice", func(ctx context.Context, m *usersession.Manager) error {
		if err := m.RenewToken(ctx); err != nil {
			return err
		}
		return m.RenewToken(ctx)
	}},
	{"scs RenewToken, then ours", func(ctx context.Context, m *usersession.Manager) error {
		if err := m.SessionManager.RenewToken(ctx); err != nil {
			return err
		}
		return m.RenewToken(ctx)
	}},
	{"RenewToken, then that of scs", func(ctx context.Context, m *usersession.Manager) error {
		if err := m.RenewToken(ctx); err != nil {
			return err
		}
		return m.SessionManager.RenewToken(ctx)
	}},
}

func renewalKeeps(t *testing.T, b backend) {
	for _, how := range renewals {
		t.Run(how.name, func(t *testing.T) {
			e := b.start(t)
			laptop := e.browser()
			id := laptop.login("alice")
			laptop.put("cart", 7)
			old := laptop.token()
			e.wantOK(laptop.do(func(ctx context.Context) { e.ok(how.renew(ctx, e.m)) }))
			if laptop.token() == old || laptop.token() == "" {
				t.Fatal("the browser has no new token")
			}
			laptop.wantUser("alice")
			if laptop.get("cart") != 7 {
				t.Error("the data are lost")
			}
			if list := e.list("alice"); len(list) != 1 || list[0].ID != id {
				t.Errorf("sessions %v, want the one with ID %q", list, id)
			}
			e.wantDead(old)
			e.wantStored(1)
			laptop.wantUser("alice")
		})
	}
}

func renewalOldInFlight(t *testing.T, b backend) {
	for _, how := range renewals {
		t.Run(how.name, func(t *testing.T) {
			e := b.start(t)
			laptop := e.browser()
			id := laptop.login("alice")
			old := laptop.token()
			slow := laptop.begin(func(ctx context.Context) { e.m.Put(ctx, "cart", 1) })
			e.wantOK(laptop.do(func(ctx context.Context) { e.ok(how.renew(ctx, e.m)) }))
			fresh := laptop.token()
			e.wantRefused(slow.finish())
			if laptop.token() != fresh {
				t.Error("the old request changed the cookie")
			}
			e.wantDead(old)
			laptop.wantUser("alice")
			if list := e.list("alice"); len(list) != 1 || list[0].ID != id {
				t.Errorf("sessions %v, want the one with ID %q", list, id)
			}
			e.wantStored(1)
		})
	}
}

func renewalTwice(t *testing.T, b backend) {
	for _, how := range renewals {
		t.Run(how.name, func(t *testing.T) {
			e := b.start(t)
			tabs := e.browser()
			id := tabs.login("alice")
			old := tabs.token()
			loser := ""
			slow := tabs.begin(func(ctx context.Context) {
				e.ok(e.m.RenewToken(ctx))
				loser = e.m.Token(ctx)
			})
			e.wantOK(tabs.do(func(ctx context.Context) { e.ok(how.renew(ctx, e.m)) }))
			winner := tabs.token()
			e.wantRefused(slow.finish())
			if tabs.token() != winner || winner == loser {
				t.Error("the loser changed the cookie")
			}
			e.wantDead(old)
			e.wantDead(loser)
			tabs.wantUser("alice")
			if list := e.list("alice"); len(list) != 1 || list[0].ID != id {
				t.Errorf("sessions %v, want the one with ID %q", list, id)
			}
		})
	}
}

func renewalAnonymous(t *testing.T, b backend) {
	for _, how := range renewals {
		if how.name == "Reauthenticate" {
			continue
		}
		t.Run(how.name, func(t *testing.T) {
			e := b.start(t)
			visitor := e.browser()
			visitor.put("cart", 7)
			old := visitor.token()
			e.wantOK(visitor.do(func(ctx context.Context) { e.ok(how.renew(ctx, e.m)) }))
			if visitor.token() == old {
				t.Error("no new token")
			}
			if visitor.get("cart") != 7 {
				t.Error("the data are lost")
			}
			if e.thief(old).get("cart") != nil {
				t.Error("the old token is good")
			}
			e.wantStored(1)
		})
	}
}

func renewalBothKeys(t *testing.T, b backend) {
	e := b.startFaulty(t)
	laptop := e.browser()
	laptop.login("alice")
	old, fresh := laptop.token(), ""
	// Between the swap in the index and the deletion of the old key there is
	// a moment in which both are in the Store.
	e.faults.before("Delete", func() {
		e.faults.before("", nil)
		if n, err := e.m.RevokeAllSessions(background(), "alice"); n != 1 || err != nil {
			t.Errorf("revoked %d, %v; want 1", n, err)
		}
		e.wantStored(0)
	})
	laptop.do(func(ctx context.Context) {
		e.ok(e.m.RenewToken(ctx))
		fresh = e.m.Token(ctx)
	})
	e.wantDead(old)
	e.wantDead(fresh)
	e.wantStored(0)
}

func renewalRevoked(t *testing.T, b backend) {
	e := b.startFaulty(t)
	laptop := e.browser()
	laptop.login("alice")
	old, fresh := laptop.token(), ""
	e.faults.before("Create", func() {
		e.faults.before("", nil)
		if n, err := e.m.RevokeAllSessions(background(), "alice"); n != 1 || err != nil {
			t.Errorf("revoked %d, %v; want 1", n, err)
		}
	})
	e.wantRefused(laptop.do(func(ctx context.Context) {
		e.ok(e.m.RenewToken(ctx))
		fresh = e.m.Token(ctx)
	}))
	e.wantDead(old)
	e.wantDead(fresh)
	e.wantSessions("alice", 0)
	e.wantStored(0)
}

func renewalOvertaken(t *testing.T, b backend) {
	e := b.startFaulty(t)
	tabs := e.browser()
	id := tabs.login("alice")
	old, loser, winner := tabs.token(), "", ""
	e.faults.before("Create", func() {
		e.faults.before("", nil)
		e.wantOK(tabs.do(func(ctx context.Context) { e.ok(e.m.RenewToken(ctx)) }))
		winner = tabs.token()
	})
	e.wantRefused(tabs.do(func(ctx context.Context) {
		e.ok(e.m.RenewToken(ctx))
		loser = e.m.Token(ctx)
	}))
	if tabs.token() != winner || winner == old {
		t.Error("the loser changed the cookie")
	}
	e.wantDead(old)
	e.wantDead(loser)
	tabs.wantUser("alice")
	if list := e.list("alice"); len(list) != 1 || list[0].ID != id {
		t.Errorf("sessions %v, want the one with ID %q", list, id)
	}
	e.wantStored(1)
}

func renewalLeavesNothing(t *testing.T, b backend) {
	e := b.startFaulty(t)
	laptop := e.browser()
	laptop.login("alice")
	e.faults.fail("Delete")
	laptop.do(func(ctx context.Context) { e.ok(e.m.RenewToken(ctx)) }) // fails, unless the row speaks on every request
	e.faults.recover()
	e.wantOK(laptop.do(func(ctx context.Context) { e.ok(e.m.RenewToken(ctx)) })) // and the row forgets the key of before
	laptop.wantUser("alice")
	_, err := e.m.Prune(background())
	e.ok(err)
	e.wantStored(1)
	laptop.wantUser("alice")
}

// renewalSecondCommit commits twice in one request. What the second one has stored stays.
func renewalSecondCommit(t *testing.T, b backend) {
	e := b.startFaulty(t)
	for _, user := range []string{"", "alice"} {
		visitor := e.browser()
		if user != "" {
			visitor.login(user)
		}
		visitor.do(func(ctx context.Context) { e.m.Put(ctx, "cart", 1) })
		visitor.do(func(ctx context.Context) {
			e.ok(e.m.RenewToken(ctx))
			e.faults.fail("Create", "Delete")
			if _, _, err := e.m.Commit(ctx); err == nil {
				t.Error("a commit succeeds while the Store is down")
			}
			e.faults.recover()
		})
		_, err := e.m.Prune(background())
		e.ok(err)
		e.wantOK(visitor.do(func(ctx context.Context) {
			if got := e.m.GetInt(ctx, "cart"); got != 1 {
				t.Errorf("the cart of %q is %d", user, got)
			}
			if got := e.m.UserID(ctx); got != user {
				t.Errorf("the user is %q, want %q", got, user)
			}
		}))
	}
}

func renewalLifetime(t *testing.T, b backend) {
	for _, how := range renewals[:3] {
		t.Run(how.name, func(t *testing.T) {
			e := b.start(t, func(o *usersession.Options) {
				o.Lifetime, o.IdleTimeout = 10*time.Hour, usersession.NoIdleTimeout
			})
			// The database is told how long is left. The end moves by what a statement
			// waits, so that has to be short beside the time that passes.
			inTime(t, func(limit time.Duration) (slow bool) {
				laptop := e.browser()
				id := laptop.login("alice", usersession.WithLifetime(2*time.Hour))
				session := func() usersession.UserSession {
					s, err := e.m.Session(t.Context(), "alice", id)
					e.ok(err)
					return s
				}
				before := session()
				passed := limit / 4
				pass(t, passed)
				began := time.Now()
				e.wantOK(laptop.do(func(ctx context.Context) { e.ok(how.renew(ctx, e.m)) }))
				if time.Since(began) > passed/2 {
					return true
				}
				after := session()
				later, longer := after.AuthenticatedAt.Sub(before.AuthenticatedAt), after.ExpiresAt.Sub(before.ExpiresAt)
				switch {
				case how.name == "Reauthenticate" && (later < passed/2 || longer < passed/2):
					t.Errorf("authenticated %v later, ends %v later; want at least %v", later, longer, passed)
				case how.name != "Reauthenticate" && (later != 0 || longer > passed/2):
					t.Errorf("authenticated %v later, ends %v later; want neither", later, longer)
				}
				return false
			})
		})
	}
}

func reauthenticateMeta(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	laptop.login("alice", usersession.WithMeta(map[string]string{"a": "1", "b": "2"}))
	laptop.do(func(ctx context.Context) {
		e.ok(e.m.Reauthenticate(ctx, usersession.WithMeta(map[string]string{"b": "3"}), usersession.WithMethod("passkey")))
	})
	got := e.list("alice")[0].Meta
	if len(got) != 3 || got["a"] != "1" || got["b"] != "3" || got[usersession.MetaMethod] != "passkey" {
		t.Errorf("Meta %q", got)
	}
}
