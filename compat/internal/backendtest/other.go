package backendtest

import (
	"context"
	"errors"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// Somebody else's session, by InSession.
var otherBehaviours = []behaviour{
	{"in session: reads and changes another's values", inSession},
	{"in session: inside a request of an admin's own", inSessionInRequest},
	{"in session: Destroy inside", inSessionDestroy},
	{"in session: Destroy and then Put", inSessionDestroyPut},
	{"in session: Clear inside", inSessionClear},
	{"in session: Login and renewals are refused", inSessionLogin},
	{"in session: an error saves nothing", inSessionError},
	{"in session: the last writer wins", inSessionLastWriter},
	{"in session: ended meanwhile", inSessionEnded},
	{"in session: is no use of the session", inSessionSeen},
}

func inSession(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	id := laptop.login("alice")
	laptop.put("cart", 7)
	token := laptop.token()
	e.ok(e.m.InSession(t.Context(), "alice", id, func(ctx context.Context) error {
		if got := e.m.GetInt(ctx, "cart"); got != 7 {
			t.Errorf("cart %d, want 7", got)
		}
		if u := e.m.UserID(ctx); u != "alice" {
			t.Errorf("UserID %q inside", u)
		}
		e.m.Put(ctx, "cart", 8)
		return nil
	}))
	if got := laptop.get("cart"); got != 8 {
		t.Errorf("cart %v, want 8", got)
	}
	if laptop.token() != token {
		t.Error("the token has changed")
	}
	laptop.wantUser("alice")
	e.wantStored(1)
}

func inSessionInRequest(t *testing.T, b backend) {
	e := b.start(t)
	admin, alice := e.browser(), e.browser()
	id := alice.login("alice")
	alice.put("cart", 7)
	adminID := admin.login("admin")
	admin.put("cart", 1)
	token := admin.token()
	e.wantOK(admin.do(func(ctx context.Context) {
		e.m.Put(ctx, "before", true)
		e.ok(e.m.InSession(ctx, "alice", id, func(inner context.Context) error {
			if got := e.m.GetInt(inner, "cart"); got != 7 {
				t.Errorf("inside: cart %d, want 7", got)
			}
			e.m.Put(inner, "cart", 8)
			if s, err := e.m.Current(inner); err != nil || s.ID != id {
				t.Errorf("inside: current %q, %v", s.ID, err)
			}
			return nil
		}))
		if u, cart := e.m.UserID(ctx), e.m.GetInt(ctx, "cart"); u != "admin" || cart != 1 {
			t.Errorf("outside: user %q, cart %d", u, cart)
		}
		if s, err := e.m.Current(ctx); err != nil || s.ID != adminID {
			t.Errorf("outside: current %q, %v", s.ID, err)
		}
	}))
	if admin.token() != token {
		t.Error("the admin's token has changed")
	}
	if admin.get("cart") != 1 || admin.get("before") != true || alice.get("cart") != 8 {
		t.Errorf("admin %v, %v; alice %v", admin.get("cart"), admin.get("before"), alice.get("cart"))
	}
	// One's own session, from inside one's own request, is another writer.
	e.wantOK(admin.do(func(ctx context.Context) {
		e.ok(e.m.InSession(ctx, "admin", adminID, func(inner context.Context) error {
			e.m.Put(inner, "cart", 2)
			return nil
		}))
	}))
	if got := admin.get("cart"); got != 2 {
		t.Errorf("own cart %v, want 2", got)
	}
}

func inSessionDestroy(t *testing.T, b backend) {
	for name, destroy := range map[string]func(ctx context.Context, m *usersession.Manager) error{
		"Destroy":     func(ctx context.Context, m *usersession.Manager) error { return m.Destroy(ctx) },
		"Logout":      func(ctx context.Context, m *usersession.Manager) error { return m.Logout(ctx) },
		"scs Destroy": func(ctx context.Context, m *usersession.Manager) error { return m.SessionManager.Destroy(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			e := b.start(t)
			admin, alice := e.browser(), e.browser()
			id := alice.login("alice")
			admin.login("admin")
			admin.put("cart", 1)
			e.wantOK(admin.do(func(ctx context.Context) {
				e.ok(e.m.InSession(ctx, "alice", id, func(inner context.Context) error { return destroy(inner, e.m) }))
			}))
			e.wantDead(alice.token())
			e.wantSessions("alice", 0)
			e.wantReason(id, usersession.ReasonLogout)
			admin.wantUser("admin")
			if got := admin.get("cart"); got != 1 {
				t.Errorf("the admin's cart %v, want 1", got)
			}
			e.wantStored(1)
		})
	}
}

// Nobody would get the token of a new session.
func inSessionDestroyPut(t *testing.T, b backend) {
	e := b.start(t)
	alice := e.browser()
	id := alice.login("alice")
	e.want(e.m.InSession(t.Context(), "alice", id, func(ctx context.Context) error {
		e.ok(e.m.Destroy(ctx))
		e.m.Put(ctx, "cart", 1)
		return nil
	}), usersession.ErrSessionEnded)
	e.wantDead(alice.token())
	e.wantSessions("alice", 0)
	e.wantStored(0)
}

func inSessionClear(t *testing.T, b backend) {
	e := b.start(t)
	alice := e.browser()
	id := alice.login("alice")
	err := e.m.InSession(t.Context(), "alice", id, func(ctx context.Context) error { return e.m.Clear(ctx) })
	if err != nil && !errors.Is(err, usersession.ErrSessionEnded) {
		t.Errorf("Clear inside: %v", err)
	}
	e.wantDead(alice.token())
	e.wantSessions("alice", 0)
	e.wantStored(0)
}

func inSessionLogin(t *testing.T, b backend) {
	e := b.start(t)
	admin, alice := e.browser(), e.browser()
	id := alice.login("alice")
	admin.login("admin")
	check := func(ctx context.Context) {
		e.ok(e.m.InSession(ctx, "alice", id, func(inner context.Context) error {
			e.want(e.m.Login(inner, "bob"), usersession.ErrOtherSession)
			e.want(e.m.RenewToken(inner), usersession.ErrOtherSession)
			e.want(e.m.SessionManager.RenewToken(inner), usersession.ErrOtherSession)
			e.want(e.m.Reauthenticate(inner), usersession.ErrOtherSession)
			return nil
		}))
	}
	check(t.Context())
	admin.do(check)
	alice.wantUser("alice")
	admin.wantUser("admin")
	e.wantSessions("bob", 0)
}

func inSessionError(t *testing.T, b backend) {
	e := b.start(t)
	alice := e.browser()
	id := alice.login("alice")
	alice.put("cart", 7)
	no := errors.New("no")
	err := e.m.InSession(t.Context(), "alice", id, func(ctx context.Context) error {
		e.m.Put(ctx, "cart", 8)
		return no
	})
	if err != no {
		t.Errorf("error %v, want the function's own", err)
	}
	if got := alice.get("cart"); got != 7 {
		t.Errorf("cart %v, want 7", got)
	}
}

func inSessionLastWriter(t *testing.T, b backend) {
	e := b.start(t)
	alice := e.browser()
	id := alice.login("alice")
	slow := alice.begin(func(ctx context.Context) { e.m.Put(ctx, "cart", "alice's") })
	e.ok(e.m.InSession(t.Context(), "alice", id, func(ctx context.Context) error {
		e.m.Put(ctx, "cart", "the admin's")
		return nil
	}))
	e.wantOK(slow.finish())
	if got := alice.get("cart"); got != "alice's" {
		t.Errorf("cart %v, want that of the last writer", got)
	}
	e.ok(e.m.InSession(t.Context(), "alice", id, func(ctx context.Context) error {
		alice.put("cart", "alice's again")
		e.m.Put(ctx, "cart", "the admin's")
		return nil
	}))
	if got := alice.get("cart"); got != "the admin's" {
		t.Errorf("cart %v, want that of the last writer", got)
	}
}

func inSessionEnded(t *testing.T, b backend) {
	e := b.start(t)
	alice := e.browser()
	id := alice.login("alice")
	err := e.m.InSession(t.Context(), "alice", id, func(ctx context.Context) error {
		e.m.Put(ctx, "cart", 8)
		return e.m.RevokeSession(t.Context(), "alice", id)
	})
	e.want(err, usersession.ErrSessionEnded)
	e.wantDead(alice.token())
	e.wantStored(0)
}

func inSessionSeen(t *testing.T, b backend) {
	e := b.start(t)
	alice := e.browser()
	id := alice.login("alice")
	e.shift(id, "last_seen_at", -1800e9)
	seen := e.list("alice")[0].LastSeenAt
	e.ok(e.m.InSession(t.Context(), "alice", id, func(ctx context.Context) error {
		e.m.Put(ctx, "cart", 8)
		return nil
	}))
	if got := e.list("alice")[0].LastSeenAt; !got.Equal(seen) {
		t.Errorf("last seen %v, want %v", got, seen)
	}
}
