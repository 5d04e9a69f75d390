package standards

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession"
)

func TestRFC6265bis_4_1_1_Syntax(t *testing.T) {
	meets(t, "RFC6265bis 4.1.1", "SHOULD", byDefault, "name and value have letters that every browser takes as they are, and one response sets the cookie once")
	s := newSite(t)
	s.h = s.m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.m.Put(r.Context(), "k", "v")
		s.ok(s.m.Login(r.Context(), "alice"))
		s.ok(s.m.Reauthenticate(r.Context()))
		http.SetCookie(w, &http.Cookie{Name: cookieName, Value: "x", Path: "/", Secure: true})
	}))
	all := s.send("POST", "/", "").header.Values("Set-Cookie")
	if len(all) != 1 {
		t.Fatalf("the cookies are %q", all)
	}
	value, _, _ := strings.Cut(strings.TrimPrefix(all[0], cookieName+"="), ";")
	if strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		t.Errorf("the value is %q", value)
	}
}

func TestRFC6265bis_4_1_2_2_MaxAge(t *testing.T) {
	meets(t, "RFC6265bis 4.1.2.2", "MAY", byOption("`WithPersistentCookie`"), "a cookie that outlives the browser's window does not outlive its session")
	s := newSite(t)
	login := func(opts ...usersession.LoginOption) *http.Cookie {
		return s.do("", func(ctx context.Context) { s.ok(s.m.Login(ctx, "alice", opts...)) }).cookie
	}
	if c := login(); c.MaxAge != 0 || !c.Expires.IsZero() {
		t.Errorf("by default: %v", c)
	}
	if c := login(usersession.WithPersistentCookie(true), usersession.WithLifetime(90*time.Minute)); c.MaxAge > 90*60+1 || c.MaxAge < 89*60 {
		t.Errorf("Max-Age is %d", c.MaxAge)
	}
}

func TestRFC6265bis_4_1_2_3_NoDomain(t *testing.T) {
	meets(t, "RFC6265bis 4.1.2.3", "SHOULD", byDefault, "there is no Domain, so that no other host gets the cookie")
	if c := newSite(t).cookies()["login"]; c == nil || c.Domain != "" {
		t.Errorf("%v", c)
	}
}

func TestRFC6265bis_4_1_2_4_Path(t *testing.T) {
	meets(t, "RFC6265bis 4.1.2.4", "MUST", byDefault, "Path is /, and nothing relies on it for security")
	if c := newSite(t).cookies()["login"]; c == nil || c.Path != "/" {
		t.Errorf("%v", c)
	}
}

func TestRFC6265bis_4_1_2_7_SameSite(t *testing.T) {
	meets(t, "RFC6265bis 4.1.2.7", "SHOULD", byDefault, "SameSite is said and not left to the browser. None without Secure is refused by `New`")
	if c := newSite(t).cookies()["login"]; c == nil || c.SameSite != http.SameSiteLaxMode {
		t.Errorf("%v", c)
	}
	refused(t, func(sm *scs.SessionManager) { sm.Cookie.SameSite = http.SameSiteNoneMode })
}

// refused fails the test if New takes a cookie.
func refused(t *testing.T, change func(*scs.SessionManager)) {
	t.Helper()
	s := newSite(t)
	sm := scs.New()
	change(sm)
	if _, err := usersession.New(s.db, &usersession.Options{SCS: sm}); err == nil || !strings.Contains(err.Error(), "6265bis") {
		t.Errorf("New: %v", err)
	}
}

func TestRFC6265bis_4_1_3_1_SecurePrefix(t *testing.T) {
	meets(t, "RFC6265bis 4.1.3.1", "MUST", byDefault, "a cookie with the prefix `__Secure-` is Secure, in every spelling that a browser knows. `New` refuses another")
	for _, name := range []string{"__Secure-session", "__secure-session", "__SECURE-session"} {
		refused(t, func(sm *scs.SessionManager) { sm.Cookie.Name = name })
	}
}

