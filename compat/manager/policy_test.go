package manager_test

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/seed-296ca7ab/usersession"
)

const day = 24 * time.Hour

// TestPresetsAreTheLimitsOfNIST has the figures of NIST SP 800-63B-4, 2.1.3, 2.2.3 and
// 2.3.3.
func TestPresetsAreTheLimitsOfNIST(t *testing.T) {
	plain := func() *scs.SessionManager { // as a program makes it that has set nothing but the cookie
		s := scs.New()
		s.Cookie.Secure = true
		return s
	}
	short := plain()
	short.Lifetime = 30 * time.Minute
	for _, c := range []struct {
		name           string
		o              usersession.Options
		lifetime, idle time.Duration
		meets          usersession.Level
	}{
		{"none", usersession.Options{}, day, time.Hour, usersession.AAL2},
		{"AAL1", usersession.Options{Preset: usersession.AAL1}, 30 * day, 0, usersession.AAL1},
		{"AAL2", usersession.Options{Preset: usersession.AAL2}, day, time.Hour, usersession.AAL2},
		{"AAL3", usersession.Options{Preset: usersession.AAL3}, 12 * time.Hour, 15 * time.Minute, usersession.AAL3},
		{"AAL3 of scs", usersession.Options{Preset: usersession.AAL3, SCS: plain()}, 12 * time.Hour, 15 * time.Minute, usersession.AAL3},
		{"shorter", usersession.Options{Preset: usersession.AAL3, Lifetime: 10 * time.Minute}, 10 * time.Minute, 10 * time.Minute, usersession.AAL3},
		{"a shorter one of scs", usersession.Options{Preset: usersession.AAL2, SCS: short}, 30 * time.Minute, 30 * time.Minute, usersession.AAL2},
		{"AAL1 with less", usersession.Options{Preset: usersession.AAL1, IdleTimeout: 15 * time.Minute, Lifetime: time.Hour}, time.Hour, 15 * time.Minute, usersession.AAL3},
		{"no level", usersession.Options{Lifetime: 31 * day}, 31 * day, time.Hour, 0},
		{"plain http", usersession.Options{InsecureCookies: true}, day, time.Hour, 0},
	} {
		p := mwNew(t, &c.o).Policy()
		if p.Lifetime != c.lifetime || p.IdleTimeout != c.idle || p.Meets != c.meets || p.Preset != c.o.Preset {
			t.Errorf("%s: %v, %v, meets %v, preset %v; want %v, %v, meets %v", c.name, p.Lifetime, p.IdleTimeout, p.Meets, p.Preset, c.lifetime, c.idle, c.meets)
		}
		if p.Preset != 0 && len(p.Deviations) > 0 && !p.Cookie.Persistent {
			t.Errorf("%s: a preset has deviations: %q", c.name, p.Deviations)
		}
	}
}

