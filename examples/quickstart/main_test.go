package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// Every test runs on both kinds of DATABASE_URL.
func TestQuickstart(t *testing.T) {
	databases := []struct {
		name string
		url  func(*testing.T) string
	}{
		{"sqlite", func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "sessions.db") }},
		{"postgres", func(t *testing.T) string {
			return testserver.FreshPostgres(t, func(dsn string) (*sql.DB, error) { return sql.Open("postgres", dsn) })
		}},
	}
	tests := []struct {
		name string
		run  func(*testing.T, *app)
	}{
		{"two devices, one ends the other", testTwoDevices},
		{"somebody else's session", testForeign},
		{"a request in flight does not bring a session back", testInFlight},
		{"the counter counts", testCount},
		{"log out everywhere else", testRevokeOthers},
		{"admin", testAdmin},
		{"login and logout", testLogin},
		{"pages", testPages},
		{"posts of other sites", testCrossOrigin},
		{"nothing secret in answers and log", testNoSecrets},
	}
	log := captureLog(t)
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			db, err := openDB(t.Context(), d.url(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			s, err := newServer(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			for user, p := range s.users {
				if p.iterations != 600_000 || len(p.salt) < 16 || len(p.hash) != 32 {
					t.Errorf("%s has a password of %d iterations, %d bytes of salt, %d of hash", user, p.iterations, len(p.salt), len(p.hash))
				}
				s.users[user] = newPassword("demo", 1000) // the race detector makes the others slow
			}
			web := httptest.NewServer(s.routes())
			t.Cleanup(web.Close)
			for _, test := range tests {
				t.Run(test.name, func(t *testing.T) {
					for user := range s.users {
						if _, err := s.sessions.RevokeAllSessions(t.Context(), user); err != nil {
							t.Fatal(err)
						}
					}
					log.Reset()
					test.run(t, &app{url: web.URL, log: log})
				})
			}
		})
	}
}

func testTwoDevices(t *testing.T, a *app) {
	phone, laptop := a.login(t, "alice"), a.login(t, "alice")
	for _, b := range []*browser{phone, laptop} {
		list := b.sessions(t)
		if len(list) != 2 {
			t.Fatalf("a device sees %d sessions, want 2", len(list))
		}
		for _, s := range list {
			if want := s.ID == b.id(t); s.Current != want {
				t.Errorf("session %s: current is %v, want %v", s.ID, s.Current, want)
			}
		}
	}

	phoneID := phone.id(t)
	laptop.want(t, http.StatusNoContent, "POST", "/sessions/"+phoneID+"/revoke")
	phone.want(t, http.StatusUnauthorized, "GET", "/me")
	if list := laptop.sessions(t); len(list) != 1 || list[0].ID != laptop.id(t) {
		t.Errorf("the laptop sees %+v, want itself only", list)
	}
	a.wantLog(t, `"session ended" user=alice session=`+phoneID+` why=revoked by=alice`)
	laptop.want(t, http.StatusNotFound, "POST", "/sessions/"+phoneID+"/revoke")

	// Its own session, too: that is a logout.
	laptop.want(t, http.StatusNoContent, "POST", "/sessions/"+laptop.id(t)+"/revoke")
	laptop.want(t, http.StatusUnauthorized, "GET", "/sessions")
}

func testForeign(t *testing.T, a *app) {
	alice, bob := a.login(t, "alice"), a.login(t, "bob")
	foreign := bob.want(t, http.StatusNotFound, "POST", "/sessions/"+alice.id(t)+"/revoke")
	unknown := bob.want(t, http.StatusNotFound, "POST", "/sessions/AAAAAAAAAAAAAAAAAAAAAA/revoke")
	if foreign != unknown || foreign != `{"error":"not found"}` {
		t.Errorf("foreign: %s, unknown: %s, want one answer", foreign, unknown)
	}
	alice.want(t, http.StatusOK, "GET", "/me")
	if list := bob.sessions(t); len(list) != 1 || list[0].UserID != "bob" {
		t.Errorf("bob sees %+v", list)
	}
}

