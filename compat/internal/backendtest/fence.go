package backendtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
)

// A login whose credentials were checked before all sessions of the user were revoked.
var fenceBehaviours = []behaviour{
	{"fence: everything is revoked during a login", fenceMoments},
	{"fence: the request that revokes may log in", fenceOwn},
}

// fenceRowBehaviours are those in which the Store has no part.
var fenceRowBehaviours = []behaviour{
	{"fence: a login after the revocation", fenceAfter},
	{"fence: one that the process does not remember", fenceForgotten},
	{"fence: a transaction that is open during the login", fenceOpenTx},
	{"fence: a login in two steps", fenceTwoSteps},
	{"fence: who was authenticated before a time", fenceBefore},
	{"fence: a refused login makes no room", fenceMakesNoRoom},
	{"fence: a disabled account", fenceDisabled},
	{"fence: old ones are pruned", fencePruned},
	{"fence: cannot be raised", fenceNotRaised},
}

// revokers are all that end every session of alice, but perhaps that of a browser of
// hers, with the reason they leave.
func (e *env) revokers() map[string]func(context.Context) error {
	filter := usersession.Filter{UserIDs: []string{"bob", "alice"}}
	count := func(fn func(context.Context, string) (int, error)) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := fn(ctx, "alice")
			return err
		}
	}
	// In a browser of alice, whose session is spared.
	inBrowser := func(fn func(context.Context) error) func(context.Context) error {
		return func(context.Context) (err error) {
			phone := e.browser()
			phone.login("alice")
			phone.do(func(ctx context.Context) { err = fn(ctx) })
			return err
		}
	}
	return map[string]func(context.Context) error{
		"RevokeAllSessions": count(e.m.RevokeAllSessions),
		"PasswordChanged":   count(e.m.PasswordChanged),
		"FactorChanged":     count(e.m.FactorChanged),
		"AccountDisabled, AccountEnabled": func(ctx context.Context) error {
			_, err := e.m.AccountDisabled(ctx, "alice")
			return errors.Join(err, e.m.AccountEnabled(ctx, "alice"))
		},
		"RevokeMatching": func(ctx context.Context) error {
			_, err := e.m.RevokeMatching(ctx, filter)
			return err
		},
		"RevokeMatchingTx": func(ctx context.Context) error {
			tx := e.begin()
			rev, err := e.m.RevokeMatchingTx(ctx, tx, filter)
			e.ok(err)
			e.ok(tx.Commit())
			return rev.Finish(ctx)
		},
		"RevokeOtherSessions": inBrowser(func(ctx context.Context) error {
			_, err := e.m.RevokeOtherSessions(ctx)
			return err
		}),
		"PasswordChanged in a session": inBrowser(func(ctx context.Context) error {
			_, err := e.m.PasswordChanged(ctx, "alice")
			return err
		}),
	}
}

// begin begins a transaction of the application.
func (e *env) begin() *sqlx.Tx {
	e.Helper()
	tx, err := e.db.BeginTxx(e.Context(), nil)
	e.ok(err)
	return tx
}

// forget makes the process forget its revocations, as one would that has made none.
func (e *env) forget() {
	e.Helper()
	for i := range 257 {
		_, err := e.m.RevokeMatching(e.Context(), usersession.Filter{UserIDs: []string{fmt.Sprint("stranger ", i)}})
		e.ok(err)
	}
}

// age makes every fence older than it is kept.
func (e *env) age() {
	e.Helper()
	ago := map[string]string{"sqlite": "0"}[e.db.DriverName()]
	exec(e.T, e.db, "UPDATE "+quoted(e.db, e.table+"_fences")+" SET not_before = "+cmp.Or(ago, "'2000-01-01'"))
}

func fenceMoments(t *testing.T, b backend) {
	e := b.start(t)
	for name, revoke := range e.revokers() {
		t.Run(name, func(t *testing.T) {
			e := e.with(t)
			laptop := e.browser()
			laptop.do(func(ctx context.Context) {
				e.ok(revoke(t.Context()))
				e.want(e.m.Login(ctx, "alice"), usersession.ErrRevokedMeanwhile)
				e.ok(e.m.Login(ctx, "carol"))
			})
			laptop.wantUser("carol")

			laptop = e.browser()
			laptop.do(func(ctx context.Context) {
				e.ok(e.m.Login(ctx, "alice"))
				e.ok(revoke(t.Context()))
			})
			laptop.wantUser("")
		})
	}
}

