package index

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

func TestSelection(t *testing.T) {
	at := time.UnixMicro(7)
	prefix := netip.MustParsePrefix
	type selections map[sqldb.Dialect]string
	all := func(cond string) selections {
		return selections{sqldb.Postgres: cond, sqldb.SQLite: cond, sqldb.MariaDB: cond}
	}
	for _, tc := range []struct {
		name   string
		narrow func(*Selection)
		cond   selections
		args   []any
		exact  bool
		common bool
	}{
		{"everything", func(*Selection) {}, all(""), nil, true, true},
		{"one user", func(s *Selection) { s.Users([]string{"7"}) }, all("user_id = ?"), []any{int64(7)}, true, true},
		{"users", func(s *Selection) { s.Users([]string{"7", "8"}) }, all("user_id IN @list"), []any{sqldb.List{int64(7), int64(8)}}, true, false},
		{"times", func(s *Selection) { s.Created(at, time.Time{}); s.Seen(time.Time{}, at) },
			all("created_at < @at(?) AND last_seen_at > @at(?)"), []any{int64(7), int64(7)}, true, false},
		{"no times", func(s *Selection) { s.Created(time.Time{}, time.Time{}) }, all(""), nil, true, true},
		{"all but one", func(s *Selection) { s.Users([]string{"7"}); s.Except("id") }, all("user_id = ? AND id <> ?"), []any{int64(7), "id"}, true, true},
		{"an address", func(s *Selection) { s.IP(prefix("::ffff:192.0.2.1/128")) }, all("ip = ?"), []any{"192.0.2.1"}, true, false},
		{"a network at a dot", func(s *Selection) { s.IP(prefix("192.0.2.9/24")) }, all("ip LIKE ?"), []any{"192.0.2.%"}, true, false},
		{"a network between dots", func(s *Selection) { s.IP(prefix("192.0.2.9/20")) }, all("ip LIKE ?"), []any{"192.0.%"}, false, false},
		{"every IPv4 address", func(s *Selection) { s.IP(prefix("0.0.0.0/0")) }, all("ip <> ''"), nil, false, false},
		{"a network at a colon", func(s *Selection) { s.IP(prefix("2001:db8::/32")) }, all("ip LIKE ?"), []any{"2001:db8:%"}, true, false},
		{"a network whose text may be shortened", func(s *Selection) { s.IP(prefix("2001:0:1::/48")) }, all("ip LIKE ?"), []any{"2001:%"}, false, false},
		{"a client", func(s *Selection) { s.UserAgent("FireFox_9%") }, selections{
			sqldb.Postgres: userAgentSQL[sqldb.Postgres], sqldb.SQLite: userAgentSQL[sqldb.SQLite], sqldb.MariaDB: userAgentSQL[sqldb.MariaDB],
		}, nil, true, false},
		{"a client that no column has", func(s *Selection) { s.UserAgent("a\x00b") }, all("1 = 0"), nil, true, false},
		{"a pair that no column has", func(s *Selection) { s.Meta(map[string]string{"a": "\xff"}) }, all("1 = 0"), nil, true, false},
	} {
		for d, cond := range tc.cond {
			x := &Index{c: Config{Dialect: d, UserIDType: Bigint}}
			s := x.Select()
			tc.narrow(s)
			if s.cond != cond || s.Exact() != tc.exact || s.common != tc.common {
				t.Errorf("%s on %s: %q, exact %v, common %v; want %q, %v, %v", tc.name, d, s.cond, s.exact, s.common, cond, tc.exact, tc.common)
			}
			if tc.args != nil && !reflect.DeepEqual(s.args, tc.args) {
				t.Errorf("%s on %s: the arguments are %#v, want %#v", tc.name, d, s.args, tc.args)
			}
		}
	}
}

// What databases compare is the text that Filter compares, as far as they can.
// What SQL selects too much, the program leaves out, alike on every database.
func TestMatches(t *testing.T) {
	row := Row{IP: "192.0.17.9", UserAgent: "Mozilla „Ä“ FireFox/9", Meta: `{"a":"1","b":"2"}`}
	for _, tc := range []struct {
		name   string
		narrow func(*Selection)
		want   bool
	}{
		{"everything", func(*Selection) {}, true},
		{"its network", func(s *Selection) { s.IP(netip.MustParsePrefix("192.0.16.1/20")) }, true},
		{"its network, mapped", func(s *Selection) { s.IP(netip.MustParsePrefix("::ffff:192.0.16.1/116")) }, true},
		{"the next network", func(s *Selection) { s.IP(netip.MustParsePrefix("192.0.32.0/20")) }, false},
		{"a part of its User-Agent", func(s *Selection) { s.UserAgent("fIREfOX") }, true},
		{"its letters outside ASCII", func(s *Selection) { s.UserAgent("Ä“ f") }, true},
		{"in another case", func(s *Selection) { s.UserAgent("ä") }, false},
		{"a pair", func(s *Selection) { s.Meta(map[string]string{"a": "1"}) }, true},
		{"a pair too many", func(s *Selection) { s.Meta(map[string]string{"a": "1", "c": ""}) }, false},
		{"until a time", func(s *Selection) { s.IP(netip.MustParsePrefix("192.0.32.0/20")); *s = *s.Until(1) }, false},
	} {
		s := (&Index{c: Config{Dialect: sqldb.SQLite}}).Select()
		if tc.narrow(s); s.Matches(row) != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, !tc.want, tc.want)
		}
	}
	s := (&Index{c: Config{Dialect: sqldb.SQLite}}).Select()
	if s.IP(netip.MustParsePrefix("0.0.0.0/0")); s.Matches(Row{}) {
		t.Error("a row without an address is in a network")
	}
}

