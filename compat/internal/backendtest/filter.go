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
	{"filter: SQL and the program agree", filterOracle},
	{"filter: rows that somebody edited", filterEdited},
	{"filter: what cannot be meant", filterRefused},
	{"filter: pages", filterPages},
	{"filter: limits and counts", filterLimits},
	{"ended: one user's, the last to end first", endedList},
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
				for s, err := range e.m.ListMatching(t.Context(), f, usersession.Page{}) {
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
			if n, err := e.m.CountMatching(t.Context(), c.filter, 0); n != want || err != nil {
				t.Errorf("counted %d, %v; want %d", n, err, want)
			}
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
	e := b.start(t)
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
	for s, err := range e.m.ListMatching(t.Context(), usersession.Filter{}, usersession.Page{}) {
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
	for s := range e.m.ListMatching(t.Context(), usersession.Filter{}, usersession.Page{}) {
		middle = s.ID
		if seen--; seen == 600 {
			break // nothing stays open
		}
	}
	rest := 0
	for s, err := range e.m.ListMatching(t.Context(), usersession.Filter{}, usersession.Page{After: middle}) {
		if err != nil || s.ID <= middle {
			t.Fatalf("%q after %q, %v", s.ID, middle, err)
		}
		rest++
	}
	if rest != 600 {
		t.Errorf("%d sessions after the middle one, want 600", rest)
	}
	// Rows that the loop has read are deleted as it goes on, the last of a page among
	// them, and a hundred that it has not read yet.
	deleteRows := func(from, to string) {
		t.Helper()
		if _, err := e.db.ExecContext(t.Context(), e.db.Rebind("DELETE FROM user_sessions WHERE id >= ? AND id < ?"), from, to); err != nil {
			t.Fatal(err)
		}
	}
	hundred := strings.Repeat("A", 17) + "006"
	left, deleted := 0, 100
	for s, err := range e.m.ListMatching(t.Context(), usersession.Filter{}, usersession.Page{}) {
		if err != nil || strings.HasPrefix(s.ID, hundred) {
			t.Fatalf("session %d is %q, %v", left, s.ID, err)
		}
		if left == 0 {
			deleteRows(hundred, strings.Repeat("A", 17)+"007")
		}
		if left++; left%250 == 0 && s.ID != id {
			deleteRows(s.ID, s.ID+"A")
			deleted++
		}
	}
	if left != total-100 {
		t.Errorf("%d sessions while rows are deleted, want %d", left, total-100)
	}
	// The reader of lib/pq opens connections in the background.
	eventually(t, "no connection in use after a loop that was left", func() bool { return e.db.Stats().InUse == 0 })
	laptop.do(func(ctx context.Context) {
		n, err := e.m.RevokeMatching(ctx, usersession.Filter{UserIDs: []string{"alice"}, ExceptCurrent: true})
		if want := total - 1 - deleted; n != want || err != nil {
			t.Errorf("revoked %d, %v; want %d", n, err, want)
		}
	})
	e.wantSessions("alice", 1)
	laptop.wantUser("alice")
	if n, err := e.m.RevokeAllSessions(t.Context(), "alice"); n != 1 || err != nil {
		t.Errorf("revoked %d, %v; want 1", n, err)
	}
}

// oracle is what a Filter promises, written another way.
func oracle(f usersession.Filter, s usersession.UserSession) bool {
	ascii := func(s string) string {
		b := []byte(s)
		for i, c := range b {
			if c >= 'A' && c <= 'Z' {
				b[i] = c | 0x20
			}
		}
		return string(b)
	}
	if f.IP.IsValid() && (!s.IP.IsValid() || !f.IP.Masked().Contains(s.IP)) {
		return false
	}
	for k, v := range f.Meta {
		if got, ok := s.Meta[k]; !ok || got != v {
			return false
		}
	}
	return strings.Contains(ascii(s.UserAgent), ascii(f.UserAgent))
}

// filterOracle compares what each database selects with what the filter says,
// for texts and networks that databases see differently.
func filterOracle(t *testing.T, b backend) {
	e := b.start(t)
	texts := []string{
		"Mozilla/5.0 (X11; Linux)", "MOZILLA KIT", "mo\u212aia \u0130", "stra\u00dfe STRASSE \u00c9t\u00c9", "50%_\\'\"?", "a ? b", "日本語 ブラウザ",
		"\U0001f98a fox", "a\tb\u00a0c", "x", "X ", " x",
	}
	addrs := []string{
		"192.0.2.7", "192.0.2.77", "192.0.20.7", "192.0.128.1", "10.0.0.1", "1.9.2.0", "100.1.1.1",
		"2001:db8::1", "2001:db8:0:1::5", "2001:db8:1::", "2001:db80::1", "2001:0:1::1", "::1", "fe80::1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:0:6",
	}
	metas := []map[string]string{
		{"a": "1"}, {"a": "1", "b": "2"}, {"A": "1"}, {"a": "1 "}, {"x\"a": "1"}, {"x": `,"a":"1"`}, {"a": "<&>\u2028é"}, {"a": "e\u0301"}, {"a.b": "$"}, {"a": ""},
	}
	for i := range max(len(texts), len(addrs), len(metas)) {
		e.browser().login(fmt.Sprint("user", i), usersession.WithIP(netip.MustParseAddr(addrs[i%len(addrs)])),
			usersession.WithUserAgent(texts[i%len(texts)]), usersession.WithMeta(metas[i%len(metas)]))
	}
	e.browser().login("nothing", usersession.WithIP(netip.Addr{}), usersession.WithUserAgent(""))
	var all []usersession.UserSession
	for s, err := range e.m.ListMatching(t.Context(), usersession.Filter{}, usersession.Page{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	var filters []usersession.Filter
	for _, text := range append(texts, "mozilla", "K", "k", "\u212a", "i", "\u0130", "é", "É", "?", "%", "_", "\\", "'", " x ", "\x00", "\xff", "本", "\U0001f98a") {
		filters = append(filters, usersession.Filter{UserAgent: text})
	}
	for _, addr := range addrs {
		ip := netip.MustParseAddr(addr)
		for bits := 0; bits <= ip.BitLen(); bits++ {
			if bits%8 < 2 || bits > 100 {
				filters = append(filters, usersession.Filter{IP: netip.PrefixFrom(ip, bits)})
			}
		}
	}
	for _, meta := range append(metas, map[string]string{"\x00": ""}, map[string]string{"a": "\xff"}, map[string]string{"a": "é"}, map[string]string{"b": "2", "a": "1"}) {
		filters = append(filters, usersession.Filter{Meta: meta})
	}
	filters = append(filters, usersession.Filter{IP: netip.MustParsePrefix("192.0.2.0/23"), UserAgent: "mozilla", Meta: map[string]string{"a": "1"}})
	for _, f := range filters {
		var want, got []string
		for _, s := range all {
			if oracle(f, s) {
				want = append(want, s.UserID)
			}
		}
		for s, err := range e.m.ListMatching(t.Context(), f, usersession.Page{}) {
			if err != nil {
				t.Fatalf("%+v: %v", f, err)
			}
			got = append(got, s.UserID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("IP %v, UserAgent %q, Meta %q: %q, want %q", f.IP, f.UserAgent, f.Meta, got, want)
		}
		if n, err := e.m.CountMatching(t.Context(), f, 0); n != len(want) || err != nil {
			t.Errorf("IP %v, UserAgent %q, Meta %q: counted %d, %v; want %d", f.IP, f.UserAgent, f.Meta, n, err, len(want))
		}
	}
}

// filterEdited: a row that was written by hand makes no filter fail.
func filterEdited(t *testing.T, b backend) {
	e := b.start(t)
	spaced, list, bad := e.browser().login("spaced"), e.browser().login("list"), e.browser().login("bad")
	for id, set := range map[string]string{
		spaced: `meta = '{ "b" : "2" , "a" : "1" }'`, list: `meta = '["a", "1"]'`, bad: `ip = 'nowhere', meta = '{"a": 1}'`,
	} {
		exec(t, e.db, "UPDATE user_sessions SET "+set+" WHERE id = '"+id+"'")
	}
	for _, c := range []struct {
		name   string
		filter usersession.Filter
		want   string
	}{
		{"a pair", usersession.Filter{Meta: map[string]string{"a": "1"}}, "spaced"},
		{"a network", usersession.Filter{IP: netip.MustParsePrefix("127.0.0.0/8")}, "list spaced"},
	} {
		var got []string
		for s, err := range e.m.ListMatching(t.Context(), c.filter, usersession.Page{}) {
			if err != nil {
				t.Fatal(c.name, err)
			}
			got = append(got, s.UserID)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func filterRefused(t *testing.T, b backend) {
	e := b.start(t)
	alice := e.browser()
	alice.login("alice")
	for name, f := range map[string]usersession.Filter{
		"no users":   {UserIDs: []string{}},
		"a network":  {IP: netip.PrefixFrom(netip.MustParseAddr("192.0.2.1"), 99)},
		"no user ID": {UserIDs: []string{"\xff"}},
	} {
		for _, err := range e.m.ListMatching(t.Context(), f, usersession.Page{}) {
			if err == nil {
				t.Errorf("%s: ListMatching takes it", name)
			}
		}
		if n, err := e.m.CountMatching(t.Context(), f, 0); n != 0 || err == nil {
			t.Errorf("%s: CountMatching answers %d, %v", name, n, err)
		}
	}
	for name, page := range map[string]usersession.Page{"a negative limit": {Limit: -1}, "no ID": {After: "\x00"}} {
		for _, err := range e.m.ListMatching(t.Context(), usersession.Filter{}, page) {
			if err == nil {
				t.Errorf("%s: ListMatching takes it", name)
			}
		}
	}
	if n, err := e.m.CountMatching(t.Context(), usersession.Filter{}, -1); n != 0 || err == nil {
		t.Errorf("a negative limit: CountMatching answers %d, %v", n, err)
	}
	alice.wantUser("alice")
	for _, limit := range []int{0, -1} {
		if list, err := e.m.ListEndedSessions(t.Context(), "alice", limit); list != nil || err == nil {
			t.Errorf("ListEndedSessions of %d: %v, %v", limit, list, err)
		}
	}
	_, err := e.m.ListEndedSessions(t.Context(), "", 1)
	e.want(err, usersession.ErrNoUserID)
}

func filterLimits(t *testing.T, b backend) {
	e := b.start(t)
	for i := range 9 {
		e.browser().login(fmt.Sprint("user", i%3), usersession.WithIP(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})))
	}
	var ids []string // in the database's order
	for s, err := range e.m.ListMatching(t.Context(), usersession.Filter{}, usersession.Page{}) {
		if ids = append(ids, s.ID); err != nil {
			t.Fatal(err)
		}
		if len(ids) == 9 {
			e.ok(e.m.RevokeSession(t.Context(), s.UserID, s.ID))
		}
	}
	for _, c := range []struct {
		name   string
		filter usersession.Filter
		page   usersession.Page
		want   int
	}{
		{"all", usersession.Filter{}, usersession.Page{}, 8},
		{"fewer", usersession.Filter{}, usersession.Page{Limit: 3}, 3},
		{"as many", usersession.Filter{}, usersession.Page{Limit: 8}, 8},
		{"more", usersession.Filter{}, usersession.Page{Limit: 600}, 8},
		{"ended", usersession.Filter{Ended: true}, usersession.Page{}, 1},
		{"after one", usersession.Filter{}, usersession.Page{After: ids[2]}, 5},
		{"after one, fewer", usersession.Filter{}, usersession.Page{After: ids[2], Limit: 2}, 2},
		{"what is read first", usersession.Filter{IP: netip.MustParsePrefix("192.0.2.0/29")}, usersession.Page{Limit: 4}, 4},
	} {
		n, last := 0, slices.Index(ids, c.page.After)
		for s, err := range e.m.ListMatching(t.Context(), c.filter, c.page) {
			at := slices.Index(ids, s.ID)
			if err != nil || at <= last {
				t.Fatalf("%s: session %d after %d, %v", c.name, at, last, err)
			}
			last = at
			n++
		}
		if n != c.want {
			t.Errorf("%s: read %d, want %d", c.name, n, c.want)
		}
		if c.page.After != "" {
			continue
		}
		if counted, err := e.m.CountMatching(t.Context(), c.filter, c.page.Limit); counted != c.want || err != nil {
			t.Errorf("%s: counted %d, %v; want %d", c.name, counted, err, c.want)
		}
	}
}

func endedList(t *testing.T, b backend) {
	e := b.start(t)
	var ids []string
	for range 4 {
		ids = append(ids, e.browser().login("alice"))
	}
	bob := e.browser().login("bob")
	e.ok(e.m.RevokeSession(t.Context(), "bob", bob))
	for i, id := range []string{ids[2], ids[0], ids[3]} {
		e.ok(e.m.RevokeSession(usersession.ContextWithReason(t.Context(), "lost"), "alice", id))
		e.shift(id, "ended_at", -time.Duration(i)*time.Minute)
	}
	for limit, want := range map[int][]string{9: {ids[2], ids[0], ids[3]}, 2: {ids[2], ids[0]}} {
		list, err := e.m.ListEndedSessions(t.Context(), "alice", limit)
		e.ok(err)
		var got []string
		for _, s := range list {
			got = append(got, s.ID)
			if s.EndedAt.IsZero() || s.Reason != "lost" || s.Current {
				t.Errorf("%+v", s)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
