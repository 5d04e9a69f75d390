package backendtest

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// The invariant I5: nothing is accepted after min(idle, lifetime), whatever the
// Store's own expiry does.
var expiryBehaviours = []behaviour{
	{"time: lifetime, however busy", expiryLifetime},
	{"time: lifetime on a store that forgets to expire", expiryForgetful},
	{"time: lifetime of one session", expiryOneLifetime},
	{"time: idle", expiryIdle},
	{"expiry: idle by the row", expiryIdleRow},
	{"time: use keeps a session alive", expiryUse},
	{"time: an anonymous session", expiryAnonymous},
	{"expiry: a program with a shorter Lifetime and IdleTimeout", expiryShorter},
}

// inTime tries with a second, and with more while a try is slow. A busy machine may take
// longer for a request than a session is to live.
func inTime(t *testing.T, try func(limit time.Duration) (slow bool)) {
	t.Helper()
	for limit := time.Second; try(limit); limit *= 2 {
		if limit > time.Minute {
			t.Fatalf("a request takes longer than %v", limit/8)
		}
	}
}

// logsIn logs in, and reports whether it took longer than half of a limit. Then nothing is
// known of the session.
func (b *browser) logsIn(limit time.Duration, opts ...usersession.LoginOption) (slow bool) {
	b.Helper()
	var err error
	before := time.Now()
	a := b.do(func(ctx context.Context) { err = b.m.Login(ctx, "alice", opts...) })
	if time.Since(before) > limit/2 {
		return true
	}
	if err != nil || a.status != http.StatusOK {
		b.Fatalf("login: %v, %d %s", err, a.status, oneLine(a.body))
	}
	return false
}

// lives logs in and fails the test if the session does not end after its
// lifetime, however busy it is. slow is as of logsIn.
func (b *browser) lives(lifetime time.Duration, opts ...usersession.LoginOption) (slow bool) {
	b.Helper()
	const slack = 200 * time.Millisecond // clocks of the program and of the database
	before := time.Now()
	if b.logsIn(lifetime, opts...) {
		return true
	}
	after := time.Now()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		asked := time.Now()
		switch user := b.user(); {
		case user == "" && time.Since(before) < lifetime-slack:
			b.Errorf("logged out after %v, want %v", time.Since(before), lifetime)
			return false
		case user == "":
			return false
		case asked.Sub(after) > lifetime+slack:
			b.Errorf("still logged in after %v, want %v", asked.Sub(after), lifetime)
			return false
		}
		<-tick.C
	}
}

func expiryLifetime(t *testing.T, b backend) {
	inTime(t, func(lifetime time.Duration) (slow bool) {
		e := b.start(t, func(o *usersession.Options) { o.Lifetime, o.IdleTimeout = lifetime, usersession.NoIdleTimeout })
		if e.browser().lives(lifetime) {
			return true
		}
		eventually(t, "the list is empty", func() bool { return len(e.list("alice")) == 0 })
		return false
	})
}

func expiryForgetful(t *testing.T, b backend) {
	inTime(t, func(lifetime time.Duration) (slow bool) {
		e := b.startFaulty(t, func(o *usersession.Options) { o.Lifetime, o.IdleTimeout = lifetime, usersession.NoIdleTimeout })
		e.faults.forgetful = true
		laptop, visitor := e.browser(), e.browser()
		visitor.put("cart", 7)
		if laptop.lives(lifetime) {
			return true
		}
		eventually(t, "the anonymous session has ended", func() bool { return visitor.get("cart") == nil })
		e.wantStored(0) // whoever finds it deletes it
		return false
	})
}

func expiryOneLifetime(t *testing.T, b backend) {
	inTime(t, func(lifetime time.Duration) (slow bool) {
		e := b.start(t)
		laptop, phone := e.browser(), e.browser()
		phone.login("alice")
		if laptop.lives(lifetime, usersession.WithLifetime(lifetime)) {
			return true
		}
		phone.wantUser("alice")
		eventually(t, "one session is listed", func() bool { return len(e.list("alice")) == 1 })
		return false
	})
}

