package backendtest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

var eventBehaviours = []behaviour{
	{"events: a session's life", eventLife},
	{"events: refused and ended meanwhile", eventRefused},
	{"events: a hook and a logger that panic", eventPanics},
	{"events: no secret in events and logs", eventSecrets},
}

// counter counts events.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) count(kind usersession.EventKind) func(context.Context, usersession.Event) {
	return func(_ context.Context, ev usersession.Event) {
		if ev.Kind == kind {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.n++
		}
	}
}

func (c *counter) value() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// recorder keeps events.
type recorder struct {
	mu  sync.Mutex
	all []usersession.Event
}

func (r *recorder) add(_ context.Context, ev usersession.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, ev)
}

// take returns the events since the last call.
func (r *recorder) take() []usersession.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

// of returns the events of a kind since the last call, and forgets the others.
func (r *recorder) of(kind usersession.EventKind) []usersession.Event {
	return slices.DeleteFunc(r.take(), func(ev usersession.Event) bool { return ev.Kind != kind })
}

// wantEvents fails the test if something else has happened, in whatever order.
func (e *env) wantEvents(r *recorder, what string, want ...usersession.Event) {
	e.Helper()
	got := r.take()
	text := func(ev usersession.Event) string {
		return fmt.Sprintf("%s %s %s %q by %q", ev.Kind, ev.UserID, ev.SessionID, ev.Reason, ev.Actor)
	}
	left := map[string]int{}
	for _, ev := range got {
		if !within(ev.Time, time.Now(), time.Minute) || ev.Count < 1 {
			e.Errorf("%s: Time %v, Count %d", what, ev.Time, ev.Count)
		}
		left[text(ev)]++
	}
	for _, ev := range want {
		if left[text(ev)]--; left[text(ev)] < 0 {
			e.Errorf("%s: no event %s", what, text(ev))
		}
	}
	for ev, n := range left {
		if n > 0 {
			e.Errorf("%s: event too many: %s", what, ev)
		}
	}
}

func eventLife(t *testing.T, b backend) {
	var r recorder
	e := b.start(t, func(o *usersession.Options) { o.OnEvent = r.add })
	type ev = usersession.Event
	laptop, phone := e.browser(), e.browser()
	laptop.put("cart", 1)
	laptop.wantUser("")
	e.wantEvents(&r, "anonymous")

	first := laptop.login("alice")
	e.wantEvents(&r, "login", ev{Kind: usersession.EventLogin, UserID: "alice", SessionID: first})
	laptop.put("cart", 2)
	e.wantEvents(&r, "change")
	second := laptop.login("alice")
	e.wantEvents(&r, "login over a session", ev{Kind: usersession.EventLogin, UserID: "alice", SessionID: second},
		ev{Kind: usersession.EventEnded, UserID: "alice", SessionID: first, Reason: usersession.ReasonReplaced, Actor: "alice"})
	laptop.do(func(ctx context.Context) { e.ok(e.m.RenewToken(ctx)) })
	e.wantEvents(&r, "renewal", ev{Kind: usersession.EventRenewed, UserID: "alice", SessionID: second})
	laptop.do(func(ctx context.Context) { e.ok(e.m.Reauthenticate(ctx)) })
	e.wantEvents(&r, "reauthentication", ev{Kind: usersession.EventReauthenticated, UserID: "alice", SessionID: second})
	third := phone.login("alice")
	r.take()
	ctx := usersession.ContextWithReason(usersession.ContextWithActor(t.Context(), "admin"), "stolen")
	e.ok(e.m.RevokeSession(ctx, "alice", third))
	e.wantEvents(&r, "revocation",
		ev{Kind: usersession.EventEnded, UserID: "alice", SessionID: third, Reason: "stolen", Actor: "admin"})
	laptop.do(func(ctx context.Context) { e.ok(e.m.Logout(ctx)) })
	e.wantEvents(&r, "logout",
		ev{Kind: usersession.EventEnded, UserID: "alice", SessionID: second, Reason: usersession.ReasonLogout, Actor: "alice"})
}

