package browsertest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// eachScripts runs a test with and without JavaScript.
func eachScripts(t *testing.T, test func(t *testing.T, s *site, open func(agent string) *tab)) {
	browser := newBrowser(t)
	for _, c := range []struct {
		name string
		none bool
	}{{"JavaScript", false}, {"no JavaScript", true}} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t)
			test(t, s, func(agent string) *tab { return s.open(browser, look{agent: agent, noScripts: c.none}) })
		})
	}
}

func TestScriptsAreReallyOff(t *testing.T) {
	depth.OnlyFull(t)
	s, browser := start(t), newBrowser(t)
	const ran = `data:text/html,<p id="p">off</p><script>document.getElementById("p").textContent = "on"</script>`
	for want, l := range map[string]look{"on": {}, "off": {noScripts: true}} {
		p := s.open(browser, l)
		p.visitRaw(ran)
		if got := p.text(); got != want {
			t.Errorf("scripts are %s, want %s", got, want)
		}
	}
}

// Two programs with a profile each, not two tabs: the whole promise.
func TestOneBrowserEndsTheOther(t *testing.T) {
	depth.OnlyFull(t)
	s := start(t)
	laptop, phone := s.open(newBrowser(t), look{agent: firefox}), s.open(newBrowser(t), look{agent: iPhone})
	laptop.login("ada")
	phone.login("ada")
	laptop.click("a", "Your devices")
	laptop.wantText("This device", "Firefox on Linux", "Safari on iPhone")
	phone.click("a", "Your devices")
	phone.visit("/")

	laptop.click("button", "Sign out Safari on iPhone, last active just now")
	laptop.wantPath("/devices/?done=")
	laptop.wantText("Safari on iPhone is signed out.", "You are not signed in anywhere else.", "Signed out from another device")

	phone.click("a", "Your devices")
	phone.wantPath("/login?return_to=%2Fdevices%2F")
	phone.signIn("ada", password)
	phone.wantPath("/devices/")
	phone.wantText("Firefox on Linux")
	laptop.click("button", "Sign out this device, Firefox on Linux")
	laptop.wantPath("/login")
}

func TestAccount(t *testing.T) {
	depth.OnlyFull(t)
	eachScripts(t, func(t *testing.T, s *site, open func(string) *tab) {
		laptop, phone, tablet := open(firefox), open(iPhone), open(android)
		for _, p := range []*tab{laptop, phone, tablet} {
			p.login("ada")
		}
		laptop.visit("/devices/")
		laptop.click("button", "Sign out Chrome on Android, last active just now")
		laptop.wantText("Chrome on Android is signed out.", "Safari on iPhone")
		tablet.visit("/")
		tablet.wantPath("/login")
		phone.visit("/")
		phone.wantPath("/")

		laptop.click("button", "Sign out everywhere else")
		laptop.wantText("You are signed out everywhere else.")
		phone.click("a", "Your devices")
		phone.wantPath("/login")
		if n := s.live("ada"); n != 1 {
			t.Errorf("%d sessions are live", n)
		}
	})
}

// A login that is not fresh leads by the password to a page that asks once more.
func TestStaleLogin(t *testing.T) {
	depth.OnlyFull(t)
	eachScripts(t, func(t *testing.T, s *site, open func(string) *tab) {
		laptop, phone := open(firefox), open(iPhone)
		laptop.login("ada")
		phone.login("ada")
		s.age("ada")
		laptop.visit("/devices/")
		laptop.click("a", "Sign out Safari on iPhone, last active just now")
		laptop.wantPath("/reauth?")
		laptop.wantText("Is it you, ada?")
		laptop.fill("Password", "wrong")
		laptop.click("button", "Continue")
		laptop.wantText("The password is wrong.")
		laptop.fill("Password", password)
		laptop.click("button", "Continue")
		laptop.wantText("Sign out Safari on iPhone?")
		phone.visit("/")
		phone.wantPath("/")
		laptop.click("button", "Sign out")
		laptop.wantText("Safari on iPhone is signed out.")
		phone.visit("/")
		phone.wantPath("/login")
	})
}

