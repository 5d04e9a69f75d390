package backendtest

import (
	"context"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// Methods of scs that reach the Store, called on the Manager and on its own
// scs manager.
var directBehaviours = []behaviour{
	{"direct: Clear ends the session", directClear},
	{"direct: Remove of everything ends the session", directRemove},
	{"direct: MergeSession never logs in", directMerge},
	{"direct: MergeSession brings the values", directMergeValues},
	{"direct: RenewToken of scs, given up, is not a session", directRenewPanic},
	{"direct: Destroy of scs beside a renewal", directDestroyRenewal},
	{"direct: SetDeadline shortens and never extends", directDeadline},
	{"direct: values cannot forge an identity", directForge},
}

func directClear(t *testing.T, b backend) {
	for _, c := range []struct {
		name string
		then func(ctx context.Context, m *usersession.Manager)
		cart any
	}{
		{"alone", func(context.Context, *usersession.Manager) {}, nil},
		{"then new data", func(ctx context.Context, m *usersession.Manager) { m.Put(ctx, "cart", 8) }, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := b.start(t)
			laptop := e.browser()
			id := laptop.login("alice")
			laptop.put("cart", 7)
			token := laptop.token()
			e.wantOK(laptop.do(func(ctx context.Context) {
				e.ok(e.m.Clear(ctx))
				c.then(ctx, e.m)
			}))
			e.wantDead(token)
			laptop.wantUser("")
			if got := laptop.get("cart"); got != c.cart {
				t.Errorf("cart %v, want %v", got, c.cart)
			}
			e.wantSessions("alice", 0)
			e.wantReason(id, usersession.ReasonLogout)
		})
	}
}

func directRemove(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	laptop.login("alice")
	laptop.put("cart", 7)
	token := laptop.token()
	laptop.do(func(ctx context.Context) {
		if keys := e.m.Keys(ctx); len(keys) != 1 || keys[0] != "cart" {
			t.Errorf("Keys %q, want the program's own", keys)
		}
		for _, k := range e.m.SessionManager.Keys(ctx) {
			e.m.Remove(ctx, k)
		}
	})
	e.wantDead(token)
	laptop.wantUser("")
	e.wantSessions("alice", 0)

	// Removing the program's own keys logs nobody out.
	laptop.login("alice")
	laptop.put("cart", 7)
	laptop.do(func(ctx context.Context) { e.m.Remove(ctx, "cart") })
	laptop.wantUser("alice")
	if got := laptop.get("cart"); got != nil {
		t.Errorf("cart %v, want none", got)
	}
}

func directMerge(t *testing.T, b backend) {
	type merge = func(m *usersession.Manager, ctx context.Context, token string) error
	for name, merge := range map[string]merge{
		"Manager": func(m *usersession.Manager, ctx context.Context, token string) error {
			return m.MergeSession(ctx, token)
		},
		"scs": func(m *usersession.Manager, ctx context.Context, token string) error {
			return m.SessionManager.MergeSession(ctx, token)
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := b.start(t)
			for _, into := range []string{"nobody", "a visitor", "bob"} {
				alice, other := e.browser(), e.browser()
				alice.login("alice")
				alice.put("secret", "alice's")
				want := ""
				switch into {
				case "a visitor":
					other.put("cart", 1)
				case "bob":
					other.login("bob")
					want = "bob"
				}
				stolen := alice.token()
				e.wantOK(other.do(func(ctx context.Context) {
					e.ok(merge(e.m, ctx, stolen))
					if u := e.m.UserID(ctx); u != want {
						t.Errorf("into %s: logged in as %q in the request", into, u)
					}
				}))
				other.wantUser(want)
				e.wantDead(stolen) // merged away
				e.wantSessions("alice", 0)
			}
		})
	}
}

