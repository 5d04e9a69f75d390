package sessionui_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/sessionui"
)

type previewAnswer struct {
	Count, Sampled int
	Complete       bool
	MoreUsers      bool   `json:"more_users"`
	PreviewedAt    string `json:"previewed_at"`
	Users          []struct {
		UserID   string `json:"user_id"`
		Sessions int
	}
}

func preview(t *testing.T, b *browser, query string) previewAnswer {
	t.Helper()
	var p previewAnswer
	if err := json.Unmarshal([]byte(want(t, b.get("/admin/revoke?"+query, asJSON...), 200)), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPreviewReadsTheFirstOnly: the database counts, whatever the number.
func TestPreviewReadsTheFirstOnly(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	root := s.login("root", firefox)
	s.many(5000, "user")
	for _, tc := range []struct {
		query string
		count int
	}{
		{"everyone=true", 5001}, {"user_agent=BULK+AGENT", 5000}, {"everyone=true&except_current=true", 5000},
	} {
		s.spy.Take()
		body := want(t, root.get("/admin/revoke?"+tc.query), 200)
		calls := s.spy.Take()
		inOrder(t, body, fmt.Sprintf("%d,%03d sessions will be ended.", tc.count/1000, tc.count%1000), "the users of the first 2,000 sessions; there are others")
		read, counted := 0, 0
		for _, c := range calls {
			switch {
			case c.Prepare:
			case strings.Contains(c.Query, "COUNT(*)"):
				counted++
			case strings.Contains(c.Query, "ORDER BY id"):
				read++
			}
		}
		if read != 5 || counted != 1 { // 4 pages of 500, and one row to know that there are more
			t.Errorf("%s: %d pages read, %d counts; want 5 and 1", tc.query, read, counted)
		}
		p := preview(t, root, tc.query)
		if p.Count != tc.count || !p.Complete || p.Sampled != 2000 || !p.MoreUsers || len(p.Users) != 100 {
			t.Errorf("%s: %+v", tc.query, p)
		}
	}
}

// TestPreviewThatTakesTooLong: what could not be counted is not called a count.
func TestPreviewThatTakesTooLong(t *testing.T) {
	s := newSite(t, nil, nil, &sessionui.AdminOptions{SearchTimeout: time.Nanosecond})
	root := s.login("root", firefox)
	if p := preview(t, root, "everyone=true"); p.Complete || !p.MoreUsers {
		t.Errorf("%+v", p)
	}
	// Nor is anything done on a number that cannot be checked.
	want(t, root.post("/admin/revoke", url.Values{"everyone": {"true"}, "count": {"1"}, "reason": {"x"}}), 503)
	if len(s.live("root")) != 1 {
		t.Error("something is ended")
	}
}

func TestPreviewIsConfirmedOnce(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	root := s.login("root", firefox)
	for range 3 {
		s.login("ada", firefox)
	}
	form := hidden(want(t, root.get("/admin/revoke?user_agent=Firefox"), 200))
	form.Set("reason", "x")
	// Pressed twice at once, and again when it is done.
	answers := make([]*httptest.ResponseRecorder, 3)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			b := *root
			answers[i] = b.post("/admin/revoke", form)
		})
	}
	all.Wait()
	page := follow(t, answers[0], "/admin/revoke")
	finish(t, root, page)
	later := s.login("ada", firefox)
	for _, w := range append(answers, root.post("/admin/revoke", form)) {
		want(t, w, 303)
		if p := follow(t, w, "/admin/revoke"); p != page {
			t.Errorf("jobs %s and %s of one preview", page, p)
		}
	}
	if !s.live("ada")[later.id] {
		t.Error("a form that was sent again has ended a session that came later")
	}
	// Another preview is another job.
	form = hidden(want(t, root.get("/admin/revoke?user_agent=Firefox"), 200))
	form.Set("reason", "x")
	w := root.post("/admin/revoke", form)
	want(t, w, 303)
	if follow(t, w, "/admin/revoke") == page {
		t.Error("another preview got the same job")
	}
	finish(t, root, follow(t, w, "/admin/revoke"))
	if s.live("ada")[later.id] {
		t.Error("not ended")
	}
}

func TestPreviewGrowsOld(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	root := s.login("root", firefox)
	ada := s.login("ada", firefox)
	for _, tc := range []struct {
		name, at string
		status   int
	}{
		{"old", time.Now().Add(-16 * time.Minute).Format(time.RFC3339Nano), 409},
		{"no time", "yesterday", 409},
		{"recent", time.Now().Add(-14 * time.Minute).Format(time.RFC3339Nano), 303},
	} {
		w := root.post("/admin/revoke", url.Values{"user": {"ada"}, "count": {"1"}, "reason": {"x"}, "previewed_at": {tc.at}})
		body := want(t, w, tc.status)
		if tc.status == 409 {
			inOrder(t, body, "more than 15 minutes old", "1 session will be ended.")
			if !s.live("ada")[ada.id] {
				t.Fatalf("%s: something is ended", tc.name)
			}
		} else {
			finish(t, root, follow(t, w, "/admin/revoke"))
		}
	}
	if s.live("ada")[ada.id] {
		t.Error("not ended")
	}
}

// TestIncompleteNeedsMany: a client cannot do without the check of a small
// number by calling it incomplete.
func TestIncompleteNeedsMany(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	root := s.login("root", firefox)
	for range 14 {
		s.login("ada", firefox)
	}
	want(t, root.post("/admin/revoke", url.Values{"user": {"ada"}, "count": {"1"}, "reason": {"x"}, "complete": {"false"}}), 409)
	if len(s.live("ada")) != 14 {
		t.Error("something is ended")
	}
}
