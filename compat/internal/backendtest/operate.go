package backendtest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

var operateBehaviours = []behaviour{
	{"filter: by ID, and by when they ended", operateIDs},
	{"stats: what there is", statsCount},
	{"stats: what waits", statsOverdue},
}

func operateIDs(t *testing.T, b backend) {
	e := b.start(t)
	names := e.people()
	byName := map[string]string{}
	for id, name := range names {
		byName[name] = id
	}
	read := func(f usersession.Filter) string {
		t.Helper()
		var got []string
		for s, err := range e.m.ListMatching(t.Context(), f, usersession.Page{}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, names[s.ID])
		}
		slices.Sort(got)
		return strings.Join(got, " ")
	}
	two := []string{byName["old"], byName["v6"]}
	if got := read(usersession.Filter{IDs: two}); got != "old v6" {
		t.Errorf("two IDs are %q", got)
	}
	if got := read(usersession.Filter{IDs: two, UserIDs: []string{"bob"}}); got != "v6" {
		t.Errorf("two IDs of one user are %q", got)
	}
	if got := read(usersession.Filter{IDs: []string{strings.Repeat("A", 22)}}); got != "" {
		t.Errorf("an unknown ID is %q", got)
	}
	if n, err := e.m.CountMatching(t.Context(), usersession.Filter{IDs: two}, 0); n != 2 || err != nil {
		t.Errorf("counted %d, %v", n, err)
	}
	if n, err := e.m.RevokeMatching(t.Context(), usersession.Filter{IDs: two}); n != 2 || err != nil {
		t.Errorf("revoked %d, %v", n, err)
	}
	tx, err := e.db.BeginTxx(t.Context(), nil)
	e.ok(err)
	revocation, err := e.m.RevokeMatchingTx(t.Context(), tx, usersession.Filter{IDs: []string{byName["none"], byName["old"]}})
	if e.ok(err); revocation.Count() != 1 {
		t.Errorf("revoked %d in a transaction, want 1", revocation.Count())
	}
	e.ok(tx.Commit())
	e.ok(revocation.Finish(t.Context()))
	e.shift(byName["old"], "ended_at", -time.Hour)
	e.shift(byName["none"], "ended_at", -10*time.Hour)
	if got := read(usersession.Filter{Ended: true, EndedAfter: time.Now().Add(-30 * time.Minute)}); got != "v6" {
		t.Errorf("ended in the last half hour are %q", got)
	}
	if got := read(usersession.Filter{Ended: true, EndedAfter: time.Now().Add(-2 * time.Hour)}); got != "old v6" {
		t.Errorf("ended in the last two hours are %q", got)
	}
	for _, c := range []struct {
		filter usersession.Filter
		field  string
	}{
		{usersession.Filter{IDs: []string{}}, "Filter.IDs"},
		{usersession.Filter{IDs: []string{byName["new"], "short"}}, "Filter.IDs"},
		{usersession.Filter{EndedAfter: time.Now()}, "Filter.EndedAfter"},
	} {
		if _, err := e.m.CountMatching(t.Context(), c.filter, 0); err == nil || !strings.Contains(err.Error(), c.field) {
			t.Errorf("%s: %v", c.field, err)
		}
		c.filter.Everyone = true
		if n, err := e.m.RevokeMatching(t.Context(), c.filter); n != 0 || err == nil {
			t.Errorf("%s: revoked %d, %v", c.field, n, err)
		}
	}
	if got := read(usersession.Filter{}); got != "new" {
		t.Errorf("%q are left", got)
	}
}

func (e *env) stats() usersession.Stats {
	e.Helper()
	s, err := e.m.Stats(e.Context())
	if err != nil {
		e.Fatalf("Stats: %v", err)
	}
	return s
}

func statsCount(t *testing.T, b backend) {
	e := b.start(t)
	if got := e.stats(); got != (usersession.Stats{}) {
		t.Errorf("of no sessions: %+v", got)
	}
	for range 3 {
		e.browser().login("alice")
	}
	e.browser().login("bob")
	e.browser().login("carol")
	want := usersession.Stats{Active: 5, Users: 3, MedianPerUser: 1, P99PerUser: 3, MaxPerUser: 3}
	if got := e.stats(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := e.m.RevokeAllSessions(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	want = usersession.Stats{Active: 2, Users: 2, MedianPerUser: 1, P99PerUser: 1, MaxPerUser: 1, Ended: 3}
	if got := e.stats(); got != want {
		t.Errorf("after a revocation: got %+v, want %+v", got, want)
	}
}

func statsOverdue(t *testing.T, b backend) {
	e := b.start(t)
	expired, revoked := e.browser().login("alice"), e.browser().login("bob")
	idle := e.browser().login("carol")
	if err := e.m.RevokeSession(t.Context(), "bob", revoked); err != nil {
		t.Fatal(err)
	}
	e.shift(expired, "expires_at", -30*time.Hour)
	e.shift(revoked, "purge_at", -time.Hour)
	e.shift(idle, "last_seen_at", -2*time.Hour) // no work of the janitor before its deadline
	got := e.stats()
	if got.Active != 0 || got.Ended != 1 || got.Overdue != 2 || got.Pending != 0 {
		t.Errorf("got %+v", got)
	}
	if got.OverdueFor < 6*time.Hour || got.OverdueFor > 7*time.Hour {
		t.Errorf("the first has waited for %v, want 6h", got.OverdueFor)
	}
	if e.prune(); e.stats().Overdue != 0 {
		t.Errorf("after Prune: %+v", e.stats())
	}
}