func directMergeValues(t *testing.T, b backend) {
	e := b.start(t)
	before, after := e.browser(), e.browser()
	before.put("state", "xyz")
	lost := before.token()
	after.login("alice")
	e.wantOK(after.do(func(ctx context.Context) { e.ok(e.m.MergeSession(ctx, lost)) }))
	after.wantUser("alice")
	if got := after.get("state"); got != "xyz" {
		t.Errorf("state %v, want that of the merged session", got)
	}
	if got := e.thief(lost).get("state"); got != nil {
		t.Errorf("the merged session is still there: %v", got)
	}
	// A session that is merged away is no session any more, whose ever it was.
	bob := e.browser()
	bob.login("bob")
	token := bob.token()
	after.do(func(ctx context.Context) { e.ok(e.m.MergeSession(ctx, token)) })
	e.wantDead(token)
	e.wantSessions("bob", 0)
	after.wantUser("alice")
	// An unknown token merges nothing.
	e.wantOK(after.do(func(ctx context.Context) { e.ok(e.m.MergeSession(ctx, "nonsense")) }))
	after.wantUser("alice")
}

func directDestroyRenewal(t *testing.T, b backend) {
	for name, renew := range map[string]func(*usersession.Manager, context.Context) error{
		"scs RenewToken": func(m *usersession.Manager, ctx context.Context) error { return m.SessionManager.RenewToken(ctx) },
		"RenewToken":     func(m *usersession.Manager, ctx context.Context) error { return m.RenewToken(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			e := b.start(t)
			laptop := e.browser()
			laptop.login("alice")
			token, fresh := laptop.token(), ""
			laptop.do(func(ctx context.Context) { // has loaded the session before
				laptop.do(func(renewing context.Context) {
					e.ok(renew(e.m, renewing))
					fresh = e.m.Token(renewing)
					e.ok(e.m.SessionManager.Destroy(ctx))
				})
			})
			e.wantDead(token)
			e.wantDead(fresh)
			e.wantSessions("alice", 0)
		})
	}
}

func directRenewPanic(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	laptop.login("alice")
	token, fresh := laptop.token(), ""
	laptop.crash(func(ctx context.Context) {
		e.ok(e.m.SessionManager.RenewToken(ctx))
		fresh = e.m.Token(ctx)
	})
	e.wantDead(fresh)
	e.wantDead(token) // scs deletes at once: the safe side
	e.wantSessions("alice", 0)
	_, err := e.m.Prune(t.Context())
	e.ok(err)
	e.wantStored(0)
}

func directDeadline(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.IdleTimeout = usersession.NoIdleTimeout })
	laptop := e.browser()
	laptop.login("alice")
	end := func() int64 { return e.list("alice")[0].ExpiresAt.Unix() }
	login := end()
	laptop.do(func(ctx context.Context) { e.m.SetDeadline(ctx, e.m.Deadline(ctx).AddDate(1, 0, 0)) })
	if got := end(); got > login+1 {
		t.Errorf("extended by %d s", got-login)
	}
	laptop.do(func(ctx context.Context) { e.m.SetDeadline(ctx, e.m.Deadline(ctx).AddDate(-1, 0, 0)) })
	e.wantDead(laptop.token())
	e.wantSessions("alice", 0)
}

func directForge(t *testing.T, b backend) {
	e := b.start(t)
	bob := e.browser()
	bob.login("bob")
	visitor := e.browser()
	var stolen any
	bob.do(func(ctx context.Context) {
		for _, k := range e.m.SessionManager.Keys(ctx) {
			stolen = e.m.Get(ctx, k)
		}
	})
	// Even a program that copies the reserved value makes nobody somebody.
	a := visitor.do(func(ctx context.Context) {
		e.m.Put(ctx, "__usersession", stolen)
		e.m.Put(ctx, "cart", 1)
	})
	if a.status == 200 {
		visitor.wantUser("")
	}
	visitor.do(func(ctx context.Context) { e.m.Put(ctx, "__usersession", "bob") })
	visitor.wantUser("")
	bob.wantUser("bob")
	e.wantSessions("bob", 1)
}
