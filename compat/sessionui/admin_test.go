package sessionui_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

func TestAdminIsClosed(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	ada, nobody := s.login("ada", firefox), s.anonymous()
	for who, b := range map[string]*browser{"ada": ada, "nobody": nobody} {
		for _, target := range []string{"/admin/", "/admin/?user=ada", "/admin/sessions/" + ada.id + "?user=ada", "/admin/sessions/unknown?user=ada", "/admin/revoke", "/admin/revoke?everyone=true", "/admin/jobs", "/admin/jobs/x", "/admin/openapi.json", "/admin/nothing"} {
			html, j := b.get(target), b.get(target, asJSON...)
			if html.Code != 403 || j.Code != 403 {
				t.Errorf("%s GET %s: status %d and %d", who, target, html.Code, j.Code)
			}
			if strings.Contains(html.Body.String()+j.Body.String(), ada.id) {
				t.Errorf("%s GET %s says something", who, target)
			}
		}
		for target, form := range posts(s, ada) {
			if strings.HasPrefix(target, "/admin/") {
				want(t, b.post(target, form), 403)
			}
		}
	}
	if !s.live("ada")[ada.id] {
		t.Error("the session is ended")
	}
}

func TestAdminDenied(t *testing.T) {
	s := newSite(t, nil, nil, &sessionui.AdminOptions{Denied: http.RedirectHandler("/login", http.StatusSeeOther)})
	if to := follow(t, s.anonymous().get("/admin/"), "/admin/"); to != "/login" {
		t.Errorf("sent to %s", to)
	}
	want(t, s.anonymous().get("/admin/", asJSON...), 403)
}

type adminList struct {
	Sessions []usersession.UserSession `json:"sessions"`
	Next     string                    `json:"next"`
	Complete bool                      `json:"complete"`
}

