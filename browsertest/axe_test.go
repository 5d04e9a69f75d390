package browsertest_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

var gallery = flag.String("gallery", "", "the folder that TestAccessibility writes a picture of every page to")

// places are the pages and the states they can be in. Each is reached from
// wherever the tab is. The tab is that of ada, then that of the admin.
var places = []struct {
	name, user string
	reach      func(p *tab)
}{
	{"login", "", func(p *tab) { p.visit("/login") }},
	{"login refused", "", func(p *tab) { p.visit("/login"); p.signIn("ada", "wrong") }},

	{"home", "ada", func(p *tab) { p.visit("/") }},
	{"password", "ada", func(p *tab) { p.visit("/password") }},
	{"live", "ada", func(p *tab) { p.visit("/live") }},
	{"reauth", "ada", func(p *tab) { p.visit("/reauth?return_to=/devices/") }},
	{"account", "ada", func(p *tab) { p.visit("/devices/") }},
	{"account confirm one", "ada", func(p *tab) { p.visit("/devices/sessions/2kT9xP7LhJ4uE5gSd1oVwQ/revoke") }},
	{"account rename", "ada", func(p *tab) { p.visit("/devices/sessions/2kT9xP7LhJ4uE5gSd1oVwQ/name") }},
	{"account confirm others", "ada", func(p *tab) { p.visit("/devices/revoke-others") }},
	{"account not found", "ada", func(p *tab) { p.visit("/devices/sessions/AAAAAAAAAAAAAAAAAAAAAA/revoke") }},
	{"account one ended", "ada", func(p *tab) {
		p.s.add(device{user: "ada", ip: "192.0.2.1", agent: android})
		p.visit("/devices/")
		p.click("button", "Sign out Chrome on Android, last active just now")
	}},
	{"account pending", "ada", func(p *tab) { p.visit("/devices/?done=pending") }},
	{"account stale", "ada", func(p *tab) { p.s.age("ada"); p.visit("/devices/") }},
	{"admin refused", "ada", func(p *tab) { p.visit("/admin/sessions/") }},

	{"account alone", "admin", func(p *tab) { p.visit("/devices/") }},
	{"account confirm nothing", "admin", func(p *tab) { p.visit("/devices/revoke-others") }},
	{"admin", "admin", func(p *tab) { p.visit("/admin/sessions/") }},
	{"admin of a user", "admin", func(p *tab) { p.visit("/admin/sessions/?user=ada") }},
	{"admin filters", "admin", func(p *tab) { p.visit("/admin/sessions/?user_agent=Chrome&seen_after=2020-01-01T00:00") }},
	{"admin nothing found", "admin", func(p *tab) { p.visit("/admin/sessions/?user=nobody") }},
	{"admin bad filter", "admin", func(p *tab) { p.visit("/admin/sessions/?ip=nonsense") }},
	{"admin ended", "admin", func(p *tab) { p.visit("/admin/sessions/?user=ada&state=ended") }},
	{"admin detail", "admin", func(p *tab) { p.visit("/admin/sessions/sessions/2kT9xP7LhJ4uE5gSd1oVwQ?user=ada") }},
	{"admin detail ended", "admin", func(p *tab) { p.visit("/admin/sessions/sessions/Ap5sD0vGqL7jH1kOw8nRzg?user=ada") }},
	{"admin preview", "admin", func(p *tab) { p.visit("/admin/sessions/revoke?user_agent=Chrome") }},
	{"admin preview nothing", "admin", func(p *tab) { p.visit("/admin/sessions/revoke?user=nobody") }},
	{"admin everyone", "admin", func(p *tab) { p.visit("/admin/sessions/revoke?everyone=true") }},
	{"admin jobs none", "admin", func(p *tab) { p.visit("/admin/sessions/jobs") }},
	{"admin not found", "admin", func(p *tab) { p.visit("/admin/sessions/nowhere") }},
	{"admin job", "admin", func(p *tab) {
		p.s.add(device{user: "bob", ip: "192.0.2.9", agent: "curl/8.14.1", seen: time.Minute})
		p.visit("/admin/sessions/revoke?user=bob&user_agent=curl")
		p.fill("Reason, for the log", "incident 12: token in a public log")
		p.click("button", "End these sessions")
		p.await("Done")
	}},
	{"admin jobs", "admin", func(p *tab) { p.visit("/admin/sessions/jobs") }},
	{"admin done", "admin", func(p *tab) {
		id := p.s.add(device{user: "bob", ip: "192.0.2.9", agent: android})
		p.visit("/admin/sessions/sessions/" + id + "?user=bob")
		p.click("button", "End this session: bob, Chrome on Android")
	}},
}

