// Package model runs random sequences of operations on a real Manager and on a
// map, and wants both to agree after each. A sequence on which they do not is made
// as short as it can be and printed.
package model

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"pgregory.net/rapid"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/robustness/backends"
)

const (
	cookieName  = "session"
	users       = 3
	browsers    = 4
	maxSessions = 2
	// tooLong is longer than the idle timeout.
	tooLong = 2 * usersession.DefaultIdleTimeout
)

// tick is between two operations: SQLite's clock tells milliseconds, and what is
// listed first or evicted is told by it.
const tick = 2 * time.Millisecond

// limits are the Managers of a backend, by their limit.
var limits = []struct {
	name   string
	max    int
	policy usersession.LimitPolicy
}{
	{"no limit", usersession.NoMaxSessions, usersession.LimitEvictOldest},
	{"LimitEvictOldest", maxSessions, usersession.LimitEvictOldest},
	{"LimitEvictLeastRecent", maxSessions, usersession.LimitEvictLeastRecent},
	{"LimitReject", maxSessions, usersession.LimitReject},
	{"sessions that are bound to devices", usersession.NoMaxSessions, usersession.LimitEvictOldest}, // if they are in the database
}

// devices is which of limits that is.
const devices = 4

// Stats counts what was run.
type Stats struct{ Sequences, Operations int64 }

// Check runs random sequences on a backend: -rapid.checks of them, with
// -rapid.steps operations on average.
func Check(tb testing.TB, b backends.Backend) *Stats {
	tb.Helper()
	db, store := b.Open(tb)
	var managers []*usersession.Manager
	kinds := len(limits)
	if store != nil {
		kinds-- // without VerifyEveryRequest no session is bound
	}
	for i, l := range limits[:kinds] {
		m, err := usersession.New(db, &usersession.Options{
			Store: store, InsecureCookies: true, MaxSessions: l.max, OnLimit: l.policy, TouchInterval: 15 * time.Minute,
			ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		})
		if err != nil {
			tb.Fatal(err)
		}
		if i == devices {
			inside.DevicesOf(m).Bind(fromDevice)
		}
		managers = append(managers, m)
	}
	var stats Stats
	rapid.Check(tb, func(t *rapid.T) {
		limit := rapid.IntRange(0, kinds-1).Draw(t, "limit")
		w := &world{
			db: db, m: managers[limit], max: limits[limit].max, policy: limits[limit].policy,
			sequence: atomic.AddInt64(&stats.Sequences, 1), sql: store == nil, devices: limit == devices,
			sessions: map[string]*session{}, stats: &stats,
		}
		t.Logf("on %s with %s:", b.Name, limits[limit].name)
		t.Repeat(w.actions())
	})
	return &stats
}

// session is what the model knows of one that is live.
type session struct {
	id, user  string
	cart      int
	holder    int   // the browser
	created   int64 // when, in operations
	seen      int64
	refreshes int // 0 if it is not bound; and its challenge
}

// browser is a cookie jar, and what the model knows of it.
type browser struct {
	token string
	cart  int // of an anonymous session; -1: there is none
}

// world is a Manager and the map it is compared with.
type world struct {
	db       *sqlx.DB
	m        *usersession.Manager
	max      int
	policy   usersession.LimitPolicy
	sequence int64
	sql      bool // the sessions are in the database of the index
	devices  bool // they may be bound to devices
	stats    *Stats

	clock    int64
	browsers [browsers]browser
	sessions map[string]*session // live ones, by ID
	ended    []string            // IDs of others
	dead     []string            // tokens that must not be good any more
	idle     map[string]bool     // IDs of sessions that ended by themselves
}

func (w *world) user(n int) string { return fmt.Sprintf("%d-%c", w.sequence, 'a'+n) }

// of returns the live session of a browser; nil if it has none.
func (w *world) of(n int) *session {
	for _, s := range w.sessions {
		if s.holder == n {
			return s
		}
	}
	return nil
}

// end ends sessions in the model.
func (w *world) end(ended ...*session) {
	for _, s := range ended {
		delete(w.sessions, s.id)
		w.ended = append(w.ended, s.id)
		w.dead = append(w.dead, w.browsers[s.holder].token)
		w.browsers[s.holder].cart = -1
	}
}

// all returns the live sessions of a user but for those of some IDs, in the order
// of a field.
func (w *world) all(user string, by func(*session) int64, but ...string) []*session {
	var list []*session
	for _, s := range w.sessions {
		if s.user == user && !slices.Contains(but, s.id) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *session) int { return int(by(a) - by(b)) })
	return list
}

func created(s *session) int64 { return s.created }
func seen(s *session) int64    { return s.seen }

// compare compares what can be seen with the model.
func (w *world) compare(t *rapid.T) {
	for n := range w.browsers {
		want, wantCart := "", w.browsers[n].cart
		if s := w.of(n); s != nil {
			want, wantCart = s.user, s.cart
		}
		got, cart := "", 0
		status := w.request(t, n, func(ctx context.Context) { got, cart = w.m.UserID(ctx), w.cart(ctx) })
		if status != http.StatusOK || got != want || cart != wantCart {
			t.Fatalf("browser %d: %d, %q with %d; want %q with %d", n, status, got, cart, want, wantCart)
		}
	}
	for n := range users {
		list, err := w.m.ListSessions(context.Background(), w.user(n))
		if err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for _, s := range list {
			got = append(got, s.ID)
			if own := w.sessions[s.ID]; own != nil && s.Bound != (own.refreshes > 0) {
				t.Fatalf("the session of browser %d is bound: %v", own.holder, s.Bound)
			}
			if s.UserID != w.user(n) {
				t.Fatalf("the list of %s has a session of %s", w.user(n), s.UserID)
			}
		}
		for _, s := range w.all(w.user(n), seen) {
			want = append(want, s.id)
		}
		slices.Reverse(want) // the most recently seen first
		if !slices.Equal(got, want) {
			t.Fatalf("the list of %s: %s; want %s", w.user(n), w.names(got), w.names(want))
		}
		if w.max > 0 && len(got) > w.max {
			t.Fatalf("%d sessions of %s, at most %d", len(got), w.user(n), w.max)
		}
	}
	for _, s := range w.sessions {
		who := ""
		w.sendFrom("", w.browsers[s.holder].token, func(ctx context.Context) { who = w.m.UserID(ctx) })
		if want := map[bool]string{true: "", false: s.user}[s.refreshes > 0]; who != want {
			t.Fatalf("the cookie of browser %d alone is served as %q, want %q", s.holder, who, want)
		}
	}
	for i := range min(5, len(w.dead)) { // the latest
		who := ""
		w.send(w.dead[len(w.dead)-1-i], func(ctx context.Context) { who = w.m.UserID(ctx) })
		if who != "" {
			t.Fatalf("a token that has ended is served as %s", who)
		}
	}
}

// names turns IDs into the browsers that hold them.
func (w *world) names(ids []string) string {
	var names []string
	for _, id := range ids {
		if s := w.sessions[id]; s != nil {
			names = append(names, fmt.Sprint("browser ", s.holder))
		} else {
			names = append(names, "one that has ended")
		}
	}
	return "[" + strings.Join(names, ", ") + "]"
}
