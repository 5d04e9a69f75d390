package backendtest

import (
	"context"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// The limit of one login.
var limitForBehaviours = []behaviour{
	{"limit for: a user and a kind", limitFor},
	{"limit for: where the options have none", limitForAlone},
	{"limit for: twenty logins at once", limitForConcurrent},
	{"limit for: what is no limit", limitForBad},
}

func limitFor(t *testing.T, b backend) {
	for _, policy := range []usersession.LimitPolicy{usersession.LimitEvictOldest, usersession.LimitReject} {
		e := b.start(t, limited(2, policy), func(o *usersession.Options) {
			o.MaxSessionsFor = func(_ context.Context, user string, meta map[string]string) int {
				switch {
				case meta["kind"] == "television":
					return 1
				case user == "staff":
					return 4
				case user == "robot":
					return usersession.NoMaxSessions
				}
				return 0
			}
		})
		try := func(user string, opts ...usersession.LoginOption) (err error) {
			e.browser().do(func(ctx context.Context) { err = e.m.Login(ctx, user, opts...) })
			return err
		}
		for user, want := range map[string]int{"alice": 2, "staff": 4, "robot": 6} {
			for i := range 6 {
				err := try(user)
				if full := policy == usersession.LimitReject && i >= want; full {
					e.want(err, usersession.ErrTooManySessions)
				} else {
					e.ok(err)
				}
			}
			e.wantSessions(user, want)
		}
		television := usersession.WithMeta(map[string]string{"kind": "television"})
		e.ok(try("bob", television))
		err := try("bob", television)
		if policy == usersession.LimitReject {
			e.want(err, usersession.ErrTooManySessions)
		} else {
			e.ok(err)
		}
		e.wantSessions("bob", 1)
		e.ok(try("bob"))
		e.wantSessions("bob", 2)
	}
}

func limitForAlone(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) {
		o.MaxSessions = usersession.NoMaxSessions
		o.MaxSessionsFor = func(_ context.Context, user string, _ map[string]string) int {
			return map[string]int{"alice": 1}[user]
		}
	})
	for range 3 {
		e.browser().login("alice")
		e.browser().login("bob")
	}
	e.wantSessions("alice", 1)
	e.wantSessions("bob", 3)
}

func limitForConcurrent(t *testing.T, b backend) {
	loginsAtOnce(t, b, func(o *usersession.Options) {
		o.MaxSessionsFor = func(context.Context, string, map[string]string) int { return 3 }
	}, usersession.LimitEvictOldest, false)
}

func limitForBad(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) {
		o.MaxSessionsFor = func(context.Context, string, map[string]string) int { return -2 }
	})
	laptop := e.browser()
	laptop.do(func(ctx context.Context) {
		if err := e.m.Login(ctx, "alice"); err == nil || !strings.Contains(err.Error(), "Options.MaxSessionsFor") {
			t.Errorf("%v, want an error that names the option", err)
		}
	})
	e.wantSessions("alice", 0)
}
