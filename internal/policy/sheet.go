package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Sheet is what is in force, as an auditor reads it. String says it in words, one
// statement on a line.
type Sheet struct {
	Preset             string   `json:"preset"` // the name of a level, or "none"
	Meets              string   `json:"meets"`  // likewise
	Deviations         []string `json:"deviations"`
	IdleTimeout        Seconds  `json:"idle_timeout_seconds"`
	Lifetime           Seconds  `json:"lifetime_seconds"`
	LongestIdleTimeout Seconds  `json:"longest_idle_timeout_seconds"`
	LongestLifetime    Seconds  `json:"longest_lifetime_seconds"`
	MaxSessions        int      `json:"max_sessions"`
	OnLimit            string   `json:"on_limit"` // a key of onLimit
	LimitsByLogin      bool     `json:"limits_by_login"`
	Cookie             Cookie   `json:"cookie"`
	Reauthentication   []Proof  `json:"reauthentication"`
	Retention          Seconds  `json:"retention_seconds"`
	Privacy            []string `json:"privacy"`
}

// Seconds is a duration that is a number of seconds in JSON, and 0 if there is none.
type Seconds time.Duration

// MarshalJSON implements json.Marshaler.
func (s Seconds) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s).Seconds()) }

// String is InWords.
func (s Seconds) String() string { return InWords(time.Duration(s)) }

// Cookie has the attributes of the cookie.
type Cookie struct {
	Name       string `json:"name"`
	Path       string `json:"path"`
	Domain     string `json:"domain"`
	SameSite   string `json:"same_site"`
	Secure     bool   `json:"secure"`
	HTTPOnly   bool   `json:"http_only"`
	Persistent bool   `json:"persistent"`
}

// Proof is what some requests ask for. Level is the name of one, or "none" if any will do.
type Proof struct {
	Level  string  `json:"level"`
	MaxAge Seconds `json:"max_age_seconds"` // 0 if it may be of any age
}

// onLimit says in words what a login does at the limit.
var onLimit = map[string]string{
	"evict_oldest":       "ends the session that was logged in first",
	"evict_least_recent": "ends the session that was not seen for the longest time",
	"reject":             "is refused",
}

// String implements fmt.Stringer.
func (s Sheet) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if s.Preset != "none" {
		line("The preset is %s of NIST SP 800-63B-4.", s.Preset)
	}
	if s.IdleTimeout > 0 {
		line("A session ends %s after its last use.", s.IdleTimeout)
	} else {
		line("A session does not end by not being used.")
	}
	line("A session ends %s after its login, or after the last Reauthenticate, however busy it is.", s.Lifetime)
	switch {
	case s.Preset == "none":
		line("A login may have another idle timeout and lifetime, of any length.")
	case s.LongestIdleTimeout == 0:
		line("A login may have any idle timeout, and a lifetime of %s at most.", s.LongestLifetime)
	default:
		line("A login may have another idle timeout of %s at most, and a lifetime of %s at most.", s.LongestIdleTimeout, s.LongestLifetime)
	}
	if s.MaxSessions > 0 {
		line("A user has %d sessions at most. A login beyond that %s.", s.MaxSessions, onLimit[s.OnLimit])
	} else {
		line("A user may have any number of sessions.")
	}
	if s.LimitsByLogin {
		line("Some logins have another limit. A login beyond that %s.", onLimit[s.OnLimit])
	}
	line("The cookie %s has %s.", s.Cookie.Name, strings.Join(s.Cookie.attributes(), ", "))
	for _, p := range s.Reauthentication {
		line("Some actions need %s.", p)
	}
	if s.Retention > 0 {
		line("The row of an ended session is kept for %s, and until the end of its lifetime in any case.", s.Retention)
	} else {
		line("The row of an ended session is kept until the end of its lifetime.")
	}
	for _, words := range s.Privacy {
		line("%s", words)
	}
	if s.Meets != "none" {
		line("The timeouts and the cookie keep the limits of %s.", s.Meets)
	} else {
		line("The timeouts and the cookie keep the limits of no level.")
	}
	for _, d := range s.Deviations {
		line("%s", d)
	}
	return b.String()
}

func (c Cookie) attributes() []string {
	attributes := []string{"Path=" + c.Path}
	for _, a := range []struct {
		is   bool
		name string
	}{{c.Domain != "", "Domain=" + c.Domain}, {c.Secure, "Secure"}, {c.HTTPOnly, "HttpOnly"}, {c.SameSite != "", "SameSite=" + c.SameSite}, {c.Persistent, "Max-Age"}} {
		if a.is {
			attributes = append(attributes, a.name)
		}
	}
	return attributes
}

// String says which proof is needed.
func (p Proof) String() string {
	switch {
	case p.Level == "none":
		return "a proof of the last " + p.MaxAge.String()
	case p.MaxAge == 0:
		return "a proof of " + p.Level
	}
	return "a proof of " + p.Level + " of the last " + p.MaxAge.String()
}

// Kept says how much is kept of a text and for how long, which is None until the session
// has ended and 0 as long as the row. how is a value of Privacy of the root.
func Kept(what, how string, d time.Duration) string {
	if how == "off" {
		return fmt.Sprintf("The %s is not kept.", what)
	}
	much := map[string]string{"": "in full", "truncated": "as its network", "family": "as the name of browser and system"}[how]
	long := ", as long as the row"
	if d == None {
		long = ", until the session has ended"
	} else if d > 0 {
		long = ", for " + InWords(d) + " after the login"
	}
	return fmt.Sprintf("The %s is kept %s%s.", what, much, long)
}
