package backendtest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// The invariant I6: live(u) <= MaxSessions.
var limitBehaviours = []behaviour{
	{"limit: the oldest is evicted", limitOldest},
	{"limit: the least recently seen is evicted", limitLeastRecent},
	{"limit: the login is refused", limitReject},
	{"limit: a login over a session of the same user takes its place", limitReplace},
	{"limit: counts what is live", limitLive},
	{"limit: twenty logins at once", limitConcurrent},
	{"limit: twenty logins at once, beside the janitor", limitBesideJanitor},
}

func limited(max int, policy usersession.LimitPolicy) func(*usersession.Options) {
	return func(o *usersession.Options) { o.MaxSessions, o.OnLimit = max, policy }
}

func limitOldest(t *testing.T, b backend) {
	e := b.start(t, limited(2, usersession.LimitEvictOldest))
	first, second, third, bob := e.browser(), e.browser(), e.browser(), e.browser()
	bob.login("bob")
	id := first.login("alice")
	e.shift(id, "created_at", -time.Hour)
	e.shift(second.login("alice"), "last_seen_at", -30*time.Minute)
	third.login("alice")
	first.wantUser("")
	second.wantUser("alice")
	third.wantUser("alice")
	bob.wantUser("bob")
	e.wantDead(first.token())
	e.wantReason(id, usersession.ReasonEvicted)
	e.wantStored(3)
}

func limitLeastRecent(t *testing.T, b backend) {
	e := b.start(t, limited(2, usersession.LimitEvictLeastRecent))
	first, second, third := e.browser(), e.browser(), e.browser()
	e.shift(first.login("alice"), "created_at", -time.Hour)
	id := second.login("alice")
	e.shift(id, "last_seen_at", -30*time.Minute)
	third.login("alice")
	first.wantUser("alice")
	second.wantUser("")
	third.wantUser("alice")
	e.wantReason(id, usersession.ReasonEvicted)
}

func limitReject(t *testing.T, b backend) {
	e := b.start(t, limited(2, usersession.LimitReject))
	first, second, third := e.browser(), e.browser(), e.browser()
	first.login("alice")
	second.login("alice")
	third.put("cart", 7)
	third.do(func(ctx context.Context) { e.want(e.m.Login(ctx, "alice"), usersession.ErrTooManySessions) })
	third.wantUser("")
	if got := third.get("cart"); got != 7 {
		t.Errorf("the visitor's cart %v, want 7", got)
	}
	first.wantUser("alice")
	second.wantUser("alice")
	e.wantSessions("alice", 2)
	e.wantStored(3)
	// A refused visitor without data gets no session for it.
	fourth := e.browser()
	fourth.do(func(ctx context.Context) { e.want(e.m.Login(ctx, "alice"), usersession.ErrTooManySessions) })
	if fourth.token() != "" {
		t.Error("a refused login left a cookie")
	}
	// Somebody else who is logged in stays so.
	bob := e.browser()
	bob.login("bob")
	bob.do(func(ctx context.Context) { e.want(e.m.Login(ctx, "alice"), usersession.ErrTooManySessions) })
	bob.wantUser("bob")
	first.do(func(ctx context.Context) { e.ok(e.m.Logout(ctx)) })
	third.login("alice")
	third.wantUser("alice")
}

func limitReplace(t *testing.T, b backend) {
	for _, policy := range []usersession.LimitPolicy{usersession.LimitEvictOldest, usersession.LimitEvictLeastRecent, usersession.LimitReject} {
		e := b.start(t, limited(2, policy))
		first, second := e.browser(), e.browser()
		first.login("alice")
		second.login("alice")
		second.login("alice")
		first.wantUser("alice")
		second.wantUser("alice")
		e.wantSessions("alice", 2)
	}
}

func limitLive(t *testing.T, b backend) {
	e := b.start(t, limited(2, usersession.LimitReject))
	ended, idle, late := e.browser(), e.browser(), e.browser()
	e.ok(e.m.RevokeSession(t.Context(), "alice", ended.login("alice")))
	e.shift(idle.login("alice"), "last_seen_at", -2*time.Hour)
	e.shift(late.login("alice"), "expires_at", -48*time.Hour)
	e.browser().login("alice")
	e.browser().login("alice")
	e.browser().do(func(ctx context.Context) { e.want(e.m.Login(ctx, "alice"), usersession.ErrTooManySessions) })
	e.wantSessions("alice", 2)
}

func limitConcurrent(t *testing.T, b backend) {
	for name, policy := range map[string]usersession.LimitPolicy{
		"EvictOldest": usersession.LimitEvictOldest, "EvictLeastRecent": usersession.LimitEvictLeastRecent, "Reject": usersession.LimitReject,
	} {
		t.Run(name, func(t *testing.T) { loginsAtOnce(t, b, limited(3, policy), policy, false) })
	}
}

// limitBesideJanitor is about what the janitor tidies away: no lock of a user is
// among it while a login needs it.
func limitBesideJanitor(t *testing.T, b backend) {
	loginsAtOnce(t, b, limited(3, usersession.LimitEvictOldest), usersession.LimitEvictOldest, true)
}

// loginsAtOnce wants no more than 3 sessions of a user, which limit is about.
func loginsAtOnce(t *testing.T, b backend, limit func(*usersession.Options), policy usersession.LimitPolicy, janitor bool) {
	const max, logins = 3, 20
	e := b.start(t, limit)
	// In one replica the logins of a user wait for each other anyway.
	replicas := []*env{e}
	for range 3 {
		replicas = append(replicas, b.startOn(t, e.db, nil, limit, func(o *usersession.Options) { o.Store = e.store }))
	}
	var devices []*browser
	var ready, done sync.WaitGroup
	ready.Add(logins)
	var mu sync.Mutex
	refused := 0
	for i := range logins {
		e := replicas[i%len(replicas)]
		d := e.browser()
		devices = append(devices, d)
		done.Go(func() {
			d.do(func(ctx context.Context) {
				ready.Done()
				ready.Wait()
				err := e.m.Login(ctx, "alice")
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, usersession.ErrTooManySessions):
					refused++
				case err != nil:
					t.Errorf("Login: %v", err)
				}
				if list, err := e.m.ListSessions(e.Context(), "alice"); err != nil || len(list) > max {
					t.Errorf("%d live sessions, want at most %d; %v", len(list), max, err)
				}
			})
		})
	}
	over := make(chan struct{})
	var pruning sync.WaitGroup
	if janitor {
		pruning.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					if _, err := e.m.Prune(t.Context()); err != nil {
						t.Errorf("Prune: %v", err)
					}
				}
			}
		})
	}
	done.Wait()
	close(over)
	pruning.Wait()
	if janitor && e.db.DriverName() == "mysql" {
		e.prune()
		var locks int
		if err := e.db.GetContext(t.Context(), &locks, "SELECT COUNT(*) FROM "+quoted(e.db, e.table+"_locks")); locks != 0 || err != nil {
			t.Errorf("%d locks of users are left, %v", locks, err)
		}
	}
	e.wantSessions("alice", max)
	accepted := 0
	for _, d := range devices {
		if d.user() == "alice" {
			accepted++
		}
	}
	if accepted != max {
		t.Errorf("%d browsers are logged in, want %d", accepted, max)
	}
	if want := logins - max; policy == usersession.LimitReject && refused != want {
		t.Errorf("%d logins refused, want %d", refused, want)
	}
	e.wantStored(max)
}
