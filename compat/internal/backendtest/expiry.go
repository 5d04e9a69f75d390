package backendtest

import (
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

// lives logs in and fails the test if the session does not end after its
// lifetime, however busy it is.
func (b *browser) lives(lifetime time.Duration, opts ...usersession.LoginOption) {
	b.Helper()
	const slack = 200 * time.Millisecond // clocks of the program and of the database
	before := time.Now()
	b.login("alice", opts...)
	after := time.Now()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		asked := time.Now()
		switch user := b.user(); {
		case user == "" && time.Since(before) < lifetime-slack:
			b.Errorf("logged out after %v, want %v", time.Since(before), lifetime)
			return
		case user == "":
			return
		case asked.Sub(after) > lifetime+slack:
			b.Errorf("still logged in after %v, want %v", asked.Sub(after), lifetime)
			return
		}
		<-tick.C
	}
}

func expiryLifetime(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.Lifetime, o.IdleTimeout = time.Second, usersession.NoIdleTimeout })
	laptop := e.browser()
	laptop.lives(time.Second)
	eventually(t, "the list is empty", func() bool { return len(e.list("alice")) == 0 })
}

func expiryForgetful(t *testing.T, b backend) {
	e := b.startFaulty(t, func(o *usersession.Options) { o.Lifetime, o.IdleTimeout = time.Second, usersession.NoIdleTimeout })
	e.faults.forgetful = true
	laptop, visitor := e.browser(), e.browser()
	visitor.put("cart", 7)
	laptop.lives(time.Second)
	eventually(t, "the anonymous session has ended", func() bool { return visitor.get("cart") == nil })
	e.wantStored(0) // whoever finds it deletes it
}

func expiryOneLifetime(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone := e.browser(), e.browser()
	phone.login("alice")
	laptop.lives(time.Second, usersession.WithLifetime(time.Second))
	phone.wantUser("alice")
	eventually(t, "one session is listed", func() bool { return len(e.list("alice")) == 1 })
}

func expiryIdle(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.IdleTimeout = time.Second })
	laptop := e.browser()
	start := time.Now()
	laptop.login("alice")
	eventually(t, "the list is empty", func() bool { return len(e.list("alice")) == 0 })
	if age := time.Since(start); age < 990*time.Millisecond {
		t.Errorf("not listed any more after %v", age)
	}
	laptop.wantUser("")
	e.wantDead(laptop.token())
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
