package standards

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
)

// asItSays ends sessions as Policy says that they end, and returns it.
func (s *site) asItSays() usersession.Policy {
	s.Helper()
	p := s.m.Policy()
	step := p.Lifetime / 20
	if p.IdleTimeout != 0 {
		token := s.browser().login("alice")
		s.pass(p.IdleTimeout - time.Minute)
		s.wantUser(token, "alice")
		s.pass(p.IdleTimeout)
		s.wantUser(token, "")
		step = min(step, p.IdleTimeout-time.Minute)
	}
	token := s.browser().login("alice")
	for left := p.Lifetime; left > 0; left -= step {
		s.wantUser(token, "alice")
		s.pass(min(step, left))
	}
	s.wantUser(token, "")
	return p
}

func TestASVS_7_1_1_TheLimitsAreNamed(t *testing.T) {
	meets(t, "ASVS 7.1.1", "2", byApp("`Policy`, which says what is in force, and where that is more than NIST 800-63B-4 has for AAL2 or for `Options.Preset`. The reasons are for the program to write. `New` refuses limits that are none"), "the idle timeout and the lifetime are documented, and why they differ from NIST 800-63B")
	for _, c := range []struct {
		lifetime, idle time.Duration
		meets          usersession.Level
		deviates       []string
	}{
		{0, 0, usersession.AAL2, nil},
		{12 * time.Hour, 15 * time.Minute, usersession.AAL3, nil},
		{48 * time.Hour, 2 * time.Hour, usersession.AAL1, []string{"The lifetime of", "The idle timeout of"}},
	} {
		p := newSite(t, func(o *usersession.Options) { o.Lifetime, o.IdleTimeout = c.lifetime, c.idle }).asItSays()
		words := p.String()
		for _, want := range append(c.deviates, "after its last use", "after its login") {
			if !strings.Contains(words, want) {
				t.Errorf("%q is not in:\n%s", want, words)
			}
		}
		// One deviation more: a login may have a lifetime of its own, where no preset bounds it.
		if p.Meets != c.meets || len(p.Deviations) != len(c.deviates)+1 {
			t.Errorf("%v and %v meet %v, want %v, and deviate by %q", p.Lifetime, p.IdleTimeout, p.Meets, c.meets, p.Deviations)
		}
	}
	for _, o := range []usersession.Options{{Lifetime: -1}, {IdleTimeout: -2}, {IdleTimeout: time.Nanosecond}, {IdleTimeout: 2 * time.Hour, Lifetime: time.Hour, TouchInterval: time.Hour}} {
		if _, err := usersession.New(sqlx.NewDb(nil, "sqlite"), &o); err == nil {
			t.Errorf("New takes %v and %v", o.IdleTimeout, o.Lifetime)
		}
	}
}

func TestASVS_7_1_2_HowManySessions(t *testing.T) {
	meets(t, "ASVS 7.1.2", "2", byDefault, "it is defined how many sessions an account may have, 100 if nothing else is set, and that the oldest ends at the limit. `Policy` says which limit is in force")
	s := newSite(t, func(o *usersession.Options) { o.MaxSessions = 3 })
	var tokens []string
	for range 5 {
		tokens = append(tokens, s.browser().login("alice"))
		s.pass(time.Second)
	}
	s.wantSessions("alice", 3)
	for i, token := range tokens {
		s.wantUser(token, map[bool]string{true: "alice"}[i >= 2])
	}
	if p := s.m.Policy(); p.MaxSessions != 3 || !strings.Contains(p.String(), "A user has 3 sessions at most. A login beyond that ends the session that was logged in first.") {
		t.Errorf("the policy is %v", p)
	}
	if n := newSite(t).m.Policy().MaxSessions; n != 100 {
		t.Errorf("the default is %d", n)
	}
	s = newSite(t, func(o *usersession.Options) { o.MaxSessions, o.OnLimit = 1, usersession.LimitReject })
	s.browser().login("alice")
	if a := s.browser().post("/login", "user", "alice"); a.status != http.StatusForbidden || a.cookie != nil || !strings.Contains(s.m.Policy().String(), "is refused") {
		t.Errorf("with LimitReject: %d", a.status)
	}
}

