package database_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

// TestNotMeLaggingReplica has a replica that knows of no session yet. The link in a mail
// ends what began with the session, and nothing that began before.
func TestNotMeLaggingReplica(t *testing.T) {
	open := opendb.Pq(t)
	db, late := open(t), open(t)
	opendb.Migrated(t, late, &usersession.Options{})
	m := opendb.Migrated(t, db, &usersession.Options{Index: usersession.IndexOptions{ReadReplica: late}})
	before, thief, after := &client{m: m}, &client{m: m}, &client{m: m}
	before.login(t, "alice")
	id := thief.login(t, "alice")
	after.login(t, "alice")
	h, err := sessionui.NotMe(m, &sessionui.NotMeOptions{URL: "https://example.test/not-me", Keys: [][]byte{bytes.Repeat([]byte{1}, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	link := h.Link(usersession.Event{UserID: "alice", SessionID: id, Time: time.Now()})
	_, sealed, _ := strings.Cut(link, "?link=")
	r := httptest.NewRequest(http.MethodPost, "https://example.test/not-me/", strings.NewReader(url.Values{"link": {sealed}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, c := range []struct {
		of   *client
		want string
	}{{before, "alice"}, {thief, ""}, {after, ""}} {
		got := "not served"
		c.of.do(t, func(ctx context.Context) { got = m.UserID(ctx) })
		if got != c.want {
			t.Errorf("a session is of %q, want %q", got, c.want)
		}
	}
}
