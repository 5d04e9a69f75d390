package backendtest

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

var operateBehaviours = []behaviour{
	{"filter: by when they ended", filterEndedAfter},
	{"stats: what there is", statsCount},
	{"stats: what waits", statsOverdue},
}

func filterEndedAfter(t *testing.T, b backend) {
	e := b.start(t)
	ids := []string{e.browser().login("alice"), e.browser().login("alice"), e.browser().login("alice")}
	for i, ago := range []time.Duration{-10 * time.Hour, -time.Hour, 0} {
		e.ok(e.m.RevokeSession(t.Context(), "alice", ids[i]))
		e.shift(ids[i], "ended_at", ago)
	}
	for after, want := range map[time.Duration]int{30 * time.Minute: 1, 2 * time.Hour: 2, 20 * time.Hour: 3} {
		f := usersession.Filter{Ended: true, EndedAfter: time.Now().Add(-after)}
		if n, err := e.m.CountMatching(t.Context(), f, 0); n != want || err != nil {
			t.Errorf("ended in the last %v: %d, %v; want %d", after, n, err, want)
		}
	}
	f := usersession.Filter{EndedAfter: time.Now()} // of sessions that are live
	if _, err := e.m.CountMatching(t.Context(), f, 0); err == nil || !strings.Contains(err.Error(), "Filter.EndedAfter") {
		t.Errorf("it is accepted for live sessions: %v", err)
	}
	f.Everyone = true
	if n, err := e.m.RevokeMatching(t.Context(), f); n != 0 || err == nil {
		t.Errorf("revoked %d, %v", n, err)
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
