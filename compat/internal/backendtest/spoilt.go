package backendtest

import (
	"context"
	"slices"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// Data under the key of a session that are not its data, or not all of them.
var spoiltBehaviours = []behaviour{
	{"spoilt: data that were cut off or overwritten", spoiltData},
	{"spoilt: they keep nobody out, and Reconcile finds them", spoiltReconcile},
	{"spoilt: data of another version of this package", spoiltVersion},
	{"spoilt: data of nobody", spoiltForeign},
	{"spoilt: not by the logout of another program on the Store", spoiltShared},
}

// rewrite changes the data under the key of a token in the Store.
func (e *env) rewrite(token string, fn func([]byte) []byte) {
	e.Helper()
	s := e.storeOf()
	data, found, err := s.Find(e.Context(), keyOf(token))
	if err != nil || !found {
		e.Fatalf("no data: %v", err)
	}
	if found, err := s.Update(e.Context(), keyOf(token), fn(slices.Clone(data))); err != nil || !found {
		e.Fatalf("not updated: %v", err)
	}
}

func spoiltData(t *testing.T, b backend) {
	var events recorder
	e := b.start(t, func(o *usersession.Options) { o.OnEvent = events.add })
	other := e.browser()
	other.login("bob")
	var others []byte
	e.rewrite(other.token(), func(data []byte) []byte { others = data; return data })
	for name, spoil := range map[string]func([]byte) []byte{
		"cut in the middle":         func(data []byte) []byte { return data[:len(data)/2] },
		"without its last byte":     func(data []byte) []byte { return data[:len(data)-1] },
		"cut to nothing":            func([]byte) []byte { return []byte{} },
		"overwritten":               func([]byte) []byte { return []byte("another program was here") },
		"those of another session":  func([]byte) []byte { return others },
		"with something after them": func(data []byte) []byte { return append(data, 0) },
	} {
		laptop := e.browser()
		id := laptop.login("alice")
		laptop.put("cart", 1)
		e.rewrite(laptop.token(), spoil)
		laptop.wantUser("")
		e.wantReason(id, usersession.ReasonDataLost)
		e.wantSessions("alice", 0)
		found := false
		for _, ev := range events.of(usersession.EventUnreadable) {
			found = found || ev.SessionID == id && ev.UserID == "alice" && ev.Err != nil
		}
		if !found {
			t.Errorf("%s: no event", name)
		}
		laptop.wantUser("")
		laptop.login("alice")
		laptop.wantUser("alice")
		e.ok(e.m.RevokeSession(t.Context(), "alice", e.list("alice")[0].ID))
	}
	other.wantUser("bob")
	e.wantSessions("bob", 1)
}

func spoiltReconcile(t *testing.T, b backend) {
	e := b.start(t, limited(1, usersession.LimitReject))
	half := func(data []byte) []byte { return data[:len(data)/2] }
	laptop, phone, tablet := e.browser(), e.browser(), e.browser()
	ids := []string{laptop.login("alice"), tablet.login("bob")}
	e.rewrite(laptop.token(), half)
	phone.login("alice")
	e.wantReason(ids[0], usersession.ReasonDataLost)
	e.rewrite(tablet.token(), half)
	if n, err := e.m.Reconcile(t.Context()); n != 1 || err != nil {
		t.Errorf("%d, %v, want 1 ended", n, err)
	}
	e.wantReason(ids[1], usersession.ReasonDataLost)
	phone.wantUser("alice")
}

// A program of another version has written them, in the middle of a deployment, and
// can read them.
func spoiltVersion(t *testing.T, b backend) {
	var events recorder
	e := b.start(t, func(o *usersession.Options) { o.OnEvent = events.add })
	// Before the trailer's end are its magic and its size, which begin is counted from.
	version := func(data []byte) []byte {
		size := int(data[len(data)-6])<<8 | int(data[len(data)-5])
		data[len(data)-6-size] ^= 0x80
		return data
	}
	laptop := e.browser()
	id := laptop.login("alice")
	e.rewrite(laptop.token(), version)
	laptop.wantUser("")
	if n := len(events.of(usersession.EventUnreadable)); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	e.wantSessions("alice", 1)
	if n, err := e.m.Reconcile(t.Context()); n != 0 || err != nil {
		t.Errorf("%d, %v, want none ended", n, err)
	}
	e.rewrite(laptop.token(), version)
	laptop.wantUser("alice")

	e.rewrite(laptop.token(), version)
	token := laptop.token()
	laptop.do(func(ctx context.Context) { e.ok(e.m.Logout(ctx)) })
	e.wantReason(id, usersession.ReasonLogout)
	e.wantSessions("alice", 0)
	e.wantDead(token)
}

// Data without a row are another program's, and nothing is said about them.
func spoiltForeign(t *testing.T, b backend) {
	var events recorder
	e := b.start(t, func(o *usersession.Options) { o.OnEvent = events.add })
	visitor := e.browser()
	visitor.put("cart", 1)
	e.rewrite(visitor.token(), func(data []byte) []byte { return data[:len(data)/2] })
	visitor.wantUser("")
	if n := len(events.of(usersession.EventUnreadable)); n != 0 {
		t.Errorf("%d events, want none", n)
	}
	visitor.login("alice")
	visitor.wantUser("alice")
}

// Two programs on one Store, and two cookies: what one of them ends is its own.
func spoiltShared(t *testing.T, b backend) {
	e := b.start(t)
	if e.store == nil {
		t.Skip("the Store is in the database of the index")
	}
	other := b.startOn(t, b.open(t), nil, func(o *usersession.Options) { o.Store = e.store })
	laptop, phone := e.browser(), other.browser()
	laptop.login("alice")
	phone.login("bob")
	here, there := laptop.token(), phone.token()
	both := other.carrying(here, there)
	both.wantUser("bob")
	both.do(func(ctx context.Context) { e.ok(other.m.Logout(ctx)) })
	other.wantDead(there)
	laptop.wantUser("alice")
}
