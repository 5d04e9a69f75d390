package sessionui_test

import (
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

// posts returns every POST of both handlers, each of which would end something.
func posts(s *site, victim *browser) map[string]url.Values {
	everyone := url.Values{"everyone": {"true"}, "count": {"3"}, "reason": {"test"}, "except_current": {"true"}}
	return map[string]url.Values{
		devices + "sessions/" + victim.id + "/revoke": nil,
		devices + "revoke-others":                     nil,
		"/admin/sessions/" + victim.id + "/revoke":    {"user": {"root"}},
		"/admin/revoke":                               everyone,
		"/admin/jobs/ABCDEFGHIJKLMNOPQRSTUVWXYZ/stop": nil,
	}
}

func TestOtherOrigins(t *testing.T) {
	for _, tc := range []struct {
		name    string
		headers []string
		refused bool
	}{
		{"same origin", nil, false},
		{"same origin and Origin", []string{"Origin", "http://example.com"}, false},
		{"old browser, own Origin", []string{"Sec-Fetch-Site", "-", "Origin", "http://example.com"}, false},
		{"trusted origin", []string{"Sec-Fetch-Site", "same-site", "Origin", "https://app.example.com"}, false},
		{"cross-site", []string{"Sec-Fetch-Site", "cross-site"}, true},
		{"cross-site with Origin", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, true},
		{"cross-site that claims our Origin", []string{"Sec-Fetch-Site", "cross-site", "Origin", "http://example.com"}, true},
		{"same-site", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://other.example.com"}, true},
		{"null origin", []string{"Sec-Fetch-Site", "-", "Origin", "null"}, true},
		{"null origin, same-origin", []string{"Origin", "null"}, true},
		{"missing headers", []string{"Sec-Fetch-Site", "-"}, true},
		{"none", []string{"Sec-Fetch-Site", "none"}, true},
		{"old browser, other Origin", []string{"Sec-Fetch-Site", "-", "Origin", "https://evil.example"}, true},
		{"unknown word", []string{"Sec-Fetch-Site", "sibling"}, true},
		{"JSON, cross-site", []string{"Sec-Fetch-Site", "cross-site", "Content-Type", "application/json"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			trusted := []string{"https://app.example.com"}
			s := newSite(t, nil, &sessionui.AccountOptions{TrustedOrigins: trusted}, &sessionui.AdminOptions{TrustedOrigins: trusted})
			me, victim := s.login("root", firefox), s.login("root", iphone)
			s.login("ada", chrome)
			for target, form := range posts(s, victim) {
				w := me.post(target, form, tc.headers...)
				if (w.Code == http.StatusForbidden) != tc.refused {
					t.Errorf("POST %s: status %d", target, w.Code)
				}
			}
			if tc.refused {
				if n := len(s.live("root", "ada")); n != 3 {
					t.Errorf("%d of 3 sessions are left", n)
				}
			}
		})
	}
}

func TestSynchronizerToken(t *testing.T) {
	s := newSite(t, nil, &sessionui.AccountOptions{SynchronizerToken: true}, &sessionui.AdminOptions{SynchronizerToken: true})
	me, victim, ada := s.login("root", firefox), s.login("root", iphone), s.login("ada", chrome)
	field := regexp.MustCompile(`name="csrf_token" value="([^"]+)"`)
	tokenOf := func(b *browser, page string) string {
		m := field.FindStringSubmatch(want(t, b.get(page), 200))
		if m == nil {
			t.Fatal("no token in ", page)
		}
		return m[1]
	}
	adas := tokenOf(ada, devices+"sessions/"+ada.id+"/revoke")
	mine, again := tokenOf(me, devices), tokenOf(me, devices)
	if mine == again {
		t.Error("the token is not masked: two pages have the same text")
	}
	for target, form := range posts(s, victim) {
		for name, token := range map[string]string{"none": "", "rubbish": "AAAA", "another session's": adas} {
			with := url.Values{"csrf_token": {token}}
			for k, v := range form {
				with[k] = v
			}
			if w := me.post(target, with); w.Code != http.StatusForbidden {
				t.Errorf("POST %s with %s token: status %d", target, name, w.Code)
			}
		}
	}
	if w := me.post("/admin/sessions/"+victim.id+"/revoke", url.Values{"user": {"root"}, "csrf_token": {mine}}); w.Code != http.StatusForbidden {
		t.Errorf("the account's token is good for the admin's page: status %d", w.Code)
	}
	if n := len(s.live("root", "ada")); n != 3 {
		t.Fatalf("%d of 3 sessions are left", n)
	}
	admin := tokenOf(me, "/admin/sessions/"+victim.id+"?user=root")
	want(t, me.post("/admin/sessions/"+victim.id+"/revoke", url.Values{"user": {"root"}, "csrf_token": {admin}}), 303)
	want(t, me.post(devices+"revoke-others", url.Values{"csrf_token": {mine}}), 303)
	want(t, me.post(devices+"revoke-others", nil, "X-CSRF-Token", again), 303)
}

func TestNoGetChangesAnything(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	me, victim := s.login("root", firefox), s.login("root", iphone)
	s.login("ada", chrome)
	dump := func() string {
		var rows []string
		if err := s.db.Select(&rows, "SELECT id || user_id || session_key || authenticated_at || expires_at || COALESCE(ended_at, '') FROM user_sessions ORDER BY id"); err != nil {
			t.Fatal(err)
		}
		var data []string
		if err := s.db.Select(&data, "SELECT token || hex(data) FROM sessions ORDER BY token"); err != nil {
			t.Fatal(err)
		}
		return strings.Join(append(rows, data...), "\n")
	}
	before, cookie := dump(), me.cookie.Value
	gets := []string{
		devices, devices + "?done=others", devices + "sessions/" + victim.id + "/revoke", devices + "revoke-others", devices + "style.css", devices + "openapi.json",
		"/admin/", "/admin/?user=ada", "/admin/sessions/" + victim.id + "?user=root", "/admin/revoke?everyone=true", "/admin/jobs", "/admin/jobs/x", "/admin/jobs/x/stop",
		"/admin/sessions/" + victim.id + "/revoke?user=root", "/admin/revoke?everyone=true&count=3&reason=x&except_current=true",
	}
	for _, target := range gets {
		for _, method := range []string{"GET", "HEAD"} {
			me.do(method, target, "")
		}
		for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "QUERY"} {
			if w := me.do(method, target, "", "Sec-Fetch-Site", "same-origin"); w.Code < 400 {
				t.Errorf("%s %s: status %d", method, target, w.Code)
			}
		}
	}
	if dump() != before || me.cookie.Value != cookie {
		t.Error("something has changed")
	}
}

func TestHeaders(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	page, err := os.ReadFile("../../docs/pages.md")
	if err != nil {
		t.Fatal(err)
	}
	if csp := s.anonymous().get(devices).Header().Get("Content-Security-Policy"); !strings.Contains(string(page), "`Content-Security-Policy: "+csp+"`") {
		t.Errorf("docs/pages.md does not have the Content-Security-Policy %q", csp)
	}
	me, stranger := s.login("root", firefox), s.anonymous()
	for _, target := range []string{devices, devices + "style.css", devices + "openapi.json", devices + "none", "/admin/", "/admin/revoke", "/admin/jobs", "/admin/style.css"} {
		for who, b := range map[string]*browser{"admin": me, "nobody": stranger} {
			for _, method := range []string{"GET", "POST"} {
				h := b.do(method, target, "").Header()
				csp := h.Get("Content-Security-Policy")
				if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") ||
					strings.Contains(csp, "unsafe") || strings.Contains(csp, "script-src") {
					t.Errorf("%s %s for %s: Content-Security-Policy %q", method, target, who, csp)
				}
				cache := h.Get("Cache-Control")
				if strings.HasSuffix(target, "style.css") && method == "GET" {
					if !strings.HasPrefix(cache, "private") {
						t.Errorf("%s: Cache-Control %q", target, cache)
					}
				} else if cache != "no-store" {
					t.Errorf("%s %s for %s: Cache-Control %q", method, target, who, cache)
				}
				for k, v := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin"} {
					if h.Get(k) != v {
						t.Errorf("%s %s for %s: %s %q", method, target, who, k, h.Get(k))
					}
				}
			}
		}
	}
}

