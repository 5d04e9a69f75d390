package backendtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// Several Stores on one index.
var placeBehaviours = []behaviour{
	{"place: a program with another Store", placeOther},
	{"place: the janitor of a program with another Store", placeJanitor},
	{"place: pages of sessions in two Stores", placePages},
	{"place: an eviction beside another Store", placeEvict},
	{"place: two programs on one Store", placeShared},
	{"lost: a request ends the row", lostRequest},
	{"lost: a login is not refused for it", lostReject},
	{"lost: Reconcile", lostReconcile},
	{"lost: not what another Store has", lostElsewhere},
	{"lost: not if the Store fails", lostFailing},
	{"lost: a memstore that has restarted", lostRestart},
}

// others are programs with other Stores on the index of e.
func (e *env) others(b backend) map[string]*env {
	b.store.New = nil
	list := map[string]*env{"memstore": b.startOn(e.T, e.db, nil, func(o *usersession.Options) { o.Store = memstore.New() })}
	if e.store != nil {
		list["sql"] = b.startOn(e.T, e.db, nil)
	}
	return list
}

// wantEndedElsewhere fails the test if a revocation by another program has lied.
func (e *env) wantEndedElsewhere(err error, browsers ...*browser) {
	e.Helper()
	if !e.verified() && !errors.Is(err, usersession.ErrRevocationPending) {
		e.Errorf("%v, want ErrRevocationPending", err)
	}
	if e.verified() && err != nil {
		e.Errorf("%v, want nil: each request asks the row", err)
	}
	if !e.verified() {
		if _, err := e.m.Prune(e.Context()); err != nil {
			e.Error(err)
		}
		e.wantStored(0)
	}
	for _, b := range browsers {
		b.wantUser("")
	}
}

func placeOther(t *testing.T, b backend) {
	e := b.start(t)
	for name, tool := range e.others(b) {
		laptop := e.browser()
		id := laptop.login("alice")
		laptop.wantUser("alice")
		err := tool.m.RevokeSession(t.Context(), "alice", id)
		if again := tool.m.RevokeSession(t.Context(), "alice", id); !e.verified() && !errors.Is(again, usersession.ErrRevocationPending) {
			t.Errorf("%s: again: %v, want ErrRevocationPending", name, again)
		}
		e.wantEndedElsewhere(err, laptop)

		laptop.login("alice")
		n, err := tool.m.RevokeMatching(t.Context(), usersession.Filter{UserIDs: []string{"alice"}})
		if n != 1 {
			t.Errorf("%s: %d ended, want 1", name, n)
		}
		e.wantEndedElsewhere(err, laptop)

		// The other way round.
		if tool.verified() {
			continue
		}
		phone := tool.browser()
		phone.login("alice")
		_, err = e.m.RevokeAllSessions(t.Context(), "alice")
		tool.wantEndedElsewhere(err, phone)
	}
}

// Its second deletion is not used up, and a session without a user is not taken for
// gone.
func placeJanitor(t *testing.T, b backend) {
	e := b.start(t)
	for name, tool := range e.others(b) {
		laptop := e.browser()
		id := laptop.login("alice")
		tool.m.RevokeSession(t.Context(), "alice", id)
		e.shift(id, "ended_at", -time.Hour)
		e.shift(id, "purge_at", -time.Hour)
		res, err := tool.m.Prune(t.Context())
		if err != nil || !e.verified() && res.Redeleted != 0 {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
		if !e.verified() {
			if res, err = e.m.Prune(t.Context()); res.Redeleted != 1 || err != nil {
				t.Errorf("%s: %+v, %v, want 1 deleted by the program that can", name, res, err)
			}
		}
		laptop.wantUser("")
	}
}

func placePages(t *testing.T, b backend) {
	e := b.start(t)
	for user, tool := range e.others(b) {
		var both []*browser
		for range 3 {
			laptop, phone := e.browser(), tool.browser()
			laptop.login(user)
			phone.login(user)
			both = append(both, laptop, phone)
		}
		n, err := tool.m.RevokeAllSessions(t.Context(), user)
		if n != 6 {
			t.Errorf("%d ended, want 6", n)
		}
		tool.wantStored(0)
		e.wantEndedElsewhere(err, both...)
	}
}

// A login goes on if it has ended a session in another Store.
func placeEvict(t *testing.T, b backend) {
	one := limited(1, usersession.LimitEvictOldest)
	e := b.start(t, one)
	b.configure = append(b.configure[:len(b.configure):len(b.configure)], one)
	for _, tool := range e.others(b) {
		laptop, phone := e.browser(), tool.browser()
		laptop.login("alice")
		phone.login("alice")
		phone.wantUser("alice")
		e.wantSessions("alice", 1)
		if !e.verified() {
			_, err := e.m.Prune(t.Context())
			e.ok(err)
		}
		laptop.wantUser("")
	}
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
	laptop.login("alice")
	_, memory := e.store.(*memstore.Store)
	for name, tool := range e.others(b) {
		if name == "memstore" && memory {
			continue // of another process, which has ended
		}
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

func lostRestart(t *testing.T, b backend) {
	b.store.New = func(*testing.T) usersession.Store { return memstore.New() }
	one := limited(1, usersession.LimitReject)
	e := b.start(t, one)
	laptop, phone := e.browser(), e.browser()
	laptop.login("alice")
	phone.login("bob")
	again := b.startOn(t, e.db, nil, one)
	again.thief(laptop.token()).wantUser("")
	again.wantSessions("alice", 0)
	again.browser().login("bob")
	again.wantSessions("bob", 1)
}

// The token of one is no good at the other, and stays good where it belongs.
func placeShared(t *testing.T, b backend) {
	e := b.start(t)
	if e.store == nil {
		e.Skip("the Store is in the database of the index")
	}
	other := b.startOn(t, b.open(t), nil, func(o *usersession.Options) { o.Store = e.store })
	laptop := e.browser()
	laptop.login("alice")
	for range 3 {
		other.thief(laptop.token()).wantUser("")
		laptop.wantUser("alice")
	}
	// What is over in its own index goes.
	id := laptop.login("alice")
	exec(t, e.db, "UPDATE "+quoted(e.db, e.table)+" SET expires_at = created_at WHERE id = ?", id)
	e.wantStored(1)
	e.m.Prune(t.Context())
	e.wantStored(0)
}