// The client sends the body only after the server has asked for it (100
// Continue), and the server asks when the handler parses the form: then the
// session is loaded, and not yet saved.
func testInFlight(t *testing.T, a *app) {
	phone, laptop := a.login(t, "alice"), a.login(t, "alice")
	id := phone.id(t)
	asked := false
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { asked = true }})
	body := readerFunc(func(p []byte) (int, error) {
		if !asked {
			t.Error("the body was sent before the handler asked for it")
		}
		laptop.want(t, http.StatusNoContent, "POST", "/sessions/"+id+"/revoke")
		return copy(p, "wait=1ms"), io.EOF
	})
	r, err := http.NewRequestWithContext(ctx, "POST", a.url+"/count", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Expect", "100-continue")
	if status, answer := phone.do(t, r); status != http.StatusUnauthorized || answer != `{"error":"nobody is logged in"}` {
		t.Errorf("count in flight: %d %s, want 401 and no count", status, answer)
	}
	phone.want(t, http.StatusUnauthorized, "GET", "/me")
	a.wantLog(t, `"session ended_meanwhile" user=alice session=`+id)
}

func testCount(t *testing.T, a *app) {
	a.browser(t).want(t, http.StatusUnauthorized, "POST", "/count")
	alice := a.login(t, "alice")
	alice.want(t, http.StatusMethodNotAllowed, "GET", "/count")
	for _, test := range []struct{ query, want string }{
		{"", `{"count":1}`},
		{"?wait=5ms", `{"count":2}`},
		{"?wait=-1h", `{"count":3}`},
		{"?wait=soon", `{"count":4}`},
	} {
		if got := alice.want(t, http.StatusOK, "POST", "/count"+test.query); got != test.want {
			t.Errorf("/count%s: %s, want %s", test.query, got, test.want)
		}
	}
	if got := a.login(t, "alice").want(t, http.StatusOK, "POST", "/count"); got != `{"count":1}` {
		t.Errorf("another session: %s, want a counter of its own", got)
	}
}

func testRevokeOthers(t *testing.T, a *app) {
	phone, tablet, laptop, bob := a.login(t, "alice"), a.login(t, "alice"), a.login(t, "alice"), a.login(t, "bob")
	for _, want := range []string{`{"revoked":2}`, `{"revoked":0}`} {
		if got := laptop.want(t, http.StatusOK, "POST", "/sessions/revoke-others"); got != want {
			t.Errorf("revoke-others: %s, want %s", got, want)
		}
	}
	phone.want(t, http.StatusUnauthorized, "GET", "/me")
	tablet.want(t, http.StatusUnauthorized, "GET", "/me")
	laptop.want(t, http.StatusOK, "GET", "/me")
	bob.want(t, http.StatusOK, "GET", "/me")
}