// eachPlace visits all places with a look.
func eachPlace(t *testing.T, s *site, p *tab, visit func(t *testing.T, p *tab, name string)) {
	user := ""
	for _, place := range places {
		ok := t.Run(place.name, func(t *testing.T) {
			p.t, s.t = t, t
			if place.user != user {
				user = place.user
				if p.visit("/"); !strings.HasPrefix(p.path(), "/login") {
					p.click("button", "Sign out")
				}
				p.login(user)
			}
			place.reach(p)
			visit(t, p, place.name)
		})
		if !ok {
			user = "" // the place may not have been reached
		}
	}
	p.t, s.t = t, t
}

// Axe-core finds nothing on any page, in either theme, on a phone and on a
// laptop: neither a violation nor a contrast it cannot compute.
func TestAccessibility(t *testing.T) {
	depth.OnlyFull(t)
	script, err := os.ReadFile(testserver.AxeCore(t))
	if err != nil {
		t.Fatal(err)
	}
	browser := newBrowser(t)
	for _, c := range []struct {
		name string
		look look
	}{
		{"light", look{agent: firefox}},
		{"dark phone", look{agent: firefox, dark: true, width: phoneWidth}},
		{"dark", look{agent: firefox, dark: true}},
		{"light phone", look{agent: firefox, width: phoneWidth}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			s.furnish()
			eachPlace(t, s, s.open(browser, c.look), func(t *testing.T, p *tab, name string) {
				if *gallery != "" {
					p.keep(*gallery, name+" "+c.name)
				}
				eval[struct{}](p, string(script)+";0")
				for _, found := range eval[[]string](p, runAxe) {
					t.Error(found)
				}
				p.wantNoOverflow()
			})
		})
	}
}

const runAxe = `axe.run(document, {
	runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
	resultTypes: ["violations", "incomplete"],
}).then((r) => r.violations.concat(r.incomplete.filter((i) => i.id == "color-contrast")).flatMap((v) =>
	v.nodes.map((n) => v.id + " (" + v.impact + "): " + n.html + "\n" + n.failureSummary)))`

// A page that axe-core must not like.
func TestAxeFindsWhatIsWrong(t *testing.T) {
	depth.OnlyFull(t)
	script, err := os.ReadFile(testserver.AxeCore(t))
	if err != nil {
		t.Fatal(err)
	}
	p := start(t).open(newBrowser(t), look{})
	p.visitRaw(`data:text/html,<html lang="en"><title>x</title><main><h1>x</h1><p style="color:%23999;background:white">pale</p><input><button></button></main>`)
	eval[struct{}](p, string(script)+";0")
	found := strings.Join(eval[[]string](p, runAxe), "\n")
	for _, rule := range []string{"color-contrast", "label", "button-name"} {
		if !strings.Contains(found, rule+" (") {
			t.Errorf("axe-core does not report %s in:\n%s", rule, found)
		}
	}
}

// wantNoOverflow fails the test if the page can be scrolled sideways, or if
// something is cut off.
func (p *tab) wantNoOverflow() {
	p.t.Helper()
	wide := eval[[]string](p, `(() => {
		const most = document.documentElement.clientWidth, found = [];
		if (document.documentElement.scrollWidth > most) found.push("the page is " + document.documentElement.scrollWidth + " wide");
		for (const e of document.querySelectorAll("body *")) {
			const r = e.getBoundingClientRect(), head = e.closest("thead");
			if (head && getComputedStyle(head).clipPath != "none") continue; // for screen readers only
			if (r.width > 1 && (r.right > most + 0.5 || r.left < -0.5)) found.push(e.outerHTML.slice(0, 120) + " from " + r.left + " to " + r.right);
		}
		return found;
	})()`)
	if len(wide) > 0 {
		p.t.Errorf("too wide for %s:\n%s", fmt.Sprint(eval[int](p, `document.documentElement.clientWidth`)), strings.Join(wide, "\n"))
	}
}
