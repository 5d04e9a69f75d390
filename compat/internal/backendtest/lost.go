package backendtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// Rows whose data the Store has lost.
var lostBehaviours = []behaviour{
	{"lost: a request ends the row", lostRequest},
	{"lost: a login is not refused for it", lostReject},
	{"lost: Reconcile", lostReconcile},
	{"lost: not what another Store has", lostElsewhere},
	{"lost: not if the Store fails", lostFailing},
	{"lost: a memstore that has restarted", lostRestart},
	{"lost: not what another memstore has", lostTwo},
}

// lose takes the data of every session out of the Store.
func (e *env) lose() {
	e.Helper()
	switch s := e.store.(type) {
	case nil:
		exec(e.T, e.db, "DELETE FROM "+quoted(e.db, usersession.DefaultDataTable))
	case *handWritten:
		s.mu.Lock()
		defer s.mu.Unlock()
		clear(s.entries)
	case usersession.KeyLister:
		var keys []string
		for key, err := range s.Keys(e.Context()) {
			e.ok(err)
			keys = append(keys, key)
		}
		e.ok(e.store.Delete(e.Context(), keys...))
	default:
		e.Skip("the Store cannot tell its keys")
	}
}

func lostRequest(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone := e.browser(), e.browser()
	id := laptop.login("alice")
	phone.login("alice")
	e.lose()
	laptop.wantUser("")
	e.wantSessions("alice", 1)
	e.wantReason(id, usersession.ReasonDataLost)
}

func lostReject(t *testing.T, b backend) {
	e := b.start(t, limited(1, usersession.LimitReject))
	laptop, phone := e.browser(), e.browser()
	laptop.login("alice")
	e.lose()
	phone.login("alice")
	phone.wantUser("alice")
	e.wantSessions("alice", 1)
	var err error
	laptop.do(func(ctx context.Context) { err = e.m.Login(ctx, "alice") })
	if !errors.Is(err, usersession.ErrTooManySessions) {
		t.Errorf("%v, want ErrTooManySessions", err)
	}
}

func lostReconcile(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone, under := e.browser(), e.browser(), e.browser()
	laptop.login("alice")
	e.lose()
	phone.login("alice")
	under.do(func(ctx context.Context) {
		e.ok(e.m.Login(ctx, "bob"))
		n, err := e.m.Reconcile(context.WithoutCancel(ctx))
		if n != 1 || err != nil {
			t.Errorf("%d, %v, want 1 ended", n, err)
		}
	})
	under.wantUser("bob")
	phone.wantUser("alice")
	e.wantSessions("alice", 1)
}

func lostElsewhere(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	others := e.others(b)
	laptop.login("alice")
	for name, tool := range others {
		tool.thief(laptop.token()).wantUser("")
		if n, err := tool.m.Reconcile(t.Context()); n != 0 || err != nil {
			t.Errorf("%s: %d, %v, want none ended", name, n, err)
		}
	}
	laptop.wantUser("alice")
	e.wantSessions("alice", 1)
}

func lostFailing(t *testing.T, b backend) {
	e := b.startFaulty(t, limited(1, usersession.LimitReject))
	laptop, phone := e.browser(), e.browser()
	laptop.login("alice")
	e.faults.fail("Find")
	laptop.do(func(context.Context) {})
	var err error
	phone.do(func(ctx context.Context) { err = e.m.Login(ctx, "alice") })
	if !errors.Is(err, usersession.ErrTooManySessions) {
		t.Errorf("%v, want ErrTooManySessions", err)
	}
	if n, err := e.m.Reconcile(t.Context()); n != 0 || err == nil {
		t.Errorf("%d, %v, want none ended and an error", n, err)
	}
	e.faults.recover()
	laptop.wantUser("alice")
}

// What was not seen since this process began, nor anything else of its process, is lost.
func lostRestart(t *testing.T, b backend) {
	b.store.New = func(*testing.T) usersession.Store { return memstore.New() }
	one := limited(1, usersession.LimitReject)
	e := b.start(t, one)
	laptop, phone, tablet := e.browser(), e.browser(), e.browser()
	ids := []string{laptop.login("alice"), phone.login("bob"), tablet.login("carol")}
	for _, id := range ids {
		e.shift(id, "last_seen_at", -time.Second)
	}
	again := b.startOn(t, e.db, nil, one)
	back := again.thief(laptop.token())
	back.wantUser("")
	again.wantSessions("alice", 0)
	again.wantReason(ids[0], usersession.ReasonDataLost)
	back.login("alice")
	again.wantSessions("alice", 1)

	again.browser().login("bob")
	again.wantReason(ids[1], usersession.ReasonDataLost)
	again.wantSessions("bob", 1)

	if n, err := again.m.Reconcile(t.Context()); n != 1 || err != nil {
		t.Errorf("%d, %v, want 1 ended", n, err)
	}
	again.wantReason(ids[2], usersession.ReasonDataLost)
}

// Two processes with a memstore each, on one index.
func lostTwo(t *testing.T, b backend) {
	b.store.New = func(*testing.T) usersession.Store { return memstore.New() }
	one := limited(1, usersession.LimitReject)
	e := b.start(t, one)
	other := b.startOn(t, e.db, nil, one)
	here, there := e.browser(), other.browser()
	id := here.login("alice")
	there.login("bob")
	e.browser().login("carol")
	e.shift(id, "last_seen_at", -time.Minute) // idle, but its process lives: carol was seen
	for range 2 {
		other.thief(here.token()).wantUser("")
		e.thief(there.token()).wantUser("")
		for user, m := range map[string]*usersession.Manager{"alice": other.m, "bob": e.m} {
			if n, err := m.Reconcile(t.Context()); n != 0 || err != nil {
				t.Errorf("%d, %v, want none ended", n, err)
			}
			e.wantSessions(user, 1)
		}
		var err error
		other.browser().do(func(ctx context.Context) { err = other.m.Login(ctx, "alice") })
		e.want(err, usersession.ErrTooManySessions)
		here.wantUser("alice")
		there.wantUser("bob")
	}
}
