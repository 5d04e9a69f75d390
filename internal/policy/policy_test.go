package policy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMeets(t *testing.T) {
	for _, tc := range []struct {
		lifetime, idle time.Duration
		secure         bool
		want           int
	}{
		{12 * time.Hour, 15 * time.Minute, true, 3},
		{12 * time.Hour, 15*time.Minute + 1, true, 2},
		{24 * time.Hour, time.Hour, true, 2},
		{24*time.Hour + 1, time.Hour, true, 1},
		{24 * time.Hour, None, true, 1},
		{30 * 24 * time.Hour, None, true, 1},
		{30*24*time.Hour + 1, time.Minute, true, 0},
		{time.Hour, time.Minute, false, 0},
	} {
		if got := (InForce{Lifetime: tc.lifetime, Idle: tc.idle, Secure: tc.secure}).Meets(); got != tc.want {
			t.Errorf("%v, %v, %v: level %d, want %d", tc.lifetime, tc.idle, tc.secure, got, tc.want)
		}
	}
	for _, level := range []int{-1, 0, 4} {
		if _, ok := Of(level); ok {
			t.Errorf("level %d has limits", level)
		}
	}
}

// A deviation is named once each, and nothing else is.
func TestDeviations(t *testing.T) {
	second, _ := Of(2)
	good := InForce{Lifetime: 24 * time.Hour, Idle: time.Hour, Secure: true, Bounded: true}
	if got := good.Deviations(second); len(got) > 0 {
		t.Errorf("what keeps the limits deviates: %q", got)
	}
	for want, spoil := range map[string]func(*InForce){
		"The lifetime of 2 days is longer than the 24h of AAL2.":                                  func(f *InForce) { f.Lifetime *= 2 },
		"The idle timeout of 1h30m is longer than the 1h of AAL2.":                                func(f *InForce) { f.Idle = 90 * time.Minute },
		"There is no idle timeout, where AAL2 has 1h.":                                            func(f *InForce) { f.Idle = None },
		"The cookie is not both Secure and HttpOnly, which NIST SP 800-63B-4, 5.1.1 asks for.":    func(f *InForce) { f.Secure = false },
		"The cookie outlives the browser's window, which NIST SP 800-63B-4, 5.1 advises against.": func(f *InForce) { f.Persistent = true },
		"A login may be longer by WithLifetime and WithIdleTimeout. Options.Preset sets a bound.": func(f *InForce) { f.Bounded = false },
	} {
		f := good
		if spoil(&f); !slices.Equal(f.Deviations(second), []string{want}) {
			t.Errorf("%q, want %q", f.Deviations(second), want)
		}
	}
}

func TestInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		48 * time.Hour: "2 days", 24 * time.Hour: "24h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m",
		time.Minute + 10*time.Second: "1m10s", time.Hour + 5*time.Second: "1h0m5s", 1500 * time.Millisecond: "1.5s",
	} {
		if got := InWords(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestSheet(t *testing.T) {
	s := Sheet{
		Preset: "none", Meets: "none", Deviations: []string{"It deviates."}, Lifetime: Seconds(time.Hour), OnLimit: "reject", MaxSessions: 3,
		LimitsByLogin: true, Cookie: Cookie{Name: "c", Path: "/", Domain: "example.org", HTTPOnly: true, SameSite: "Lax"},
		Reauthentication: []Proof{{"none", Seconds(time.Minute)}, {"AAL2", 0}, {"AAL3", Seconds(time.Hour)}},
		Privacy:          []string{Kept("address", "truncated", None), Kept("agent", "off", 0), Kept("agent", "", time.Hour), Kept("agent", "family", 0)},
	}
	want := `A session does not end by not being used.
A session ends 1h after its login, or after the last Reauthenticate, however busy it is.
A login may have another idle timeout and lifetime, of any length.
A user has 3 sessions at most. A login beyond that is refused.
Some logins have another limit. A login beyond that is refused.
The cookie c has Path=/, Domain=example.org, HttpOnly, SameSite=Lax.
Some actions need a proof of the last 1m.
Some actions need a proof of AAL2.
Some actions need a proof of AAL3 of the last 1h.
The row of an ended session is kept until the end of its lifetime.
The address is kept as its network, until the session has ended.
The agent is not kept.
The agent is kept in full, for 1h after the login.
The agent is kept as the name of browser and system, as long as the row.
The timeouts and the cookie keep the limits of no level.
It deviates.
`
	if got := s.String(); got != want {
		t.Errorf("the words are\n%s\nwant\n%s", got, want)
	}
	s.Preset, s.Meets, s.LongestLifetime, s.Retention, s.MaxSessions = "AAL1", "AAL1", Seconds(time.Hour), Seconds(time.Hour), 0
	for _, line := range []string{"The preset is AAL1 of", "A login may have any idle timeout, and a lifetime of 1h at most.", "any number of sessions", "kept for 1h, and", "keep the limits of AAL1."} {
		if !strings.Contains(s.String(), line) {
			t.Errorf("the words lack %q:\n%s", line, s)
		}
	}
	text, err := json.Marshal(s)
	if err != nil || !strings.Contains(string(text), `"lifetime_seconds":3600,`) || !strings.Contains(string(text), `{"level":"AAL2","max_age_seconds":0}`) {
		t.Errorf("the JSON is %s, %v", text, err)
	}
}
