package sessionui_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

const notMeURL = "https://example.com/not-me"

func ringKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

// notMe returns the handler of links of a site, which serves it from then on.
func (s *site) notMe(change func(*sessionui.NotMeOptions)) *sessionui.NotMeHandler {
	s.t.Helper()
	o := &sessionui.NotMeOptions{URL: notMeURL, Keys: [][]byte{ringKey(1)}, Logger: slog.New(slog.NewJSONHandler(s.log, nil))}
	if change != nil {
		change(o)
	}
	h, err := sessionui.NotMe(s.m, o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.handler = h
	return h
}

// about is the event of a login.
func (b *browser) about(user string) usersession.Event {
	return usersession.Event{Kind: usersession.EventNewDevice, UserID: user, SessionID: b.id, Time: time.Now()}
}

// answers returns how a link is answered, which is sent back by the form of its page.
func (s *site) answers(link string) (get, post int, pages string) {
	s.t.Helper()
	target := strings.TrimPrefix(link, "https://example.com")
	at, err := url.Parse(link)
	if err != nil {
		s.t.Fatal(err)
	}
	g := s.anonymous().get(target)
	p := s.anonymous().post("/not-me/", url.Values{"link": {at.Query().Get("link")}}, "Sec-Fetch-Site", "-", "Origin", "null")
	return g.Code, p.Code, g.Body.String() + p.Body.String()
}

func TestNotMe(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	before := s.login("ada", chrome)
	thief := s.login("ada", firefox)
	later, bob := s.login("ada", firefox), s.login("bob", firefox)
	for _, b := range []*browser{before, thief, later, bob} { // SQLite tells milliseconds
		s.shift(b.id, "created_at", map[*browser]time.Duration{before: 3 * time.Second, thief: 2 * time.Second, later: time.Second, bob: 0}[b])
	}
	h := s.notMe(func(o *sessionui.NotMeOptions) { o.PasswordURL = "/password" })
	link := h.Link(thief.about("ada"))
	if !strings.HasPrefix(link, notMeURL+"/?link=") || strings.Contains(link, thief.id) || len(link) > 300 {
		t.Errorf("the link is %q", link)
	}
	// Programs that look at mails follow links, and send HEAD.
	target := strings.TrimPrefix(link, "https://example.com")
	s.spy.Take()
	page := want(t, s.anonymous().get(target), 200)
	want(t, s.anonymous().do("HEAD", target, ""), 200)
	if n := len(s.live("ada", "bob")); n != 4 || !strings.Contains(page, "This was not me") {
		t.Fatalf("%d of 4 sessions after GET of\n%s", n, page)
	}
	w := s.anonymous().get(target)
	for name, value := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY"} {
		if got := w.Header().Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	token := strings.TrimPrefix(target, "/not-me/?link=")
	if !strings.Contains(page, `<form method="post" action="./"`) || !strings.Contains(page, `name="link" value="`+token+`"`) {
		t.Errorf("the form does not send the link back:\n%s", page)
	}
	var first string
	for range 2 { // it ends once, and says so twice
		done := want(t, s.anonymous().post("/not-me/", url.Values{"link": {token}}), 200)
		if first == "" {
			first = done
		}
		if done != first || !strings.Contains(done, "That device is signed out") || !strings.Contains(done, `href="/password"`) {
			t.Errorf("the answer:\n%s\nand first:\n%s", done, first)
		}
		if got := s.live("ada", "bob"); len(got) != 2 || !got[before.id] || !got[bob.id] {
			t.Fatalf("left are %v, want %s and %s", got, before.id, bob.id)
		}
	}
	if again := want(t, s.anonymous().get(target), 200); again != page {
		t.Errorf("the page of an ended session is another one:\n%s", again)
	}
	ended, err := s.m.ListEndedSessions(t.Context(), "ada", 9)
	if err != nil || len(ended) != 2 || ended[0].Reason != usersession.ReasonNotMe || ended[0].EndedBy != "ada" {
		t.Errorf("the ended sessions: %v, %v", ended, err)
	}
	if log := s.log.String(); !strings.Contains(log, "says that a login was not theirs") || strings.Contains(log, "ada") || strings.Contains(log, token) {
		t.Errorf("the log:\n%s", log)
	}
	s.login("ada", firefox) // who has made the account safe
	want(t, s.anonymous().post("/not-me/", url.Values{"link": {token}}), 200)
	if got := s.live("ada"); len(got) != 1 || !got[before.id] {
		t.Errorf("left by the link that is sent again are %v, want %s", got, before.id)
	}
}

// The thief has signed in again from the session before the link is followed. The row of
// the first one may be gone by then.
func TestNotMeRowGone(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	before, thief, later := s.login("ada", chrome), s.login("ada", firefox), s.login("ada", firefox)
	s.shift(before.id, "created_at", time.Hour)
	h := s.notMe(nil)
	link := h.Link(thief.about("ada"))
	if _, err := s.db.Exec("DELETE FROM user_sessions WHERE id = ?", thief.id); err != nil {
		t.Fatal(err)
	}
	if _, post, _ := s.answers(link); post != 200 {
		t.Errorf("status %d", post)
	}
	if got := s.live("ada"); len(got) != 1 || !got[before.id] {
		t.Errorf("left are %v, want %s without %s", got, before.id, later.id)
	}
}

func TestNotMeRefused(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	thief := s.login("ada", firefox)
	e := thief.about("ada")
	other := newSite(t, nil, nil, nil)
	made := func(on *site, change func(*sessionui.NotMeOptions)) string {
		t.Helper()
		link := on.notMe(change).Link(e)
		return notMeURL + link[strings.LastIndex(link, "/?"):]
	}
	good := made(s, nil)
	links := map[string]string{
		"without":          notMeURL + "/?link=",
		"rubbish":          notMeURL + "/?link=%00%ff",
		"too long":         good + strings.Repeat("A", 1<<12),
		"cut":              good[:len(good)-1],
		"longer":           good + "A",
		"of another key":   made(s, func(o *sessionui.NotMeOptions) { o.Keys = [][]byte{ringKey(2)} }),
		"of another site":  made(s, func(o *sessionui.NotMeOptions) { o.URL = "https://www.example.com/not-me" }),
		"of another index": made(otherTable(t), nil),
		"of a nanosecond":  made(other, func(o *sessionui.NotMeOptions) { o.LinkLifetime = 1 }),
	}
	for i := len(notMeURL + "/?link="); i < len(good); i += 7 {
		c := byte('A')
		if good[i] == c {
			c = 'B'
		}
		links[fmt.Sprintf("changed at %d", i)] = good[:i] + string(c) + good[i+1:]
	}
	s.notMe(nil)
	_, _, refusal := s.answers(links["without"])
	for name, link := range links {
		if get, post, pages := s.answers(link); get != 404 || post != 404 || pages != refusal {
			t.Errorf("a link %s: %d, %d, want 404 and the same page as others", name, get, post)
		}
	}
	if n := len(s.live("ada")); n != 1 {
		t.Fatal("a link that is not good has ended a session")
	}
	for _, method := range []string{"PUT", "DELETE"} {
		want(t, s.anonymous().do(method, "/not-me/", "", "Sec-Fetch-Site", "same-origin"), 405)
	}
	// The keys of a ring, the newest first.
	s.notMe(func(o *sessionui.NotMeOptions) { o.Keys = [][]byte{ringKey(3), ringKey(1)} })
	if get, post, _ := s.answers(good); get != 200 || post != 200 || len(s.live("ada")) != 0 {
		t.Errorf("a link of the key before: %d, %d", get, post)
	}
	for _, e := range []usersession.Event{{}, {UserID: "ada"}, {SessionID: thief.id}, {UserID: "ada", SessionID: "x"}} {
		if link := s.notMe(nil).Link(e); link != "" {
			t.Errorf("the link of %v is %q", e, link)
		}
	}
}

// otherTable is a site on another index.
func otherTable(t *testing.T) *site {
	t.Helper()
	s := newSite(t, nil, nil, nil)
	m, err := usersession.New(s.db, &usersession.Options{Index: usersession.IndexOptions{Table: "other_sessions"}})
	if err != nil {
		t.Fatal(err)
	}
	s.m = m
	return s
}

// Whatever the handler is asked, it loads no session of whoever asks.
func TestNotMeLoadsNoSession(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	ada := s.login("ada", firefox)
	s.notMe(nil)
	s.spy.Take()
	for _, ask := range []struct {
		method, path string
		want         int
	}{{"GET", "/not-me/", 404}, {"GET", "/not-me/style.css", 200}, {"GET", "/not-me/none", 404}, {"POST", "/not-me/none", 404}, {"POST", "/not-me", 404}, {"DELETE", "/not-me/", 405}, {"POST", "/not-me/style.css", 405}} {
		if w := ada.do(ask.method, ask.path, "", "Sec-Fetch-Site", "cross-site"); w.Code != ask.want {
			t.Errorf("%s %s: %d, want %d", ask.method, ask.path, w.Code, ask.want)
		}
	}
	if all := s.spy.Take(); len(all) > 0 {
		t.Errorf("%d statements: %v", len(all), all)
	}
}

// Whoever closes the page once the form is sent has said it all the same.
func TestNotMeClientHangsUp(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	thief := s.login("ada", firefox)
	link := s.notMe(nil).Link(thief.about("ada"))
	ctx, hangUp := context.WithCancel(t.Context())
	hangUp()
	form := url.Values{"link": {strings.TrimPrefix(link, notMeURL+"/?link=")}}
	s.anonymous().doContext(ctx, "POST", "/not-me/", form.Encode())
	if n := len(s.live("ada")); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// A Store that is down is a warning, and no success. Whoever is signed in with what ends
// is signed out.
func TestNotMePending(t *testing.T) {
	s := newSite(t, &faultyStore{}, nil, nil)
	thief := s.login("ada", firefox)
	h := s.notMe(nil)
	link := h.Link(thief.about("ada"))
	s.store.set(func(s *faultyStore) { s.failDelete = true })
	if get, post, pages := s.answers(link); get != 200 || post != 202 || !strings.Contains(pages, "being completed") || strings.Contains(pages, "That device is signed out, and") && strings.Contains(pages, `role="status"`) {
		t.Errorf("%d, %d:\n%s", get, post, pages)
	}
	s.store.set(func(s *faultyStore) { s.failDelete = false })
	if _, post, _ := s.answers(link); post != 200 || thief.cookie == nil {
		t.Errorf("once it is back: %d", post)
	}
	again := s.login("ada", firefox)
	s.handler = s.m.LoadAndSave(h)
	if again.post("/not-me/", url.Values{"link": {strings.TrimPrefix(h.Link(again.about("ada")), notMeURL+"/?link=")}}); again.cookie != nil {
		t.Error("who ends their own session keeps its cookie")
	}
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	s.handler = h
	if get, post, _ := s.answers(link); get != 200 || post != http.StatusServiceUnavailable {
		t.Errorf("without the index: %d, %d", get, post)
	}
}

func TestNotMeOptions(t *testing.T) {
	s := newSite(t, nil, nil, nil)
	for want, o := range map[string]*sessionui.NotMeOptions{
		`NotMeOptions.URL: ""`:                                          nil,
		`URL: "/not-me"`:                                                {URL: "/not-me"},
		`URL: "https://example.com/a/"`:                                 {URL: "https://example.com/a/"},
		`URL: "http://:8081/a"`:                                         {URL: "http://:8081/a"},
		`URL: "https://example.com//a"`:                                 {URL: "https://example.com//a"},
		`URL: "https://example.com/"`:                                   {URL: "https://example.com/"},
		"Keys: is empty: it needs a key of 32 bytes":                    {URL: notMeURL},
		"Keys: key 2 of 2 is not 32 random bytes":                       {Keys: [][]byte{ringKey(1), ringKey(0)}},
		"Keys: key 1 of 1 is not 32 random bytes":                       {Keys: [][]byte{[]byte("short")}},
		"LinkLifetime: must not be negative, is -1ns":                   {LinkLifetime: -1},
		`PasswordURL: "javascript:x" is neither a path nor an http URL`: {PasswordURL: "javascript:x"},
	} {
		if _, err := sessionui.NotMe(s.m, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	secret := "SECRETSECRETSECRETSECRETSECRET!!"
	if text := fmt.Sprintf("%v %+v %#v %s", sessionui.NotMeOptions{Keys: [][]byte{[]byte(secret)}}, &sessionui.NotMeOptions{Keys: [][]byte{[]byte(secret)}}, sessionui.NotMeOptions{Keys: [][]byte{[]byte(secret)}}, sessionui.NotMeOptions{}); strings.Contains(text, "SECRET") || strings.Contains(text, "83 69") || strings.Contains(text, "0x53") {
		t.Errorf("options print their keys: %s", text)
	}
}
