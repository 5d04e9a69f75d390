package backendtest

import (
	"context"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

var whyEndedBehaviours = []behaviour{
	{"why ended: every reason", whyEnded},
	{"why ended: tells a stranger nothing", whyEndedStranger},
}

// why returns what a request of the browser is told.
func (b *browser) why() (s usersession.UserSession, ok bool) {
	b.Helper()
	b.do(func(ctx context.Context) { s, ok = b.m.Ended(ctx) })
	return s, ok
}

func whyEnded(t *testing.T, b backend) {
	e := b.start(t, limited(2, usersession.LimitEvictOldest))
	for want, end := range map[string]func(laptop *browser, id string){
		usersession.ReasonRevoked: func(_ *browser, id string) { e.ok(e.m.RevokeSession(t.Context(), "alice", id)) },
		"password changed": func(*browser, string) {
			_, err := e.m.RevokeAllSessions(usersession.ContextWithReason(t.Context(), "password changed"), "alice")
			e.ok(err)
		},
		usersession.ReasonEvicted: func(_ *browser, id string) {
			e.shift(id, "created_at", -time.Hour)
			e.browser().login("alice")
			e.browser().login("alice")
		},
		usersession.ReasonReplaced: func(laptop *browser, _ string) { e.thief(laptop.token()).login("alice") },
		usersession.ReasonLogout: func(laptop *browser, _ string) {
			e.thief(laptop.token()).do(func(ctx context.Context) { e.ok(e.m.Logout(ctx)) })
		},
		usersession.ReasonExpired: func(_ *browser, id string) { e.shift(id, "expires_at", -24*time.Hour-time.Second) },
		usersession.ReasonDataLost: func(laptop *browser, _ string) {
			e.rewrite(laptop.token(), func([]byte) []byte { return []byte("lost") })
		},
	} {
		laptop := e.browser()
		id := laptop.login("alice")
		if s, ok := laptop.why(); ok {
			t.Errorf("a live session has ended: %+v", s)
		}
		end(laptop, id)
		if want == usersession.ReasonExpired && !e.verified() {
			// Its row is looked at when a touch is due.
			e = b.startOn(t, e.db, nil, limited(2, usersession.LimitEvictOldest), func(o *usersession.Options) { o.Store = e.store })
			laptop = e.thief(laptop.token())
		}
		for range 2 {
			s, ok := laptop.why()
			if !ok || s.ID != id || s.UserID != "alice" || s.Reason != want || s.EndedAt.IsZero() || s.EndedAt.After(time.Now().Add(time.Minute)) {
				t.Errorf("%s: %v, %+v", want, ok, s)
			}
		}
		laptop.do(func(ctx context.Context) {
			e.ok(e.m.Login(ctx, "alice"))
			if s, ok := e.m.Ended(ctx); !ok || s.ID != id {
				t.Errorf("%s, after the next login: %v, %+v", want, ok, s)
			}
		})
		if _, ok := laptop.why(); ok {
			t.Errorf("%s: the next session has ended", want)
		}
		_, err := e.m.RevokeAllSessions(t.Context(), "alice")
		e.ok(err)
	}
}

func whyEndedStranger(t *testing.T, b backend) {
	e := b.start(t)
	laptop, stranger := e.browser(), e.browser()
	laptop.login("alice")
	token := laptop.token()
	laptop.do(func(ctx context.Context) { e.ok(e.m.RenewToken(ctx)) })
	for name, c := range map[string]*browser{
		"no cookie":                stranger,
		"a token of nobody":        e.thief("abcdefghijklmnopqrstuvwxyzabcdefghijklmnopq"),
		"no token":                 e.thief("junk"),
		"a key":                    e.thief(keyOf(laptop.token())),
		"a token that was renewed": e.thief(token),
	} {
		if s, ok := c.why(); ok {
			t.Errorf("%s: %+v", name, s)
		}
	}
	visitor := e.browser()
	visitor.put("cart", 1)
	if s, ok := visitor.why(); ok {
		t.Errorf("a visitor: %+v", s)
	}
	if _, ok := e.m.Ended(t.Context()); ok {
		t.Error("without a request")
	}

	// By hand, and with two cookies.
	e.ok(e.m.RevokeSession(t.Context(), "alice", e.list("alice")[0].ID))
	ctx, err := e.m.Load(t.Context(), laptop.token())
	e.ok(err)
	if s, ok := e.m.Ended(ctx); !ok || s.Reason != usersession.ReasonRevoked {
		t.Errorf("by hand: %v, %+v", ok, s)
	}
	phone := e.browser()
	phone.login("bob")
	if s, ok := e.carrying(laptop.token(), phone.token()).why(); ok {
		t.Errorf("beside a live session: %+v", s)
	}
	e.ok(e.m.RevokeSession(t.Context(), "bob", e.list("bob")[0].ID))
	if s, ok := e.carrying("abcdefghijklmnopqrstuvwxyzabcdefghijklmnopq", phone.token()).why(); !ok || s.UserID != "bob" {
		t.Errorf("the second of two: %v, %+v", ok, s)
	}

	// An index that cannot be read tells nobody anything.
	phone.do(func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		if s, ok := e.m.Ended(ctx); ok {
			t.Errorf("%+v", s)
		}
	})
}