func search(t *testing.T, b *browser, query string) adminList {
	t.Helper()
	var l adminList
	if err := json.Unmarshal([]byte(want(t, b.get("/admin/?"+query, asJSON...), 200)), &l); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAdminFilters(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	root := s.login("root", firefox, fromIP("192.0.2.1"))
	a := s.login("ada", firefox, fromIP("198.51.100.7"))
	b := s.login("ada", iphone, fromIP("198.51.100.200"))
	c := s.login("bob", chrome, fromIP("2001:db8::1"))
	s.shift(a.id, "created_at", 48*time.Hour)
	s.shift(b.id, "last_seen_at", 30*time.Minute)
	gone := s.login("bob", firefox)
	if err := s.m.RevokeSession(t.Context(), "bob", gone.id); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{root.id: "root", a.id: "a", b.id: "b", c.id: "c", gone.id: "gone"}
	ago := func(d time.Duration) string { return time.Now().UTC().Add(-d).Format("2006-01-02T15:04") }
	for _, tc := range []struct{ query, want string }{
		{"", "a b c root"},
		{"user=ada", "a b"},
		{"user=ada&user=bob", "a b c"},
		{"user=nobody", ""},
		{"user_agent=FIREFOX", "a root"},
		{"ip=198.51.100.0/24", "a b"},
		{"ip=198.51.100.7", "a"},
		{"ip=198.51.100.99/24", "a b"},
		{"ip=2001:db8::/32", "c"},
		{"created_before=" + ago(time.Hour), "a"},
		{"created_after=" + ago(time.Hour), "b c root"},
		{"created_before=" + time.Now().UTC().Add(-time.Hour).Format(time.RFC3339), "a"},
		{"created_after=" + time.Now().UTC().Add(-72*time.Hour).Format(time.DateOnly), "a b c root"},
		{"seen_before=" + ago(10*time.Minute), "b"},
		{"seen_after=" + ago(10*time.Minute), "a c root"},
		{"user=ada&ip=198.51.100.7&user_agent=linux&state=live", "a"},
		{"state=ended", "gone"},
		{"state=ended&user=ada", ""},
	} {
		t.Run(tc.query, func(t *testing.T) {
			found := make(map[string]bool)
			l := search(t, root, tc.query)
			for _, one := range l.Sessions {
				found[names[one.ID]] = true
			}
			var got []string
			for _, n := range []string{"a", "b", "c", "gone", "root"} {
				if found[n] {
					got = append(got, n)
				}
			}
			if strings.Join(got, " ") != tc.want || !l.Complete {
				t.Errorf("found %q, want %q", got, tc.want)
			}
			page := want(t, root.get("/admin/?"+tc.query), 200)
			for id, n := range names {
				if strings.Contains(page, id) != found[n] {
					t.Errorf("the page and the JSON differ about %s", n)
				}
			}
		})
	}
	for _, bad := range []string{"usr=ada", "ip=x", "ip=1.2.3.4/99", "seen_after=yesterday", "state=all", "limit=0", "limit=501", "limit=x", "ip=1.2.3.4&ip=1.2.3.5", "user=" + strings.Repeat("x", 256), "user=%ff", "after=x", "after=%00", "after=" + strings.Repeat("A", 23)} {
		want(t, root.get("/admin/?"+bad), 400)
		want(t, root.get("/admin/?"+bad, asJSON...), 400)
	}
}

func TestAdminPages(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	root := s.login("root", firefox)
	for i := range 23 {
		s.login(fmt.Sprintf("user%d", i%7), firefox)
	}
	seen := make(map[string]bool)
	query := url.Values{"limit": {"5"}, "user_agent": {"Firefox"}}
	sizes := ""
	for {
		l := search(t, root, query.Encode())
		sizes += fmt.Sprint(len(l.Sessions), " ")
		for _, one := range l.Sessions {
			if seen[one.ID] {
				t.Error("one session is on two pages")
			}
			seen[one.ID] = true
		}
		if l.Next == "" {
			break
		}
		query.Set("after", l.Next)
	}
	if len(seen) != 24 || sizes != "5 5 5 5 4 " {
		t.Errorf("%d of 24 sessions, pages of %s", len(seen), sizes)
	}
	// The same by clicking.
	page, clicks := "/admin/?limit=5&user_agent=Firefox", 0
	for page != "" {
		body := want(t, root.get(page), 200)
		page = ""
		for _, m := range linkPattern.FindAllStringSubmatch(body, -1) {
			if strings.Contains(m[1], "after=") {
				page, clicks = "/admin/"+strings.TrimPrefix(strings.ReplaceAll(m[1], "&amp;", "&"), "./"), clicks+1
			}
		}
	}
	if clicks != 4 {
		t.Errorf("%d clicks to the last page, want 4", clicks)
	}
}

// TestAdminPageReadsAPage: what a page shows is what it reads.
func TestAdminPageReadsAPage(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	root := s.login("root", firefox)
	s.many(700, "user")
	for _, tc := range []struct {
		query, limit, order string
	}{
		{"", "LIMIT 51", "In the order of their IDs"},
		{"limit=5&user_agent=BULK", "LIMIT 6", "In the order of their IDs"},
		{"user=user7", "LIMIT 51", "The last active come first."},
		{"state=ended", "LIMIT 51", ""},
	} {
		s.spy.Take()
		body := want(t, root.get("/admin/?"+tc.query), 200)
		if !strings.Contains(body, tc.order) {
			t.Errorf("%q: the page does not say %q", tc.query, tc.order)
		}
		var pages []string
		for _, c := range s.spy.Take() {
			if strings.Contains(c.Query, "ORDER BY id") && !c.Prepare {
				pages = append(pages, c.Query)
			}
		}
		if len(pages) != 1 || !strings.HasSuffix(pages[0], tc.limit) {
			t.Errorf("%q: read with\n%s\nwant one statement with %s", tc.query, strings.Join(pages, "\n"), tc.limit)
		}
	}
}

func TestAdminDetailOfOneOfMany(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	root := s.login("root", firefox)
	s.many(1202, "user") // of 601 users
	if _, err := s.db.Exec("UPDATE user_sessions SET user_id = 'ada', ended_at = created_at, reason = 'logout' WHERE user_id <> 'root'"); err != nil {
		t.Fatal(err)
	}
	s.spy.Take()
	for _, i := range []int{0, 600, 1201} {
		id := fmt.Sprintf("%022d", i)
		if body := want(t, root.get("/admin/sessions/"+id+"?user=ada"), 200); !strings.Contains(body, id) {
			t.Errorf("%s is not shown", id)
		}
	}
	pages := 0
	for _, c := range s.spy.Take() {
		if strings.Contains(c.Query, "ORDER BY id") && !c.Prepare {
			pages++
		}
	}
	if pages != 3 {
		t.Errorf("%d pages were read to find 3 sessions", pages)
	}
}

func TestAdminSearchTimeout(t *testing.T) {
	s := newSite(t, nil, nil, &sessionui.AdminOptions{SearchTimeout: time.Nanosecond})
	root := s.login("root", firefox)
	if l := search(t, root, "user_agent=Firefox"); l.Complete || len(l.Sessions) != 0 {
		t.Errorf("a search that was cut short is called complete: %+v", l)
	}
	if body := want(t, root.get("/admin/?user_agent=Firefox"), 200); !strings.Contains(body, "is not complete") {
		t.Error("the page does not say that the search was cut short")
	}
}

func TestAdminDetailAndRevokeOne(t *testing.T) {
	s := newSite(t, nil, nil, &sessionui.AdminOptions{Actor: func(r *http.Request) string { return "carol@ops" }})
	root := s.login("root", firefox)
	ada := s.login("ada", iphone, fromIP("198.51.100.7"), usersession.WithMethod("passkey"))
	page := "/admin/sessions/" + ada.id + "?user=ada"
	inOrder(t, want(t, root.get(page), 200), "Safari on iPhone", "ada", ada.id, "198.51.100.7", "iPhone OS 18_1", "auth_method", "passkey", "End this session")
	for _, target := range []string{"/admin/sessions/" + ada.id + "?user=bob", "/admin/sessions/" + ada.id, "/admin/sessions/AAAAAAAAAAAAAAAAAAAAAA?user=ada", "/admin/sessions/x?user=" + strings.Repeat("x", 300)} {
		want(t, root.get(target), 404)
		want(t, root.get(target, asJSON...), 404)
	}
	post := "/admin/sessions/" + ada.id + "/revoke"
	unknown := want(t, root.post("/admin/sessions/AAAAAAAAAAAAAAAAAAAAAA/revoke", url.Values{"user": {"ada"}}), 404)
	if foreign := want(t, root.post(post, url.Values{"user": {"bob"}}), 404); foreign != unknown {
		t.Error("foreign and unknown IDs do not answer alike")
	}
	w := root.post(post, url.Values{"user": {"ada"}, "reason": {"stolen\x1b[31m laptop\n2026 forged=line"}})
	want(t, w, 303)
	body := want(t, root.get(follow(t, w, post)), 200)
	inOrder(t, body, `role="status"`, "The session of Safari on iPhone is ended.", "carol@ops", "stolen[31m laptop 2026 forged=line")
	if strings.Contains(body, "End this session") {
		t.Error("an ended session can be ended")
	}
	want(t, ada.get(devices), 401)
	for one, err := range s.m.ListMatching(t.Context(), usersession.Filter{Ended: true}, usersession.Page{}) {
		if err != nil || one.EndedBy != "carol@ops" || one.Reason != "stolen[31m laptop 2026 forged=line" {
			t.Errorf("ended by %q for %q, %v", one.EndedBy, one.Reason, err)
		}
	}
	line := s.lastLog("sessionui: admin: end a session")
	for k, v := range map[string]string{"actor": "carol@ops", "user": "ada", "session": ada.id, "reason": "stolen[31m laptop 2026 forged=line"} {
		if line[k] != v {
			t.Errorf("log: %s is %v, want %q", k, line[k], v)
		}
	}
}

// lastLog returns the last line of the log with this message.
func (s *site) lastLog(message string) map[string]any {
	s.t.Helper()
	var found map[string]any
	for line := range strings.Lines(s.log.String()) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			s.t.Fatal(err)
		}
		if v["msg"] == message {
			found = v
		}
	}
	return found
}

func TestAdminWithoutASession(t *testing.T) {
	s := newSite(t, nil, nil, &sessionui.AdminOptions{
		Authorize: func(r *http.Request) bool { _, pw, _ := r.BasicAuth(); return pw == "secret" },
		Actor:     func(r *http.Request) string { name, _, _ := r.BasicAuth(); return name },
	})
	ada := s.login("ada", iphone)
	basic := []string{"Authorization", "Basic Y2Fyb2w6c2VjcmV0"}
	want(t, s.anonymous().get("/admin/"), 403)
	if body := want(t, s.anonymous().get("/admin/revoke?everyone=true", basic...), 200); strings.Contains(body, "Keep my own session") {
		t.Error("there is no session to keep")
	}
	want(t, s.anonymous().post("/admin/sessions/"+ada.id+"/revoke", url.Values{"user": {"ada"}}, basic...), 303)
	if s.live("ada")[ada.id] || s.lastLog("sessionui: admin: end a session")["actor"] != "carol" {
		t.Error("not ended by carol")
	}
}
