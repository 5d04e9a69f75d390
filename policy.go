package usersession

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/policy"
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
	if l, ok := policy.Of(int(o.Preset)); ok {
		p.LongestLifetime, p.LongestIdleTimeout = l.Lifetime, max(0, l.Idle)
	}
	m.proofs.Range(func(need, _ any) bool {
		p.Reauthentication = append(p.Reauthentication, need.(StepUp))
		return true
	})
	slices.SortFunc(p.Reauthentication, func(a, b StepUp) int {
		return cmp.Or(cmp.Compare(a.Level, b.Level), cmp.Compare(a.MaxAge, b.MaxAge))
	})
	is := policy.InForce{Lifetime: o.Lifetime, Idle: o.IdleTimeout, Secure: c.Secure && c.HttpOnly, Persistent: c.Persist, Bounded: o.Preset != 0}
	p.Meets = Level(is.Meets())
	from, _ := policy.Of(int(cmp.Or(o.Preset, AAL2)))
	p.Deviations = is.Deviations(from)
	return p
}

// sheet returns the policy in the form of which the words and the JSON are made.
func (p Policy) sheet() policy.Sheet {
	s := policy.Sheet{
		Preset: p.Preset.String(), Meets: p.Meets.String(), Deviations: append([]string{}, p.Deviations...),
		IdleTimeout: policy.Seconds(p.IdleTimeout), Lifetime: policy.Seconds(p.Lifetime),
		LongestIdleTimeout: policy.Seconds(p.LongestIdleTimeout), LongestLifetime: policy.Seconds(p.LongestLifetime),
		MaxSessions: p.MaxSessions, LimitsByLogin: p.LimitsByLogin, Cookie: policy.Cookie(p.Cookie),
		OnLimit:          map[LimitPolicy]string{LimitEvictOldest: "evict_oldest", LimitEvictLeastRecent: "evict_least_recent", LimitReject: "reject"}[p.OnLimit],
		Reauthentication: []policy.Proof{}, Retention: policy.Seconds(p.Retention),
		Privacy: []string{
			policy.Kept("client's address", string(p.Privacy.IP), p.Privacy.IPRetention),
			policy.Kept("User-Agent", string(p.Privacy.UserAgent), p.Privacy.UserAgentRetention),
		},
	}
	for _, r := range p.Reauthentication {
		s.Reauthentication = append(s.Reauthentication, policy.Proof{Level: r.Level.String(), MaxAge: policy.Seconds(r.MaxAge)})
	}
	return s
}

// String returns the policy in words, one statement on a line.
func (p Policy) String() string { return p.sheet().String() }

// MarshalJSON returns the policy in snake_case. Durations are in seconds, and 0 where
// there is none.
func (p Policy) MarshalJSON() ([]byte, error) { return json.Marshal(p.sheet()) }

func sameSite(s http.SameSite) string {
	return map[http.SameSite]string{http.SameSiteLaxMode: "Lax", http.SameSiteStrictMode: "Strict", http.SameSiteNoneMode: "None"}[s]
}
