package standards

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

func TestWSTG_SESS_01_Schema(t *testing.T) {
	meets(t, "WSTG-SESS-01", "–", byDefault, "no change of a token makes another valid one: no bit, no letter, no shorter or longer one")
	s := newSite(t)
	token := s.browser().login("alice")
	s.wantUser(token, "alice")
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	var forged []string
	for i := range token {
		next := letters[(strings.IndexByte(letters, token[i])+4)%64] // the last letter has four bits
		forged = append(forged, token[:i]+string(next)+token[i+1:])
	}
	forged = append(forged, token[:42], token+"A", token+"=", " "+token, strings.ToLower(token), strings.ToUpper(token), strings.Repeat("A", 43), token+token)
	last := strings.IndexByte(letters, token[42]) // another spelling of the same bits
	forged = append(forged, token[:42]+string(letters[last^1]))
	for _, f := range forged {
		if a := s.send("GET", "/me", f); a.body != "" || a.status != http.StatusOK {
			t.Errorf("%q is taken for %q (%d)", f, a.body, a.status)
		}
	}
}

func TestWSTG_SESS_02_Attributes(t *testing.T) {
	meets(t, "WSTG-SESS-02", "–", byDefault, "the cookie has the prefix `__Host-`, Secure, HttpOnly, SameSite, no Domain, and no expiry unless the session is to be remembered")
	s := newSite(t)
	b := s.browser()
	got := b.post("/login", "user", "alice").header.Get("Set-Cookie")
	parts := strings.Split(got, "; ")
	slices.Sort(parts[1:])
	if want := "HttpOnly; Path=/; SameSite=Lax; Secure"; strings.Join(parts[1:], "; ") != want || !strings.HasPrefix(parts[0], "__Host-session=") {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestWSTG_SESS_03_Fixation(t *testing.T) {
	meets(t, "WSTG-SESS-03", "–", byDefault, "a token that an attacker has put into the browser is nobody's after the login, whether it was made up or fetched, also if the attacker keeps a request open meanwhile")
	s := newSite(t)
	fetched := s.browser()
	fetched.post("/put", "key", "cart", "value", "trap")
	for name, trap := range map[string]string{"made up": strings.Repeat("A", 43), "fetched": fetched.token()} {
		victim := s.browser()
		victim.plant(trap)
		s.do(trap, func(ctx context.Context) {
			if token := victim.login("alice"); token == trap {
				t.Errorf("%s: the login has the attacker's token", name)
			}
			s.m.Put(ctx, "late", "write")
		})
		s.wantUser(trap, "")
		victim.want("alice")
	}
}

func TestWSTG_SESS_04_Exposed(t *testing.T) {
	meets(t, "WSTG-SESS-04", "–", byDefault, "the token is sent over TLS, in Set-Cookie, never in a page, an address or a cache, and not by GET")
	s := newSite(t)
	b := s.browser()
	a := b.post("/login", "user", "alice")
	token := b.token()
	if a.header.Get("Cache-Control") != "no-store" || strings.Contains(a.body, token) || a.header.Get("Location") != "" {
		t.Errorf("the login: %v %s", a.header, a.body)
	}
	r := s.request("GET", "/me", "")
	r.URL.Scheme = "http"
	for _, c := range b.Jar.Cookies(r.URL) { // as a browser goes over plain http
		r.AddCookie(c)
	}
	if a := s.sent(r); a.body != "" {
		t.Errorf("over plain http the browser is %q", a.body)
	}
	if a := s.send("GET", "/me?"+cookieName+"="+token, ""); a.body != "" {
		t.Errorf("with the token in the address: %q", a.body)
	}
}

func TestWSTG_SESS_05_CSRF(t *testing.T) {
	meets(t, "WSTG-SESS-05", "–", byOption("`http.CrossOriginProtection`, which `sessionui` has built in"), "other sites cannot log a browser out, in, or in as somebody else")
	s := newSite(t)
	b := s.browser()
	token := b.login("alice")
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
		for _, path := range []string{"/logout", "/login?user=mallory", "/devices/revoke-others"} {
			if a := s.send("POST", path, token, header...); a.status != http.StatusForbidden || a.cookie != nil {
				t.Errorf("%s with %v: %d", path, header, a.status)
			}
		}
	}
	s.wantUser(token, "alice")
	s.wantSessions("mallory", 0)
}

func TestWSTG_SESS_06_Logout(t *testing.T) {
	meets(t, "WSTG-SESS-06", "–", byDefault, "a logout ends the session on the server. The old cookie is good for nothing, on no page, and a second logout changes nothing")
	s := newSite(t)
	b := s.browser()
	token := b.login("alice")
	phone := s.browser()
	phone.login("alice")
	b.post("/logout")
	for _, path := range []string{"/account", "/devices/", "/email", "/reauth"} {
		method := map[bool]string{true: "GET", false: "POST"}[path == "/account" || path == "/devices/"]
		if a := s.send(method, path, token, "Sec-Fetch-Site", "same-origin"); a.status != http.StatusUnauthorized {
			t.Errorf("%s with the old cookie: %d", path, a.status)
		}
	}
	s.send("POST", "/logout", token, "Sec-Fetch-Site", "same-origin")
	phone.want("alice")
	s.wantSessions("alice", 1)
}

func TestWSTG_SESS_07_Timeout(t *testing.T) {
	meets(t, "WSTG-SESS-07", "–", byDefault, "the server ends a session when it is idle or old, whatever the client does to its cookie")
	s := newSite(t)
	b := s.browser()
	token := b.login("alice")
	b.Jar.SetCookies(mustURL(t), []*http.Cookie{{Name: cookieName, Value: token, Path: "/", Secure: true, MaxAge: 1 << 30}})
	s.pass(usersession.DefaultIdleTimeout)
	b.want("")
	b.login("alice")
	s.pass(59 * time.Minute)
	b.want("alice")
}

func TestWSTG_SESS_08_Puzzling(t *testing.T) {
	meets(t, "WSTG-SESS-08", "–", byDefault, "no value that a program puts into a session makes it somebody's")
	s := newSite(t)
	for _, key := range []string{"user_id", "user", "UserID", "__usersession", "__rememberMe", "id", ""} {
		b := s.browser()
		b.post("/put", "key", key, "value", "admin")
		b.want("")
		if a := b.get("/account"); a.status != http.StatusUnauthorized {
			t.Errorf("%q: %d", key, a.status)
		}
	}
	s.wantSessions("admin", 0)
}

func TestWSTG_SESS_09_Hijacking(t *testing.T) {
	meets(t, "WSTG-SESS-09", "–", byApp("the prefix `__Host-` and Secure, which keep the cookie from plain http and other hosts; HSTS is for the program or its proxy"), "the cookie cannot be read from the network or overwritten from another host")
	s := newSite(t)
	b := s.browser()
	b.login("alice")
	for _, address := range []string{"http://shop.example/", "https://evil.shop.example/", "https://example/"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
		s.ok(err)
		if sent := b.Jar.Cookies(r.URL); len(sent) > 0 {
			t.Errorf("%s gets %v", address, sent)
		}
	}
}

func TestWSTG_SESS_10_NoJWT(t *testing.T) {
	meets(t, "WSTG-SESS-10", "–", byDefault, "there is no JSON Web Token. What looks like one is nobody's, with whatever algorithm")
	s := newSite(t)
	for _, jwt := range []string{"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZG1pbiJ9.AAAA"} {
		if a := s.send("GET", "/me", jwt); a.body != "" || a.status != http.StatusOK {
			t.Errorf("%d %q", a.status, a.body)
		}
	}
	if token := s.browser().login("alice"); strings.Contains(token, ".") {
		t.Errorf("the token is %q", token)
	}
}

func TestWSTG_SESS_11_ConcurrentSessions(t *testing.T) {
	meets(t, "WSTG-SESS-11", "–", byDefault, "the number of sessions is limited, also for logins at once, and the user sees and ends each")
	s := newSite(t, func(o *usersession.Options) { o.MaxSessions = 3 })
	var all sync.WaitGroup
	for range 12 {
		r := s.request("POST", "/login?user=alice", "", "Sec-Fetch-Site", "same-origin")
		all.Go(func() { s.h.ServeHTTP(httptest.NewRecorder(), r) })
	}
	all.Wait()
	s.wantSessions("alice", 3)
	for i, session := range s.list("alice") {
		s.ok(s.m.RevokeSession(t.Context(), "alice", session.ID))
		s.wantSessions("alice", 2-i)
	}
}
