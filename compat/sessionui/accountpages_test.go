package sessionui_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// multiply adds n rows that are like that of a session.
func (s *site) multiply(id string, n int) {
	s.t.Helper()
	tx, err := s.db.Begin()
	if err != nil {
		s.t.Fatal(err)
	}
	defer tx.Rollback()
	for range n {
		var b [48]byte
		rand.Read(b[:])
		const rest = "user_id, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta"
		if _, err := tx.Exec("INSERT INTO user_sessions (id, session_key, "+rest+") SELECT ?, ?, "+rest+" FROM user_sessions WHERE id = ?",
			base64.RawURLEncoding.EncodeToString(b[:16]), base64.RawURLEncoding.EncodeToString(b[16:]), id); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		s.t.Fatal(err)
	}
}

type accountList struct {
	Sessions []struct {
		ID      string
		Current bool
	}
	Fresh bool
	Next  string
}

// TestAccountPages has a user with more sessions than anybody wants to look at: each
// page is one of 100, and all of them are all sessions.
func TestAccountPages(t *testing.T) {
	n := 250
	if depth.Full() {
		n = 5_000
	}
	s := newSite(t, nil, nil, nil)
	me, bob := s.login("ada", firefox), s.login("bob", iphone)
	s.multiply(me.id, n)
	s.shift(me.id, "last_seen_at", time.Minute)
	seen := map[string]bool{}
	target := devices
	for pages := 1; ; pages++ {
		var page accountList
		if err := json.Unmarshal([]byte(want(t, me.get(target, asJSON...), http.StatusOK)), &page); err != nil {
			t.Fatal(err)
		}
		if len(page.Sessions) == 0 || len(page.Sessions) > 101 || page.Sessions[0].ID != me.id || !page.Sessions[0].Current || !page.Fresh {
			t.Fatalf("page %d: %d sessions, fresh is %v, and the current one is not first", pages, len(page.Sessions), page.Fresh)
		}
		for _, one := range page.Sessions {
			if seen[one.ID] && one.ID != me.id {
				t.Errorf("page %d has a session of a page before", pages)
			}
			seen[one.ID] = true
		}
		if pages < 4 { // of HTML all are alike
			body := want(t, me.get(target), http.StatusOK)
			if got := strings.Contains(body, `?after=`+page.Next+`"`); got != (page.Next != "") {
				t.Errorf("page %d: the link to the next page is there: %v", pages, got)
			}
			if got := strings.Contains(body, "First page"); got != (pages > 1) {
				t.Errorf("page %d: the link to the first page is there: %v", pages, got)
			}
			inOrder(t, body, "This device", "Other devices", "Sign out everywhere else")
		}
		if target = devices + "?after=" + page.Next; page.Next == "" {
			break
		}
	}
	if len(seen) != n+1 || seen[bob.id] {
		t.Errorf("the pages have %d sessions, want %d", len(seen), n+1)
	}
	// Behind the last one there is nobody, which does not mean that there are no others.
	behind := want(t, me.get(devices+"?done=others&after=zzzzzzzzzzzzzzzzzzzzzw"), http.StatusOK)
	for _, wrong := range []string{"You are signed out everywhere else.", "You are not signed in anywhere else."} {
		if strings.Contains(behind, wrong) {
			t.Errorf("the page behind the last one says %q", wrong)
		}
	}
	for _, accept := range []string{"text/html", "application/json"} {
		if body := want(t, me.get(devices+"?after=x", "Accept", accept), http.StatusBadRequest); !strings.Contains(body, "There is no such page of the list.") {
			t.Errorf("an address that is none: %s", body)
		}
	}

	// Before they are all ended, the last active are shown.
	body := want(t, me.get(devices+"revoke-others"), http.StatusOK)
	if got := strings.Count(body, "<li>"); got != 101 || !strings.Contains(body, "… and all others.") {
		t.Errorf("%d items before all others are ended, want 100 and a word on the rest", got)
	}
	want(t, me.post(devices+"revoke-others", nil), http.StatusSeeOther)
	if live := s.live("ada"); len(live) != 1 || !live[me.id] {
		t.Errorf("%d sessions are left", len(live))
	}
}
