package backendtest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

var filterBehaviours = []behaviour{
	{"filter: every field, for reading and for revoking", filterFields},
	{"filter: pages", filterPages},
}

// people are sessions that differ in what filters see.
func (e *env) people() map[string]string {
	e.Helper()
	ids := map[string]string{}
	for _, p := range []struct {
		name, user, ip, agent string
		created, seen         time.Duration // ago
		meta                  map[string]string
	}{
		{"old", "alice", "192.0.2.7", firefox, 5 * time.Hour, 30 * time.Minute, map[string]string{"a": "1"}},
		{"new", "alice", "192.0.2.200", "curl/8.0", 0, 0, map[string]string{"a": "1", "b": "2"}},
		{"v6", "bob", "2001:db8::1", "CURL/9.0 50%_", 5 * time.Hour, 0, map[string]string{"a": "2"}},
		{"none", "carol", "", "", 0, 30 * time.Minute, nil},
	} {
		var ip netip.Addr
		if p.ip != "" {
			ip = netip.MustParseAddr(p.ip)
		}
		id := e.browser().login(p.user, usersession.WithIP(ip), usersession.WithUserAgent(p.agent), usersession.WithMeta(p.meta))
		e.shift(id, "created_at", -p.created)
		e.shift(id, "last_seen_at", -p.seen)
		ids[id] = p.name
	}
	return ids
}

func filterFields(t *testing.T, b backend) {
	hours := func(h float64) time.Time { return time.Now().Add(-time.Duration(h * float64(time.Hour))) }
	for _, c := range []struct {
		name   string
		filter usersession.Filter
		want   string
	}{
		{"everyone", usersession.Filter{Everyone: true}, "new none old v6"},
		{"one user", usersession.Filter{UserIDs: []string{"alice"}}, "new old"},
		{"two users", usersession.Filter{UserIDs: []string{"bob", "carol"}}, "none v6"},
		{"nobody", usersession.Filter{UserIDs: []string{"mallory"}}, ""},
		{"created before", usersession.Filter{CreatedBefore: hours(1)}, "old v6"},
		{"created after", usersession.Filter{CreatedAfter: hours(1)}, "new none"},
		{"seen before", usersession.Filter{SeenBefore: hours(0.1)}, "none old"},
		{"seen after", usersession.Filter{SeenAfter: hours(0.1)}, "new v6"},
		{"an IPv4 network", usersession.Filter{IP: netip.MustParsePrefix("192.0.2.0/24")}, "new old"},
		{"a smaller one", usersession.Filter{IP: netip.MustParsePrefix("192.0.2.0/25")}, "old"},
		{"an address", usersession.Filter{IP: netip.MustParsePrefix("192.0.2.7/32")}, "old"},
		{"unmasked", usersession.Filter{IP: netip.MustParsePrefix("192.0.2.99/24")}, "new old"},
		{"an IPv6 network", usersession.Filter{IP: netip.MustParsePrefix("2001:db8::/32")}, "v6"},
		{"every IPv4 address", usersession.Filter{IP: netip.MustParsePrefix("0.0.0.0/0")}, "new old"},
		{"user agent", usersession.Filter{UserAgent: "curl"}, "new v6"},
		{"user agent, literally", usersession.Filter{UserAgent: "50%_"}, "v6"},
		{"user agent, no pattern", usersession.Filter{UserAgent: "c_rl"}, ""},
		{"one pair", usersession.Filter{Meta: map[string]string{"a": "1"}}, "new old"},
		{"two pairs", usersession.Filter{Meta: map[string]string{"a": "1", "b": "2"}}, "new"},
		{"a missing pair", usersession.Filter{Meta: map[string]string{"z": ""}}, ""},
		{"all together", usersession.Filter{
			UserIDs: []string{"alice", "bob"}, CreatedAfter: hours(1), SeenAfter: hours(0.1),
			IP: netip.MustParsePrefix("192.0.2.0/24"), UserAgent: "CURL", Meta: map[string]string{"a": "1"},
		}, "new"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := b.start(t)
			names := e.people()
			read := func(f usersession.Filter) string {
				var got []string
				for s, err := range e.m.Sessions(t.Context(), f) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, names[s.ID])
				}
				slices.Sort(got)
				return strings.Join(got, " ")
			}
			if got := read(c.filter); got != c.want {
				t.Errorf("read %q, want %q", got, c.want)
			}
			want := len(strings.Fields(c.want))
			if n, err := e.m.RevokeMatching(t.Context(), c.filter); n != want || err != nil {
				t.Errorf("revoked %d, %v; want %d", n, err, want)
			}
			if got := read(usersession.Filter{Ended: true}); got != c.want {
				t.Errorf("ended %q, want %q", got, c.want)
			}
			if got := len(strings.Fields(read(usersession.Filter{}))); got != len(names)-want {
				t.Errorf("%d sessions left, want %d", got, len(names)-want)
			}
		})
	}
}

func filterPages(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.WriteTimeout = patience })
	const total = 1203 // more than two pages, and not a multiple
	var template string
	laptop := e.browser()
	id := laptop.login("alice")
	for _, column := range []string{"user_id", "created_at", "authenticated_at", "last_seen_at", "expires_at", "ip", "user_agent", "meta"} {
		template += ", " + column
	}
	copyOf := func(n int) string {
		suffix := fmt.Sprintf("%05d", n)
		return "INSERT INTO user_sessions (id, session_key" + template + ") SELECT '" + strings.Repeat("A", 17) + suffix + "', '" +
			strings.Repeat("A", 38) + suffix + "'" + template + " FROM user_sessions WHERE id = ?"
	}
	tx, err := e.db.Beginx()
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < total; i++ {
		if _, err := tx.ExecContext(t.Context(), e.db.Rebind(copyOf(i)), id); err != nil {
			t.Fatal(err)
		}
	}
	e.ok(tx.Commit())

	seen, last := 0, ""
	for s, err := range e.m.Sessions(t.Context(), usersession.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if s.ID <= last {
			t.Fatalf("%q after %q", s.ID, last)
		}
		last = s.ID
		seen++
	}
	if seen != total {
		t.Errorf("%d sessions, want %d", seen, total)
	}
	middle := ""
	for s := range e.m.Sessions(t.Context(), usersession.Filter{}) {
		middle = s.ID
		if seen--; seen == 600 {
			break // nothing stays open
		}
	}
	rest := 0
	for s, err := range e.m.Sessions(t.Context(), usersession.Filter{After: middle}) {
		if err != nil || s.ID <= middle {
			t.Fatalf("%q after %q, %v", s.ID, middle, err)
		}
		rest++
	}
	if rest != 600 {
		t.Errorf("%d sessions after the middle one, want 600", rest)
	}
	if got := e.db.Stats().InUse; got != 0 {
		t.Errorf("%d connections in use after a loop that was left", got)
	}
	laptop.do(func(ctx context.Context) {
		n, err := e.m.RevokeMatching(ctx, usersession.Filter{UserIDs: []string{"alice"}, ExceptCurrent: true})
		if n != total-1 || err != nil {
			t.Errorf("revoked %d, %v; want %d", n, err, total-1)
		}
	})
	e.wantSessions("alice", 1)
	laptop.wantUser("alice")
	if n, err := e.m.RevokeAllSessions(t.Context(), "alice"); n != 1 || err != nil {
		t.Errorf("revoked %d, %v; want 1", n, err)
	}
}
