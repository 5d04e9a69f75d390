package usersession

import "fmt"

// Level says how surely it is known that it is the user who acts in a session. The
// values are the authentication assurance levels of NIST SP 800-63B-4, and are compared
// with < and >. The zero Level is that of a session of which no level was noted.
type Level int

// The levels of NIST SP 800-63B-4, section 2.
const (
	AAL1 Level = 1 + iota // one factor, such as a password
	AAL2                  // two factors, such as a password and a one-time code
	AAL3                  // two factors with a key in hardware, which cannot be phished
)

// String returns "AAL2" for AAL2, and "none" for the zero Level. WWW-Authenticate and
// UserSession.Meta have it in this form.
func (l Level) String() string {
	if l == 0 {
		return "none"
	}
	return fmt.Sprintf("AAL%d", int(l))
}

func (l Level) known() bool { return l >= AAL1 && l <= AAL3 }

// Level returns the level that was noted last, at login or by Reauthenticate. Only
// RequireLevel and [Manager.Level] are for decisions.
func (s UserSession) Level() Level {
	for l := AAL1; l <= AAL3; l++ {
		if s.Meta[MetaLevel] == l.String() {
			return l
		}
	}
	return 0
}

// Impersonator returns who was logged in as the user with Impersonate, and "" if it was
// the user.
func (s UserSession) Impersonator() string { return s.Meta[MetaImpersonator] }

// refuseReserved refuses pairs that only this package sets. what is whose they are.
func refuseReserved(what string, pairs map[string]string) error {
	for key, by := range map[string]string{MetaLevel: "WithLevel", MetaImpersonator: "Impersonate"} {
		if _, ok := pairs[key]; ok {
			return fmt.Errorf("usersession: %s: the key %q is for %s", what, key, by)
		}
	}
	return nil
}
