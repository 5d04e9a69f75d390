package backendtest

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

var revokeBehaviours = []behaviour{
	{"revoke: one", revokeOne},
	{"revoke: the others", revokeOthers},
	{"revoke: all", revokeAll},
	{"revoke: unknown and foreign IDs have one answer", revokeUnknown},
	{"revoke: the current session is logged out", revokeCurrent},
	{"revoke: the row says who and why", revokeReason},
	{"revoke: of two that end each other one does", revokeEachOther},
	{"logout: ends the session and clears the cookie", logout},
}

func revokeOne(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone := e.browser(), e.browser()
	laptop.login("alice")
	id := phone.login("alice")
	phone.put("cart", 1)
	token := phone.token()
	e.ok(e.m.RevokeSession(t.Context(), "alice", id))
	phone.wantUser("")
	laptop.wantUser("alice")
	e.wantSessions("alice", 1)
	e.wantStored(1)
	e.wantDead(token)
	if phone.token() != token {
		t.Error("the dead token's cookie was changed: another tab may have a new one")
	}
	e.want(e.m.RevokeSession(t.Context(), "alice", id), usersession.ErrSessionNotFound)
}

func revokeOthers(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone, tablet, bob := e.browser(), e.browser(), e.browser(), e.browser()
	for _, d := range []*browser{laptop, phone, tablet} {
		d.login("alice")
	}
	bob.login("bob")
	laptop.do(func(ctx context.Context) {
		if n, err := e.m.RevokeOtherSessions(ctx); n != 2 || err != nil {
			t.Errorf("%d, %v; want 2", n, err)
		}
		if n, err := e.m.RevokeOtherSessions(ctx); n != 0 || err != nil {
			t.Errorf("again: %d, %v; want 0", n, err)
		}
	})
	laptop.wantUser("alice")
	phone.wantUser("")
	tablet.wantUser("")
	bob.wantUser("bob")
	e.wantSessions("alice", 1)
	e.wantStored(2)
}

func revokeAll(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone, bob := e.browser(), e.browser(), e.browser()
	laptop.login("alice")
	phone.login("alice")
	bob.login("bob")
	for i, want := range []int{2, 0} {
		if n, err := e.m.RevokeAllSessions(t.Context(), "alice"); n != want || err != nil {
			t.Errorf("call %d: %d, %v; want %d", i+1, n, err, want)
		}
	}
	laptop.wantUser("")
	phone.wantUser("")
	bob.wantUser("bob")
	e.wantSessions("alice", 0)
	e.wantStored(1)
	// The user is not locked out.
	laptop.login("alice")
	laptop.wantUser("alice")
}

func revokeUnknown(t *testing.T, b backend) {
	e := b.start(t)
	alice, bob := e.browser(), e.browser()
	alice.login("alice")
	foreign := bob.login("bob")
	for name, id := range badIDs(foreign) {
		if err := e.m.RevokeSession(t.Context(), "alice", id); err != usersession.ErrSessionNotFound {
			t.Errorf("%s: %v, want ErrSessionNotFound", name, err)
		}
		if err := e.m.RevokeSession(t.Context(), "nobody", id); err != usersession.ErrSessionNotFound {
			t.Errorf("nobody's, %s: %v, want ErrSessionNotFound", name, err)
		}
	}
	alice.wantUser("alice")
	bob.wantUser("bob")
}