func fenceAfter(t *testing.T, b backend) {
	e := b.start(t)
	for name, revoke := range e.revokers() {
		t.Run(name, func(t *testing.T) {
			e := e.with(t)
			for range 3 {
				e.ok(revoke(t.Context()))
				laptop := e.browser()
				laptop.login("alice")
				laptop.wantUser("alice")
			}

		})
	}
}

func fenceForgotten(t *testing.T, b backend) {
	e := b.start(t)
	e.browser().do(func(ctx context.Context) {
		_, err := e.m.RevokeAllSessions(t.Context(), "alice")
		e.ok(err)
		e.forget()
		e.want(e.m.Login(ctx, "alice"), usersession.ErrRevokedMeanwhile)
	})
	e.browser().login("alice")
	e.wantSessions("alice", 1)
}

func fenceOwn(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	laptop.do(func(ctx context.Context) { // a password reset
		_, err := e.m.PasswordChanged(ctx, "alice")
		e.ok(err)
		e.ok(e.m.Login(ctx, "alice"))
	})
	laptop.wantUser("alice")
	laptop.do(func(ctx context.Context) {
		_, err := e.m.RevokeAllSessions(ctx, "bob")
		e.ok(err)
		_, err = e.m.RevokeAllSessions(ctx, "alice")
		e.ok(err)
		_, err = e.m.RevokeAllSessions(ctx, "alice")
		e.ok(err)
		e.ok(e.m.Login(ctx, "bob"))
		e.ok(e.m.Login(ctx, "alice"))
	})
	laptop.wantUser("alice")
	e.wantSessions("alice", 1)
	laptop.do(func(ctx context.Context) {
		e.ok(e.m.Login(ctx, "alice"))
		_, err := e.m.RevokeOtherSessions(ctx)
		e.ok(err)
	})
	laptop.wantUser("alice")
	e.wantSessions("alice", 1)

	// Its own fence does not open that of somebody else.
	thief := e.browser()
	thief.do(func(ctx context.Context) {
		_, err := e.m.RevokeAllSessions(t.Context(), "alice")
		e.ok(err)
		_, err = e.m.RevokeAllSessions(ctx, "alice")
		e.ok(err)
		e.want(e.m.Login(ctx, "alice"), usersession.ErrRevokedMeanwhile)
	})
	thief.do(func(ctx context.Context) {
		_, err := e.m.RevokeAllSessions(ctx, "alice")
		e.ok(err)
		_, err = e.m.RevokeAllSessions(t.Context(), "alice")
		e.ok(err)
		e.want(e.m.Login(ctx, "alice"), usersession.ErrRevokedMeanwhile)
	})
	thief.wantUser("")
}

func fenceOpenTx(t *testing.T, b backend) {
	e := b.start(t)
	filter := usersession.Filter{UserIDs: []string{"alice"}}
	tx := e.begin()
	rev, err := e.m.RevokeMatchingTx(t.Context(), tx, filter)
	e.ok(err)
	laptop := e.browser()
	laptop.do(func(ctx context.Context) { // it reads the old password
		e.ok(tx.Commit())
		e.ok(rev.Finish(t.Context()))
		e.want(e.m.Login(ctx, "alice"), usersession.ErrRevokedMeanwhile)
	})
	laptop.login("alice")
	laptop.wantUser("alice")

	// One that is rolled back refuses nobody.
	tx = e.begin()
	laptop = e.browser()
	laptop.do(func(ctx context.Context) {
		rev, err = e.m.RevokeMatchingTx(t.Context(), tx, filter)
		e.ok(err)
		e.ok(tx.Rollback())
		e.want(rev.Finish(t.Context()), usersession.ErrNotCommitted)
		e.ok(e.m.Login(ctx, "alice"))
	})
	laptop.wantUser("alice")
}