func eventRefused(t *testing.T, b backend) {
	var r recorder
	e := b.start(t, func(o *usersession.Options) {
		o.OnEvent, o.MaxSessions, o.OnLimit = r.add, 1, usersession.LimitReject
	})
	type ev = usersession.Event
	laptop := e.browser()
	id := laptop.login("alice")
	r.take()
	e.browser().do(func(ctx context.Context) { e.want(e.m.Login(ctx, "alice"), usersession.ErrTooManySessions) })
	e.wantEvents(&r, "refused", ev{Kind: usersession.EventLoginRefused, UserID: "alice"})
	slow := laptop.begin(func(ctx context.Context) { e.m.Put(ctx, "cart", 1) })
	e.ok(e.m.RevokeSession(t.Context(), "alice", id))
	r.take()
	slow.finish()
	e.wantEvents(&r, "in flight", ev{Kind: usersession.EventEndedMeanwhile, UserID: "alice", SessionID: id})
}

// syncBuffer is a buffer that many goroutines may write.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// take returns what was written since the last call.
func (b *syncBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.buf.Reset()
	return b.buf.String()
}

func eventSecrets(t *testing.T, b backend) {
	var r recorder
	var log syncBuffer
	e := b.start(t, func(o *usersession.Options) {
		o.OnEvent, o.Logger = r.add, slog.New(slog.NewTextHandler(&log, nil))
	})
	const user = "alice-4711"
	laptop := e.browser()
	id := laptop.login(user)
	secrets := []string{laptop.token(), keyOf(laptop.token())}
	slow := laptop.begin(func(ctx context.Context) { e.m.Put(ctx, "cart", 1) })
	e.ok(e.m.RevokeSession(t.Context(), user, id))
	slow.finish()
	laptop.login(user)
	secrets = append(secrets, laptop.token(), keyOf(laptop.token()))
	e.db.Close() // everything fails from now on
	laptop.serve(laptop.nothing())
	laptop.serve(laptop.nothing())
	_, err := e.m.ListSessions(t.Context(), user)
	for _, s := range secrets {
		if s == "" {
			t.Fatal("no secret to look for")
		}
		if strings.Contains(log.buf.String(), s) {
			t.Errorf("the log has %q in it", s)
		}
		if err != nil && strings.Contains(err.Error(), s) {
			t.Errorf("the error has %q in it", s)
		}
		for _, ev := range r.all {
			if strings.Contains(fmt.Sprint(ev), s) {
				t.Errorf("the event %v has %q in it", ev, s)
			}
		}
	}
	if err != nil && strings.Contains(err.Error(), user) || strings.Contains(log.buf.String(), user) {
		t.Error("the user ID is in an error or in the log")
	}
}

// panicking is a log handler that panics after it has written.
type panicking struct{ slog.Handler }

func (h panicking) Handle(ctx context.Context, r slog.Record) error {
	h.Handler.Handle(ctx, r)
	panic("the logger")
}

// What a hook is told of has happened: its panic must not take the answer away.
func eventPanics(t *testing.T, b backend) {
	var logged syncBuffer
	for name, handler := range map[string]slog.Handler{
		"hook": slog.NewTextHandler(&logged, nil), "hook and logger": panicking{slog.NewTextHandler(&logged, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			logged.take()
			e := b.start(t, func(o *usersession.Options) {
				o.Logger = slog.New(handler)
				o.OnEvent = func(context.Context, usersession.Event) { panic("the hook") }
			})
			laptop, phone := e.browser(), e.browser()
			laptop.login("alice")
			phone.login("alice")
			e.wantOK(laptop.do(func(ctx context.Context) { e.ok(e.m.RenewToken(ctx)) }))
			laptop.wantUser("alice")
			slow := phone.begin(func(ctx context.Context) { e.m.Put(ctx, "cart", 1) })
			n, err := e.m.RevokeAllSessions(t.Context(), "alice")
			if e.ok(err); n != 2 {
				t.Errorf("%d revoked, want 2", n)
			}
			e.wantRefused(slow.finish())
			laptop.wantUser("")
			e.wantStored(0)
			if text := logged.take(); !strings.Contains(text, "the hook") || !strings.Contains(text, "eventPanics") {
				t.Errorf("logged %q, want the panic and its stack", text)
			}
		})
	}
}
