package backendtest

import (
	"context"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

var janitorBehaviours = []behaviour{
	{"janitor: expired sessions end", pruneExpired},
	{"janitor: a live session is left alone", pruneLive},
	{"janitor: deletes the data of ended sessions again", pruneAgain},
	{"janitor: rows go at their deadline and after the retention", pruneRows},
	{"janitor: data first, rows second", pruneOrder},
	{"janitor: what scs destroyed ends", pruneDestroyed},
	{"janitor: a login that was never committed", pruneStaged},
	{"janitor: expired data of the store", pruneData},
	{"janitor: Run works and stops", janitorRun},
	{"pending: the store cannot delete", revocationPending},
	{"pending: logout clears the cookie", logoutPending},
}

func (e *env) prune() usersession.PruneResult {
	e.Helper()
	res, err := e.m.Prune(e.Context())
	if err != nil {
		e.Fatalf("Prune: %v", err)
	}
	return res
}

func pruneExpired(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone := e.browser(), e.browser()
	id := laptop.login("alice")
	phone.login("alice")
	e.shift(id, "expires_at", -48*time.Hour)
	if res := e.prune(); res.Expired != 1 || res.UserDeleted != 0 {
		t.Errorf("%+v, want one expired", res)
	}
	e.wantDead(laptop.token())
	phone.wantUser("alice")
	e.wantStored(1)
	// It is at its deadline, so its row may go at the second deletion.
	e.shift(id, "purge_at", -2*time.Minute)
	e.shift(id, "ended_at", -2*time.Minute)
	if res := e.prune(); res.Pruned != 1 || res.Expired != 0 {
		t.Errorf("%+v, want one pruned", res)
	}
	if _, ok := e.ended(id); ok {
		t.Error("the row is still there")
	}
}

func pruneLive(t *testing.T, b backend) {
	e := b.start(t)
	laptop, visitor := e.browser(), e.browser()
	laptop.login("alice")
	visitor.put("cart", 1)
	if res := e.prune(); res != (usersession.PruneResult{}) {
		t.Errorf("%+v, want nothing done", res)
	}
	laptop.wantUser("alice")
	e.wantStored(2)
}

func pruneAgain(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	id := laptop.login("alice")
	e.ok(e.m.RevokeSession(t.Context(), "alice", id))
	if res := e.prune(); res.Redeleted != 0 {
		t.Errorf("%+v, want nothing: it is too early", res)
	}
	// As if a failover had forgotten the deletion.
	if e.store != nil {
		e.ok(e.store.Create(t.Context(), keyOf(laptop.token()), []byte("x"), time.Now().Add(time.Hour)))
	}
	e.shift(id, "purge_at", -2*time.Minute)
	if res := e.prune(); res.Redeleted != 1 || res.Pruned != 0 {
		t.Errorf("%+v, want one deleted again and no row", res)
	}
	e.wantStored(0)
	if res := e.prune(); res.Redeleted != 0 {
		t.Errorf("%+v, want nothing: it was done", res)
	}
	e.wantReason(id, usersession.ReasonRevoked)
}

func pruneRows(t *testing.T, b backend) {
	for _, c := range []struct {
		name      string
		retention time.Duration
		ended     time.Duration // ago
		expired   bool
		pruned    int
	}{
		{"before the deadline", 0, 2 * time.Hour, false, 0},
		{"past the deadline", 0, 2 * time.Hour, true, 1},
		{"within the retention", 3 * time.Hour, 2 * time.Hour, true, 0},
		{"past the retention", time.Hour, 2 * time.Hour, true, 1},
		{"past the retention, before the deadline", time.Hour, 2 * time.Hour, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := b.start(t, func(o *usersession.Options) { o.Retention = c.retention })
			laptop := e.browser()
			id := laptop.login("alice")
			e.ok(e.m.RevokeSession(t.Context(), "alice", id))
			e.shift(id, "ended_at", -c.ended)
			e.shift(id, "purge_at", -c.ended)
			if c.expired {
				e.shift(id, "expires_at", -48*time.Hour)
			}
			if res := e.prune(); res.Pruned != c.pruned || res.Redeleted != 1 {
				t.Errorf("%+v, want %d pruned and one deleted again", res, c.pruned)
			}
			if _, kept := e.ended(id); kept == (c.pruned == 1) {
				t.Errorf("the row is kept: %v", kept)
			}
		})
	}
}

func pruneOrder(t *testing.T, b backend) {
	e := b.startFaulty(t)
	laptop := e.browser()
	id := laptop.login("alice")
	e.ok(e.m.RevokeSession(t.Context(), "alice", id))
	for _, column := range []string{"ended_at", "purge_at", "expires_at"} {
		e.shift(id, column, -48*time.Hour)
	}
	e.faults.fail("Delete")
	_, err := e.m.Prune(t.Context())
	e.want(err, errDown)
	if _, ok := e.ended(id); !ok {
		t.Fatal("the row is gone, though its data could not be deleted")
	}
	e.faults.recover()
	if res := e.prune(); res.Pruned != 1 {
		t.Errorf("%+v, want one pruned", res)
	}
}

func pruneDestroyed(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	id := laptop.login("alice")
	laptop.do(func(ctx context.Context) { e.ok(e.m.SessionManager.Destroy(ctx)) })
	e.wantSessions("alice", 0)
	e.prune()
	e.wantReason(id, usersession.ReasonLogout)
}

