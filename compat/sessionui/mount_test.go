package sessionui_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/seed-296ca7ab/usersession/sessionui"
)

var linkPattern = regexp.MustCompile(`(?:href|action)="([^"]*)"`)

func TestMounts(t *testing.T) {
	for _, tc := range []struct {
		name, at      string
		prefix        string
		strip         string
		outer, nested bool
	}{
		{name: "prefix", at: "/a/b/", prefix: "/a/b"},
		{name: "StripPrefix", at: "/a/b/", strip: "/a/b"},
		{name: "both", at: "/a/b/", strip: "/a", prefix: "/b"},
		{name: "root", at: "/"},
		{name: "a name of a route", at: "/sessions/", strip: "/sessions"},
		{name: "inside LoadAndSave", at: "/a/", prefix: "/a", outer: true},
		{name: "inside RequireUser", at: "/a/", prefix: "/a", outer: true, nested: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSite(t, nil, nil, nil)
			for _, kind := range []string{"account", "admin"} {
				var h http.Handler
				var err error
				if kind == "account" {
					h, err = sessionui.Account(s.m, &sessionui.AccountOptions{Prefix: tc.prefix})
				} else {
					h, err = sessionui.Admin(s.m, &sessionui.AdminOptions{Prefix: tc.prefix, Authorize: isAdmin(s.m), Logger: slog.New(slog.DiscardHandler)})
				}
				if err != nil {
					t.Fatal(err)
				}
				if tc.strip != "" {
					h = http.StripPrefix(tc.strip, h)
				}
				if tc.nested {
					h = s.m.RequireUser(h)
				}
				mux := http.NewServeMux()
				mux.Handle(tc.at, h)
				s.handler = mux
				if tc.outer {
					s.handler = s.m.LoadAndSave(mux)
				}
				crawl(t, s, tc.at, kind == "account")
			}
		})
	}
}