func testAdmin(t *testing.T, a *app) {
	const list, revoke = "/admin/users/alice/sessions", "/admin/users/alice/revoke"
	alice, bob := a.login(t, "alice"), a.login(t, "bob")
	a.login(t, "alice")

	admin := a.browser(t)
	for _, c := range []struct{ name, password string }{{}, {"admin", ""}, {"admin", "demo"}, {"alice", "demo"}} {
		admin.name, admin.password = c.name, c.password
		admin.want(t, http.StatusUnauthorized, "GET", list)
		admin.want(t, http.StatusUnauthorized, "POST", revoke)
	}
	alice.want(t, http.StatusUnauthorized, "GET", list)
	alice.want(t, http.StatusOK, "GET", "/me")

	admin.name, admin.password = "admin", "admin"
	if got := admin.list(t, list); len(got) != 2 || got[0].UserID != "alice" || got[0].Current || got[1].Current {
		t.Errorf("the admin sees %+v, want the two sessions of alice", got)
	}
	id := alice.id(t)
	if got := admin.want(t, http.StatusOK, "POST", revoke); got != `{"revoked":2}` {
		t.Errorf("revoke: %s, want 2", got)
	}
	alice.want(t, http.StatusUnauthorized, "GET", "/me")
	bob.want(t, http.StatusOK, "GET", "/me")
	a.wantLog(t, `"session ended" user=alice session=`+id+` why=revoked by=admin`)
	for _, path := range []string{list, "/admin/users/nobody/sessions"} {
		if got := admin.want(t, http.StatusOK, "GET", path); got != "[]" {
			t.Errorf("GET %s: %s, want []", path, got)
		}
	}
	admin.want(t, http.StatusNotFound, "GET", "/admin/users/"+strings.Repeat("a", 300)+"/sessions")

	admin.accept = "text/html"
	if page := admin.want(t, http.StatusOK, "GET", list); !strings.Contains(page, "development only") || !strings.Contains(page, `action="`+revoke+`"`) {
		t.Errorf("the admin's page lacks its warning or its button:\n%s", page)
	}
	if got := admin.want(t, http.StatusSeeOther, "POST", "/admin/users/a%20b%2Fc/revoke"); got != "/admin/users/a%20b%2Fc/sessions" {
		t.Errorf("after revoking: on to %s", got)
	}
}

func testLogin(t *testing.T, a *app) {
	for _, form := range []string{"", "user=alice&password=", "user=alice&password=Demo", "user=nobody&password=demo", "user=&password="} {
		b := a.browser(t)
		if got := b.want(t, http.StatusUnauthorized, "POST", "/login", form); got != `{"error":"wrong user or password"}` {
			t.Errorf("login %q: %s", form, got)
		}
		if len(b.cookies(t)) != 0 {
			t.Errorf("login %q set a cookie", form)
		}
	}
	// What stands in a URL ends up in logs.
	a.browser(t).want(t, http.StatusUnauthorized, "POST", "/login?user=alice&password=demo")
	a.browser(t).want(t, http.StatusUnauthorized, "POST", "/login", "user=alice&password=demo&x="+strings.Repeat("x", 1<<17))

	b := a.login(t, "alice")
	var me struct {
		User    string
		Session session
	}
	if err := json.Unmarshal([]byte(b.want(t, http.StatusOK, "GET", "/me")), &me); err != nil {
		t.Fatal(err)
	}
	if me.User != "alice" || me.Session.UserID != "alice" || !me.Session.Current || me.Session.IP != "127.0.0.1" || me.Session.Meta["auth_method"] != "password" {
		t.Errorf("me: %+v", me)
	}
	old := b.cookies(t)
	b.want(t, http.StatusNoContent, "POST", "/logout")
	if len(b.cookies(t)) != 0 {
		t.Error("logout did not clear the cookie")
	}
	b.want(t, http.StatusNoContent, "POST", "/logout") // once more is no error
	b.jar.SetCookies(b.base, old)
	b.want(t, http.StatusUnauthorized, "GET", "/me")
}