func pruneStaged(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	id := ""
	slow := laptop.begin(func(ctx context.Context) {
		e.ok(e.m.Login(ctx, "alice"))
		s, err := e.m.Current(ctx)
		e.ok(err)
		id = s.ID
	})
	// The process would die here. Its row does not outlive its grace.
	if s := e.list("alice"); len(s) != 1 || time.Until(s[0].ExpiresAt) > 6*time.Minute {
		t.Errorf("sessions %v, want one with a short deadline", s)
	}
	e.shift(id, "expires_at", -10*time.Minute)
	e.wantSessions("alice", 0)
	if res := e.prune(); res.Expired != 1 {
		t.Errorf("%+v, want one expired", res)
	}
	e.wantRefused(slow.finish())
	e.wantStored(0)
	laptop.wantUser("")
}

func pruneData(t *testing.T, b backend) {
	inTime(t, func(lifetime time.Duration) (slow bool) {
		e := b.start(t, func(o *usersession.Options) { o.Lifetime = lifetime })
		if _, ok := e.store.(usersession.Pruner); e.store != nil && !ok {
			t.Skip("the Store drops expired keys by itself")
		}
		began := time.Now()
		e.browser().put("cart", 1)
		if time.Since(began) > lifetime/2 {
			return true
		}
		total := 0
		eventually(t, "expired data are pruned", func() bool {
			total += e.prune().StorePruned
			return total == 1
		})
		e.wantStored(0)
		return false
	})
}

func janitorRun(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.PruneInterval = 10 * time.Millisecond })
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.m.Run(ctx) }()
	laptop := e.browser()
	id := laptop.login("alice")
	e.shift(id, "expires_at", -48*time.Hour)
	eventually(t, "the janitor ends an expired session", func() bool {
		_, ok := e.ended(id)
		return ok
	})
	eventually(t, "the janitor deletes its data", func() bool { return e.thief(laptop.token()).user() == "" })
	e.wantDead(laptop.token())
	stop()
	select {
	case err := <-done:
		e.ok(err)
	case <-time.After(patience):
		t.Error("Run does not return")
	}
}

func revocationPending(t *testing.T, b backend) {
	counted := 0
	for _, how := range []struct {
		name   string
		revoke func(ctx context.Context, e *env, id string) error
	}{
		{"RevokeSession", func(ctx context.Context, e *env, id string) error { return e.m.RevokeSession(ctx, "alice", id) }},
		{"RevokeAllSessions", func(ctx context.Context, e *env, id string) error {
			n, err := e.m.RevokeAllSessions(ctx, "alice")
			counted += n
			return err
		}},
		{"RevokeMatching", func(ctx context.Context, e *env, id string) error {
			n, err := e.m.RevokeMatching(ctx, usersession.Filter{UserIDs: []string{"alice"}})
			counted += n
			return err
		}},
	} {
		t.Run(how.name, func(t *testing.T) {
			var done, ended counter
			counted = 0
			e := b.startFaulty(t, func(o *usersession.Options) {
				isDone, isEnded := done.count(usersession.EventRevocationDone), ended.count(usersession.EventEnded)
				o.OnEvent = func(ctx context.Context, event usersession.Event) { isDone(ctx, event); isEnded(ctx, event) }
			})
			laptop, phone := e.browser(), e.browser()
			id := laptop.login("alice")
			other := phone.login("alice")
			e.faults.fail("Delete")
			err := how.revoke(t.Context(), e, id)
			e.want(err, usersession.ErrRevocationPending)
			e.want(err, errDown)
			// Listed or not, it is noted: the tombstone stands.
			e.wantReason(id, usersession.ReasonRevoked)
			if e.verified() {
				e.wantDead(laptop.token())
			}
			// The second call retries, and does not answer "not found".
			e.want(how.revoke(t.Context(), e, id), usersession.ErrRevocationPending)
			e.faults.recover()
			e.ok(how.revoke(t.Context(), e, id))
			e.wantDead(laptop.token())
			// Who tries again is not told of the same sessions again.
			if want := 2; how.name != "RevokeSession" && (counted != want || ended.value() != want) {
				t.Errorf("counted %d, %d events, want %d", counted, ended.value(), want)
			}
			if how.name == "RevokeSession" {
				phone.wantUser("alice")
			}
			e.faults.fail("Delete")
			if how.name == "RevokeSession" {
				e.want(how.revoke(t.Context(), e, other), usersession.ErrRevocationPending)
			} else {
				other = phone.login("alice")
				e.want(how.revoke(t.Context(), e, other), usersession.ErrRevocationPending)
			}
			e.faults.recover()
			if res := e.prune(); res.Redeleted < 1 {
				t.Errorf("%+v, want the janitor to finish", res)
			}
			if done.value() == 0 {
				t.Error("no event says that it is done")
			}
			e.wantDead(phone.token())
			e.wantStored(0)
		})
	}
}

func logoutPending(t *testing.T, b backend) {
	e := b.startFaulty(t)
	laptop := e.browser()
	laptop.login("alice")
	token := laptop.token()
	e.faults.fail("Delete")
	laptop.do(func(ctx context.Context) { e.want(e.m.Logout(ctx), usersession.ErrRevocationPending) })
	if laptop.token() != "" {
		t.Error("the cookie was not cleared")
	}
	e.wantSessions("alice", 0)
	e.faults.recover()
	e.prune()
	e.wantDead(token)
	e.wantStored(0)
}
