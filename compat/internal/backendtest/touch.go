package backendtest

import (
	"context"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

var touchBehaviours = []behaviour{
	{"touch: only after the interval", touchInterval},
	{"touch: a failing one is no failing request", touchFailing},
	{"touch: Run writes them, and the rest when it ends", touchRun},
	{"touch: one that waits does not bring a session back", touchEnded},
	{"touch: Run finds sessions whose row is gone", touchRowGone},
	{"touch: one that has to wait holds up no other", touchLocked},
}

func touchInterval(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.TouchInterval = 300 * time.Millisecond })
	laptop := e.browser()
	start := time.Now()
	laptop.login("alice")
	seen := func() time.Time { return e.list("alice")[0].LastSeenAt }
	login := seen()
	laptop.wantUser("alice")
	laptop.put("cart", 1)
	if got := seen(); !got.Equal(login) && time.Since(start) < 300*time.Millisecond {
		t.Errorf("touched after %v", got.Sub(login))
	}
	eventually(t, "the touch", func() bool {
		laptop.wantUser("alice")
		return seen().After(login)
	})
}

func touchFailing(t *testing.T, b backend) {
	var failed counter
	e := b.startFaulty(t, func(o *usersession.Options) {
		o.TouchInterval = time.Millisecond
		o.OnEvent = failed.count(usersession.EventTouchFailed)
	})
	if e.verified() {
		t.Skip("this Store is not touched")
	}
	laptop := e.browser()
	laptop.login("alice")
	e.faults.fail("Touch")
	eventually(t, "a failed touch", func() bool {
		laptop.wantUser("alice")
		return failed.value() > 0
	})
	laptop.do(func(ctx context.Context) { e.m.Put(ctx, "cart", 1) })
	laptop.wantUser("alice")
}

// startRunning is start with a janitor that only writes touches, and a function
// that ends it.
func (b backend) startRunning(t *testing.T, interval time.Duration) (*env, func()) {
	t.Helper()
	e := b.start(t, func(o *usersession.Options) {
		o.TouchInterval, o.PruneInterval = interval, time.Hour
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.m.Run(ctx) }()
	stop := func() {
		cancel()
		select {
		case err := <-done:
			e.ok(err)
			done <- nil
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	}
	t.Cleanup(stop)
	return e, stop
}

// seenAt returns when a session was seen last.
func (e *env) seenAt(user, id string) time.Time {
	e.Helper()
	s, err := e.m.Session(e.Context(), user, id)
	if err != nil {
		e.Fatalf("Session: %v", err)
	}
	return s.LastSeenAt
}

func touchRun(t *testing.T, b backend) {
	e, stop := b.startRunning(t, 40*time.Millisecond)
	laptop, phone := e.browser(), e.browser()
	id := laptop.login("alice")
	ids := map[string]*browser{id: laptop, phone.login("alice"): phone}
	for range 3 {
		for id, browser := range ids {
			before := e.seenAt("alice", id)
			eventually(t, "a touch", func() bool {
				browser.wantUser("alice")
				return e.seenAt("alice", id).After(before)
			})
		}
	}
	before := e.seenAt("alice", id)
	pass(t, 50*time.Millisecond) // then a touch is due
	laptop.wantUser("alice")
	stop()
	if !e.seenAt("alice", id).After(before) {
		t.Error("a touch that was due is not written although Run has ended")
	}
	// Without Run it is written by its request.
	before = e.seenAt("alice", id)
	pass(t, 50*time.Millisecond)
	laptop.wantUser("alice")
	if !e.seenAt("alice", id).After(before) {
		t.Error("a touch is not written by its request although Run has ended")
	}
}

func touchEnded(t *testing.T, b backend) {
	e, stop := b.startRunning(t, 200*time.Millisecond)
	laptop := e.browser()
	id := laptop.login("alice")
	token := laptop.token()
	pass(t, 220*time.Millisecond)
	laptop.wantUser("alice") // its touch waits for others
	if n, err := e.m.RevokeAllSessions(t.Context(), "alice"); n != 1 || err != nil {
		t.Fatalf("revoked %d: %v", n, err)
	}
	stop()
	e.wantDead(token)
	e.wantSessions("alice", 0)
	e.wantReason(id, usersession.ReasonRevoked)
	e.wantStored(0)
}

func touchRowGone(t *testing.T, b backend) {
	e, _ := b.startRunning(t, 20*time.Millisecond)
	laptop := e.browser()
	id := laptop.login("alice")
	token := laptop.token()
	exec(t, e.db, "DELETE FROM "+quoted(e.db, e.table)+" WHERE id = ?", id)
	eventually(t, "the session without a row is refused", func() bool {
		return e.thief(token).user() == ""
	})
}

func touchLocked(t *testing.T, b backend) {
	e, _ := b.startRunning(t, 40*time.Millisecond)
	if e.db.DriverName() == "sqlite" {
		t.Skip("SQLite has one lock for all rows")
	}
	laptop, phone := e.browser(), e.browser()
	locked, free := laptop.login("alice"), phone.login("bob")
	tx, err := e.db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(t.Context(), e.db.Rebind("UPDATE "+quoted(e.db, e.table)+" SET ended_by = 'x' WHERE id = ?"), locked); err != nil {
		t.Fatal(err)
	}
	before := e.seenAt("bob", free)
	eventually(t, "the other session's touch", func() bool {
		laptop.wantUser("alice")
		phone.wantUser("bob")
		return e.seenAt("bob", free).After(before)
	})
}