// inline finds what the Content-Security-Policy would forbid.
var inline = regexp.MustCompile(`(?i)<script|<style|\sstyle\s*=|\son[a-z]+\s*=|javascript:|<base|\ssrc\s*=`)

func TestHostileUserAgents(t *testing.T) {
	for _, tc := range []struct{ name, agent string }{
		{"script", `<script>alert(1)</script>`},
		{"attribute", `" onmouseover="alert(1)" x="`},
		{"template", `{{.T "lang"}}{{template "csrf"}}`},
		{"a mebibyte", strings.Repeat("Mozilla/5.0 Firefox/1.0 ", 1<<20/24)},
		{"a mebibyte without a space", "Firefox/" + strings.Repeat("9", 1<<20)},
		{"bidi", "Mozilla/5.0 \u202e\u2066gnp.exe\u2069\u202c Firefox/145.0\u200f"},
		{"escape codes", "\x1b[2J\x1b]0;title\x07Firefox/1.0\x00\r\nSet-Cookie: a=b\u009b31m"},
		{"invisible", "Fire\u200bfox/\u2060\ufeff\u00ad1.0\U000e0041"},
		{"zalgo", "F" + strings.Repeat("\u0301", 200) + "irefox/1.0"},
		{"not UTF-8", "Firefox/\xff\xfe\xc0\xaf1.0"},
		{"separators", "a\u2028b\u2029c"},
		{"empty", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, nil, nil, nil)
			root := s.login("root", firefox)
			other := s.login("root", iphone, usersession.WithUserAgent(tc.agent), usersession.WithMeta(map[string]string{"note": strings.ToValidUTF8(strings.ReplaceAll(tc.agent[:min(len(tc.agent), 300)], "\x00", ""), "")}))
			s.login("root", tc.agent)
			for _, target := range []string{
				devices, devices + "sessions/" + other.id + "/revoke", devices + "revoke-others",
				"/admin/", "/admin/sessions/" + other.id + "?user=root", "/admin/revoke?user=root",
				"/admin/?user_agent=" + url.QueryEscape(tc.agent[:min(len(tc.agent), 400)]),
			} {
				w := root.get(target)
				if w.Code != 200 && !strings.Contains(target, "user_agent=") {
					t.Errorf("%s: status %d", target, w.Code)
				}
				body := w.Body.String()
				if m := inline.FindString(strings.ReplaceAll(body, `&#34; onmouseover=&#34;`, "")); m != "" {
					t.Errorf("%s: %q reaches the page", target, m)
				}
				if len(body) > 60_000 {
					t.Errorf("%s: %d bytes", target, len(body))
				}
				if strings.Contains(target, "user_agent=") {
					continue // the search field gives back what was typed, escaped
				}
				for _, r := range body {
					if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0xfeff || r == 0xad || r >= 0xe0000 && r <= 0xe007f {
						t.Errorf("%s: %U reaches the page", target, r)
						break
					}
				}
				if strings.Contains(body, strings.Repeat("\u0301", 4)) {
					t.Errorf("%s: stacked marks reach the page", target)
				}
			}
			want(t, root.get(devices, asJSON...), 200)
		})
	}
}

