package sessionui_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-296ca7ab/usersession/sessionui"
)

func TestTimesInWords(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		ago  time.Duration
		want string
	}{
		{0, "just now"}, {59 * time.Second, "just now"}, {-20 * time.Second, "just now"},
		{time.Minute, "1 minute ago"}, {119 * time.Second, "1 minute ago"}, {59*time.Minute + 59*time.Second, "59 minutes ago"},
		{time.Hour, "1 hour ago"}, {23*time.Hour + 59*time.Minute, "23 hours ago"},
		{24 * time.Hour, "1 day ago"}, {29 * 24 * time.Hour, "29 days ago"}, {30 * 24 * time.Hour, "on 2026-02-08"},
		{-40 * time.Second, "in 1 minute"}, {-10 * time.Minute, "in 10 minutes"}, {-time.Hour, "in 1 hour"}, {-48 * time.Hour, "in 2 days"},
	} {
		if got := sessionui.Words(now, now.Add(-tc.ago)); got != tc.want {
			t.Errorf("%v ago: %q, want %q", tc.ago, got, tc.want)
		}
	}
	if got := sessionui.Words(now, time.Time{}); got != "" {
		t.Errorf("no time: %q", got)
	}
}

func TestCleanAndMark(t *testing.T) {
	for _, tc := range []struct{ in, clean, mark string }{
		{"Firefox on Linux", "Firefox on Linux", "Firefox on Linux"},
		{"  a \t\n b  ", "a b", "  a \uFFFD\uFFFD b  "},
		{"a\u202eb\u2066c", "abc", "a\uFFFDb\uFFFDc"},
		{"\x1b[31mred", "[31mred", "\uFFFD[31mred"},
		{"a\xffb", "ab", "a\uFFFDb"},
		{"Ünïcödé 日本 العربية", "Ünïcödé 日本 العربية", "Ünïcödé 日本 العربية"},
		{"0123456789abcdef", "0123456789…", "0123456789…"},
		{"e\u0301\u0301\u0301\u0301", "e\u0301\u0301", "e\u0301\u0301\uFFFD\uFFFD"},
	} {
		limit := 10
		if len(tc.in) != 16 || tc.in[0] != '0' {
			limit = 100
		}
		if got := sessionui.Clean(tc.in, limit); got != tc.clean {
			t.Errorf("Clean(%q) = %q, want %q", tc.in, got, tc.clean)
		}
		if got := sessionui.Mark(tc.in, limit); got != tc.mark {
			t.Errorf("Mark(%q) = %q, want %q", tc.in, got, tc.mark)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("Mozilla/5.0 \u202e\x1b[2J<script>")
	f.Add("a\u0301\u0301\u0301\u0301\u200d\u2028 \xff")
	f.Fuzz(func(t *testing.T, s string) {
		for name, got := range map[string]string{"Clean": sessionui.Clean(s, 50), "Mark": sessionui.Mark(s, 50)} {
			if !utf8.ValidString(got) {
				t.Errorf("%s(%q) is not UTF-8", name, s)
			}
			if n := utf8.RuneCountInString(got); n > 101 { // each with a space before it, and the dots
				t.Errorf("%s(%q) has %d characters", name, s, n)
			}
			for _, r := range got {
				if unicode.Is(unicode.C, r) || r == '\u2028' || r == '\u2029' {
					t.Errorf("%s(%q) leaves %U", name, s, r)
				}
			}
		}
	})
}

func TestReturnTo(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"/me/devices/?a=b", "/me/devices/?a=b"},
		{"", "/"}, {"me", "/"}, {"//evil.example", "/"}, {`/\evil.example`, "/"}, {`\\evil.example`, "/"},
		{"https://evil.example/", "/"}, {"javascript:alert(1)", "/"}, {"/\t/evil.example", "/"}, {"/\n/evil.example", "/"},
		{" /x", "/"}, {"/x\r\nSet-Cookie: a=b", "/"}, {"/a\\b", "/"}, {"/ok//twice", "/ok//twice"},
	} {
		r, err := http.NewRequest("GET", "/?return_to="+url.QueryEscape(tc.in), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := sessionui.ReturnTo(r, "/"); got != tc.want {
			t.Errorf("ReturnTo(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func FuzzReturnTo(f *testing.F) {
	for _, s := range []string{"/a?b#c", "//evil", `/\evil`, "/\t/evil", "https://evil/", "/%2f/evil", "/../..//evil"} {
		f.Add(s)
	}
	base := &url.URL{Scheme: "https", Host: "ours.example", Path: "/a/b"}
	f.Fuzz(func(t *testing.T, s string) {
		r := &http.Request{Form: url.Values{"return_to": {s}}}
		got := sessionui.ReturnTo(r, "/fallback")
		to, err := base.Parse(got)
		if err != nil {
			return // not a place at all, for a browser either
		}
		if to.Host != base.Host || to.Scheme != base.Scheme || strings.ContainsAny(got, "\\\r\n\t") {
			t.Errorf("ReturnTo(%q) = %q, which leads to %s", s, got, to)
		}
	})
}

func FuzzFilter(f *testing.F) {
	f.Add("user=ada&ip=198.51.100.0/24&seen_after=2026-01-02T03:04")
	f.Add("everyone=1&usr=ada")
	known := regexp.MustCompile(`^(user|user_agent|ip|(seen|created)_(after|before)|everyone|except_current)$`)
	f.Fuzz(func(t *testing.T, query string) {
		in, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		ok, selective := sessionui.ParseFilter(in)
		named := false
		for k, v := range in {
			if !known.MatchString(k) && ok {
				t.Errorf("%q: the unknown field %q is accepted", query, k)
			}
			named = named || k != "everyone" && k != "except_current" && strings.Join(v, "") != ""
		}
		if ok && selective != named {
			t.Errorf("%q selects: %t, but a field is set: %t", query, selective, named)
		}
	})
}

func TestBraces(t *testing.T) {
	for _, tc := range []struct {
		text  string
		pairs []any
		want  string
	}{
		{"no braces", []any{"n", 1}, "no braces"},
		{"{n} of {total}", []any{"n", 3, "total", "4"}, "3 of 4"},
		{"{user}, {device}", []any{"user", "{device}", "device", "{user}"}, "{device}, {user}"},
		{"{unknown} {n}", []any{"n", 1}, "{unknown} 1"},
		{"{{n}}", []any{"n", 1}, "{1}"},
		{"{n", []any{"n", 1}, "{n"},
		{"n} {", []any{"n", 1}, "n} {"},
		{"{n}", nil, "{n}"},
		{"{n}", []any{"n"}, "{n}"},
		{"{}", []any{"", "x"}, "x"},
	} {
		if got := sessionui.Fill(tc.text, tc.pairs...); got != tc.want {
			t.Errorf("%q with %v: %q, want %q", tc.text, tc.pairs, got, tc.want)
		}
	}
}
