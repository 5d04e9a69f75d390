package browsertest_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// stop is where the Tab key leads to.
type stop struct {
	Name string // as it is read out
	Ring bool   // that the focus is there can be seen
	Seen bool   // it is in the window
}

// tabThrough presses Tab until the focus leaves the page, and returns where it was.
func (p *tab) tabThrough() []stop {
	p.t.Helper()
	var stops []stop
	for range 100 {
		p.do(chromedp.KeyEvent("\t"))
		s := eval[*stop](p, `(() => {
			const e = document.activeElement;
			if (!e || e == document.body) return null;
			const style = getComputedStyle(e), r = e.getBoundingClientRect();
			return {
				Name: e.ariaLabel || (e.labels && e.labels.length ? e.labels[0].innerText : e.innerText).trim(),
				Ring: style.outlineStyle != "none" && parseFloat(style.outlineWidth) >= 2,
				Seen: r.width > 0 && r.top >= 0 && r.bottom <= innerHeight && r.left >= 0 && r.right <= innerWidth,
			};
		})()`)
		if s == nil {
			return stops
		}
		// Fields for dates are several stops.
		if len(stops) == 0 || stops[len(stops)-1].Name != s.Name {
			stops = append(stops, *s)
		}
	}
	p.fail("Tab never leaves the page")
	return nil
}

// Every link, button and field is reached by Tab, in the order in which it is
// seen, and shows that it is.
func TestTabOrder(t *testing.T) {
	depth.OnlyFull(t)
	s, browser := start(t), newBrowser(t)
	s.furnish()
	for _, c := range []struct {
		name, user, path string
		want             []string
	}{
		{"account", "ada", "/devices/", []string{
			"Rename Firefox on Linux", "Sign out this device, Firefox on Linux",
			"Sign out everywhere else",
			"Rename Safari on iPhone", "Sign out Safari on iPhone, last active 12 minutes ago",
			"Rename Chrome on macOS", "Sign out Chrome on macOS, last active 3 hours ago",
			"Rename Edge on Windows", "Sign out Edge on Windows, last active 5 days ago",
		}},
		{"rename", "ada", "/devices/sessions/2kT9xP7LhJ4uE5gSd1oVwQ/name", []string{"Name", "Save", "Cancel"}},
		{"confirm", "ada", "/devices/revoke-others", []string{"Sign out", "Cancel"}},
		{"admin", "admin", "/admin/sessions/?user=bob&user_agent=Edg", []string{
			"Jobs", "User", "Show", "More filters", "User-Agent contains", "IP address or network",
			"Last active after (UTC)", "Last active before (UTC)", "Signed in after (UTC)", "Signed in before (UTC)",
			"Search", "Clear", "Sign out all that match …", "bob", "Details of Edge on Windows, user bob",
			"Sign out everyone …",
		}},
		{"detail", "admin", "/admin/sessions/sessions/Et9wH4zKuP1nL5oSa2rVdQ?user=bob", []string{
			"Sessions", "Reason, for the log", "End this session: bob, Chrome on Android", "All sessions of this user",
		}},
		{"preview", "admin", "/admin/sessions/revoke?user=bob", []string{
			"Sessions", "Reason, for the log", "Keep my own session", "End these sessions", "Cancel", "bob",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			for _, l := range []look{{agent: firefox}, {agent: firefox, dark: true, width: phoneWidth}} {
				p := s.open(browser, l)
				p.login(c.user)
				p.visit(c.path)
				var got []string
				for _, stop := range p.tabThrough() {
					got = append(got, stop.Name)
					if !stop.Ring || !stop.Seen {
						t.Errorf("%+v: the focus on %q cannot be seen: %+v", l, stop.Name, stop)
					}
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("%+v: Tab leads to\n%s\nwant\n%s", l, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
				}
				p.visit("/")
				p.click("button", "Sign out")
			}
		})
	}
}

// key presses keys and waits for the page they lead to.
func (p *tab) key(keys string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.KeyEvent(keys)); err != nil {
		p.fail(err)
	}
}

// Nothing needs a mouse.
func TestWithoutAMouse(t *testing.T) {
	depth.OnlyFull(t)
	s, browser := start(t), newBrowser(t)
	ada, phone, admin := s.open(browser, look{agent: firefox}), s.open(browser, look{agent: iPhone}), s.open(browser, look{agent: chromeMac})
	for p, user := range map[*tab]string{ada: "ada", phone: "ada", admin: "admin"} {
		p.visit("/login")
		p.do(chromedp.KeyEvent("\t"), chromedp.KeyEvent(user), chromedp.KeyEvent("\t"), chromedp.KeyEvent(password))
		p.key("\r")
		p.wantText("Hello, " + user)
	}
	ada.visit("/devices/")
	ada.do(chromedp.KeyEvent("\t\t\t\t\t")) // past two names and two buttons
	ada.key("\r")
	ada.wantText("Safari on iPhone is signed out.")
	phone.visit("/")
	phone.wantPath("/login")

	admin.visit("/admin/sessions/revoke?user=ada&user=admin")
	admin.wantText("2 sessions will be ended.")
	admin.do(chromedp.KeyEvent("\t\t"), chromedp.KeyEvent("stolen"), chromedp.KeyEvent("\t"), chromedp.KeyEvent(" "), chromedp.KeyEvent(" "))
	admin.key("\r")
	admin.await("Done")
	ada.visit("/")
	ada.wantPath("/login")
	admin.visit("/") // its own session was kept
	admin.wantText("Hello, admin")
}
