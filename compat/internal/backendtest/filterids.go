package backendtest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

var filterIDsBehaviours = []behaviour{
	{"filter: by ID, for reading and for revoking", filterIDs},
	{"filter: users and their sessions", filterUsers},
}

func filterIDs(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	ids := []string{laptop.login("alice"), e.browser().login("alice"), e.browser().login("alice"), e.browser().login("bob"), e.browser().login("carol")}
	read := func(f usersession.Filter) string {
		var got []string
		for s, err := range e.m.ListMatching(t.Context(), f, usersession.Page{}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(slices.Index(ids, s.ID)))
		}
		if n, err := e.m.CountMatching(t.Context(), f, 0); n != len(got) || err != nil {
			t.Errorf("counted %d, %v; want %d", n, err, len(got))
		}
		slices.Sort(got)
		return strings.Join(got, " ")
	}
	for _, c := range []struct {
		filter usersession.Filter
		want   string
	}{
		{usersession.Filter{IDs: ids[:1]}, "0"},
		{usersession.Filter{IDs: []string{ids[1], ids[3], "AAAAAAAAAAAAAAAAAAAAAA"}}, "1 3"},
		{usersession.Filter{IDs: ids, UserIDs: []string{"alice"}}, "0 1 2"},
		{usersession.Filter{IDs: ids[:1], UserIDs: []string{"bob"}}, ""},
		{usersession.Filter{IDs: ids, ExceptIDs: ids[1:]}, "0"},
		{usersession.Filter{UserIDs: []string{"alice"}, ExceptIDs: ids[1:2]}, "0 2"},
		{usersession.Filter{ExceptIDs: []string{}}, "0 1 2 3 4"},
		{usersession.Filter{ExceptIDs: ids}, ""},
	} {
		if got := read(c.filter); got != c.want {
			t.Errorf("%+v: read %q, want %q", c.filter, got, c.want)
		}
	}
	for _, f := range []usersession.Filter{{IDs: []string{}}, {IDs: []string{ids[0], "x"}}, {ExceptIDs: []string{""}}, {ExceptIDs: []string{"%"}}} {
		_, err := e.m.CountMatching(t.Context(), f, 0)
		if _, rerr := e.m.RevokeMatching(t.Context(), f); err == nil || rerr == nil || !strings.Contains(err.Error(), "Filter.") {
			t.Errorf("%+v: %v, %v", f, err, rerr)
		}
	}
	_, err := e.m.RevokeMatching(t.Context(), usersession.Filter{ExceptIDs: ids[:1]})
	e.want(err, usersession.ErrEmptyFilter)

	// All of a user but a given one, in a transaction too.
	n, err := e.m.RevokeMatching(t.Context(), usersession.Filter{UserIDs: []string{"alice"}, ExceptIDs: ids[1:2]})
	if n != 2 || err != nil {
		t.Errorf("revoked %d, %v; want 2", n, err)
	}
	laptop.wantUser("")
	tx, err := e.db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := e.m.RevokeMatchingTx(t.Context(), tx, usersession.Filter{IDs: ids[3:4]})
	e.ok(err)
	e.ok(tx.Commit())
	e.ok(rev.Finish(t.Context()))
	// By its ID alone. Again it is nobody's.
	for _, want := range []int{1, 0} {
		n, err := e.m.RevokeMatching(usersession.ContextWithReason(t.Context(), "a log"), usersession.Filter{IDs: ids[4:]})
		if n != want || err != nil {
			t.Errorf("revoked %d, %v; want %d", n, err, want)
		}
	}
	e.wantReason(ids[4], "a log")
	if got := read(usersession.Filter{}); got != "1" {
		t.Errorf("left %q, want 1", got)
	}
}

func filterUsers(t *testing.T, b backend) {
	e := b.start(t)
	want := map[string]int{"alice": 3, "bob": 1, "Zoë": 2, "u": 1, "U": 1, "u ": 1}
	for user, n := range want {
		for i := range n {
			id := e.browser().login(user, usersession.WithIP(netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", 1+i*100))))
			if i == 2 {
				e.shift(id, "last_seen_at", -30*time.Minute)
			}
		}
	}
	over := e.browser().login("carol") // not logged in any more
	e.shift(over, "last_seen_at", -2*time.Hour)
	e.browser().login("dave")
	e.ok(e.m.RevokeSession(t.Context(), "dave", e.list("dave")[0].ID))

	read := func(f usersession.Filter, size int) map[string]int {
		got, after := map[string]int{}, ""
		for {
			n := 0
			for u, err := range e.m.ListUsers(t.Context(), f, usersession.Page{After: after, Limit: size}) {
				if err != nil {
					t.Fatal(err)
				}
				if _, twice := got[u.UserID]; twice {
					t.Fatalf("%q twice", u.UserID)
				}
				got[u.UserID], after = u.Sessions, u.UserID
				n++
			}
			if size == 0 || n < size {
				return got
			}
		}
	}
	for _, size := range []int{0, 1, 2, 6, 7} {
		for name, c := range map[string]struct {
			f    usersession.Filter
			want map[string]int
		}{
			"now":             {usersession.Filter{}, want},
			"lately":          {usersession.Filter{SeenAfter: time.Now().Add(-5 * time.Minute)}, map[string]int{"alice": 2, "bob": 1, "Zoë": 2, "u": 1, "U": 1, "u ": 1}},
			"a network":       {usersession.Filter{IP: netip.MustParsePrefix("192.0.2.0/24")}, want},
			"half a network":  {usersession.Filter{IP: netip.MustParsePrefix("192.0.2.96/27")}, map[string]int{"alice": 1, "Zoë": 1}},
			"of some":         {usersession.Filter{UserIDs: []string{"alice", "u ", "carol"}}, map[string]int{"alice": 3, "u ": 1}},
			"some, in a half": {usersession.Filter{UserIDs: []string{"alice", "u"}, IP: netip.MustParsePrefix("192.0.2.0/25")}, map[string]int{"alice": 2, "u": 1}},
			"who logged out":  {usersession.Filter{Ended: true}, map[string]int{"dave": 1}},
			"nobody":          {usersession.Filter{UserIDs: []string{"mallory"}}, map[string]int{}},
		} {
			if got := read(c.f, size); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%s, in pages of %d: %v, want %v", name, size, got, c.want)
			}
		}
	}
	for page, field := range map[usersession.Page]string{{Limit: -1}: "Page.Limit", {After: strings.Repeat("x", 256)}: "Page.After"} {
		for _, err := range e.m.ListUsers(t.Context(), usersession.Filter{}, page) {
			if err == nil || !strings.Contains(err.Error(), field) {
				t.Errorf("%+v: %v", page, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range e.m.ListUsers(ctx, usersession.Filter{}, usersession.Page{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want an error", err)
		}
	}
}
