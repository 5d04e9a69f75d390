package usersession

import (
	"errors"
	"fmt"
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
	// and lower case of the letters A to Z alike.
	UserAgent string
	// Meta selects sessions that have all of these pairs.
	Meta map[string]string
	// ExceptCurrent leaves out the session of the context, if it has one.
	ExceptCurrent bool
	// After leaves out IDs up to this one, in the order of Sessions: the last ID
	// of a page gives the next page. It selects nobody by itself.
	After string
	// Limit ends Sessions and CountSessions after so many. 0: no limit. It
	// cannot be used to revoke.
	Limit int
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

// check refuses what cannot be meant.
func (f Filter) check() error {
	switch {
	case f.UserIDs != nil && len(f.UserIDs) == 0:
		// A list that came out empty means nobody, and never everybody.
		return errors.New("usersession: Filter.UserIDs: the list is empty")
	case f.IP != (netip.Prefix{}) && !f.IP.IsValid():
		return errors.New("usersession: Filter.IP: is not a valid prefix")
	case f.Limit < 0:
		return fmt.Errorf("usersession: Filter.Limit: must not be negative, is %d", f.Limit)
	case !storable(f.After):
		return errors.New("usersession: Filter.After: is not an ID")
	}
	return nil
}

// state is the condition that says which rows Sessions reads.
func (f Filter) state() string {
	if f.Ended {
		return "ended_at IS NOT NULL"
	}
	return "@live"
}

// times are the bounds of the filter, with what they bound.
func (f Filter) times() [4]timeBound {
	return [4]timeBound{
		{"created_at", "<", f.CreatedBefore}, {"created_at", ">", f.CreatedAfter},
		{"last_seen_at", "<", f.SeenBefore}, {"last_seen_at", ">", f.SeenAfter},
	}
}

type timeBound struct {
	column, op string
	at         time.Time
}

// matches has the last word on networks, case and metadata, so that they mean
// the same on every database: SQL may select too much, see selection.
func (f Filter) matches(s UserSession) bool {
	if f.IP.IsValid() && !(s.IP.IsValid() && unmapped(f.IP).Contains(s.IP)) {
		return false
	}
	if f.UserAgent != "" && !strings.Contains(lowerASCII(s.UserAgent), lowerASCII(f.UserAgent)) {
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

// lowerASCII is strings.ToLower for the letters A to Z only: what every database
// can do alike.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}