func TestASVS_7_1_3_SessionsOfAProvider(t *testing.T) {
	meets(t, "ASVS 7.1.3", "2", byApp("`WithIdP`, which notes the session of the provider, and `RevokeMatching`, which ends what belongs to it"), "systems that make sessions in a federation are documented, and how they end together")
	s := newSite(t)
	login := func(sid string) (token string) {
		return s.do("", func(ctx context.Context) {
			s.ok(s.m.Login(ctx, "alice", usersession.WithIdP("https://idp.example/", "alice", sid)))
		}).cookie.Value
	}
	gone, kept := login("idp-1"), login("idp-2")
	n, err := s.m.RevokeMatching(t.Context(), usersession.Filter{IdP: usersession.IdP{Issuer: "https://idp.example/", Subject: "alice", Session: "idp-1"}})
	if s.ok(err); n != 1 {
		t.Errorf("%d sessions ended, want 1", n)
	}
	s.wantUser(gone, "")
	s.wantUser(kept, "alice")
}

func TestASVS_7_2_1_TheServerDecides(t *testing.T) {
	meets(t, "ASVS 7.2.1", "1", byDefault, "the server verifies every token. Nothing that the client holds counts by itself")
	s := newSite(t)
	token := s.browser().login("alice")
	s.wantUser(token, "alice")
	_, err := s.db.ExecContext(t.Context(), "DELETE FROM sessions")
	s.ok(err)
	s.wantUser(token, "")
}

func TestASVS_7_2_2_NoStaticTokens(t *testing.T) {
	meets(t, "ASVS 7.2.2", "1", byDefault, "tokens are made for each session, and none is a fixed secret")
	s := newSite(t)
	b := s.browser()
	chosen := strings.Repeat("A", 43)
	b.plant(chosen)
	first := b.login("alice")
	b.post("/logout")
	if second := b.login("alice"); first == second || first == chosen || second == chosen {
		t.Error("a token comes twice, or from the client")
	}
	s.wantUser(chosen, "")
}

func TestASVS_7_2_3_Random(t *testing.T) {
	meets(t, "ASVS 7.2.3", "1", byDefault, "tokens are unique and have at least 128 bits of a cryptographic random generator. They have 256")
	s := newSite(t, func(o *usersession.Options) { o.MaxSessions = usersession.NoMaxSessions })
	const n = 200
	seen := make(map[string]bool)
	var ones [256]int
	for range n {
		token := s.browser().login("alice")
		bits, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || len(bits) != 32 || seen[token] {
			t.Fatalf("%d bytes, %v, seen: %v", len(bits), err, seen[token])
		}
		seen[token] = true
		for i := range ones {
			ones[i] += int(bits[i/8] >> (i % 8) & 1)
		}
	}
	for i, k := range ones { // by chance once in a million million
		if k < n/4 || k > n*3/4 {
			t.Errorf("bit %d is set in %d of %d tokens", i, k, n)
		}
	}
}

func TestASVS_7_2_4_NewTokenAtLogin(t *testing.T) {
	meets(t, "ASVS 7.2.4", "1", byDefault, "a login and a repeated proof give a new token, and the one before is dead, also for a request in flight")
	s := newSite(t)
	b := s.browser()
	b.post("/put", "key", "cart", "value", "3")
	before := b.token()
	first := b.login("alice")
	if a := s.send("GET", "/get?key=cart", before); a.body != "" || before == first {
		t.Errorf("the token from before the login has the cart %q", a.body)
	}
	s.do(first, func(ctx context.Context) { // in flight
		if a := b.post("/reauth"); a.cookie == nil || a.cookie.Value == first {
			t.Error("no new token at the repeated proof")
		}
		s.m.Put(ctx, "cart", "stolen")
	})
	s.wantUser(first, "")
	b.want("alice")
	s.wantSessions("alice", 1)
}

func TestASVS_7_3_1_Idle(t *testing.T) {
	meets(t, "ASVS 7.3.1", "2", byDefault, "a session that is not used ends, after an hour if nothing else is set")
	s := newSite(t)
	token := s.browser().login("alice")
	for range 3 { // use keeps it alive
		s.pass(59 * time.Minute)
		s.wantUser(token, "alice")
	}
	s.pass(61 * time.Minute)
	s.wantUser(token, "")
	s.wantSessions("alice", 0)
}