func revokeCurrent(t *testing.T, b backend) {
	for _, how := range []struct {
		name   string
		revoke func(ctx context.Context, m *usersession.Manager, id string) error
	}{
		{"RevokeSession", func(ctx context.Context, m *usersession.Manager, id string) error {
			return m.RevokeSession(ctx, "alice", id)
		}},
		{"RevokeAllSessions", func(ctx context.Context, m *usersession.Manager, id string) error {
			_, err := m.RevokeAllSessions(ctx, "alice")
			return err
		}},
		{"RevokeMatching", func(ctx context.Context, m *usersession.Manager, id string) error {
			_, err := m.RevokeMatching(ctx, usersession.Filter{UserIDs: []string{"alice"}})
			return err
		}},
	} {
		t.Run(how.name, func(t *testing.T) {
			e := b.start(t)
			laptop := e.browser()
			id := laptop.login("alice")
			token := laptop.token()
			a := laptop.do(func(ctx context.Context) {
				e.ok(how.revoke(ctx, e.m, id))
				if u := e.m.UserID(ctx); u != "" {
					t.Errorf("still %q in the request", u)
				}
			})
			e.wantOK(a)
			if laptop.token() != "" {
				t.Error("the cookie was not cleared")
			}
			e.wantDead(token)
			e.wantSessions("alice", 0)
			e.wantStored(0)
		})
	}
}

func revokeReason(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone, tablet := e.browser(), e.browser(), e.browser()
	one, two, three := laptop.login("alice"), phone.login("alice"), tablet.login("alice")
	ctx := usersession.ContextWithReason(usersession.ContextWithActor(t.Context(), "incident 7"), "stolen")
	e.ok(e.m.RevokeSession(ctx, "alice", one))
	if s, ok := e.ended(one); !ok || s.Reason != "stolen" || s.EndedBy != "incident 7" || s.EndedAt.IsZero() || s.UserID != "alice" {
		t.Errorf("with reason and actor: %v %+v", ok, s)
	}
	phone.do(func(ctx context.Context) {
		_, err := e.m.RevokeOtherSessions(ctx)
		e.ok(err)
	})
	if s, ok := e.ended(three); !ok || s.Reason != usersession.ReasonRevoked || s.EndedBy != "alice" {
		t.Errorf("by the user: %v %+v", ok, s)
	}
	if _, ok := e.ended(two); ok {
		t.Error("the caller's session has ended")
	}
}

func revokeEachOther(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone := e.browser(), e.browser()
	laptop.login("alice")
	phone.login("alice")
	var ready, done sync.WaitGroup
	counts, errs := make([]int, 2), make([]error, 2)
	ready.Add(2)
	for i, d := range []*browser{laptop, phone} {
		done.Go(func() {
			d.do(func(ctx context.Context) {
				ready.Done()
				ready.Wait()
				counts[i], errs[i] = e.m.RevokeOtherSessions(ctx)
			})
		})
	}
	done.Wait()
	if errs[0] != nil {
		counts[0], counts[1], errs[0], errs[1] = counts[1], counts[0], errs[1], errs[0]
	}
	if errs[0] != nil || counts[0] != 1 || !errors.Is(errs[1], usersession.ErrSessionEnded) || counts[1] != 0 {
		t.Errorf("%d, %v and %d, %v; want 1 and ErrSessionEnded", counts[0], errs[0], counts[1], errs[1])
	}
	e.wantSessions("alice", 1)
}

func logout(t *testing.T, b backend) {
	for _, how := range []struct {
		name   string
		logout func(context.Context, *usersession.Manager) error
	}{
		{"Logout", func(ctx context.Context, m *usersession.Manager) error { return m.Logout(ctx) }},
		{"Destroy", func(ctx context.Context, m *usersession.Manager) error { return m.Destroy(ctx) }},
		{"scs Destroy", func(ctx context.Context, m *usersession.Manager) error { return m.SessionManager.Destroy(ctx) }},
	} {
		t.Run(how.name, func(t *testing.T) {
			e := b.start(t)
			laptop, phone := e.browser(), e.browser()
			laptop.login("alice")
			phone.login("alice")
			laptop.put("cart", 1)
			token := laptop.token()
			e.wantOK(laptop.do(func(ctx context.Context) {
				e.ok(how.logout(ctx, e.m))
				if e.m.UserID(ctx) != "" || e.m.Exists(ctx, "cart") {
					t.Error("identity or data are left in the request")
				}
			}))
			if laptop.token() != "" {
				t.Error("the cookie was not cleared")
			}
			e.wantDead(token)
			laptop.wantUser("")
			phone.wantUser("alice")
			e.wantSessions("alice", 1)
			e.wantStored(1)
		})
	}
}
