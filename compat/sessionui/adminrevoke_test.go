package sessionui_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/sessionui"
)

type jobAnswer struct {
	ID, State, Actor, Reason, Filter string
	Total, Revoked                   int
	Pending                          bool
}

// finish waits for a job: its page does, for a moment at a time.
func finish(t *testing.T, b *browser, page string) jobAnswer {
	t.Helper()
	for range 60 {
		var j jobAnswer
		if err := json.Unmarshal([]byte(want(t, b.get(page, asJSON...), 200)), &j); err != nil {
			t.Fatal(err)
		}
		if j.State != "running" {
			return j
		}
	}
	t.Fatal("the job does not finish")
	return jobAnswer{}
}

// hidden returns the fields of the form of a preview, as a browser sends them.
func hidden(body string) url.Values {
	form := url.Values{}
	for part := range strings.SplitSeq(body, "<input ") {
		tag, _, _ := strings.Cut(part, ">")
		attr := func(name string) string {
			_, rest, _ := strings.Cut(tag, name+`="`)
			value, _, _ := strings.Cut(rest, `"`)
			return value
		}
		if attr("type") == "hidden" || strings.Contains(tag, " checked") {
			form.Add(attr("name"), attr("value"))
		}
	}
	return form
}

func TestAdminRevokeMatching(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	root := s.login("root", firefox, fromIP("198.51.100.1"))
	inside := []*browser{s.login("ada", firefox, fromIP("198.51.100.7")), s.login("ada", iphone, fromIP("198.51.100.8")), s.login("bob", chrome, fromIP("198.51.100.9"))}
	outside := []*browser{s.login("ada", firefox, fromIP("192.0.2.7")), s.login("eve", firefox, fromIP("192.0.2.8"))}

	list := want(t, root.get("/admin/?ip=198.51.100.0/24"), 200)
	if !strings.Contains(list, `href="./revoke?ip=198.51.100.0%2F24"`) {
		t.Fatalf("no way to the preview:\n%s", list)
	}
	body := want(t, root.get("/admin/revoke?ip=198.51.100.0%2F24"), 200)
	inOrder(t, body, "4 sessions will be ended.", "198.51.100.0/24", "Keep my own session", "Whose they are")
	for _, row := range []string{"<bdi>ada</bdi></a></td><td>2</td>", "<bdi>bob</bdi></a></td><td>1</td>", "<bdi>root</bdi></a></td><td>1</td>"} {
		if !strings.Contains(body, row) {
			t.Errorf("the preview does not say whom: %s", row)
		}
	}
	form := hidden(body)
	if form.Get("except_current") != "true" || form.Get("count") != "4" {
		t.Fatalf("form %v", form)
	}
	// Without a reason nothing happens.
	if body := want(t, root.post("/admin/revoke", form), 400); !strings.Contains(body, "Please give a reason") || !strings.Contains(body, "3 sessions will be ended.") || !strings.Contains(body, " checked>") {
		t.Errorf("not the preview again:\n%s", body)
	}
	form.Set("reason", "case 12")
	w := root.post("/admin/revoke", form)
	want(t, w, 303)
	page := follow(t, w, "/admin/revoke")
	if j := finish(t, root, page); j.State != "done" || j.Revoked != 3 || j.Actor != "root" || j.Reason != "case 12" {
		t.Errorf("job %+v", j)
	}
	inOrder(t, want(t, root.get(page), 200), "Done", "3 of about 4 ended", "case 12")
	live := s.live("ada", "bob", "eve", "root")
	for _, b := range inside {
		if live[b.id] {
			t.Error("a session that matches is not ended")
		}
	}
	for _, b := range append(outside, root) {
		if !live[b.id] {
			t.Error("a session that does not match is ended")
		}
	}
	if line := s.lastLog("sessionui: admin: ended sessions"); line["actor"] != "root" || line["reason"] != "case 12" || line["count"] != 3.0 || !strings.Contains(fmt.Sprint(line["filter"]), "198.51.100.0") {
		t.Errorf("log %v", line)
	}
	if s.lastLog("sessionui: admin: end sessions") == nil {
		t.Error("the log does not say that it began")
	}
	inOrder(t, want(t, root.get("/admin/jobs"), 200), "Job of root", "Done")
}