func testPages(t *testing.T, a *app) {
	b := a.browser(t)
	b.accept = "text/html,*/*;q=0.8"
	b.userAgent = `<script>alert("device")</script>` + "\u00ff'\""
	if page := b.want(t, http.StatusOK, "GET", "/login"); !strings.Contains(page, `name="password"`) {
		t.Errorf("no login form:\n%s", page)
	}
	if page := b.want(t, http.StatusUnauthorized, "GET", "/sessions"); !strings.Contains(page, `name="password"`) {
		t.Errorf("no login form for a stranger:\n%s", page)
	}
	if page := b.want(t, http.StatusUnauthorized, "POST", "/login", "user=alice&password=no"); !strings.Contains(page, "wrong user or password") {
		t.Errorf("a wrong password is not told:\n%s", page)
	}
	for _, step := range []struct{ method, path, form, next string }{
		{"GET", "/", "", "/sessions"},
		{"POST", "/login", "user=alice&password=demo", "/sessions"},
		{"POST", "/sessions/revoke-others", "", "/sessions"},
	} {
		if got := b.want(t, http.StatusSeeOther, step.method, step.path, step.form); got != step.next {
			t.Errorf("%s %s leads to %s, want %s", step.method, step.path, got, step.next)
		}
	}

	other := a.login(t, "alice")
	page := b.want(t, http.StatusOK, "GET", "/sessions")
	for _, want := range []string{
		"Your sessions", "127.0.0.1", "this device", "Log out everywhere else", "&lt;script&gt;",
		`action="/sessions/` + other.id(t) + `/revoke"`, `action="/sessions/revoke-others"`, `action="/logout"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "<script") {
		t.Errorf("the page has the User-Agent as markup:\n%s", page)
	}
	if n := strings.Count(page, "this device"); n != 1 {
		t.Errorf("%d of two sessions are this device", n)
	}
	if got := b.want(t, http.StatusSeeOther, "POST", "/sessions/"+other.id(t)+"/revoke"); got != "/sessions" {
		t.Errorf("revoking leads to %s", got)
	}
	other.want(t, http.StatusUnauthorized, "GET", "/me")
	if got := b.want(t, http.StatusSeeOther, "POST", "/logout"); got != "/login" {
		t.Errorf("logout leads to %s", got)
	}
}

func testCrossOrigin(t *testing.T, a *app) {
	b := a.login(t, "alice")
	for _, header := range []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site"} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", a.url+"/logout", nil)
		if err != nil {
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Set(name, value)
		if status, _ := b.do(t, r); status != http.StatusForbidden {
			t.Errorf("%s: %d, want 403", header, status)
		}
	}
	b.want(t, http.StatusOK, "GET", "/me")
	c := b.raw(t, "POST", "/login", "user=alice&password=demo").Header.Get("Set-Cookie")
	if !strings.Contains(c, "SameSite=Lax") || !strings.Contains(c, "HttpOnly") {
		t.Errorf("cookie %s: want SameSite=Lax and HttpOnly", c)
	}
}

func testNoSecrets(t *testing.T, a *app) {
	b := a.login(t, "alice")
	admin := a.browser(t)
	admin.name, admin.password = "admin", "admin"
	token := b.cookies(t)[0].Value
	shown := b.want(t, http.StatusOK, "GET", "/me") + b.want(t, http.StatusOK, "GET", "/sessions") +
		admin.want(t, http.StatusOK, "GET", "/admin/users/alice/sessions")
	b.accept = "text/html"
	shown += b.want(t, http.StatusOK, "GET", "/sessions")
	b.want(t, http.StatusSeeOther, "POST", "/logout")
	shown += a.log.String()
	for _, secret := range []string{token, `"token"`, `"key"`, "session_key", "demo\""} {
		if strings.Contains(shown, secret) {
			t.Errorf("%q is shown:\n%s", secret, shown)
		}
	}
}

// The program as a whole starts, and ends when it is told to.
func TestRun(t *testing.T) {
	log := captureLog(t)
	t.Setenv("ADDR", "127.0.0.1:0")
	t.Setenv("DATABASE_URL", "sqlite:"+filepath.Join(t.TempDir(), "sessions.db"))
	ctx, cancel := context.WithCancel(t.Context())
	log.onWrite = func(s string) {
		if strings.Contains(s, "log in as alice") {
			cancel()
		}
	}
	if err := run(ctx); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "development only") {
		t.Errorf("the log does not warn:\n%s", log)
	}
	t.Setenv("DATABASE_URL", "sqlite::memory:")
	if err := run(t.Context()); err == nil || !strings.Contains(err.Error(), "SetMaxOpenConns") {
		t.Errorf("a memory database with a pool: %v", err)
	}
}
