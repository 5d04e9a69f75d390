package backendtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// Load and Commit by hand: programs that are not net/http.
var byHandBehaviours = []behaviour{
	{"by hand: anonymous, login, change, logout", byHandLife},
	{"by hand: revoked between Load and Commit", byHandRevoked},
	{"by hand: renewal", byHandRenewal},
	{"by hand: renewal against renewal", byHandRenewalRace},
	{"by hand: a logout after a renewal", byHandLogoutRenewed},
	{"by hand: a logout that fails can be repeated", byHandLogoutFails},
	{"by hand: Clear ends the session", byHandClear},
	{"by hand: unknown tokens load an empty session", byHandUnknown},
}

// hand is Load and Commit of a Manager or of its own scs manager.
type hand interface {
	Load(context.Context, string) (context.Context, error)
	Commit(context.Context) (string, time.Time, error)
	RenewToken(context.Context) error
	Destroy(context.Context) error
	Clear(context.Context) error
}

// onBoth runs a test with the methods of the Manager and with those of its scs
// manager.
func onBoth(t *testing.T, b backend, run func(e *env, h hand)) {
	t.Run("Manager", func(t *testing.T) {
		e := b.start(t)
		run(e, e.m)
	})
	t.Run("scs", func(t *testing.T) {
		e := b.start(t)
		run(e, e.m.SessionManager)
	})
}

func (e *env) load(h hand, token string) context.Context {
	e.Helper()
	ctx, err := h.Load(e.Context(), token)
	if err != nil {
		e.Fatalf("Load: %v", err)
	}
	return ctx
}

func (e *env) commit(h hand, ctx context.Context) string {
	e.Helper()
	token, expiry, err := h.Commit(ctx)
	if err != nil {
		e.Fatalf("Commit: %v", err)
	}
	if token == "" || !expiry.After(time.Now()) {
		e.Errorf("Commit: token %q, expiry %v", token, expiry)
	}
	return token
}

func byHandLife(t *testing.T, b backend) {
	onBoth(t, b, func(e *env, h hand) {
		ctx := e.load(h, "")
		e.m.Put(ctx, "cart", 1)
		anonymous := e.commit(h, ctx)
		e.m.Put(ctx, "cart", 2)
		if token := e.commit(h, ctx); token != anonymous {
			e.Error("a second Commit has another token")
		}
		ctx = e.load(h, anonymous)
		if got := e.m.GetInt(ctx, "cart"); got != 2 {
			e.Errorf("cart %d, want 2", got)
		}

		// Only a context of the Manager can be logged in.
		ctx = e.load(e.m, anonymous)
		e.ok(e.m.Login(ctx, "alice"))
		token := e.commit(h, ctx)
		if token == anonymous {
			e.Error("the login has the anonymous token")
		}
		e.wantDead(anonymous)
		e.thief(token).wantUser("alice")

		ctx = e.load(h, token)
		if u, cart := e.m.UserID(ctx), e.m.GetInt(ctx, "cart"); u != "alice" || cart != 2 {
			e.Errorf("user %q, cart %d; want alice, 2", u, cart)
		}
		e.m.Put(ctx, "cart", 3)
		e.commit(h, ctx)
		if got := e.thief(token).get("cart"); got != 3 {
			e.Errorf("cart %v, want 3", got)
		}
		e.wantSessions("alice", 1)

		ctx = e.load(h, token)
		e.ok(h.Destroy(ctx))
		e.wantDead(token)
		e.wantSessions("alice", 0)
		e.wantStored(0)
	})
}

func byHandRevoked(t *testing.T, b backend) {
	onBoth(t, b, func(e *env, h hand) {
		laptop := e.browser()
		id := laptop.login("alice")
		ctx := e.load(h, laptop.token())
		e.m.Put(ctx, "cart", 1)
		e.ok(e.m.RevokeSession(e.Context(), "alice", id))
		_, _, err := h.Commit(ctx)
		e.want(err, usersession.ErrSessionEnded)
		e.wantDead(laptop.token())
		e.wantSessions("alice", 0)
		e.wantStored(0)
	})
}

