package backendtest

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// Requests that are not use of their session, and use that is no request.
var passiveBehaviours = []behaviour{
	{"passive: a request that does not touch", passiveRequest},
	{"passive: it does not hide that a session has ended", passiveEnded},
	{"passive: a stream that touches", passiveTouch},
	{"passive: a stream that touches where the Store fails", passiveTouchFailing},
}

// polling lets the requests of one User-Agent not count, and every other one touch.
func polling(o *usersession.Options) {
	o.TouchInterval = time.Millisecond
	o.NoTouch = func(r *http.Request) bool { return r.UserAgent() == "poller" }
}

func passiveRequest(t *testing.T, b backend) {
	e := b.start(t, polling)
	laptop := e.browser()
	id := laptop.login("alice")
	e.shift(id, "last_seen_at", -30*time.Minute)
	before := e.seenAt("alice", id)
	laptop.userAgent = "poller"
	for range 3 {
		pass(t, 5*time.Millisecond)
		laptop.wantUser("alice")
		laptop.put("cart", 1)
	}
	if got := e.seenAt("alice", id); !got.Equal(before) {
		t.Errorf("touched by a request that does not count: %v after %v", got, before)
	}
	laptop.userAgent = firefox
	laptop.wantUser("alice")
	if got := e.seenAt("alice", id); !got.After(before) {
		t.Error("not touched by a request that counts")
	}
	visitor := e.browser()
	visitor.userAgent = "poller"
	visitor.put("cart", 2)
	if cart := visitor.get("cart"); cart != 2 {
		t.Errorf("a visitor has the cart %v", cart)
	}
}

func passiveEnded(t *testing.T, b backend) {
	e := b.start(t, polling)
	for name, end := range map[string]func(id string){
		"idle":   func(id string) { e.shift(id, "last_seen_at", -2*time.Hour) },
		"over":   func(id string) { e.shift(id, "expires_at", -25*time.Hour) },
		"no row": func(id string) { exec(t, e.db, "DELETE FROM "+quoted(e.db, e.table)+" WHERE id = ?", id) },
		"by SQL": func(id string) {
			exec(t, e.db, "UPDATE "+quoted(e.db, e.table)+" SET ended_at = created_at WHERE id = ?", id)
		},
		"revoked":   func(id string) { e.ok(e.m.RevokeSession(t.Context(), "alice", id)) },
		"user gone": func(id string) { exec(t, e.db, "UPDATE "+quoted(e.db, e.table)+" SET user_id = NULL WHERE id = ?", id) },
	} {
		laptop := e.browser()
		id := laptop.login("alice")
		laptop.userAgent = "poller"
		end(id)
		pass(t, 5*time.Millisecond)
		if user := laptop.user(); user != "" {
			t.Errorf("%s: served as %q", name, user)
		}
	}
}

func passiveTouch(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	id := laptop.login("alice")
	touched := func(ctx context.Context) {
		t.Helper()
		e.shift(id, "last_seen_at", -30*time.Minute)
		before := e.seenAt("alice", id)
		e.ok(e.m.Touch(ctx))
		if !e.seenAt("alice", id).After(before) {
			t.Error("Touch has not touched")
		}
	}
	// Another tab renews the token meanwhile, and then somebody ends the session.
	var ctx context.Context
	stream := laptop.begin(func(c context.Context) { ctx = c })
	touched(ctx)
	other := e.browser()
	other.jar = laptop.jar
	other.do(func(ctx context.Context) { e.ok(e.m.RenewToken(ctx)) })
	touched(ctx)
	e.ok(e.m.RevokeSession(t.Context(), "alice", id))
	ended := e.m.Touch(ctx)
	stream.finish()
	e.want(ended, usersession.ErrSessionEnded)
	e.wantSessions("alice", 0)
	e.wantStored(0)

	e.browser().serve(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		e.want(e.m.Touch(ctx), usersession.ErrNoSession)
		e.ok(e.m.Login(ctx, "bob"))
		e.ok(e.m.Touch(ctx)) // before its commit
		w.WriteHeader(http.StatusOK)
		e.ok(e.m.Touch(ctx))
	})
	e.ok(e.m.InSession(t.Context(), "bob", e.list("bob")[0].ID, func(ctx context.Context) error {
		e.want(e.m.Touch(ctx), usersession.ErrOtherSession)
		return nil
	}))
	e.want(e.m.Touch(t.Context()), usersession.ErrNoSession)
}

func passiveTouchFailing(t *testing.T, b backend) {
	var failed counter
	e := b.startFaulty(t, func(o *usersession.Options) { o.OnEvent = failed.count(usersession.EventTouchFailed) })
	laptop := e.browser()
	laptop.login("alice")
	e.faults.fail("Touch")
	var err error
	laptop.do(func(ctx context.Context) { err = e.m.Touch(ctx) })
	// The Store is touched where its expiry carries the idle timeout.
	if failed := failed.value(); e.verified() != (err == nil) || e.verified() != (failed == 0) || errors.Is(err, usersession.ErrSessionEnded) {
		t.Errorf("%v, %d events", err, failed)
	}
	laptop.wantUser("alice")
}