func expiryIdle(t *testing.T, b backend) {
	inTime(t, func(idle time.Duration) (slow bool) {
		e := b.start(t, func(o *usersession.Options) { o.IdleTimeout = idle })
		laptop := e.browser()
		start := time.Now()
		if laptop.logsIn(idle) {
			return true
		}
		eventually(t, "the list is empty", func() bool { return len(e.list("alice")) == 0 })
		if age := time.Since(start); age < idle-10*time.Millisecond {
			t.Errorf("not listed any more after %v", age)
		}
		laptop.wantUser("")
		e.wantDead(laptop.token())
		return false
	})
}

func expiryIdleRow(t *testing.T, b backend) {
	e := b.start(t)
	if !e.verified() {
		t.Skip("the idle timeout is in this Store's expiry")
	}
	laptop := e.browser()
	id := laptop.login("alice")
	e.shift(id, "last_seen_at", -61*time.Minute)
	laptop.wantUser("")
	e.wantSessions("alice", 0)
	e.want(e.m.RevokeSession(t.Context(), "alice", id), nil) // ending never filters by time
}

// A busy machine makes pauses that end a session as they should. Then the timeout
// is doubled, until no pause is long beside it.
func expiryUse(t *testing.T, b backend) {
	for idle := 2 * time.Second; ; idle *= 2 {
		pause := expiryUseFor(t, b, idle)
		if pause <= idle/2 {
			return
		}
		if idle > time.Minute {
			t.Fatalf("two requests are %v apart", pause)
		}
	}
}

// expiryUseFor uses a session for longer than its timeout, and returns the longest
// pause. After one that is too long it stops.
func expiryUseFor(t *testing.T, b backend, idle time.Duration) (longest time.Duration) {
	e := b.start(t, func(o *usersession.Options) { o.IdleTimeout, o.TouchInterval = idle, 100*time.Millisecond })
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	laptop := e.browser()
	start, last := time.Now(), time.Now()
	laptop.login("alice")
	for longest <= idle/2 && time.Since(start) < idle*14/10 {
		<-tick.C
		user := laptop.user()
		if longest = max(longest, time.Since(last)); user == "" && longest <= idle/2 {
			t.Fatalf("a session in use ended after %v, at most %v apart", time.Since(start), longest)
		}
		last = time.Now()
	}
	return longest
}

func expiryAnonymous(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.Lifetime = time.Second })
	visitor := e.browser()
	visitor.put("cart", 7)
	eventually(t, "the anonymous session has ended", func() bool { return visitor.get("cart") == nil })
}

// docs/security.md: a shorter IdleTimeout counts at once. A shorter Lifetime counts for
// logins from then on, and one call ends the sessions from before.
func expiryShorter(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone := e.browser(), e.browser()
	id, idle := laptop.login("alice"), phone.login("bob")
	e.shift(id, "created_at", -2*time.Hour)
	e.shift(id, "authenticated_at", -2*time.Hour)
	e.shift(idle, "last_seen_at", -30*time.Minute)
	before := e.list("alice")[0].ExpiresAt

	short := b.startOn(t, e.db, nil, func(o *usersession.Options) {
		o.Store, o.Lifetime, o.IdleTimeout = e.store, time.Hour, 20*time.Minute
	})
	if list := short.list("alice"); len(list) != 1 || !within(list[0].ExpiresAt, before, time.Hour) {
		t.Fatalf("the list has %+v, want the session until %v", list, before)
	}
	short.wantSessions("bob", 0)
	short.thief(phone.token()).wantUser("")
	short.thief(laptop.token()).wantUser("alice")
	n, err := short.m.RevokeMatching(t.Context(), usersession.Filter{CreatedBefore: time.Now().Add(-time.Hour)})
	if n != 1 || err != nil {
		t.Errorf("%d ended, %v, want 1", n, err)
	}
	short.thief(laptop.token()).wantUser("")
	laptop.wantUser("")
}
