package usersession

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Policy is what is in force for the sessions of a Manager, as an auditor asks for it
// (ASVS 5.0, 7.1.1 and 7.1.2). Its String is in words, and its JSON has the same in
// snake_case, with times in seconds.
type Policy struct {
	Preset Level // Options.Preset, or 0

	// Meets is the highest level of NIST SP 800-63B-4 whose limits the timeouts and the
	// cookie keep, or 0 if they keep none.
	Meets Level
	// Deviations say in words what is longer or weaker than Preset, or than AAL2 without
	// one. The document that ASVS 7.1.1 asks for gives the reason for each.
	Deviations []string

	IdleTimeout time.Duration // 0 if there is none
	Lifetime    time.Duration

	// A login may have limits of its own, by WithLifetime and WithIdleTimeout. With a
	// Preset these are the longest. They are 0 if a login may have any.
	LongestIdleTimeout time.Duration
	LongestLifetime    time.Duration

	MaxSessions   int         // of one user at once, or 0 if there is no limit
	OnLimit       LimitPolicy // what happens then
	LimitsByLogin bool        // Options.MaxSessionsFor may say otherwise

	Cookie PolicyCookie

	// Reauthentication has what RequireFresh and RequireLevel ask for, each pair once, as
	// far as the program has called them. Have is 0.
	Reauthentication []StepUp

	Retention time.Duration // of the rows of ended sessions, past their lifetime
	Privacy   Privacy       // what is kept of addresses and User-Agents
}

// PolicyCookie has the attributes of the cookie.
type PolicyCookie struct {
	Name       string `json:"name"`
	Path       string `json:"path"`
	Domain     string `json:"domain"`    // empty if the cookie is for the host alone
	SameSite   string `json:"same_site"` // "Lax", "Strict" or "None"
	Secure     bool   `json:"secure"`
	HTTPOnly   bool   `json:"http_only"`
	Persistent bool   `json:"persistent"` // it outlives the browser's window, if the login does not say otherwise
}

// maxGuards bounds what Policy remembers of a program that makes its middleware anew for
// each request.
const maxGuards = 64

// guards notes that the program asks for a proof somewhere.
func (m *Manager) guards(need StepUp) {
	if m.guardCount.Load() >= maxGuards {
		return
	}
	if _, known := m.proofs.LoadOrStore(need, true); !known {
		m.guardCount.Add(1)
	}
}

// Policy returns what is in force. It costs no I/O. Call it when the routes are there,
// because RequireFresh and RequireLevel count from their call on.
func (m *Manager) Policy() Policy {
	o, c := &m.opts, m.sealed
	p := Policy{
		Preset: o.Preset, IdleTimeout: max(0, o.IdleTimeout), Lifetime: o.Lifetime,
		OnLimit: o.OnLimit, LimitsByLogin: o.MaxSessionsFor != nil, Retention: o.Retention, Privacy: o.Privacy,
		Cookie: PolicyCookie{Name: c.Name, Path: c.Path, Domain: c.Domain, SameSite: sameSite(c.SameSite), Secure: c.Secure, HTTPOnly: c.HttpOnly, Persistent: c.Persist},
	}
	if p.MaxSessions = cmp.Or(o.MaxSessions, DefaultMaxSessions); p.MaxSessions == NoMaxSessions {
		p.MaxSessions = 0
	}
	if l, ok := limitsOf[o.Preset]; ok {
		p.LongestLifetime, p.LongestIdleTimeout = l.lifetime, max(0, l.idle)
	}
	m.proofs.Range(func(need, _ any) bool {
		p.Reauthentication = append(p.Reauthentication, need.(StepUp))
		return true
	})
	slices.SortFunc(p.Reauthentication, func(a, b StepUp) int {
		return cmp.Or(cmp.Compare(a.Level, b.Level), cmp.Compare(a.MaxAge, b.MaxAge))
	})
	for level := AAL1; level <= AAL3; level++ {
		if life, idle := limitsOf[level].exceeds(o.Lifetime, o.IdleTimeout); !life && !idle && c.Secure && c.HttpOnly {
			p.Meets = level
		}
	}
	p.Deviations = m.deviations(cmp.Or(o.Preset, AAL2))
	return p
}

// deviations says what is longer or weaker than a level asks for.
func (m *Manager) deviations(from Level) (list []string) {
	note := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	o, c, l := &m.opts, m.sealed, limitsOf[from]
	life, idle := l.exceeds(o.Lifetime, o.IdleTimeout)
	if life {
		note("The lifetime of %s is longer than the %s of %v.", inWords(o.Lifetime), inWords(l.lifetime), from)
	}
	if idle && o.IdleTimeout == NoIdleTimeout {
		note("There is no idle timeout, where %v has %s.", from, inWords(l.idle))
	} else if idle {
		note("The idle timeout of %s is longer than the %s of %v.", inWords(o.IdleTimeout), inWords(l.idle), from)
	}
	if !c.Secure || !c.HttpOnly {
		note("The cookie is not Secure and HttpOnly, which NIST SP 800-63B-4, 5.1.1 asks for.")
	}
	if c.Persist {
		note("The cookie outlives the browser's window, which NIST SP 800-63B-4, 5.1 advises against.")
	}
	if o.Preset == 0 {
		note("A login may be longer by WithLifetime and WithIdleTimeout. Options.Preset sets a bound.")
	}
	return list
}