func TestAdminRevokeAllOfAUser(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	root := s.login("root", firefox)
	s.login("ada", firefox)
	s.login("ada", iphone)
	bob := s.login("bob", firefox)
	if body := want(t, root.get("/admin/?user=ada"), 200); !strings.Contains(body, "Sign out this user everywhere") || !strings.Contains(body, `href="./revoke?user=ada"`) {
		t.Errorf("no way to end all of a user:\n%s", body)
	}
	w := root.post("/admin/revoke", url.Values{"user": {"ada"}, "count": {"2"}, "reason": {"left the company"}})
	want(t, w, 303)
	if j := finish(t, root, follow(t, w, "/admin/revoke")); j.State != "done" || j.Revoked != 2 {
		t.Errorf("job %+v", j)
	}
	if len(s.live("ada")) != 0 || !s.live("bob")[bob.id] {
		t.Error("not exactly all of ada's are ended")
	}
}

func TestAdminRevokeEveryone(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	root := s.login("root", firefox)
	for i := range 12 {
		s.login(fmt.Sprint("user", i%5), firefox)
	}
	body := want(t, root.get("/admin/revoke?everyone=true"), 200)
	inOrder(t, body, "13 sessions will be ended.", "This is everyone.", "Type the number 13 to confirm")
	form := hidden(body)
	if form.Has("count") {
		t.Fatal("the number is typed already")
	}
	form.Set("reason", "breach")
	for _, typed := range []string{"", "12", "14", "thirteen", "-13", "013"} {
		form.Set("count", typed)
		if body := want(t, root.post("/admin/revoke", form), 400); !strings.Contains(body, "The number does not match") || !strings.Contains(body, `value="breach"`) {
			t.Errorf("typed %q:\n%s", typed, body)
		}
	}
	if search(t, root, "").Sessions == nil || len(search(t, root, "").Sessions) != 13 {
		t.Fatal("something is ended")
	}
	form.Set("count", "13")
	w := root.post("/admin/revoke", form)
	want(t, w, 303)
	if j := finish(t, root, follow(t, w, "/admin/revoke")); j.State != "done" || j.Revoked != 12 {
		t.Errorf("job %+v", j)
	}
	if rest := search(t, root, "").Sessions; len(rest) != 1 || rest[0].ID != root.id || !rest[0].Current {
		t.Errorf("left: %v", rest)
	}
}

func TestAdminRevokeRefusals(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	root := s.login("root", firefox)
	for range 14 {
		s.login("ada", firefox)
	}
	for _, tc := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"no filter", `{"count":15,"reason":"x"}`, 400, "empty"},
		{"everyone is false", `{"count":15,"reason":"x","everyone":false}`, 400, "empty"},
		{"only except_current", `{"count":15,"reason":"x","except_current":true}`, 400, "empty"},
		{"misspelt filter", `{"count":15,"reason":"x","everyone":true,"usr":"ada"}`, 400, "filter"},
		{"ended ones", `{"count":15,"reason":"x","user":"ada","state":"ended"}`, 400, "filter"},
		{"a page only", `{"count":15,"reason":"x","user":"ada","after":"x"}`, 400, "filter"},
		{"no reason", `{"count":15,"user":"ada"}`, 400, "reason"},
		{"no count", `{"reason":"x","user":"ada"}`, 400, "count"},
		{"a count that is none", `{"count":"many","reason":"x","user":"ada"}`, 400, "count"},
		{"many more than in the preview", `{"count":1,"reason":"x","user":"ada"}`, 409, "changed"},
		{"bad user", `{"count":1,"reason":"x","user":"a\u0000"}`, 400, "filter"},
		{"no JSON", `{`, 400, "input"},
		{"nested", `{"user":{"a":1}}`, 400, "input"},
		{"too large", `{"user":"` + strings.Repeat("x", 70<<10) + `"}`, 413, "size"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := root.do("POST", "/admin/revoke", tc.body, "Content-Type", "application/json")
			if body := want(t, w, tc.status); !strings.Contains(body, `"code":"`+tc.code+`"`) {
				t.Errorf("answer %s", body)
			}
		})
	}
	for _, query := range []string{"", "state=ended", "user=ada&after=x", "usr=ada"} {
		want(t, root.get("/admin/revoke?"+query), 400)
	}
	if body := want(t, root.post("/admin/revoke", url.Values{"user": {"ada"}, "count": {"1"}, "reason": {"x"}}), 409); !strings.Contains(body, "14 sessions will be ended.") {
		t.Errorf("not the preview again:\n%s", body)
	}
	if len(s.live("ada")) != 14 {
		t.Error("something is ended")
	}
}

// held is a site whose revocations wait for release.
func held(t *testing.T, opts *sessionui.AdminOptions) (s *site, root *browser, release func()) {
	store := &faultyStore{gate: make(chan struct{})}
	s = newSite(t, store, nil, opts)
	return s, s.login("root", firefox), func() { close(store.gate) }
}