func TestASVS_7_3_2_Lifetime(t *testing.T) {
	meets(t, "ASVS 7.3.2", "2", byDefault, "a session ends after its lifetime however busy it is, after 24 hours if nothing else is set")
	s := newSite(t)
	token := s.browser().login("alice")
	for range 24 {
		s.wantUser(token, "alice")
		s.pass(time.Hour - time.Second)
	}
	s.pass(24 * time.Second)
	s.wantUser(token, "")
	s.wantSessions("alice", 0)
	token = s.browser().login("alice")
	s.later(24*time.Hour+time.Minute, func() { s.wantUser(token, "") }) // by the clock of the program alone
}

func TestASVS_7_4_1_NothingAfterTheEnd(t *testing.T) {
	meets(t, "ASVS 7.4.1", "1", byDefault, "after a logout the token is dead on the server, a request in flight does not bring it back, and the back button shows no page from a cache")
	s := newSite(t)
	b := s.browser()
	token := b.login("alice")
	if a := b.get("/account"); a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control: %q", a.header.Get("Cache-Control"))
	}
	a := s.do(token, func(ctx context.Context) { // in flight
		s.send("POST", "/logout", token, "Sec-Fetch-Site", "same-origin")
		s.m.Put(ctx, "late", "write")
	})
	if a.status != http.StatusUnauthorized {
		t.Errorf("the request in flight: %d", a.status)
	}
	s.wantUser(token, "")
	if a := s.send("GET", "/account", token); a.status != http.StatusUnauthorized {
		t.Errorf("the replay: %d", a.status)
	}
}

func TestASVS_7_4_2_AccountDisabled(t *testing.T) {
	meets(t, "ASVS 7.4.2", "1", byOption("`AccountDisabled`"), "all sessions end when an account is disabled or deleted, and a login that had begun before does not get in")
	s := newSite(t)
	laptop, phone := s.browser(), s.browser()
	laptop.login("alice")
	phone.login("alice")
	s.do("", func(ctx context.Context) { // the password was right
		_, err := s.m.AccountDisabled(t.Context(), "alice")
		s.ok(err)
		if err := s.m.Login(ctx, "alice"); !errors.Is(err, usersession.ErrAccountDisabled) {
			t.Errorf("the login: %v", err)
		}
	})
	laptop.want("")
	phone.want("")
	s.wantSessions("alice", 0)
	if a := laptop.post("/login", "user", "alice"); a.status != http.StatusForbidden {
		t.Errorf("a login to the disabled account: %d", a.status)
	}
}

func TestASVS_7_4_3_OthersAfterAChange(t *testing.T) {
	meets(t, "ASVS 7.4.3", "2", byOption("`PasswordChanged` or `FactorChanged`"), "all other sessions can be ended after a change of a password or of another factor")
	s := newSite(t)
	own, other := s.browser(), s.browser()
	own.login("alice")
	stolen := other.login("alice")
	if a := own.post("/password"); a.status != http.StatusOK {
		t.Fatalf("/password: %d", a.status)
	}
	s.wantUser(stolen, "")
	own.want("alice")
	_, err := s.m.FactorChanged(t.Context(), "alice") // at the desk of the support
	s.ok(err)
	own.want("")
}

func TestASVS_7_4_4_LogoutIsInSight(t *testing.T) {
	meets(t, "ASVS 7.4.4", "2", byApp("`Logout`, and the page of `sessionui.Account` with its buttons"), "each page behind a login has a logout in sight")
	s := newSite(t)
	b := s.browser()
	b.login("alice")
	id := s.list("alice")[0].ID
	if page := b.get("/devices/").body; !strings.Contains(page, `action="./sessions/`+id+`/revoke"`) || !strings.Contains(page, "Sign out") {
		t.Errorf("no way to sign out on the page:\n%s", page)
	}
	b.post("/devices/sessions/"+id+"/revoke", "csrf_token", b.csrf())
	b.want("")
}