// TestPresetRefusesWhatContradictsIt wants the option and the preset to be named.
func TestPresetRefusesWhatContradictsIt(t *testing.T) {
	cookie := func(change func(*scs.SessionManager)) *scs.SessionManager {
		s := scs.New()
		s.Cookie.Secure = true
		change(s)
		return s
	}
	db, _ := mwOpen(t)
	for text, o := range map[string]usersession.Options{
		"Options.Preset: is 4": {Preset: 4},
		"Options.Lifetime: 744h0m0s contradicts Options.Preset, which is AAL1 and allows 720h0m0s": {Preset: usersession.AAL1, Lifetime: 31 * day},
		"Options.Lifetime: 25h0m0s contradicts Options.Preset, which is AAL2":                      {Preset: usersession.AAL2, Lifetime: 25 * time.Hour},
		"Options.Lifetime: 13h0m0s contradicts Options.Preset, which is AAL3":                      {Preset: usersession.AAL3, SCS: cookie(func(s *scs.SessionManager) { s.Lifetime = 13 * time.Hour })},
		"Options.IdleTimeout: 1h1m0s contradicts Options.Preset, which is AAL2":                    {Preset: usersession.AAL2, IdleTimeout: 61 * time.Minute},
		"Options.IdleTimeout: NoIdleTimeout contradicts Options.Preset, which is AAL3":             {Preset: usersession.AAL3, IdleTimeout: usersession.NoIdleTimeout},
		"Options.IdleTimeout: 16m0s contradicts Options.Preset, which is AAL3":                     {Preset: usersession.AAL3, SCS: cookie(func(s *scs.SessionManager) { s.IdleTimeout = 16 * time.Minute })},
		"Options.InsecureCookies: a cookie":                                                        {Preset: usersession.AAL1, InsecureCookies: true},
		"Options.SCS: a cookie that is not Secure and HttpOnly contradicts Options.Preset":         {Preset: usersession.AAL1, SCS: cookie(func(s *scs.SessionManager) { s.Cookie.HttpOnly = false })},
	} {
		if _, err := usersession.New(db, &o); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("want %q, got %v", text, err)
		}
	}
	m := mwNew(t, &usersession.Options{Preset: usersession.AAL2})
	directRun(m, "", func(ctx context.Context) {
		for text, o := range map[string]usersession.LoginOption{
			"WithLifetime: 720h0m0s contradicts Options.Preset, which is AAL2 and allows 24h0m0s": usersession.WithLifetime(30 * day),
			"WithIdleTimeout: 2h0m0s contradicts Options.Preset":                                  usersession.WithIdleTimeout(2 * time.Hour),
			"WithIdleTimeout: -1ns contradicts Options.Preset":                                    usersession.WithIdleTimeout(usersession.NoIdleTimeout),
		} {
			if err := m.Login(ctx, "u", o); err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("Login: want %q, got %v", text, err)
			}
		}
		if err := m.Login(ctx, "u", usersession.WithLifetime(day), usersession.WithIdleTimeout(30*time.Minute)); err != nil {
			t.Error(err)
		}
		if err := m.Reauthenticate(ctx, usersession.WithLifetime(25*time.Hour)); err == nil || !strings.Contains(err.Error(), "Options.Preset") {
			t.Errorf("Reauthenticate: %v", err)
		}
	})
	mwWantSessions(t, m, "u", 1)
}