func fenceTwoSteps(t *testing.T, b backend) {
	e := b.start(t)
	before := time.Now()
	_, err := e.m.RevokeAllSessions(t.Context(), "alice")
	e.ok(err)
	after := time.Now()
	login := func(at time.Time) (err error) {
		e.browser().do(func(ctx context.Context) { err = e.m.Login(ctx, "alice", usersession.WithCheckedAt(at)) })
		return err
	}
	e.want(login(before), usersession.ErrRevokedMeanwhile)
	e.want(login(before.Round(0)), usersession.ErrRevokedMeanwhile) // as it comes out of a session
	e.want(login(before.Add(-22*time.Hour)), usersession.ErrRevokedMeanwhile)
	e.ok(login(after))
	e.ok(login(time.Now()))
	for _, at := range []time.Time{{}, before.Add(-24 * time.Hour), time.Now().Add(time.Hour)} {
		if err := login(at); err == nil || errors.Is(err, usersession.ErrRevokedMeanwhile) {
			t.Errorf("WithCheckedAt(%v): %v", at, err)
		}
	}
	e.wantSessions("alice", 2)
}

// fenceBefore is told late of something that happened a minute ago.
func fenceBefore(t *testing.T, b backend) {
	e := b.start(t)
	at := time.Now().Add(-time.Minute)
	login := func(at time.Time) (err error) {
		e.browser().do(func(ctx context.Context) { err = e.m.Login(ctx, "alice", usersession.WithCheckedAt(at)) })
		return err
	}
	filter := func(before time.Time) usersession.Filter {
		return usersession.Filter{UserIDs: []string{"alice"}, AuthenticatedBefore: before}
	}
	revoke := func(f usersession.Filter) {
		t.Helper()
		_, err := e.m.RevokeMatching(t.Context(), f)
		e.ok(err)
	}
	narrow := filter(at)
	narrow.UserAgent = "none"
	revoke(narrow)
	revoke(filter(at.Add(-25 * time.Hour))) // nobody's credentials count that long
	e.ok(login(at.Add(-time.Second)))
	for name, revoke := range map[string]func(){
		"RevokeMatching": func() { revoke(filter(at)) },
		"RevokeMatchingTx": func() {
			tx := e.begin()
			_, err := e.m.RevokeMatchingTx(t.Context(), tx, filter(at))
			e.ok(errors.Join(err, tx.Commit()))
		},
	} {
		exec(t, e.db, "DELETE FROM "+quoted(e.db, e.table+"_fences"))
		for range 2 {
			revoke()
			if err := login(at.Add(-time.Second)); !errors.Is(err, usersession.ErrRevokedMeanwhile) {
				t.Errorf("%s: a login of before: %v", name, err)
			}
			e.ok(login(at.Add(time.Second)))
		}
	}
	e.wantSessions("alice", 5) // those that began since live on

	// It does not lower a fence that is higher. Who logs in at once is not too close to it.
	for range 20 {
		_, err := e.m.RevokeAllSessions(t.Context(), "alice")
		e.ok(err)
		revoke(filter(at))
		e.want(login(at.Add(time.Second)), usersession.ErrRevokedMeanwhile)
		e.ok(login(time.Now()))
	}

	// The clock of who tells may be ahead. Who logs in now does not wait for that time.
	e.browser().do(func(ctx context.Context) {
		revoke(filter(time.Now().Add(time.Minute)))
		e.want(e.m.Login(ctx, "alice"), usersession.ErrRevokedMeanwhile)
	})
	e.ok(login(time.Now()))

	// The request that revokes may log in, also behind the fence of its own from before.
	e.browser().do(func(ctx context.Context) {
		_, err := e.m.PasswordChanged(ctx, "alice")
		e.ok(err)
		_, err = e.m.RevokeMatching(ctx, filter(at))
		e.ok(err)
		e.ok(e.m.Login(ctx, "alice"))
	})
	// Who revokes for all does not open the fence of somebody else by it.
	e.browser().do(func(ctx context.Context) {
		_, err := e.m.PasswordChanged(ctx, "alice")
		e.ok(err)
		revoke(filter(at))
		e.want(e.m.Login(ctx, "alice"), usersession.ErrRevokedMeanwhile)
	})
}

func fenceMakesNoRoom(t *testing.T, b backend) {
	for _, limit := range []usersession.LimitPolicy{usersession.LimitEvictOldest, usersession.LimitReject} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			e := b.start(t, func(o *usersession.Options) { o.MaxSessions, o.OnLimit = 1, limit })
			laptop, phone := e.browser(), e.browser()
			phone.do(func(ctx context.Context) {
				_, err := e.m.RevokeAllSessions(t.Context(), "alice")
				e.ok(err)
				laptop.do(func(ctx context.Context) { e.ok(e.m.Login(ctx, "alice")) })
				e.want(e.m.Login(ctx, "alice"), usersession.ErrRevokedMeanwhile)
			})
			laptop.wantUser("alice")
		})
	}
}