// crawl follows every link from the mount on, and looks at every form's target.
func crawl(t *testing.T, s *site, at string, account bool) {
	t.Helper()
	me := s.login("root", firefox)
	other := s.login("root", iphone)
	todo, seen, css := []string{at}, map[string]bool{at: true}, false
	if account { // what only a login that is not fresh links to
		todo = append(todo, at+"revoke-others", at+"sessions/"+other.id+"/revoke")
		seen[todo[1]], seen[todo[2]] = true, true
	}
	for len(todo) > 0 {
		page := todo[0]
		todo = todo[1:]
		w := me.get(page)
		if w.Code == 303 {
			continue
		}
		body := want(t, w, 200)
		css = css || strings.Contains(page, "style.css")
		base, err := url.Parse("http://example.com" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range linkPattern.FindAllStringSubmatch(body, -1) {
			to, err := base.Parse(strings.ReplaceAll(m[1], "&amp;", "&"))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(to.Path, at) {
				t.Errorf("%s links to %s, outside of %s", page, to.Path, at)
			}
			if m[1] != "" && m[1][0] == '/' {
				t.Errorf("%s: %q is not relative", page, m[1])
			}
			next := to.RequestURI()
			if strings.HasPrefix(m[0], "action") {
				// A POST that is refused, but not because nothing is there.
				if code := me.post(to.Path, nil, "Sec-Fetch-Site", "cross-site").Code; code != 403 && code != 405 {
					t.Errorf("%s: form to %s: status %d", page, to.Path, code)
				}
				if code := me.do("PUT", to.Path, "", "Sec-Fetch-Site", "same-origin").Code; code != 405 {
					t.Errorf("%s: no route for the form to %s: status %d", page, to.Path, code)
				}
				continue
			}
			if !seen[next] {
				seen[next] = true
				todo = append(todo, next)
			}
		}
	}
	if !css {
		t.Error("no page links to the style sheet")
	}
	if len(seen) < 4 {
		t.Errorf("only %d pages were found", len(seen))
	}
}

func TestMountWithoutSlash(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	me := s.login("ada", firefox)
	h, err := sessionui.Account(s.m, nil)
	if err != nil {
		t.Fatal(err)
	}
	// A router that removes the prefix and does not redirect.
	s.handler = http.StripPrefix("/a/devices", h)
	w := me.get("/a/devices?done=x")
	want(t, w, http.StatusTemporaryRedirect)
	if to := follow(t, w, "/a/devices"); to != "/a/devices/?done=x" {
		t.Errorf("sent to %s", to)
	}
	for _, path := range []string{"/a/devicesque", "/a/devices//", "/a/devices/./", "/a/devices/x/../", "/a/devices//evil.example/.."} {
		r := me.get(path)
		if r.Code != 404 || r.Header().Get("Location") != "" {
			t.Errorf("%s: status %d, Location %q", path, r.Code, r.Header().Get("Location"))
		}
	}
}

// TestMountedElsewhere wants an answer that says what is wrong, if a handler is not where
// its Prefix says, or if something else has removed that already.
func TestMountedElsewhere(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	h, err := sessionui.Account(s.m, &sessionui.AccountOptions{Prefix: "/devices"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path    string
		mounted http.Handler
	}{
		"elsewhere":     {"/sessions/", h},
		"removed twice": {"/devices/", http.StripPrefix("/devices", h)},
	} {
		s.handler = c.mounted
		if body := want(t, s.anonymous().get(c.path), 404); !strings.Contains(body, "the Prefix of these pages is /devices") {
			t.Errorf("%s: %q", name, body)
		}
	}
}

func TestApplicationHooksSeeTheOuterPath(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	var paths []string
	h, err := sessionui.Admin(s.m, &sessionui.AdminOptions{Authorize: func(r *http.Request) bool {
		paths = append(paths, r.URL.Path)
		return false
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.handler = http.StripPrefix("/x", h)
	want(t, s.anonymous().get("/x/jobs"), 403)
	if len(paths) != 1 || paths[0] != "/x/jobs" {
		t.Errorf("Authorize saw %q", paths)
	}
}

func TestWrongOptions(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	yes := func(*http.Request) bool { return true }
	account := func(o sessionui.AccountOptions) error { _, err := sessionui.Account(s.m, &o); return err }
	admin := func(o sessionui.AdminOptions) error { _, err := sessionui.Admin(s.m, &o); return err }
	broken := fstest.MapFS{"account.html": {Data: []byte("{{")}}
	for _, tc := range []struct {
		name string
		err  error
		want string
	}{
		{"Authorize", admin(sessionui.AdminOptions{}), "Authorize"},
		{"Prefix without slash", account(sessionui.AccountOptions{Prefix: "a"}), "Prefix"},
		{"Prefix with slash", admin(sessionui.AdminOptions{Authorize: yes, Prefix: "/a/"}), "Prefix"},
		{"IP", account(sessionui.AccountOptions{IP: "none"}), "IP"},
		{"FreshFor", account(sessionui.AccountOptions{FreshFor: -5}), "FreshFor"},
		{"ReauthenticateURL", account(sessionui.AccountOptions{ReauthenticateURL: "javascript:alert(1)"}), "ReauthenticateURL"},
		{"SignedOutURL", account(sessionui.AccountOptions{SignedOutURL: "//evil.example"}), "SignedOutURL"},
		{"TrustedOrigins", account(sessionui.AccountOptions{TrustedOrigins: []string{"app"}}), "TrustedOrigins"},
		{"Templates", account(sessionui.AccountOptions{Templates: broken}), "Templates"},
		{"SearchTimeout", admin(sessionui.AdminOptions{Authorize: yes, SearchTimeout: -1}), "SearchTimeout"},
	} {
		if tc.err == nil || !strings.Contains(tc.err.Error(), tc.want) || !strings.HasPrefix(tc.err.Error(), "sessionui: ") {
			t.Errorf("%s: error %v", tc.name, tc.err)
		}
	}
	if _, err := sessionui.Account(nil, nil); err == nil {
		t.Error("a nil Manager is accepted")
	}
	if _, err := sessionui.Admin(nil, nil); err == nil || !strings.Contains(err.Error(), "Authorize") || !strings.Contains(err.Error(), "Manager") {
		t.Errorf("not every error at once: %v", err)
	}
	if _, err := sessionui.Account(s.m, nil); err != nil {
		t.Error(err)
	}
}

func TestTemplatesReplacedOneByOne(t *testing.T) {
	own := fstest.MapFS{
		"confirm.html": {Data: []byte(`{{define "title"}}x{{end}}{{define "content"}}<p>Ours: {{with .One}}{{.Device}}{{end}}</p>{{end}}`)},
		"style.css":    {Data: []byte("body{}")},
	}
	s := newSite(t, nil, &sessionui.AccountOptions{Templates: own}, nil)
	me, other := s.login("ada", firefox), s.login("ada", iphone)
	if body := want(t, me.get(devices+"sessions/"+other.id+"/revoke"), 200); !strings.Contains(body, "<p>Ours: Safari on iPhone</p>") || !strings.Contains(body, "<!doctype html>") {
		t.Errorf("not replaced, or without the layout:\n%s", body)
	}
	if body := want(t, me.get(devices), 200); !strings.Contains(body, "Your devices") {
		t.Error("the other templates are gone")
	}
	if css := want(t, me.get(devices+"style.css"), 200); css != "body{}" {
		t.Errorf("style.css is %q", css)
	}
	if _, err := sessionui.Account(s.m, &sessionui.AccountOptions{Templates: brokenFS{}}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error %v", err)
	}
}

type brokenFS struct{}

func (brokenFS) Open(string) (fs.File, error) { return nil, fs.ErrPermission }

func TestLabels(t *testing.T) {
	german := map[string]string{
		"lang": "de", "account.title": "Ihre Geräte", "time.ago.minutes.other": "vor {n} Minuten",
		"account.signout.name": "{device} abmelden, zuletzt {when}", "device.on": "{browser} unter {system}",
	}
	s := newSite(t, nil, &sessionui.AccountOptions{Label: func(r *http.Request, key string) string {
		if strings.HasPrefix(r.Header.Get("Accept-Language"), "de") {
			return german[key]
		}
		return ""
	}}, nil)
	me, other := s.login("ada", firefox), s.login("ada", iphone)
	s.shift(other.id, "last_seen_at", 1000e9)
	body := want(t, me.get(devices, "Accept-Language", "de-AT"), 200)
	inOrder(t, body, `<html lang="de"`, "<h1>Ihre Geräte</h1>", "Firefox unter Linux", "Other devices", "vor 16 Minuten", `aria-label="Safari unter iPhone abmelden, zuletzt vor 16 Minuten"`)
	inOrder(t, want(t, me.get(devices), 200), `<html lang="en"`, "Your devices", "16 minutes ago")
}
