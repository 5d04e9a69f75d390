package backendtest

import (
	"context"
	"errors"
	"testing"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession"
)

// Everybody's sessions, by Iterate of scs.
var iterateBehaviours = []behaviour{
	{"iterate: all sessions", iterate},
	{"iterate: Destroy inside", iterateDestroy},
	{"iterate: Commit inside", iterateCommit},
	{"iterate: inside a request of an admin's own", iterateInRequest},
	{"iterate: Login inside is refused", iterateLogin},
	{"iterate: RenewToken inside is refused", iterateRenew},
	{"iterate: handles are no tokens", iterateHandles},
}

// iterable skips the test where the Store cannot iterate.
func (e *env) iterable() {
	e.Helper()
	store := e.store
	if f, ok := store.(*faulty); ok { // which has the method in any case
		store = f.Store
	}
	_, ok := store.(usersession.KeyLister)
	if store != nil && !ok {
		err := e.m.Iterate(e.Context(), func(context.Context) error { return nil })
		e.want(err, errors.ErrUnsupported)
		e.Skip("the Store cannot iterate, and says so")
	}
}

func iterate(t *testing.T, b backend) {
	e := b.start(t)
	e.iterable()
	alice, bob, visitor, gone := e.browser(), e.browser(), e.browser(), e.browser()
	alice.login("alice")
	bob.login("bob")
	visitor.put("cart", 1)
	id := gone.login("carol")
	e.ok(e.m.RevokeSession(t.Context(), "carol", id))
	seen := map[string]int{}
	e.ok(e.m.Iterate(t.Context(), func(ctx context.Context) error {
		seen[e.m.UserID(ctx)]++
		if u := e.m.UserID(ctx); u != "" {
			if s, err := e.m.Current(ctx); err != nil || s.UserID != u {
				t.Errorf("current of %q: %v, %v", u, s, err)
			}
		}
		return nil
	}))
	if len(seen) != 3 || seen["alice"] != 1 || seen["bob"] != 1 || seen[""] != 1 {
		t.Errorf("seen %v, want alice, bob and a visitor", seen)
	}
	stop := errors.New("stop")
	if err := e.m.Iterate(t.Context(), func(context.Context) error { return stop }); err != stop {
		t.Errorf("error %v, want the function's own", err)
	}
}

func iterateDestroy(t *testing.T, b backend) {
	for name, destroy := range map[string]func(ctx context.Context, m *usersession.Manager) error{
		"Destroy":     func(ctx context.Context, m *usersession.Manager) error { return m.Destroy(ctx) },
		"scs Destroy": func(ctx context.Context, m *usersession.Manager) error { return m.SessionManager.Destroy(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			e := b.start(t)
			e.iterable()
			alice, bob := e.browser(), e.browser()
			id := alice.login("alice")
			bob.login("bob")
			e.ok(e.m.Iterate(t.Context(), func(ctx context.Context) error {
				if e.m.UserID(ctx) == "alice" {
					return destroy(ctx, e.m)
				}
				return nil
			}))
			e.wantDead(alice.token())
			bob.wantUser("bob")
			e.wantSessions("alice", 0)
			e.wantStored(1)
			e.wantReason(id, usersession.ReasonLogout)
		})
	}
}

func iterateCommit(t *testing.T, b backend) {
	e := b.start(t)
	e.iterable()
	alice, visitor := e.browser(), e.browser()
	alice.login("alice")
	visitor.put("cart", 1)
	tokens := alice.token() + visitor.token()
	e.ok(e.m.Iterate(t.Context(), func(ctx context.Context) error {
		e.m.Put(ctx, "notice", "maintenance at noon")
		_, _, err := e.m.Commit(ctx)
		return err
	}))
	for _, d := range []*browser{alice, visitor} {
		if got := d.get("notice"); got != "maintenance at noon" {
			t.Errorf("notice %v", got)
		}
	}
	if tokens != alice.token()+visitor.token() {
		t.Error("a token has changed")
	}
	alice.wantUser("alice")
	e.wantStored(2)
}

func iterateInRequest(t *testing.T, b backend) {
	e := b.start(t)
	e.iterable()
	admin, alice, bob := e.browser(), e.browser(), e.browser()
	admin.login("admin")
	admin.put("cart", 1)
	alice.login("alice")
	bob.login("bob")
	admin.do(func(ctx context.Context) {
		e.ok(e.m.Iterate(ctx, func(inner context.Context) error {
			switch e.m.UserID(inner) {
			case "alice":
				return e.m.Destroy(inner)
			case "bob":
				e.m.Put(inner, "notice", "maintenance at noon")
				_, _, err := e.m.Commit(inner)
				return err
			}
			return nil
		}))
	})
	e.wantDead(alice.token())
	e.wantSessions("alice", 0)
	bob.wantUser("bob")
	if got := bob.get("notice"); got != "maintenance at noon" {
		t.Errorf("bob's notice %v", got)
	}
	admin.wantUser("admin")
	if got := admin.get("cart"); got != 1 {
		t.Errorf("the admin's cart %v, want 1", got)
	}
	e.wantStored(2)
}

func iterateLogin(t *testing.T, b backend) {
	e := b.start(t)
	e.iterable()
	admin, alice := e.browser(), e.browser()
	admin.login("admin")
	alice.login("alice")
	check := func(ctx context.Context) {
		e.ok(e.m.Iterate(ctx, func(inner context.Context) error {
			if e.m.UserID(inner) == "alice" && e.m.Login(inner, "mallory") == nil {
				t.Error("Login inside: no error")
			}
			return nil
		}))
	}
	check(t.Context())
	admin.do(func(ctx context.Context) {
		check(ctx)
		e.m.Put(ctx, "cart", 1)
	})
	admin.wantUser("admin")
	alice.wantUser("alice")
	e.wantSessions("admin", 1)
	e.wantSessions("alice", 1)
	e.wantSessions("mallory", 0)
}

func iterateRenew(t *testing.T, b backend) {
	for name, renew := range map[string]func(ctx context.Context, m *usersession.Manager) error{
		"Manager": func(ctx context.Context, m *usersession.Manager) error { return m.RenewToken(ctx) },
		"scs":     func(ctx context.Context, m *usersession.Manager) error { return m.SessionManager.RenewToken(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			e := b.start(t)
			e.iterable()
			alice := e.browser()
			alice.login("alice")
			e.ok(e.m.Iterate(t.Context(), func(ctx context.Context) error {
				e.want(renew(ctx, e.m), usersession.ErrOtherSession)
				return nil
			}))
			alice.wantUser("alice")
			e.wantSessions("alice", 1)
			e.wantStored(1)
		})
	}
}

func iterateHandles(t *testing.T, b backend) {
	e := b.start(t)
	e.iterable()
	e.browser().login("alice")
	var handle string
	e.ok(e.m.Iterate(t.Context(), func(ctx context.Context) error {
		handle = e.m.Token(ctx)
		return nil
	}))
	e.thief(handle).wantUser("")
	ctx := e.load(e.m, handle)
	if u := e.m.UserID(ctx); u != "" || e.m.Status(ctx) != scs.Unmodified {
		t.Errorf("a handle loads a session of %q", u)
	}
	e.browser().do(func(ctx context.Context) {
		e.ok(e.m.MergeSession(ctx, handle))
		if e.m.UserID(ctx) != "" {
			t.Error("a handle merges an identity")
		}
	})
	e.wantSessions("alice", 1)
}
