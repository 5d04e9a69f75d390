package backendtest

import (
	"context"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// What ends a session between the two halves of a renewal in another request. The row has
// the new key then, and the data of the old one are still there.
var midRenewalBehaviours = []behaviour{
	{"renewal: a logout in its middle, with two cookies", midRenewalCookies},
	{"renewal: a logout in its middle, by hand", midRenewalByHand},
	{"renewal: a logout in its middle, of all by Iterate", midRenewalIterate},
}

// midRenewal renews the session of a browser, and calls fn in the middle. If fails says
// so, the Store cannot delete the old data after that, and the renewal may go back. It
// returns the new token, which the browser may have got or not.
func (e *env) midRenewal(d *browser, fails bool, fn func()) (fresh string) {
	e.Helper()
	e.faults.before("Delete", func() {
		e.faults.before("", nil)
		fn()
		if fails {
			e.faults.fail("Delete")
		}
	})
	d.do(func(ctx context.Context) {
		e.ok(e.m.RenewToken(ctx))
		fresh = e.m.Token(ctx)
	})
	e.faults.before("", nil)
	e.faults.recover()
	return fresh
}

// onRenewals runs a test with a renewal that succeeds, and with one that fails.
func onRenewals(t *testing.T, b backend, run func(e *env, fails bool)) {
	t.Run("renewed", func(t *testing.T) { run(b.startFaulty(t), false) })
	t.Run("fails", func(t *testing.T) { run(b.startFaulty(t), true) })
}

func midRenewalCookies(t *testing.T, b backend) {
	for name, end := range map[string]func(e *env, ctx context.Context) error{
		"Logout": func(e *env, ctx context.Context) error { return e.m.Logout(ctx) },
		"Login":  func(e *env, ctx context.Context) error { return e.m.Login(ctx, "carol") },
	} {
		for _, order := range []string{"first", "last"} {
			t.Run(name+", of the "+order, func(t *testing.T) {
				onRenewals(t, b, func(e *env, fails bool) {
					alice, bob := e.browser(), e.browser()
					alice.login("alice")
					bob.login("bob")
					old := bob.token()
					tokens := []string{old, alice.token()}
					if order == "last" {
						tokens = []string{alice.token(), old}
					}
					fresh := e.midRenewal(bob, fails, func() {
						e.wantOK(e.carrying(tokens...).do(func(ctx context.Context) { e.ok(end(e, ctx)) }))
					})
					for _, token := range []string{old, fresh, alice.token()} {
						e.wantDead(token)
					}
					e.wantSessions("alice", 0)
					e.wantSessions("bob", 0)
				})
			})
		}
	}
}

func midRenewalByHand(t *testing.T, b backend) {
	for name, hand := range map[string]func(e *env) hand{
		"Manager": func(e *env) hand { return e.m },
		"scs":     func(e *env) hand { return e.m.SessionManager },
	} {
		t.Run(name, func(t *testing.T) {
			onRenewals(t, b, func(e *env, fails bool) {
				laptop := e.browser()
				laptop.login("alice")
				old := laptop.token()
				ctx := e.load(hand(e), old)
				fresh := e.midRenewal(laptop, fails, func() { e.ok(e.m.Logout(ctx)) })
				if u := e.m.UserID(ctx); u != "" {
					e.Errorf("after Logout the context is %q's", u)
				}
				e.wantDead(old)
				e.wantDead(fresh)
				e.wantSessions("alice", 0)
			})
		})
	}
}

func midRenewalIterate(t *testing.T, b backend) {
	for name, end := range map[string]func(e *env, ctx context.Context) error{
		"Logout":  func(e *env, ctx context.Context) error { return e.m.Logout(ctx) },
		"Destroy": func(e *env, ctx context.Context) error { return e.m.SessionManager.Destroy(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			onRenewals(t, b, func(e *env, fails bool) {
				e.iterable()
				laptop := e.browser()
				id := laptop.login("alice")
				old, fresh := laptop.token(), ""
				e.ok(e.m.Iterate(e.Context(), func(ctx context.Context) (err error) {
					fresh = e.midRenewal(laptop, fails, func() { err = end(e, ctx) })
					return err
				}))
				e.wantDead(old)
				e.wantDead(fresh)
				e.wantSessions("alice", 0)
				e.wantReason(id, usersession.ReasonLogout)
			})
		})
	}
}