func TestPasswordChange(t *testing.T) {
	depth.OnlyFull(t)
	eachScripts(t, func(t *testing.T, s *site, open func(string) *tab) {
		laptop, phone, bob := open(firefox), open(iPhone), open(android)
		laptop.login("ada")
		phone.login("ada")
		bob.login("bob")
		laptop.click("a", "Change your password")
		laptop.fill("Password now", password)
		laptop.fill("New password", newPassword)
		laptop.click("button", "Change")
		laptop.wantPath("/devices/?done=others")
		laptop.wantText("You are signed out everywhere else.", "Password changed")

		phone.click("a", "Your devices")
		phone.wantPath("/login")
		phone.signIn("ada", password)
		phone.wantText("The name or the password is wrong.")
		phone.signIn("ada", newPassword)
		phone.wantText("This device", "Firefox on Linux")
		bob.visit("/")
		bob.wantText("Hello, bob")
	})
}

func TestAdmin(t *testing.T) {
	depth.OnlyFull(t)
	eachScripts(t, func(t *testing.T, s *site, open func(string) *tab) {
		admin, ada, bob := open(chromeMac), open(firefox), open(iPhone)
		admin.login("admin")
		ada.login("ada")
		bob.login("bob")
		s.add(device{user: "ada", ip: "203.0.113.7", agent: edgeWindows})

		ada.visit("/admin/sessions/")
		ada.wantText("You may not see this.")

		admin.click("a", "Everybody's sessions")
		admin.wantText("ada", "bob", "This session")
		admin.fill("User", "ada")
		admin.click("button", "Search")
		if text := admin.text(); strings.Contains(text, "bob") || !strings.Contains(text, "Edge on Windows") {
			admin.fail("the search for ada")
		}
		admin.click("a", "Sign out this user everywhere …")
		admin.wantText("2 sessions will be ended.", "ada")
		ada.visit("/") // a preview ends nothing
		ada.wantPath("/")
		admin.fill("Reason, for the log", "reported stolen")
		admin.click("button", "End these sessions")
		admin.wantPath("/admin/sessions/jobs/")
		admin.await("Done", "2 of about 2 ended", "reported stolen")
		ada.click("a", "Your devices")
		ada.wantPath("/login")

		// One session, by its details.
		admin.visit("/admin/sessions/?user=bob")
		admin.click("a", "Details of Safari on iPhone, user bob")
		admin.fill("Reason, for the log", "lost phone")
		admin.click("button", "End this session: bob, Safari on iPhone")
		admin.wantText("The session of Safari on iPhone is ended.")
		bob.click("a", "Your devices")
		bob.wantPath("/login")

		// Everyone, for which the number has to be typed.
		ada.signIn("ada", password)
		admin.visit("/admin/sessions/")
		admin.click("a", "Sign out everyone …")
		admin.wantText("2 sessions will be ended. This is everyone.")
		admin.fill("Reason, for the log", "incident 12")
		admin.fill("Type the number 2 to confirm", "7")
		admin.click("button", "End these sessions")
		admin.wantText("The number does not match, so nothing was done.")
		ada.visit("/")
		ada.wantPath("/")
	})
}

// A page with a stream finds out by itself.
func TestStream(t *testing.T) {
	depth.OnlyFull(t)
	s, browser := start(t), newBrowser(t)
	laptop, phone := s.open(browser, look{agent: firefox}), s.open(browser, look{agent: iPhone})
	laptop.login("ada")
	phone.login("ada")
	phone.click("a", "A stream that ends with its session")
	phone.await("UTC")
	laptop.visit("/devices/")
	laptop.click("button", "Sign out everywhere else")
	phone.await("Sign in")
	phone.wantPath("/login?return_to=%2Flive")
}

// await waits until the page says all of these, loading it again where it does so
// itself.
func (p *tab) await(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		p.do(chromedp.WaitVisible(fmt.Sprintf(`//main//*[contains(normalize-space(), "%s")]`, text)))
	}
}