func TestASVS_7_4_5_AdminEnds(t *testing.T) {
	meets(t, "ASVS 7.4.5", "2", byOption("`RevokeAllSessions`, `RevokeMatching` and `sessionui.Admin`"), "administrators end the sessions of one user, or of all")
	s := newSite(t)
	alice, bob, admin := s.browser(), s.browser(), s.browser()
	alice.login("alice")
	bob.login("bob")
	admin.login("admin")
	id := s.list("alice")[0].ID
	if a := bob.post("/admin/sessions/"+id+"/revoke", "user", "alice", "reason", "spite"); a.status != http.StatusForbidden {
		t.Errorf("bob on the admin's page: %d", a.status)
	}
	alice.want("alice")
	if page := admin.get("/admin/sessions/" + id + "?user=alice"); page.status != http.StatusOK {
		t.Fatalf("the page of the session: %d", page.status)
	}
	n, err := s.m.RevokeAllSessions(t.Context(), "alice")
	if s.ok(err); n != 1 {
		t.Errorf("%d sessions of alice", n)
	}
	alice.want("")
	bob.want("bob")
	_, err = s.m.RevokeMatching(t.Context(), usersession.Filter{Everyone: true})
	s.ok(err)
	bob.want("")
	admin.want("")
}

func TestASVS_7_5_1_FreshLogin(t *testing.T) {
	meets(t, "ASVS 7.5.1", "2", byOption("`RequireFresh`"), "who changes an e-mail address, a telephone number or a factor has proved a short time ago who they are")
	s := newSite(t)
	b := s.browser()
	b.login("alice")
	if a := b.post("/email"); a.body != "changed" {
		t.Errorf("after the login: %d", a.status)
	}
	s.later(6*time.Minute, func() {
		if a := b.post("/email"); a.status != http.StatusUnauthorized || a.body == "changed" {
			t.Errorf("after 6 minutes: %d %s", a.status, a.body)
		}
		if a := b.post("/reauth"); a.status != http.StatusOK {
			t.Errorf("reauth: %d", a.status)
		}
		if a := b.post("/email"); a.body != "changed" {
			t.Errorf("after the new proof: %d", a.status)
		}
	})
}

func TestASVS_7_5_2_UsersSeeAndEnd(t *testing.T) {
	meets(t, "ASVS 7.5.2", "2", byOption("`sessionui.Account`"), "users see their sessions, and end them once they have proved again who they are")
	s := newSite(t)
	own, other := s.browser(), s.browser()
	own.login("alice")
	stolen := other.login("alice")
	csrf := own.csrf()
	s.later(6*time.Minute, func() {
		if a := own.get("/devices/"); a.status != http.StatusOK || strings.Count(a.body, "Firefox on Linux") < 2 {
			t.Errorf("the list: %d", a.status)
		}
		own.post("/devices/revoke-others", "csrf_token", csrf)
		s.wantUser(stolen, "alice")
	})
	own.post("/reauth")
	own.post("/devices/revoke-others", "csrf_token", own.csrf())
	s.wantUser(stolen, "")
	own.want("alice")
}

func TestASVS_7_6_1_AsLongAsTheProviderSays(t *testing.T) {
	meets(t, "ASVS 7.6.1", "2", byApp("`WithLifetime`, which ends a session when the proof at the provider is too old"), "sessions at a provider and at its programs last as documented")
	s := newSite(t)
	token := s.do("", func(ctx context.Context) { s.ok(s.m.Login(ctx, "alice", usersession.WithLifetime(30*time.Minute))) }).cookie.Value
	s.pass(29 * time.Minute)
	s.wantUser(token, "alice")
	s.pass(time.Minute)
	s.wantUser(token, "")
}

func TestASVS_7_6_2_NoSessionUnasked(t *testing.T) {
	meets(t, "ASVS 7.6.2", "2", byDefault, "no session begins without an action of the user. Reading pages makes none")
	s := newSite(t)
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		for _, path := range []string{"/", "/me", "/account", "/login", "/devices/", "/admin/", "/get?key=x"} {
			if a := s.send(method, path, "", "Sec-Purpose", "prefetch", "Sec-Fetch-Site", "cross-site"); a.cookie != nil {
				t.Errorf("%s %s sets a cookie", method, path)
			}
		}
	}
	if rows, keys := s.count("user_sessions"), s.count("sessions"); rows+keys > 0 {
		t.Errorf("%d rows and %d keys", rows, keys)
	}
}