func fenceDisabled(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone := e.browser(), e.browser()
	id := laptop.login("alice")
	phone.login("bob")
	refused := func() {
		t.Helper()
		for range 2 {
			laptop.do(func(ctx context.Context) { e.want(e.m.Login(ctx, "alice"), usersession.ErrAccountDisabled) })
		}
		laptop.wantUser("")
	}
	n, err := e.m.AccountDisabled(t.Context(), "alice")
	if e.ok(err); n != 1 {
		t.Errorf("AccountDisabled ended %d sessions, want 1", n)
	}
	refused()
	e.wantReason(id, usersession.ReasonAccountDisabled)
	_, err = e.m.RevokeAllSessions(t.Context(), "alice")
	e.ok(err)
	refused()
	e.age()
	_, err = e.m.Prune(t.Context())
	e.ok(err)
	refused()
	laptop.do(func(ctx context.Context) { // not even in the request itself
		_, err := e.m.AccountDisabled(ctx, "alice")
		e.ok(err)
		e.want(e.m.Login(ctx, "alice"), usersession.ErrAccountDisabled)
	})
	phone.wantUser("bob")
	e.ok(e.m.AccountEnabled(t.Context(), "alice"))
	laptop.login("alice")
	laptop.wantUser("alice")
	e.ok(e.m.AccountEnabled(t.Context(), "alice"))
	e.ok(e.m.AccountEnabled(t.Context(), "nobody"))
	laptop.wantUser("alice")
	e.want(e.m.AccountEnabled(t.Context(), ""), usersession.ErrNoUserID)
	_, err = e.m.AccountDisabled(t.Context(), "")
	e.want(err, usersession.ErrNoUserID)
	_, err = e.m.PasswordChanged(t.Context(), "")
	e.want(err, usersession.ErrNoUserID)
}

func fencePruned(t *testing.T, b backend) {
	e := b.start(t)
	table := quoted(e.db, e.table+"_fences")
	for _, user := range []string{"alice", "bob"} {
		_, err := e.m.RevokeAllSessions(t.Context(), user)
		e.ok(err)
	}
	count := func() (n int) {
		t.Helper()
		_, err := e.m.Prune(t.Context())
		e.ok(err)
		e.ok(e.db.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM "+table))
		return n
	}
	if n := count(); n != 2 {
		t.Errorf("%d fences, want 2", n)
	}
	e.age()
	if n := count(); n != 0 {
		t.Errorf("%d fences, want none", n)
	}
}

func fenceNotRaised(t *testing.T, b backend) {
	e := b.start(t)
	var laptops []*browser
	for range 4 {
		laptop := e.browser()
		laptop.login("alice")
		laptops = append(laptops, laptop)
	}
	exec(t, e.db, "DROP TABLE "+quoted(e.db, e.table+"_fences"))
	laptops[0].do(func(ctx context.Context) {
		n, err := e.m.RevokeOtherSessions(ctx)
		if e.want(err, usersession.ErrNotMigrated); n != 3 {
			t.Errorf("RevokeOtherSessions ended %d sessions, want 3", n)
		}
	})
	laptops[1].wantUser("") // it has ended all the same
	n, err := e.m.RevokeAllSessions(t.Context(), "alice")
	if e.want(err, usersession.ErrNotMigrated); n != 1 {
		t.Errorf("RevokeAllSessions ended %d sessions, want 1", n)
	}
	laptops[0].wantUser("")
	_, err = e.m.AccountDisabled(t.Context(), "alice")
	e.want(err, usersession.ErrNotMigrated)
	e.want(e.m.AccountEnabled(t.Context(), "alice"), usersession.ErrNotMigrated)
	_, err = e.m.RevokeMatching(t.Context(), usersession.Filter{UserIDs: []string{"alice"}})
	e.want(err, usersession.ErrNotMigrated)
	laptops[0].do(func(ctx context.Context) { e.want(e.m.Login(ctx, "alice"), usersession.ErrNotMigrated) })
}