// TestPresetHoldsSessionsFromBefore shortens a session of a month when its user proves
// again who they are.
func TestPresetHoldsSessionsFromBefore(t *testing.T) {
	db, _ := mwOpen(t)
	made := func(preset usersession.Level) *usersession.Manager {
		m, err := usersession.New(db, &usersession.Options{Preset: preset, ReadTimeout: time.Minute, WriteTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	before, after := made(0), made(usersession.AAL2)
	if err := before.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	tok := mwToken(directRun(before, "", func(ctx context.Context) {
		before.Login(ctx, "u", usersession.WithLifetime(30*day), usersession.WithIdleTimeout(usersession.NoIdleTimeout))
	}))
	tok = mwToken(directRun(after, tok, func(ctx context.Context) {
		if err := after.Reauthenticate(ctx); err != nil {
			t.Error(err)
		}
	}))
	directRun(after, tok, func(ctx context.Context) {
		if left := time.Until(after.Deadline(ctx)); left > day || left < day-time.Minute {
			t.Errorf("the session has %v left, want a day", left)
		}
		if s, err := after.Current(ctx); err != nil || time.Until(s.ExpiresAt) < day-time.Minute {
			t.Errorf("it has not kept its idle timeout: %v, %v", s.ExpiresAt, err)
		}
	})
}

// TestASVS_7_1_PolicySaysWhatIsInForce is ASVS 5.0, 7.1.1 and 7.1.2: the timeouts with
// their deviations, and the sessions at once with what happens beyond.
func TestASVS_7_1_PolicySaysWhatIsInForce(t *testing.T) {
	m := mwNew(t, &usersession.Options{Preset: usersession.AAL3, MaxSessions: 3, OnLimit: usersession.LimitReject, Retention: 90 * day,
		Privacy: usersession.Privacy{IP: usersession.IPTruncated, IPRetention: 7 * day, UserAgent: usersession.UserAgentFamily, UserAgentRetention: usersession.UntilEnd}})
	page := http.NotFoundHandler()
	for range 2 * 64 {
		m.RequireFresh(5 * time.Minute)(page)
	}
	m.RequireLevel(usersession.AAL3, 0)(page)
	m.RequireLevel(usersession.AAL2, time.Minute)(page)
	const words = `The preset is AAL3 of NIST SP 800-63B-4.
A session ends 15m after its last use.
A session ends 12h after its login, or after the last Reauthenticate, however busy it is.
A login may have another idle timeout of 15m at most, and a lifetime of 12h at most.
A user has 3 sessions at most. A login beyond that is refused.
The cookie __Host-session has Path=/, Secure, HttpOnly, SameSite=Lax.
Some actions need a proof of the last 5m.
Some actions need a proof of AAL2 of the last 1m.
Some actions need a proof of AAL3.
The row of an ended session is kept for 90 days, and until the end of its lifetime in any case.
The client's address is kept as its network, for 7 days after the login.
The User-Agent is kept as the name of browser and system, until the session has ended.
The timeouts and the cookie keep the limits of AAL3.
`
	p := m.Policy()
	if got := p.String(); got != words {
		t.Errorf("the policy is\n%s\nwant\n%s", got, words)
	}
	const form = `{"preset":"AAL3","meets":"AAL3","deviations":[],"idle_timeout_seconds":900,"lifetime_seconds":43200,` +
		`"longest_idle_timeout_seconds":900,"longest_lifetime_seconds":43200,"max_sessions":3,"on_limit":"reject","limits_by_login":false,` +
		`"cookie":{"name":"__Host-session","path":"/","domain":"","same_site":"Lax","secure":true,"http_only":true,"persistent":false},` +
		`"reauthentication":[{"level":"none","max_age_seconds":300},{"level":"AAL2","max_age_seconds":60},{"level":"AAL3","max_age_seconds":0}],` +
		`"retention_seconds":7776000,"privacy":["The client's address is kept as its network, for 7 days after the login.","The User-Agent is kept as the name of browser and system, until the session has ended."]}`
	if got, err := json.Marshal(p); err != nil || string(got) != form {
		t.Errorf("the JSON is\n%s\nwant\n%s, %v", got, form, err)
	}

	long := mwNew(t, &usersession.Options{Lifetime: 30 * day, IdleTimeout: usersession.NoIdleTimeout, MaxSessions: usersession.NoMaxSessions,
		MaxSessionsFor: func(context.Context, string, map[string]string) int { return 1 }}).Policy()
	for _, line := range []string{"does not end by not being used", "any number of sessions", "Some logins have another limit. A login beyond that ends the session that was logged in first.", "30 days after its login"} {
		if !strings.Contains(long.String(), line) {
			t.Errorf("the policy does not say %q:\n%s", line, long)
		}
	}
	want := []string{"The lifetime of 30 days is longer than the 24h of AAL2.", "There is no idle timeout, where AAL2 has 1h.",
		"A login may be longer by WithLifetime and WithIdleTimeout. Options.Preset sets a bound."}
	if !reflect.DeepEqual(long.Deviations, want) || long.Meets != usersession.AAL1 {
		t.Errorf("the deviations are %q, and it meets %v", long.Deviations, long.Meets)
	}
	for i := range 1000 { // a program that makes its middleware for each request
		m.RequireFresh(time.Duration(i))
	}
	if n := len(m.Policy().Reauthentication); n != 64 {
		t.Errorf("%d proofs are remembered", n)
	}
}