func byHandRenewal(t *testing.T, b backend) {
	onBoth(t, b, func(e *env, h hand) {
		laptop := e.browser()
		id := laptop.login("alice")
		laptop.put("cart", 7)
		ctx := e.load(h, laptop.token())
		e.ok(h.RenewToken(ctx))
		token := e.commit(h, ctx)
		e.wantDead(laptop.token())
		thief := e.thief(token)
		thief.wantUser("alice")
		if got := thief.get("cart"); got != 7 {
			e.Errorf("cart %v, want 7", got)
		}
		if list := e.list("alice"); len(list) != 1 || list[0].ID != id {
			e.Errorf("sessions %v, want the one with ID %q", list, id)
		}
		// And again, with the same context.
		e.m.Put(ctx, "cart", 8)
		e.commit(h, ctx)
		if got := thief.get("cart"); got != 8 {
			e.Errorf("cart %v, want 8", got)
		}
	})
}

// Only the row knows where the session is now. Destroy of scs says that it is not there.
func byHandLogoutRenewed(t *testing.T, b backend) {
	onBoth(t, b, func(e *env, h hand) {
		laptop := e.browser()
		laptop.login("alice")
		logout, destroy := e.load(h, laptop.token()), e.load(h, laptop.token())
		e.wantOK(laptop.do(func(ctx context.Context) { e.ok(e.m.RenewToken(ctx)) }))
		if h == hand(e.m.SessionManager) {
			e.want(h.Destroy(destroy), usersession.ErrSessionEnded)
			laptop.wantUser("alice")
		}
		e.ok(e.m.Logout(logout))
		laptop.wantUser("")
		e.wantSessions("alice", 0)
		if u := e.m.UserID(logout); u != "" {
			e.Errorf("after Logout the context is %q's", u)
		}
	})
}

// A second call must not say that it is done.
func byHandLogoutFails(t *testing.T, b backend) {
	for name, hand := range map[string]func(e *env) hand{
		"Manager": func(e *env) hand { return e.m },
		"scs":     func(e *env) hand { return e.m.SessionManager },
	} {
		t.Run(name, func(t *testing.T) {
			e := b.startFaulty(t)
			laptop := e.browser()
			laptop.login("alice")
			ctx := e.load(hand(e), laptop.token())
			e.faults.fail()
			if err := e.m.Logout(ctx); err == nil {
				t.Error("Logout, and the Store is down: no error")
			}
			if err := e.m.Logout(ctx); err == nil {
				t.Error("again: no error")
			}
			e.faults.recover()
			e.ok(e.m.Logout(ctx))
			laptop.wantUser("")
			e.wantSessions("alice", 0)
			e.wantStored(0)
		})
	}
}

func byHandRenewalRace(t *testing.T, b backend) {
	onBoth(t, b, func(e *env, h hand) {
		laptop := e.browser()
		laptop.login("alice")
		one, two := e.load(h, laptop.token()), e.load(h, laptop.token())
		e.ok(h.RenewToken(one))
		err := h.RenewToken(two)
		first, _, err1 := h.Commit(one)
		var err2 error
		second := ""
		if err == nil {
			second, _, err2 = h.Commit(two)
		}
		good := 0
		for _, r := range []struct {
			token string
			err   error
		}{{first, err1}, {second, errors.Join(err, err2)}} {
			if r.err == nil && e.thief(r.token).user() == "alice" {
				good++
			} else if r.token != "" && r.err != nil {
				e.wantDead(r.token)
			}
		}
		if good != 1 {
			e.Errorf("%d of two renewals at once are good, want 1 (%v; %v, %v)", good, err1, err, err2)
		}
		e.wantDead(laptop.token())
	})
}

func byHandClear(t *testing.T, b backend) {
	onBoth(t, b, func(e *env, h hand) {
		laptop := e.browser()
		laptop.login("alice")
		ctx := e.load(h, laptop.token())
		e.ok(h.Clear(ctx))
		_, _, err := h.Commit(ctx)
		e.want(err, usersession.ErrSessionEnded)
		e.wantDead(laptop.token())
		e.wantSessions("alice", 0)
		e.wantStored(0)
	})
}

func byHandUnknown(t *testing.T, b backend) {
	onBoth(t, b, func(e *env, h hand) {
		for _, token := range []string{"nonsense", "../../etc", "\x00", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
			ctx := e.load(h, token)
			if u := e.m.UserID(ctx); u != "" {
				e.Errorf("%q: logged in as %q", token, u)
			}
		}
	})
}
