package browsertest_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// loginAs logs in by HTTP with any User-Agent, and returns the status.
func (s *site) loginAs(user, agent string) int {
	s.t.Helper()
	form := url.Values{"name": {user}, "password": {password}}
	r, err := http.NewRequestWithContext(s.t.Context(), "POST", s.url+"/login", strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("User-Agent", agent)
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := (&http.Client{Jar: jar}).Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// What a stranger sends as a User-Agent is text on every page that shows it: no
// element, no script, no change of direction, no control character, and no page
// that is wider than the phone.
func TestHostileUserAgents(t *testing.T) {
	depth.OnlyFull(t)
	s, browser := start(t), newBrowser(t)
	agents := map[string]string{
		"markup":        `<script>alert(1)</script><img src=x onerror=alert(2)>`,
		"an attribute":  `" onmouseover="alert(3)" x="' autofocus onfocus='alert(4)`,
		"markup in one": firefox + `"><svg onload=alert(5)>`,
		"a template":    `{{.CSRF}} ${alert(6)} <!-- --> ]]> </title></style>`,
		"bidi":          "\u202eevil\u2066\u2069 \u200f\u061c Firefox/145.0",
		"invisible":     "Fire\u200b\u2060\ufefffox/145.0\u00ad",
		"marks":         "Z" + strings.Repeat("\u0300\u0323", 200) + " on Linux",
		"one long word": strings.Repeat("A", 400),
		"1 MiB":         strings.Repeat("W", 1<<20),
	}
	users := 0
	for name, agent := range agents {
		if got := s.loginAs("bob", agent); got != 200 {
			t.Errorf("%s: status %d", name, got)
		}
		users++
	}
	// Escape codes cannot be sent at all; a program that notes them itself can.
	agents["escape codes"] = "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x00\x08\r\nSet-Cookie: x=y"
	s.add(device{user: "bob", agent: agents["escape codes"]})
	users++
	if n := s.live("bob"); n != users {
		t.Fatalf("%d sessions, want %d", n, users)
	}

	for _, l := range []look{{agent: firefox}, {agent: firefox, width: phoneWidth}} {
		admin := s.open(browser, l)
		admin.login("admin")
		pages := []string{"/admin/sessions/", "/admin/sessions/?user=bob", "/admin/sessions/revoke?user=bob"}
		list, err := s.sessions.ListSessions(t.Context(), "bob")
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range list {
			pages = append(pages, "/admin/sessions/sessions/"+u.ID+"?user=bob")
		}
		for _, agent := range agents { // what was searched for comes back, too
			q := url.Values{"user_agent": {agent[:min(len(agent), 100)]}}.Encode()
			pages = append(pages, "/admin/sessions/?"+q, "/admin/sessions/revoke?"+q)
		}
		for _, page := range pages {
			admin.visit(page)
			admin.wantHarmless()
		}
		bob := s.open(browser, l)
		bob.login("bob")
		for _, page := range []string{"/devices/", "/devices/revoke-others"} {
			bob.visit(page)
			bob.wantHarmless()
		}
		bob.visit("/devices/")
		bob.wantText("Unknown device")
		bob.visit("/")
		bob.click("button", "Sign out")
	}

	// And it can be read, by those who have to.
	admin := s.open(browser, look{agent: firefox})
	admin.login("admin")
	admin.visit("/admin/sessions/?" + url.Values{"user_agent": {"<script>alert(1)"}}.Encode())
	admin.do(chromedp.Click(`//td//a[starts-with(@aria-label, "Details of")]`))
	admin.await(`<script>alert(1)</script><img src=x onerror=alert(2)>`)
}

// wantHarmless fails the test if the page has anything on it that its templates
// do not have.
func (p *tab) wantHarmless() {
	p.t.Helper()
	found := eval[[]string](p, `(() => {
		const found = [];
		for (const e of document.querySelectorAll("script, img, iframe, object, body style, body link, svg:not(.icon)")) found.push("an element: " + e.outerHTML.slice(0, 100));
		for (const e of document.querySelectorAll("*")) for (const a of e.attributes)
			if (a.name.startsWith("on") || a.name == "style" || a.name == "autofocus") found.push("an attribute: " + a.name);
		// A field holds exactly what was searched for, and keeps it to itself.
		const copy = document.documentElement.cloneNode(true);
		for (const e of copy.querySelectorAll("input")) e.removeAttribute("value");
		const html = copy.outerHTML;
		const bad = html.match(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g);
		if (bad) found.push("characters: " + [...new Set(bad)].map((c) => c.codePointAt(0).toString(16)));
		return found;
	})()`)
	if len(found) > 0 {
		p.t.Errorf("%s: %s", p.path(), strings.Join(found, "\n"))
	}
	p.wantNoOverflow()
}

// What is larger than net/http takes, or no header at all, is refused before any
// of this, and leaves nothing behind.
func TestRefusedUserAgents(t *testing.T) {
	depth.OnlyFull(t)
	s := start(t)
	if got := s.loginAs("ada", strings.Repeat("A", 1<<20+8<<10)); got != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("1 MiB and more: status %d", got)
	}
	for _, agent := range []string{"\x1b[31m", "a\x00b", "a\rb"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		form := url.Values{"name": {"ada"}, "password": {password}}.Encode()
		fmt.Fprintf(conn, "POST /login HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
			conn.RemoteAddr(), agent, len(form), form)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		conn.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: status %d", agent, resp.StatusCode)
		}
	}
	if n := s.live("ada"); n != 0 {
		t.Errorf("%d sessions of refused requests", n)
	}
	if got := s.loginAs("ada", firefox); got != 200 || s.live("ada") != 1 {
		t.Errorf("afterwards: status %d", got)
	}
}