func TestSelectionOfUserAgents(t *testing.T) {
	for _, tc := range []struct {
		d     sqldb.Dialect
		part  string
		arg   string
		exact bool
	}{
		{sqldb.Postgres, `50%_\ OFF`, `%50\%\_\\ off%`, true},
		{sqldb.SQLite, `50%_\ OFF`, `50%_\ off`, true},
		{sqldb.MariaDB, "AB", "ab", true},
		{sqldb.MariaDB, "A?B", "a?b", false},
		{sqldb.MariaDB, "AÄBc", "bc", false},
		{sqldb.MariaDB, "Ä", "", false},
		{sqldb.Postgres, "ÄB", "%Äb%", true},
	} {
		s := (&Index{c: Config{Dialect: tc.d}}).Select()
		s.UserAgent(tc.part)
		if len(s.args) != 1 || fmt.Sprint(s.args[0]) != tc.arg || s.exact != tc.exact {
			t.Errorf("%s %q: %q, exact %v; want %q, %v", tc.d, tc.part, s.args, s.exact, tc.arg, tc.exact)
		}
	}
}

// FuzzIP: a network selects every address in it, whatever the condition looks like.
func FuzzIP(f *testing.F) {
	f.Add([]byte{192, 0, 2, 1}, 24, []byte{192, 0, 2, 200})
	f.Add([]byte{10, 0, 0, 0}, 1, []byte{100, 0, 0, 0})
	f.Add([]byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 32, []byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{0x20, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 48, []byte{0x20, 1, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{0x20, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 48, []byte{0x20, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, network []byte, bits int, address []byte) {
		n, ok1 := netip.AddrFromSlice(network)
		a, ok2 := netip.AddrFromSlice(address)
		if !ok1 || !ok2 {
			return
		}
		n, a = n.Unmap(), a.Unmap()
		p, err := n.Prefix(bits)
		if err != nil {
			return
		}
		s := (&Index{}).Select()
		s.IP(p)
		kept := a.String()
		var selected bool
		switch s.cond {
		case "ip = ?":
			selected = kept == s.args[0]
		case "ip LIKE ?":
			selected = strings.HasPrefix(kept, strings.TrimSuffix(s.args[0].(string), "%"))
		case "ip <> ''":
			selected = true
		default:
			t.Fatalf("the condition is %q", s.cond)
		}
		if p.Contains(a) && !selected {
			t.Fatalf("%v is in %v, and %q %q does not select it", a, p, s.cond, s.args)
		}
		if s.exact && selected != p.Contains(a) {
			t.Fatalf("%v is selected with %v, which is said to be exact: %q %q", a, p, s.cond, s.args)
		}
	})
}

func TestQueriesOfPages(t *testing.T) {
	s := (&Index{c: Config{Dialect: sqldb.Postgres}}).Select()
	s.Users([]string{"u"})
	text, args := s.page(Live, "after", 10)
	if want := "FROM @index\nWHERE user_id = ? AND @live AND id > ?\nORDER BY id\nLIMIT 10"; !strings.HasSuffix(text, want) || !reflect.DeepEqual(args, []any{"u", "after"}) {
		t.Errorf("%s %q, want %s", text, args, want)
	}
	if again, _ := s.page(Ended, "", 10); !strings.Contains(again, "WHERE user_id = ? AND ended_at IS NOT NULL\nORDER") {
		t.Errorf("%s", again)
	}
	if len(s.args) != 1 {
		t.Errorf("a page has changed the selection: %q", s.args)
	}
}

// Callers choose how long a page is, so that only some of them are kept.
func TestKeptPages(t *testing.T) {
	x := &Index{}
	for i := range keptPages {
		if !x.keeps(strings.Repeat("x", i)) {
			t.Fatalf("form %d is not kept", i)
		}
	}
	if x.keeps("another") || !x.keeps("") || x.keeps("another") {
		t.Error("more forms than the first are kept, or the first are forgotten")
	}
}
