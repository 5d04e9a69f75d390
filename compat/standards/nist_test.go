package standards

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

func TestNIST_63B_5_1_no_1_EstablishedAtLogin(t *testing.T) {
	meets(t, "NIST 63B 5.1 no. 1", "SHALL", byDefault, "the secret is established during the authentication or right after it, by the server, and in answer to it")
	s := newSite(t)
	b := s.browser()
	b.post("/put", "key", "k", "value", "v")
	before := b.token()
	if token := b.login("alice"); token == before || token == "" {
		t.Error("the login has the token from before it")
	}
}

func TestNIST_63B_5_1_no_2_64Bits(t *testing.T) {
	meets(t, "NIST 63B 5.1 no. 2", "SHALL", byDefault, "the secret is random and has at least 64 bits. It has 256, of `crypto/rand`")
	token, err := base64.RawURLEncoding.DecodeString(newSite(t).browser().login("alice"))
	if err != nil || len(token)*8 != 256 {
		t.Errorf("%d bits, %v", len(token)*8, err)
	}
}

func TestNIST_63B_5_1_no_3_ErasedAtLogout(t *testing.T) {
	meets(t, "NIST 63B 5.1 no. 3", "SHALL", byDefault, "the browser erases the secret at the logout, and the server invalidates it")
	s := newSite(t)
	b := s.browser()
	token := b.login("alice")
	b.post("/logout")
	if b.token() != "" {
		t.Error("the browser has its token still")
	}
	s.wantUser(token, "")
}

func TestNIST_63B_5_1_no_4_ProtectedChannel(t *testing.T) {
	meets(t, "NIST 63B 5.1 no. 4", "SHALL", byDefault, "the secret goes over a protected channel only. Browsers send and take a Secure cookie over TLS alone")
	if c := newSite(t).cookies()["login"]; c == nil || !c.Secure {
		t.Errorf("the cookie is %v", c)
	}
}

func TestNIST_63B_5_1_no_5_TimesOut(t *testing.T) {
	meets(t, "NIST 63B 5.1 no. 5", "SHALL", byDefault, "the secret times out: after an hour without use and a day in all, which are the limits of AAL2. `Options.Preset` has those of AAL1, AAL2 or AAL3, and refuses options and logins that go beyond")
	newSite(t).asItSays()
	for level, want := range map[usersession.Level][2]time.Duration{
		usersession.AAL1: {30 * 24 * time.Hour, 0},
		usersession.AAL2: {24 * time.Hour, time.Hour},
		usersession.AAL3: {12 * time.Hour, 15 * time.Minute},
	} {
		s := newSite(t, func(o *usersession.Options) { o.Preset = level })
		if p := s.asItSays(); p.Lifetime != want[0] || p.IdleTimeout != want[1] || p.Meets != level || len(p.Deviations) > 0 {
			t.Errorf("%v has %v and %v, meets %v and deviates by %q", level, p.Lifetime, p.IdleTimeout, p.Meets, p.Deviations)
		}
		a := s.do("", func(ctx context.Context) {
			if err := s.m.Login(ctx, "alice", usersession.WithLifetime(want[0]+time.Second)); err == nil {
				t.Errorf("%v takes a login for longer", level)
			}
		})
		if a.cookie != nil {
			t.Errorf("the login that was refused has %v", a.cookie)
		}
		opts := s.opts
		opts.Lifetime = want[0] + time.Second
		if _, err := usersession.New(s.db, &opts); err == nil || !strings.Contains(err.Error(), "Options.Lifetime") {
			t.Errorf("%v with a longer lifetime: %v", level, err)
		}
	}
}

func TestNIST_63B_5_1_no_6_NotForIntermediaries(t *testing.T) {
	meets(t, "NIST 63B 5.1 no. 6", "SHALL", byApp("Cache-Control: no-store with each cookie; where TLS ends is for the program"), "nobody between the browser and the server has the secret")
	s := newSite(t)
	if a := s.browser().post("/login", "user", "alice"); a.header.Get("Cache-Control") != "no-store" || !strings.Contains(a.header.Get("Vary"), "Cookie") {
		t.Errorf("the headers are %v", a.header)
	}
}

func TestNIST_63B_5_1_NotPersistent(t *testing.T) {
	meets(t, "NIST 63B 5.1", "SHOULD NOT", byDefault, "the secret does not outlive a restart of the browser")
	for name, c := range newSite(t).cookies() {
		if name != "logout" && (c == nil || c.MaxAge != 0 || !c.Expires.IsZero()) {
			t.Errorf("%s: %v", name, c)
		}
	}
}

