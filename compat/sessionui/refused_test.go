package sessionui_test

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession/sessionui"
)

// TestLongMediaTypes wants a list of media types that nobody needs to cost nothing:
// it is as if it were not there.
func TestLongMediaTypes(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	me := s.login("root", firefox)
	long := strings.Repeat("text/x;q=0.1,", 1<<10) + "application/json"
	for _, target := range []string{devices, "/admin/"} {
		for name, c := range map[string]struct {
			headers []string
			json    bool
		}{
			"Accept":                {[]string{"Accept", "text/x;q=0.1,application/json"}, true},
			"long Accept":           {[]string{"Accept", long}, false},
			"long Accept, sends it": {[]string{"Accept", long, "Content-Type", "application/json"}, true},
			"long Content-Type":     {[]string{"Content-Type", "application/json;x=" + strings.Repeat("x", 1<<10)}, false},
		} {
			w := me.get(target, c.headers...)
			want(t, w, 200)
			if got := strings.HasPrefix(w.Header().Get("Content-Type"), "application/json"); got != c.json {
				t.Errorf("%s, %s: Content-Type %q", target, name, w.Header().Get("Content-Type"))
			}
		}
	}
	// Several lines are one list.
	r := httptest.NewRequest("GET", devices, nil)
	r.AddCookie(me.cookie)
	for range 4 {
		r.Header.Add("Accept", strings.Repeat("text/x,", 50)+"application/json")
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/html") {
		t.Errorf("four long lines: Content-Type %q", got)
	}
}

// TestIDsThatCannotBe wants no fault of the server, and no line in its log, for what
// anybody can write into an address.
func TestIDsThatCannotBe(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	root := s.login("root", firefox)
	for _, id := range []string{"é", "aé", "%FF", "%00", "x", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAé", "%F0%9F%98%80", strings.Repeat("é", 2000)} {
		for _, user := range []string{"root", "é", "%FF", ""} {
			for _, target := range []string{"/admin/sessions/" + id + "?user=" + user, devices + "sessions/" + id + "/revoke", "/admin/jobs/" + id} {
				if w := root.get(target); w.Code != 404 {
					t.Errorf("GET %.60s: status %d", target, w.Code)
				}
			}
			for target, form := range map[string]url.Values{
				"/admin/sessions/" + id + "/revoke":    {"user": {user}},
				devices + "sessions/" + id + "/revoke": nil,
				"/admin/jobs/" + id + "/stop":          nil,
			} {
				if w := root.post(target, form); w.Code != 404 {
					t.Errorf("POST %.60s: status %d", target, w.Code)
				}
			}
		}
	}
	for _, line := range strings.Split(s.log.String(), "\n") {
		// An attempt to end a session is in the log of the administrators, failed or not.
		if strings.Contains(line, `"ERROR"`) && !strings.Contains(line, "admin: end a session") {
			t.Errorf("the log has %s", line)
		}
	}
}

// TestPlainOriginOverTLS: without Sec-Fetch-Site the Origin decides, and one that is
// not https is another one, though the host is the same.
func TestPlainOriginOverTLS(t *testing.T) {
	for _, c := range []struct {
		origin, site string
		tls, refused bool
	}{
		{"http://example.com", "", true, true},
		{"ws://example.com", "", true, true},
		{"https://example.com", "", true, false},
		{"http://trusted.example.com", "", true, false},
		{"http://example.com", "", false, false},
		{"https://example.com", "same-origin", true, false},
	} {
		s := newSite(t, nil, &sessionui.AccountOptions{TrustedOrigins: []string{"http://trusted.example.com"}}, nil)
		me := s.login("ada", firefox)
		r := httptest.NewRequest("POST", devices+"sessions/"+me.id+"/revoke", nil)
		r.Header.Set("Origin", c.origin)
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		r.AddCookie(me.cookie)
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		if (w.Code == http.StatusForbidden) != c.refused {
			t.Errorf("Origin %s, TLS %v: status %d", c.origin, c.tls, w.Code)
		}
	}
}

// TestASVS_16_3_2_RefusalsAreLogged wants each refused authorization in the log.
func TestASVS_16_3_2_RefusalsAreLogged(t *testing.T) {
	s := newSite(t, nil, &sessionui.AccountOptions{SynchronizerToken: true}, nil)
	ada, other := s.login("ada", firefox), s.login("ada", iphone)
	s.shift(ada.id, "authenticated_at", sessionui.DefaultFreshFor)
	end := func(b *browser) string { return devices + "sessions/" + b.id + "/revoke" }
	for _, c := range []struct {
		name    string
		b       *browser
		method  string
		path    string
		message string
		key     string // of what else is in the line
		value   string
		headers []string
	}{
		{"somebody", ada, "GET", "/admin/", "admin: refused by Authorize", "user", "ada", nil},
		{"nobody", s.anonymous(), "GET", "/admin/jobs", "admin: refused by Authorize", "user", "", nil},
		{"a stale login", ada, "GET", end(other), "refused a stale login", "session", ada.id, nil},
		{"a form without its token", ada, "POST", end(ada), "refused a form without its token", "level", "WARN", nil},
		{"another origin", ada, "POST", end(ada), "refused a request of another origin", "level", "WARN", []string{"Sec-Fetch-Site", "cross-site"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(s.log.String())
			want(t, c.b.do(c.method, c.path+"?secret=1", "", c.headers...), http.StatusForbidden)
			var line map[string]any
			if err := json.Unmarshal([]byte(s.log.String()[before:]), &line); err != nil {
				t.Fatalf("the log has %q: %v", s.log.String()[before:], err)
			}
			if line["msg"] != "sessionui: "+c.message || line[c.key] != c.value || line["path"] != c.path {
				t.Errorf("the log has %v", line)
			}
		})
	}
}
