package sessionui_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
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

var (
	openTag  = regexp.MustCompile(`<(/?)([a-z0-9]+)([^>]*)>`)
	idPat    = regexp.MustCompile(`\sid="([^"]+)"`)
	forPat   = regexp.MustCompile(`<label for="([^"]+)"`)
	refPat   = regexp.MustCompile(`aria-labelledby="([^"]+)"`)
	headPat  = regexp.MustCompile(`<h([1-6])`)
	emptyPat = regexp.MustCompile(`<(button|a|h[1-6]|th|label)[^>]*></`)
	fieldPat = regexp.MustCompile(`<(?:input|select|textarea)[^>]*>`)
)

// TestPagesAreWellFormed checks what a machine without a browser can check of
// accessibility: elements closed, IDs unique, fields labelled, one h1, headings
// in order, no element without a name.
func TestPagesAreWellFormed(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	me, other, gone := s.login("root", firefox), s.login("root", iphone), s.login("root", chrome)
	s.login("ada", "")
	if err := s.m.RevokeSession(t.Context(), "root", gone.id); err != nil {
		t.Fatal(err)
	}
	w := me.post("/admin/revoke", url.Values{"user": {"nobody"}, "count": {"0"}, "reason": {"x"}})
	job := follow(t, w, "/admin/revoke")
	for _, target := range []string{
		devices, devices + "?done=" + gone.id, devices + "?done=pending", devices + "nothing", devices + "revoke-others", devices + "sessions/" + other.id + "/revoke",
		"/admin/", "/admin/?user=root", "/admin/?user=nobody", "/admin/?ip=203.0.113.0/24&limit=1", "/admin/?state=ended",
		"/admin/sessions/" + other.id + "?user=root", "/admin/sessions/" + gone.id + "?user=root",
		"/admin/revoke?user=root", "/admin/revoke?everyone=true", "/admin/revoke?user=nobody", "/admin/jobs", job,
	} {
		body := me.get(target).Body.String()
		if !strings.HasPrefix(body, "<!doctype html>") || strings.Contains(body, "ZgotmplZ") || strings.Contains(body, "<no value>") {
			t.Errorf("%s: not a page, or one with holes", target)
		}
		var open []string
		for _, m := range openTag.FindAllStringSubmatch(body, -1) {
			switch tag := m[2]; {
			case slices.Contains([]string{"meta", "link", "input", "path", "rect"}, tag):
			case m[1] == "":
				open = append(open, tag)
			case len(open) == 0 || open[len(open)-1] != tag:
				t.Fatalf("%s: </%s> in %v", target, tag, open)
			default:
				open = open[:len(open)-1]
			}
		}
		if len(open) > 0 {
			t.Errorf("%s: not closed: %v", target, open)
		}
		ids := make(map[string]bool)
		for _, m := range idPat.FindAllStringSubmatch(body, -1) {
			if ids[m[1]] {
				t.Errorf("%s: two elements have the ID %s", target, m[1])
			}
			ids[m[1]] = true
		}
		labelled := make(map[string]bool)
		for _, m := range forPat.FindAllStringSubmatch(body, -1) {
			labelled[m[1]] = true
		}
		for _, m := range refPat.FindAllStringSubmatch(body, -1) {
			if !ids[m[1]] {
				t.Errorf("%s: aria-labelledby %s leads nowhere", target, m[1])
			}
		}
		for _, field := range fieldPat.FindAllString(body, -1) {
			id := idPat.FindStringSubmatch(field)
			if !strings.Contains(field, `type="hidden"`) && !strings.Contains(field, `type="checkbox"`) && (id == nil || !labelled[id[1]]) {
				t.Errorf("%s: no label for %s", target, field)
			}
		}
		level := "0"
		for _, m := range headPat.FindAllStringSubmatch(body, -1) {
			if m[1] > level && m[1][0] != level[0]+1 || m[1] == "1" && level != "0" {
				t.Errorf("%s: h%s after h%s", target, m[1], level)
			}
			level = m[1]
		}
		if m := emptyPat.FindString(body); m != "" || strings.Contains(body, `aria-label=""`) {
			t.Errorf("%s: an element without a name: %s", target, m)
		}
		if m := inline.FindString(body); m != "" {
			t.Errorf("%s: %q", target, m)
		}
	}
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