func TestNIST_63B_5_1_NoWebStorage(t *testing.T) {
	meets(t, "NIST 63B 5.1", "SHOULD NOT", byDefault, "the secret is in no web storage. No script can read it")
	s := newSite(t)
	b := s.browser()
	a := b.post("/login", "user", "alice")
	if a.cookie == nil || !a.cookie.HttpOnly || strings.Contains(a.body, b.token()) {
		t.Errorf("the cookie is %v", a.cookie)
	}
}

func TestNIST_63B_5_1_NoFallback(t *testing.T) {
	meets(t, "NIST 63B 5.1", "SHALL NOT", byDefault, "a session does not fall back to plain http. The browser has no cookie there")
	s := newSite(t)
	b := s.browser()
	b.login("alice")
	u := mustURL(t)
	u.Scheme = "http"
	if sent := b.Jar.Cookies(u); len(sent) > 0 {
		t.Errorf("over plain http the browser sends %v", sent)
	}
}

func TestNIST_63B_5_1_IdentifierInForms(t *testing.T) {
	meets(t, "NIST 63B 5.1", "SHALL", byOption("`SynchronizerToken` of the pages. A program has to bring one for its own forms, because `http.CrossOriginProtection` looks at headers"), "the content of a POST has an identifier of the session, which is verified")
	s := newSite(t)
	alice, mallory := s.browser(), s.browser()
	token := alice.login("alice")
	mallory.login("mallory")
	id := s.list("alice")[0].ID
	for name, form := range map[string][]string{"none": nil, "that of another session": {"csrf_token", mallory.csrf()}} {
		if a := alice.post("/devices/sessions/"+id+"/revoke", form...); a.status != http.StatusForbidden {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	s.wantUser(token, "alice")
	alice.post("/devices/sessions/"+id+"/revoke", "csrf_token", alice.csrf())
	s.wantUser(token, "")
}

func TestNIST_63B_5_1_LogOff(t *testing.T) {
	meets(t, "NIST 63B 5.1", "SHOULD", byApp("`Logout`, and a page that ends any session of the user"), "there is a logout that users reach at once")
	s := newSite(t)
	laptop, phone := s.browser(), s.browser()
	laptop.login("alice")
	left := phone.login("alice")
	laptop.post("/devices/revoke-others", "csrf_token", laptop.csrf())
	s.wantUser(left, "")
	laptop.post("/logout")
	laptop.want("")
}

func TestNIST_63B_5_1_1_no_1_Secure(t *testing.T) {
	meets(t, "NIST 63B 5.1.1 no. 1", "SHALL", byDefault, "the cookie is Secure")
	for name, c := range newSite(t).cookies() {
		if c == nil || !c.Secure {
			t.Errorf("%s: %v", name, c)
		}
	}
}

func TestNIST_63B_5_1_1_no_2_OneHost(t *testing.T) {
	meets(t, "NIST 63B 5.1.1 no. 2", "SHALL", byDefault, "as few hosts and paths as possible get the cookie: one host")
	for name, c := range newSite(t).cookies() {
		if c == nil || c.Domain != "" {
			t.Errorf("%s: %v", name, c)
		}
	}
}

func TestNIST_63B_5_1_1_no_3_HttpOnly(t *testing.T) {
	meets(t, "NIST 63B 5.1.1 no. 3", "SHOULD", byDefault, "the cookie is HttpOnly")
	for name, c := range newSite(t).cookies() {
		if c == nil || !c.HttpOnly {
			t.Errorf("%s: %v", name, c)
		}
	}
}

func TestNIST_63B_5_1_1_no_4_ExpiryIsNotReliedUpon(t *testing.T) {
	meets(t, "NIST 63B 5.1.1 no. 4", "SHALL NOT", byDefault, "the expiry of the cookie is near that of the session, and the session ends whatever the cookie says")
	s := newSite(t)
	c := s.do("", func(ctx context.Context) { s.ok(s.m.Login(ctx, "alice", usersession.WithPersistentCookie(true))) }).cookie
	if end := s.list("alice")[0].CreatedAt.Add(usersession.DefaultLifetime); c == nil || c.Expires.After(end.Add(2*time.Second)) || c.Expires.Before(end.Add(-time.Minute)) {
		t.Errorf("the cookie ends at %v, the session at %v", c.Expires, end)
	}
	s.pass(time.Hour)
	s.wantUser(c.Value, "")
}

func TestNIST_63B_5_1_1_no_5_HostPrefix(t *testing.T) {
	meets(t, "NIST 63B 5.1.1 no. 5", "SHOULD", byDefault, "the cookie has the prefix `__Host-` and Path=/")
	for name, c := range newSite(t).cookies() {
		if c == nil || !strings.HasPrefix(c.Name, "__Host-") || c.Path != "/" {
			t.Errorf("%s: %v", name, c)
		}
	}
}

func TestNIST_63B_5_1_1_no_6_SameSite(t *testing.T) {
	meets(t, "NIST 63B 5.1.1 no. 6", "SHOULD", byDefault, "SameSite of the cookie is Lax or Strict")
	for name, c := range newSite(t).cookies() {
		if c == nil || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("%s: %v", name, c)
		}
	}
}

func TestNIST_63B_5_1_1_no_7_Opaque(t *testing.T) {
	meets(t, "NIST 63B 5.1.1 no. 7", "SHALL NOT", byDefault, "the cookie is an opaque text without personal data")
	s := newSite(t)
	token := s.browser().login("alice@example.com")
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if s.ok(err); strings.Contains(token+string(raw), "alice") || len(token) != 43 {
		t.Errorf("%q", token)
	}
}

func TestNIST_63B_5_1_2_AccessTokens(t *testing.T) {
	meets(t, "NIST 63B 5.1.2", "SHALL NOT", byDefault, "an OAuth access token is not taken for the presence of a user")
	s := newSite(t)
	token := s.browser().login("alice")
	for _, bearer := range []string{token, "ya29.a0AfH6SM"} {
		if a := s.send("GET", "/account", "", "Authorization", "Bearer "+bearer); a.status != http.StatusUnauthorized {
			t.Errorf("%d", a.status)
		}
	}
}

func TestNIST_63B_5_2_BothTimeoutsEndTheSession(t *testing.T) {
	meets(t, "NIST 63B 5.2", "SHALL", byDefault, "a session ends when either timeout has passed, and use puts off the idle timeout alone")
	s := newSite(t, func(o *usersession.Options) { o.IdleTimeout, o.Lifetime = time.Hour, 3*time.Hour })
	token := s.browser().login("alice")
	for range 3 {
		s.pass(59 * time.Minute)
		s.wantUser(token, "alice")
	}
	s.pass(3 * time.Minute)
	s.wantUser(token, "")
	token = s.browser().login("alice")
	s.pass(time.Hour)
	s.wantUser(token, "")
}

func TestNIST_63B_5_2_ProofResetsBoth(t *testing.T) {
	meets(t, "NIST 63B 5.2", "SHALL", byOption("`Reauthenticate`"), "a repeated proof starts both timeouts again")
	s := newSite(t, func(o *usersession.Options) { o.IdleTimeout, o.Lifetime = time.Hour, 3*time.Hour })
	b := s.browser()
	b.login("alice")
	for range 3 {
		s.pass(59 * time.Minute)
		b.want("alice")
	}
	b.post("/reauth")
	for range 3 {
		s.pass(59 * time.Minute)
		b.want("alice")
	}
	s.pass(4 * time.Minute)
	b.want("")
}

func TestNIST_63B_5_2_LimitsAreDocumented(t *testing.T) {
	meets(t, "NIST 63B 5.2", "SHALL", byOption("`Policy`, which writes down what is in force, in words and as JSON"), "both limits are set and written down")
	s := newSite(t, func(o *usersession.Options) { o.Lifetime, o.IdleTimeout = 2*time.Hour, 20*time.Minute })
	form, err := json.Marshal(s.asItSays())
	s.ok(err)
	for _, want := range []string{`"lifetime_seconds":7200`, `"idle_timeout_seconds":1200`} {
		if !strings.Contains(string(form), want) {
			t.Errorf("%s is not in %s", want, form)
		}
	}
}

func TestNIST_63B_5_3_Monitoring(t *testing.T) {
	meets(t, "NIST 63B 5.3", "SHOULD", byApp("the address and the User-Agent of the login, events as they happen, and `RevokeSession` and `RequireFresh` to act on them"), "what looks like fraud during a session ends it or asks for a proof")
	s := newSite(t)
	token := s.browser().login("alice")
	s.do(token, func(ctx context.Context) {
		current, err := s.m.Current(ctx)
		if s.ok(err); current.IP.String() != "192.0.2.7" || current.Device() != "Firefox on Linux" {
			t.Errorf("%+v", current)
		}
		s.ok(s.m.RevokeSession(ctx, "alice", current.ID))
	})
	s.wantUser(token, "")
}