func TestHostileNamesOfUsers(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	root := s.login("root", firefox)
	for _, user := range []string{`<script>alert(1)</script>`, "a\u202eb", `"><img src=x onerror=alert(1)>`, "a/../b?c#d&e=f%2F", "..", "ada\u200b"} {
		victim := s.login(user, iphone)
		q := url.Values{"user": {user}}.Encode()
		body := want(t, root.get("/admin/?"+q), 200) + want(t, root.get("/admin/sessions/"+victim.id+"?"+q), 200) + want(t, root.get("/admin/revoke?"+q), 200)
		if m := inline.FindString(strings.ReplaceAll(body, "&lt;img src=x onerror=", "")); m != "" {
			t.Errorf("%q: %q reaches the page", user, m)
		}
		want(t, root.post("/admin/sessions/"+victim.id+"/revoke", url.Values{"user": {user}}), 303)
		if len(s.live(user)) != 0 {
			t.Errorf("%q: not ended", user)
		}
	}
	// What cannot be seen is shown, so that two users do not look like one.
	victim := s.login("ada\u200b", iphone)
	if body := want(t, root.get("/admin/sessions/"+victim.id+"?user=ada%E2%80%8B"), 200); !strings.Contains(body, "<bdi>ada\uFFFD</bdi>") {
		t.Error("the invisible character of a user ID is not shown")
	}
}
