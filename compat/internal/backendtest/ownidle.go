package backendtest

import (
	"context"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// The idle timeout of one session. What requests do, what lists and filters show and
// what the limit counts must agree.
var ownIdleBehaviours = []behaviour{
	{"own idle: longer, shorter and none", ownIdle},
	{"own idle: where the options have none", ownIdleWithout},
	{"own idle: by the Store's expiry too", ownIdleStore},
	{"own idle: it stays through a renewal and a change of data, and is not too short", ownIdleRenewed},
}

func ownIdle(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.TouchInterval = time.Millisecond })
	served := func(laptop *browser) string {
		pass(t, 2*time.Millisecond) // so that a touch is due
		return laptop.user()
	}
	for _, c := range []struct {
		name string
		opts []usersession.LoginOption
		ends time.Duration // 0: by its lifetime only
	}{
		{"the default", nil, time.Hour},
		{"longer", []usersession.LoginOption{usersession.WithIdleTimeout(10 * time.Hour)}, 10 * time.Hour},
		{"remember me", []usersession.LoginOption{usersession.WithIdleTimeout(20 * 24 * time.Hour), usersession.WithLifetime(30 * 24 * time.Hour)}, 20 * 24 * time.Hour},
		{"longer than the lifetime", []usersession.LoginOption{usersession.WithIdleTimeout(48 * time.Hour)}, 0},
		{"shorter", []usersession.LoginOption{usersession.WithIdleTimeout(10 * time.Minute)}, 10 * time.Minute},
		{"none", []usersession.LoginOption{usersession.WithIdleTimeout(usersession.NoIdleTimeout)}, 0},
		{"none, for as long as there is", []usersession.LoginOption{usersession.WithIdleTimeout(1<<63 - 1)}, 0},
	} {
		laptop := e.browser()
		id := laptop.login("alice", c.opts...)
		s := e.list("alice")[0]
		if ends := s.ExpiresAt.Sub(s.LastSeenAt); c.ends != 0 && !within(s.LastSeenAt.Add(ends), s.LastSeenAt.Add(c.ends), time.Second) || c.ends == 0 && ends < 23*time.Hour {
			t.Errorf("%s: it ends %v after it was seen, want %v", c.name, ends, c.ends)
		}
		left := 23 * time.Hour // of the lifetime
		if c.ends != 0 {
			left = c.ends - time.Minute
		}
		e.shift(id, "last_seen_at", -left)
		if n, err := e.m.CountMatching(t.Context(), usersession.Filter{}, 0); n != 1 || err != nil {
			t.Errorf("%s: counted %d, %v before its end", c.name, n, err)
		}
		if user := served(laptop); user != "alice" {
			t.Errorf("%s: served as %q before its end", c.name, user)
		}

		if c.ends != 0 {
			e.shift(id, "last_seen_at", -c.ends-time.Minute)
			e.wantSessions("alice", 0)
			if n, err := e.m.CountMatching(t.Context(), usersession.Filter{}, 0); n != 0 || err != nil {
				t.Errorf("%s: counted %d, %v after its end", c.name, n, err)
			}
			if user := served(laptop); user != "" {
				t.Errorf("%s: served as %q after its end", c.name, user)
			}
		}
		_, err := e.m.RevokeMatching(t.Context(), usersession.Filter{Everyone: true})
		e.ok(err)
		e.wantDead(laptop.token())
	}
}

func ownIdleWithout(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.IdleTimeout = usersession.NoIdleTimeout })
	laptop, phone := e.browser(), e.browser()
	id, other := laptop.login("alice", usersession.WithIdleTimeout(time.Hour)), phone.login("alice")
	e.shift(id, "last_seen_at", -2*time.Hour)
	e.shift(other, "last_seen_at", -2*time.Hour)
	e.wantSessions("alice", 1)
	fresh := b.startOn(t, e.db, nil, func(o *usersession.Options) { o.Store, o.IdleTimeout = e.store, usersession.NoIdleTimeout })
	fresh.thief(laptop.token()).wantUser("")
	fresh.thief(phone.token()).wantUser("alice")
}

// Where no row speaks, the Store's expiry ends a session that is idle, and a touch
// moves it.
func ownIdleStore(t *testing.T, b backend) {
	inTime(t, func(idle time.Duration) (slow bool) {
		e := b.start(t, func(o *usersession.Options) { o.TouchInterval = 50 * time.Millisecond })
		if e.verified() {
			t.Skip("the row carries the idle timeout, and not the Store.")
		}
		laptop, phone := e.browser(), e.browser()
		if laptop.logsIn(idle, usersession.WithIdleTimeout(idle)) {
			return true
		}
		var key string
		e.ok(e.db.GetContext(t.Context(), &key, "SELECT session_key FROM "+quoted(e.db, e.table)))
		phone.login("alice", usersession.WithIdleTimeout(2*time.Hour))
		eventually(t, "the Store to forget the data of an idle session", func() bool {
			_, found, err := e.store.Find(t.Context(), key)
			e.ok(err)
			return !found
		})
		laptop.wantUser("")
		phone.wantUser("alice")
		e.wantSessions("alice", 1)
		return false
	})
}

func ownIdleRenewed(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	id := laptop.login("alice", usersession.WithIdleTimeout(10*time.Hour))
	laptop.put("cart", 1)
	laptop.do(func(ctx context.Context) { e.ok(e.m.RenewToken(ctx)) })
	laptop.do(func(ctx context.Context) { e.ok(e.m.Reauthenticate(ctx, usersession.WithIdleTimeout(time.Minute*5))) })
	e.ok(e.m.InSession(t.Context(), "alice", id, func(ctx context.Context) error {
		e.m.Put(ctx, "cart", 2)
		return nil
	}))
	e.shift(id, "last_seen_at", -9*time.Hour)
	fresh := b.startOn(t, e.db, nil, func(o *usersession.Options) { o.Store = e.store })
	back := fresh.thief(laptop.token())
	back.wantUser("alice")
	if cart := back.get("cart"); cart != 2 {
		t.Errorf("the cart is %v", cart)
	}
	for _, d := range []time.Duration{0, -2, time.Second, 4*time.Minute - 1} {
		var err error
		e.browser().do(func(ctx context.Context) { err = e.m.Login(ctx, "bob", usersession.WithIdleTimeout(d)) })
		if err == nil {
			t.Errorf("%v: no error", d)
		}
	}
	e.wantSessions("bob", 0)
}
