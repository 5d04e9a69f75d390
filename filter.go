package usersession

import (
	"net/netip"
	"strings"
	"time"
)

// Filter selects sessions across users. All fields that are set must match.
type Filter struct {
	// UserIDs selects the sessions of these users. Nil: it does not matter
	// whose they are. A list that is empty but not nil is an error.
	UserIDs []string
	// CreatedBefore and CreatedAfter compare the time of the login. The bounds
	// themselves do not match.
	CreatedBefore, CreatedAfter time.Time
	// SeenBefore and SeenAfter compare the time of the last request.
	SeenBefore, SeenAfter time.Time
	// IP selects sessions whose login came from this network. A session
	// without an address never matches.
	IP netip.Prefix
	// UserAgent selects sessions whose User-Agent contains this text, upper
	// and lower case alike.
	UserAgent string
	// Meta selects sessions that have all of these pairs.
	Meta map[string]string
	// ExceptCurrent leaves out the session of the context, if it has one.
	ExceptCurrent bool
	// After leaves out IDs up to this one, in the order of Sessions: the last ID
	// of a page gives the next page. It selects nobody by itself.
	After string
	// Ended selects ended sessions, for as long as their rows are kept,
	// instead of live ones. It cannot be used to revoke.
	Ended bool
	// Everyone says that the sessions of every user are meant. RevokeMatching
	// needs it where no field selects anything.
	Everyone bool
}

// selective reports whether the filter says whom it means.
func (f Filter) selective() bool {
	return f.Everyone || len(f.UserIDs) > 0 || !f.CreatedBefore.IsZero() || !f.CreatedAfter.IsZero() ||
		!f.SeenBefore.IsZero() || !f.SeenAfter.IsZero() || f.IP.IsValid() || f.UserAgent != "" || len(f.Meta) > 0
}

// matches decides what is decided here and not in SQL, so that networks, case
// and metadata mean the same on every database.
func (f Filter) matches(s UserSession) bool {
	if f.IP.IsValid() && !(s.IP.IsValid() && unmapped(f.IP).Contains(s.IP)) {
		return false
	}
	if f.UserAgent != "" && !strings.Contains(strings.ToLower(s.UserAgent), strings.ToLower(f.UserAgent)) {
		return false
	}
	for k, v := range f.Meta {
		if got, ok := s.Meta[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// unmapped returns an IPv4 prefix in the form in which addresses are kept.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}