func TestRFC6265bis_4_1_3_2_HostPrefix(t *testing.T) {
	meets(t, "RFC6265bis 4.1.3.2", "MUST", byDefault, "a cookie with the prefix `__Host-` is Secure, has Path=/ and no Domain, in every spelling. `New` refuses another, which browsers would drop")
	for _, name := range []string{"__Host-session", "__host-session", "__HOST-session"} {
		refused(t, func(sm *scs.SessionManager) { sm.Cookie.Name = name })
		refused(t, func(sm *scs.SessionManager) { sm.Cookie.Name, sm.Cookie.Secure, sm.Cookie.Path = name, true, "/app" })
		refused(t, func(sm *scs.SessionManager) {
			sm.Cookie.Name, sm.Cookie.Secure, sm.Cookie.Domain = name, true, "shop.example"
		})
	}
}

func TestRFC6265bis_5_5_LifetimeLimit(t *testing.T) {
	meets(t, "RFC6265bis 5.5", "SHOULD", byDefault, "browsers keep no cookie longer than 400 days. The session ends at its own time, whatever the cookie says")
	s := newSite(t)
	c := s.do("", func(ctx context.Context) {
		s.ok(s.m.Login(ctx, "alice", usersession.WithPersistentCookie(true), usersession.WithLifetime(500*24*time.Hour), usersession.WithIdleTimeout(usersession.NoIdleTimeout)))
	}).cookie
	s.pass(499 * 24 * time.Hour)
	s.wantUser(c.Value, "alice")
	s.pass(24 * time.Hour)
	s.wantUser(c.Value, "")
}

func TestRFC6265bis_6_1_Limits(t *testing.T) {
	meets(t, "RFC6265bis 6.1", "SHOULD", byDefault, "there is one cookie, and it is small. Data do not make it larger")
	s := newSite(t)
	b := s.browser()
	b.post("/put", "key", "k", "value", strings.Repeat("x", 10_000))
	a := b.post("/login", "user", "alice")
	if all := a.header.Values("Set-Cookie"); len(all) != 1 || len(all[0]) > 150 {
		t.Errorf("the cookies are %q", all)
	}
}

func TestRFC6265bis_8_4_SessionIdentifiers(t *testing.T) {
	meets(t, "RFC6265bis 8.4", "SHOULD", byDefault, "the cookie is a random identifier, and a new one at the login, so that one that an attacker has planted is worth nothing")
	s := newSite(t)
	attacker, victim := s.browser(), s.browser()
	attacker.post("/put", "key", "k", "value", "v")
	victim.plant(attacker.token())
	victim.login("alice")
	attacker.want("")
	victim.want("alice")
}

func TestRFC6265bis_8_6_SeveralCookies(t *testing.T) {
	meets(t, "RFC6265bis 8.6", "–", byDefault, "of several cookies of the name, a dead or a forged one does not hide the good one, and a logout ends the sessions of all")
	s := newSite(t)
	b := s.browser()
	good := b.login("alice")
	gone := s.browser().login("alice")
	s.send("POST", "/logout", gone, "Sec-Fetch-Site", "same-origin")
	s.wantUser(gone, "")
	for _, header := range []string{
		cookieName + "=" + gone + "; " + cookieName + "=" + good,
		cookieName + "=forged; " + cookieName + "=" + good,
		cookieName + "=" + strings.Repeat("A", 43) + "; " + cookieName + "=" + good,
	} {
		if a := s.send("GET", "/me", "", "Cookie", header); a.body != "alice" {
			t.Errorf("the browser is %q", a.body)
		}
	}
	second := s.browser().login("bob")
	s.send("POST", "/logout", "", "Cookie", cookieName+"="+good+"; "+cookieName+"="+second, "Sec-Fetch-Site", "same-origin")
	s.wantUser(good, "")
	s.wantUser(second, "")
}