func TestJobSurvivesItsClient(t *testing.T) {
	s, root, release := held(t, nil)
	s.login("ada", firefox)
	ctx, hangUp := context.WithCancel(t.Context())
	form := url.Values{"user": {"ada"}, "user_agent": {"Firefox"}, "count": {"1"}, "reason": {"x"}}
	w := root.doContext(ctx, "POST", "/admin/revoke", form.Encode())
	want(t, w, 303)
	hangUp()
	page := follow(t, w, "/admin/revoke")
	body := want(t, root.get(page), 200)
	inOrder(t, body, `<meta http-equiv="refresh" content="2">`, "Running", "0 of about 1 ended", "<progress", `aria-label="Stop ending these sessions"`)
	if strings.Contains(want(t, root.get("/admin/jobs"), 200), "refresh") {
		t.Error("the list of jobs loads itself again")
	}
	release()
	if j := finish(t, root, page); j.State != "done" || j.Revoked != 1 {
		t.Errorf("job %+v", j)
	}
	if body := want(t, root.get(page), 200); strings.Contains(body, "http-equiv") || strings.Contains(body, "Stop") {
		t.Error("the page of a job that is done goes on")
	}
}

// maxRunning is how many jobs run at once.
const maxRunning = 4

func TestJobsAreBounded(t *testing.T) {
	s, root, release := held(t, nil)
	form := url.Values{"count": {"1"}, "reason": {"x"}}
	var pages []string
	for i := range maxRunning {
		user := "user" + strconv.Itoa(i)
		s.login(user, firefox)
		form.Set("user", user)
		w := root.post("/admin/revoke", form)
		want(t, w, 303)
		pages = append(pages, follow(t, w, "/admin/revoke"))
	}
	last := s.login("last", firefox)
	form.Set("user", "last")
	w := root.post("/admin/revoke", form)
	if body := want(t, w, 503); !strings.Contains(body, "Too many jobs") || w.Header().Get("Retry-After") == "" {
		t.Errorf("answer %s", body)
	}
	if !s.live("last")[last.id] {
		t.Error("it is ended all the same")
	}
	release()
	for _, p := range pages {
		finish(t, root, p)
	}
	want(t, root.post("/admin/revoke", form), 303)
}

func TestJobStops(t *testing.T) {
	for _, tc := range []struct {
		name string
		stop func(root *browser, page string, end context.CancelFunc)
	}{
		{"from its page", func(root *browser, page string, _ context.CancelFunc) { want(t, root.post(page+"/stop", nil), 303) }},
		{"with the program", func(_ *browser, _ string, end context.CancelFunc) { end() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			defer end()
			s, root, release := held(t, &sessionui.AdminOptions{Context: ctx})
			s.login("ada", firefox)
			w := root.post("/admin/revoke", url.Values{"user_agent": {"Firefox"}, "count": {"2"}, "except_current": {"1"}, "reason": {"x"}})
			want(t, w, 303)
			page := follow(t, w, "/admin/revoke")
			want(t, root.get(page), 200)
			tc.stop(root, page, end)
			release()
			if j := finish(t, root, page); j.State != "stopped" {
				t.Errorf("job %+v", j)
			}
			inOrder(t, want(t, root.get(page), 200), "Stopped")
		})
	}
}

func TestJobOfManyPages(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	root := s.login("root", firefox)
	s.many(1203, "user")
	kept := s.login("ada", iphone)
	body := want(t, root.get("/admin/revoke?user_agent=bulk"), 200)
	inOrder(t, body, "1,203 sessions will be ended.", "… and other users.")
	if n := strings.Count(body, "</td></tr>"); n != 100 {
		t.Errorf("the preview names %d users, want 100", n)
	}
	form := hidden(body)
	form.Set("reason", "x")
	w := root.post("/admin/revoke", form)
	want(t, w, http.StatusSeeOther)
	if j := finish(t, root, follow(t, w, "/admin/revoke")); j.State != "done" || j.Revoked != 1203 || j.Total != 1203 {
		t.Errorf("job %+v", j)
	}
	if l := search(t, root, ""); len(l.Sessions) != 2 || !s.live("ada")[kept.id] {
		t.Errorf("%d sessions are left", len(l.Sessions))
	}
}

// many writes rows as logins would.
func (s *site) many(n int, prefix string) {
	s.t.Helper()
	now := time.Now().UnixMicro()
	tx := s.db.MustBegin()
	defer tx.Rollback()
	for i := range n {
		tx.MustExec(`INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta)
			VALUES (?, ?, ?, ?, ?, ?, ?, '', 'bulk agent', '{}')`,
			fmt.Sprintf("%022d", i), fmt.Sprint(prefix, i%601), fmt.Sprint("key", i), now, now, now, now+int64(time.Hour/time.Microsecond))
	}
	if err := tx.Commit(); err != nil {
		s.t.Fatal(err)
	}
}
