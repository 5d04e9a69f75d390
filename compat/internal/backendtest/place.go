package backendtest

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
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
	{"place: what ends or replaces the browser's session beside another Store", placeBrowser},
	{"place: two cookies beside another Store", placeCookies},
	{"place: a session that could not be looked up", placeUnknown},
	{"place: two programs on one Store", placeShared},
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

// A session whose data are in another Store is this browser's all the same.
func placeBrowser(t *testing.T, b backend) {
	one := limited(1, usersession.LimitReject)
	e := b.start(t, one)
	var pending counter
	heard := func(o *usersession.Options) { o.OnEvent = pending.count(usersession.EventRevocationPending) }
	b.configure = append(b.configure[:len(b.configure):len(b.configure)], one, heard)
	for name, tool := range e.others(b) {
		for _, c := range []struct {
			name   string
			act    func(m *usersession.Manager, ctx context.Context) error
			reason string // "": it lives on
			told   bool   // it is an ending, which must not be said to be done
		}{
			{"nothing", func(m *usersession.Manager, ctx context.Context) error { return nil }, "", false},
			{"Reauthenticate", func(m *usersession.Manager, ctx context.Context) error {
				e.want(m.Reauthenticate(ctx), usersession.ErrNoSession)
				return nil
			}, "", false},
			{"RevokeOtherSessions", func(m *usersession.Manager, ctx context.Context) error {
				_, err := m.RevokeOtherSessions(ctx)
				e.want(err, usersession.ErrNoSession)
				return nil
			}, "", false},
			{"Logout", func(m *usersession.Manager, ctx context.Context) error { return m.Logout(ctx) }, usersession.ReasonLogout, true},
			{"Destroy", func(m *usersession.Manager, ctx context.Context) error { return m.Destroy(ctx) }, usersession.ReasonLogout, true},
			{"scs Destroy", func(m *usersession.Manager, ctx context.Context) error { return m.SessionManager.Destroy(ctx) }, usersession.ReasonLogout, true},
			{"Clear", func(m *usersession.Manager, ctx context.Context) error {
				m.Clear(ctx) // what it ends, it ends with the commit
				return nil
			}, usersession.ReasonLogout, true},
			{"Put and Logout", func(m *usersession.Manager, ctx context.Context) error {
				m.Put(ctx, "k", "v")
				return m.Logout(ctx)
			}, usersession.ReasonLogout, true},
			{"Login and Logout", func(m *usersession.Manager, ctx context.Context) error {
				e.ok(m.Login(ctx, "alice"))
				return m.Logout(ctx)
			}, usersession.ReasonLogout, true},
			{"Login", func(m *usersession.Manager, ctx context.Context) error { return m.Login(ctx, "alice") }, usersession.ReasonReplaced, false},
			{"Login of another", func(m *usersession.Manager, ctx context.Context) error { return m.Login(ctx, "bob") }, usersession.ReasonReplaced, false},
			{"RenewToken", func(m *usersession.Manager, ctx context.Context) error { return m.RenewToken(ctx) }, usersession.ReasonReplaced, false},
			{"scs RenewToken", func(m *usersession.Manager, ctx context.Context) error { return m.SessionManager.RenewToken(ctx) }, usersession.ReasonReplaced, false},
			{"Put", func(m *usersession.Manager, ctx context.Context) error {
				m.Put(ctx, "k", "v")
				return nil
			}, usersession.ReasonReplaced, false},
		} {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				e, tool := e.with(t), tool.with(t)
				laptop := e.browser()
				id := laptop.login("alice")
				visitor := tool.thief(laptop.token())
				before := pending.value()
				var err error
				a := visitor.do(func(ctx context.Context) { err = c.act(tool.m, ctx) })
				if heard, want := pending.value() > before, c.reason != "" && !e.verified(); heard != want {
					t.Errorf("an event of a pending deletion: %v, want %v", heard, want)
				}
				switch told := c.told && !e.verified(); {
				case told && c.name == "Clear":
					e.wantUnavailable(a)
				case told:
					e.want(err, usersession.ErrRevocationPending)
				default:
					e.ok(err)
					e.wantOK(a)
				}
				if c.reason == "" {
					laptop.wantUser("alice")
					e.wantSessions("alice", 1)
				} else {
					e.wantReason(id, c.reason)
					if !e.verified() {
						e.prune() // at once, for its data are known to be there
						e.wantStored(0)
					}
					laptop.wantUser("")
				}
				for _, user := range []string{"alice", "bob"} {
					tool.m.RevokeAllSessions(t.Context(), user)
				}
				if !e.verified() {
					e.prune()
				}
			})
		}
	}
}

// cookies is a jar of several cookies of one name.
type cookies []*http.Cookie

func (c cookies) Cookies(*url.URL) []*http.Cookie     { return c }
func (c cookies) SetCookies(*url.URL, []*http.Cookie) {}

// carrying returns a browser that sends several tokens, and keeps to them.
func (e *env) carrying(tokens ...string) *browser {
	var jar cookies
	for _, token := range tokens {
		jar = append(jar, &http.Cookie{Name: e.m.Cookie.Name, Value: token})
	}
	return &browser{env: e, jar: jar, userAgent: firefox}
}

// The session here counts, whichever cookie comes first, and Logout ends all of them.
func placeCookies(t *testing.T, b backend) {
	e := b.start(t)
	for name, tool := range e.others(b) {
		for _, order := range []string{"here there", "there here", "there dead", "dead there", "there there"} {
			var tokens []string
			var there []*browser
			user := ""
			for which := range strings.FieldsSeq(order) {
				browser := e.browser()
				switch which {
				case "here":
					browser, user = tool.browser(), "alice"
					browser.login("alice")
				case "there":
					browser.login("bob")
					there = append(there, browser)
				case "dead":
					browser.login("carol")
					defer browser.wantUser("")
					_, err := e.m.RevokeAllSessions(t.Context(), "carol")
					e.ok(err)
				}
				tokens = append(tokens, browser.token())
			}
			visitor := tool.carrying(tokens...)
			visitor.wantUser(user)
			for _, browser := range there {
				browser.wantUser("bob")
			}
			var err error
			visitor.do(func(ctx context.Context) { err = tool.m.Logout(ctx) })
			if !e.verified() && !errors.Is(err, usersession.ErrRevocationPending) || e.verified() && err != nil {
				t.Errorf("%s, %s: %v", name, order, err)
			}
			visitor.wantUser("")
			e.wantSessions("bob", 0)
			if !e.verified() {
				e.prune()
				e.wantStored(0)
			}
			for _, browser := range there {
				browser.wantUser("")
			}
		}
	}
}

// A database that fails while the session is looked up is no reason to say that it
// has ended.
func placeUnknown(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	id := laptop.login("alice")
	tool := e.others(b)["memstore"]
	rename := func(from, to string) {
		_, err := e.db.ExecContext(background(), "ALTER TABLE "+quoted(e.db, from)+" RENAME TO "+quoted(e.db, to))
		e.ok(err)
	}
	rename(e.table, "hidden")
	visitor := tool.thief(laptop.token())
	var err error
	visitor.do(func(ctx context.Context) {
		err = tool.m.Logout(ctx)
		rename("hidden", e.table)
		if err == nil {
			t.Error("nil, want an error")
		}
		err = tool.m.Logout(ctx)
	})
	e.wantEndedElsewhere(err, laptop)
	e.wantReason(id, usersession.ReasonLogout)
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
