package browsertest_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

// TestLanguages looks at the widest pages on a phone, in German, which has the longest
// words, and in Arabic, which runs from right to left and is looked at by axe-core as
// well. With -gallery it takes pictures of each language, on a laptop and in the dark,
// too.
func TestLanguages(t *testing.T) {
	depth.OnlyFull(t)
	script, err := os.ReadFile(testserver.AxeCore(t))
	if err != nil {
		t.Fatal(err)
	}
	s, browser := start(t), newBrowser(t)
	s.furnish()
	for id, name := range map[string]string{"6f0Qz1mWq0aR8tYv3nB2cA": "Ada’s phone", "9bN3rM6CyK8iW2fXz4eUtA": "حاسوب العمل 💻"} {
		if err := s.sessions.SetMeta(t.Context(), "ada", id, map[string]string{sessionui.MetaName: name}); err != nil {
			t.Fatal(err)
		}
	}
	s.exec("UPDATE user_sessions SET last_ip = '198.51.100.7', last_user_agent = ? WHERE id = '2kT9xP7LhJ4uE5gSd1oVwQ'", android)
	s.add(device{user: "ada", ip: "192.0.2.60", agent: "okhttp/4.12.0", signedIn: 40 * 24 * time.Hour, seen: 2 * time.Hour})
	s.add(device{user: "ada", ip: "192.0.2.61", agent: strings.Replace(android, "Mobile ", "", 1), signedIn: 60 * 24 * time.Hour, seen: 26 * time.Hour})
	s.add(device{user: "ada", agent: chromeMac, signedIn: 9 * time.Hour, ended: 2 * time.Hour, by: "ada", reason: usersession.ReasonPasswordChanged})
	looks, tags := map[string]look{"phone": {agent: firefox, width: phoneWidth}}, []string{"ar", "de"}
	if *gallery != "" {
		tags = append(tags, "fr", "es", "ja")
		looks["laptop"] = look{agent: firefox}
		looks["dark phone"] = look{agent: firefox, width: phoneWidth, dark: true}
		looks["dark laptop"] = look{agent: firefox, dark: true}
	}
	for name, l := range looks {
		for _, user := range []string{"ada", "admin"} {
			l.language = "en"
			p := s.open(browser, l)
			p.login(user)
			for _, tag := range tags {
				l.language = tag
				p.speak(l)
				paths := map[string]string{"account": "/devices/", "confirm": "/devices/sessions/2kT9xP7LhJ4uE5gSd1oVwQ/revoke"}
				if user == "admin" {
					paths = map[string]string{"admin": "/admin/sessions/"}
				}
				if *gallery != "" && user == "ada" {
					paths["rename"] = "/devices/sessions/6f0Qz1mWq0aR8tYv3nB2cA/name"
				} else if *gallery != "" {
					paths["detail"] = "/admin/sessions/sessions/Ap5sD0vGqL7jH1kOw8nRzg?user=ada"
					paths["preview"] = "/admin/sessions/revoke?everyone=true"
				}
				for page, path := range paths {
					p.visit(path)
					if got := eval[string](p, "document.documentElement.lang + ' ' + getComputedStyle(document.body).direction"); got != tag+" "+map[bool]string{true: "rtl", false: "ltr"}[tag == "ar"] {
						t.Errorf("%s in %s: %s", path, tag, got)
					}
					p.wantNoOverflow()
					if tag == "ar" {
						eval[struct{}](p, string(script)+";0")
						for _, found := range eval[[]string](p, runAxe) {
							t.Error(found)
						}
					}
					if *gallery != "" {
						p.keep(*gallery, tag+" "+page+" "+name)
					}
				}
			}
		}
	}
}
