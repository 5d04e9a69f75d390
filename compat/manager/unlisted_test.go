package manager_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
	"github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/usersessiontest"
)

// unlistedCase is a Store with data that claim to be a session of admin.
type unlistedCase struct {
	name  string
	store func(t *testing.T) usersession.Store
	set   func(*usersession.Options)
	// trusted says that data are served until they are looked up: behind the requests,
	// if the janitor runs.
	trusted bool
}

var unlistedCases = []unlistedCase{
	{"sql", sealedStores["sql"], nil, false},
	{"sql elsewhere", sealedStores["sql elsewhere"], nil, true},
	{"memory", sealedStores["memory"], nil, true},
	{"memory, VerifyEveryRequest", sealedStores["memory"], func(o *usersession.Options) { o.VerifyEveryRequest = true }, false},
	{"verified", sealedStores["verified"], nil, false},
	{"scs", sealedStores["scs"], nil, false},
}

// Data that claim a user, and have no row of that user, are an event. A Store that is
// verified never serves them, and another one until it has looked.
func TestUnlistedData(t *testing.T) {
	for _, c := range unlistedCases {
		if !depth.Full() && c.name != "sql" && c.name != "memory" {
			continue
		}
		for _, running := range []bool{false, true} {
			for what, forge := range map[string]func(own *trailer.Binding){
				"no row":                func(b *trailer.Binding) { b.ID, b.UserID = token.NewID(), "admin" },
				"the row of another":    func(b *trailer.Binding) { b.UserID = "admin" },
				"another ID, same user": func(b *trailer.Binding) { b.ID = token.NewID() },
			} {
				name := c.name + "/" + what
				if running {
					name += "/while the janitor runs"
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					events := make(chan usersession.Event, 1000)
					o := &usersession.Options{
						Store: c.store(t), IdleTimeout: time.Hour, TouchInterval: 8 * time.Millisecond,
						OnEvent: func(_ context.Context, e usersession.Event) {
							if e.Kind == usersession.EventUnlisted {
								events <- e
							}
						},
					}
					if c.set != nil {
						c.set(o)
					}
					m, db := mwNewDB(t, o)
					e := &sealedEnv{T: t, m: m, db: db, store: o.Store}
					if e.store == nil {
						var err error
						if e.store, err = usersession.NewSQLStore(db, nil); err != nil {
							t.Fatal(err)
						}
					}
					if running {
						ctx, cancel := context.WithCancel(t.Context())
						done := make(chan error, 1)
						go func() { done <- m.Run(ctx) }()
						defer func() { cancel(); <-done }()
					}
					tok := e.commit("mallory")
					body, own := trailer.Split(e.value(tok))
					claimed := *own
					forge(&claimed)
					e.put(tok, trailer.Append(body, &claimed))

					var got usersession.Event
					for stop := time.Now().Add(time.Minute); got.Kind == "" && time.Now().Before(stop); {
						if user := m.UserID(loaded(t, m, tok)); user != "" && !c.trusted {
							t.Fatalf("served as %s", user)
						}
						select {
						case got = <-events:
						default:
						}
					}
					if got.UserID != claimed.UserID || got.SessionID != claimed.ID || got.Err == nil {
						t.Fatalf("the event is %+v", got)
					}
					for range 20 {
						e.want("after the event", tok, "", false)
					}
					if n := len(events); n > 0 {
						t.Errorf("%d more events", n)
					}
					if len(mwIDs(t, m, "admin")) != 0 {
						t.Error("a list shows it")
					}
				})
			}
		}
	}
}

// An index from an older backup has no rows of the logins since.
func TestUnlistedAfterRestore(t *testing.T) {
	store := memstore.New()
	e := newSealed(t, store, nil)
	tok := e.commit("alice")
	if _, err := e.db.Exec("DELETE FROM user_sessions"); err != nil {
		t.Fatal(err)
	}
	later := e.again(nil)
	later.want("after the restore", tok, "", false)
	if ev := later.of(usersession.EventUnlisted); len(ev) != 1 || ev[0].UserID != "alice" {
		t.Errorf("the events are %v", ev)
	}
}

// A row that is put back lets its session live on in a process that has missed it.
func TestUnlistedUntilTheRowIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := opendb.Connect(t, "sqlite", ":memory:")
		db.SetMaxOpenConns(1)
		usersessiontest.InBubble(t, db.DB)
		m, err := usersession.New(db, &usersession.Options{Store: memstore.New()})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		tok := usersessiontest.Login(t, m, "alice").Value
		for _, c := range []struct{ sql, want string }{
			{"CREATE TABLE kept AS SELECT * FROM user_sessions", "alice"},
			{"DELETE FROM user_sessions", ""},
			{"INSERT INTO user_sessions SELECT * FROM kept", "alice"},
			{"UPDATE user_sessions SET user_id = 'bob'", ""},
		} {
			db.MustExec(c.sql)
			time.Sleep(2 * usersession.DefaultTouchInterval) // sleep: virtual time
			if got := m.UserID(loaded(t, m, tok)); got != c.want {
				t.Errorf("after %s: served as %q, want %q", c.sql, got, c.want)
			}
		}
	})
}

// What has ended, was renewed or is another's is no such event.
func TestListedData(t *testing.T) {
	for name, open := range storesToSeal() {
		t.Run(name, func(t *testing.T) {
			e := newSealed(t, open(t), nil)
			for what, act := range map[string]func(tok string){
				"nothing": func(string) {},
				"Logout": func(tok string) {
					if err := e.m.Logout(loaded(t, e.m, tok)); err != nil {
						t.Fatal(err)
					}
				},
				"ended by SQL": func(string) {
					if _, err := e.db.Exec("UPDATE user_sessions SET ended_at = 1 WHERE user_id = 'alice'"); err != nil {
						t.Fatal(err)
					}
				},
				"a user who was deleted": func(string) {
					if _, err := e.db.Exec("UPDATE user_sessions SET user_id = NULL WHERE user_id = 'alice'"); err != nil {
						t.Fatal(err)
					}
				},
			} {
				tok := e.commit("alice")
				act(tok)
				later := e.again(nil)
				for range 3 {
					loaded(t, later.m, tok)
				}
				if ev := later.of(usersession.EventUnlisted); len(ev) != 0 {
					t.Errorf("%s: the events are %v", what, ev)
				}
			}
		})
	}
}