// onLimit says what a login does at the limit, as a name and in words.
func (p Policy) onLimit() (name, words string) {
	switch p.OnLimit {
	case LimitEvictLeastRecent:
		return "evict_least_recent", "ends the session that was not seen for the longest time"
	case LimitReject:
		return "reject", "is refused"
	}
	return "evict_oldest", "ends the session that was logged in first"
}

// String returns the policy in words, one statement on a line.
func (p Policy) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if p.Preset != 0 {
		line("The preset is %v of NIST SP 800-63B-4.", p.Preset)
	}
	if p.IdleTimeout > 0 {
		line("A session ends %s after its last use.", inWords(p.IdleTimeout))
	} else {
		line("A session does not end by not being used.")
	}
	line("A session ends %s after its login, or after the last Reauthenticate, however busy it is.", inWords(p.Lifetime))
	switch {
	case p.Preset == 0:
		line("A login may have another idle timeout and lifetime, of any length.")
	case p.LongestIdleTimeout == 0:
		line("A login may have any idle timeout, and a lifetime of %s at most.", inWords(p.LongestLifetime))
	default:
		line("A login may have another idle timeout of %s at most, and a lifetime of %s at most.", inWords(p.LongestIdleTimeout), inWords(p.LongestLifetime))
	}
	_, then := p.onLimit()
	if p.MaxSessions > 0 {
		line("A user has %d sessions at most. A login beyond that %s.", p.MaxSessions, then)
	} else {
		line("A user may have any number of sessions.")
	}
	if p.LimitsByLogin {
		line("Some logins have another limit. A login beyond that %s.", then)
	}
	c := p.Cookie
	line("The cookie %s has %s.", c.Name, strings.Join(c.attributes(), ", "))
	for _, r := range p.Reauthentication {
		line("Some actions need %s.", r.words())
	}
	if p.Retention > 0 {
		line("The row of an ended session is kept for %s, and until the end of its lifetime in any case.", inWords(p.Retention))
	} else {
		line("The row of an ended session is kept until the end of its lifetime.")
	}
	for _, words := range p.Privacy.words() {
		line("%s", words)
	}
	if p.Meets != 0 {
		line("The timeouts and the cookie keep the limits of %v.", p.Meets)
	} else {
		line("The timeouts and the cookie keep the limits of no level.")
	}
	for _, d := range p.Deviations {
		line("%s", d)
	}
	return b.String()
}

func (c PolicyCookie) attributes() []string {
	attributes := []string{"Path=" + c.Path}
	if c.Domain != "" {
		attributes = append(attributes, "Domain="+c.Domain)
	}
	for _, a := range []struct {
		is   bool
		name string
	}{{c.Secure, "Secure"}, {c.HTTPOnly, "HttpOnly"}, {c.SameSite != "", "SameSite=" + c.SameSite}, {c.Persistent, "Max-Age"}} {
		if a.is {
			attributes = append(attributes, a.name)
		}
	}
	return attributes
}

// words says which proof is needed.
func (s StepUp) words() string {
	switch {
	case s.Level == 0:
		return "a proof of the last " + inWords(s.MaxAge)
	case s.MaxAge == 0:
		return "a proof of " + s.Level.String()
	}
	return "a proof of " + s.Level.String() + " of the last " + inWords(s.MaxAge)
}

// MarshalJSON returns the policy in snake_case. Durations are in seconds, and 0 where
// there is none.
func (p Policy) MarshalJSON() ([]byte, error) {
	type proof struct {
		Level  string  `json:"level"`
		MaxAge float64 `json:"max_age_seconds"`
	}
	proofs := []proof{}
	for _, r := range p.Reauthentication {
		proofs = append(proofs, proof{r.Level.String(), r.MaxAge.Seconds()})
	}
	then, _ := p.onLimit()
	return json.Marshal(struct {
		Preset             string       `json:"preset"`
		Meets              string       `json:"meets"`
		Deviations         []string     `json:"deviations"`
		IdleTimeout        float64      `json:"idle_timeout_seconds"`
		Lifetime           float64      `json:"lifetime_seconds"`
		LongestIdleTimeout float64      `json:"longest_idle_timeout_seconds"`
		LongestLifetime    float64      `json:"longest_lifetime_seconds"`
		MaxSessions        int          `json:"max_sessions"`
		OnLimit            string       `json:"on_limit"`
		LimitsByLogin      bool         `json:"limits_by_login"`
		Cookie             PolicyCookie `json:"cookie"`
		Reauthentication   []proof      `json:"reauthentication"`
		Retention          float64      `json:"retention_seconds"`
		Privacy            []string     `json:"privacy"`
	}{
		p.Preset.String(), p.Meets.String(), append([]string{}, p.Deviations...), p.IdleTimeout.Seconds(), p.Lifetime.Seconds(),
		p.LongestIdleTimeout.Seconds(), p.LongestLifetime.Seconds(), p.MaxSessions, then, p.LimitsByLogin,
		p.Cookie, proofs, p.Retention.Seconds(), p.Privacy.words(),
	})
}

func sameSite(s http.SameSite) string {
	return map[http.SameSite]string{http.SameSiteLaxMode: "Lax", http.SameSiteStrictMode: "Strict", http.SameSiteNoneMode: "None"}[s]
}
