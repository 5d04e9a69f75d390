package usersession

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/token"
)

// Filter selects sessions across users. All fields that are set must match. The
// zero Filter selects every live session.
type Filter struct {
	// UserIDs selects the sessions of these users. If nil, sessions of all
	// users match. An empty, non-nil list is an error.
	UserIDs []string
	// IDs selects sessions by their IDs, such as one from a log, whoever their user is.
	// If nil, all IDs match. An empty, non-nil list is an error, and so is a text that
	// is no ID.
	IDs []string
	// ExceptIDs leaves out the sessions with these IDs. It selects nothing by itself.
	ExceptIDs []string
	// CreatedBefore and CreatedAfter compare the time of the login. The bounds
	// themselves do not match.
	CreatedBefore, CreatedAfter time.Time
	// SeenBefore and SeenAfter compare the time of the last request. The bounds
	// themselves do not match.
	SeenBefore, SeenAfter time.Time
	// AuthenticatedBefore compares UserSession.AuthenticatedAt. The bound itself does
	// not match. With UserIDs, and no other field that selects, RevokeMatching also
	// refuses logins whose credentials were checked before that time, or before now if
	// that is earlier, with ErrRevokedMeanwhile.
	AuthenticatedBefore time.Time
	// IdP selects the sessions that a sign-out at the identity provider means. These are
	// those with its Session, and of its Subject those without one. If Session is empty,
	// these are all of the Subject. Either may be empty, and Issuer may not.
	//
	// RevokeMatching remembers it for a day if no other field is set but
	// AuthenticatedBefore, which is the time of the sign-out, or now if it is zero. A login
	// with WithIdP is refused with ErrRevokedMeanwhile if it is one of those
	// and its credentials were checked before that time, see WithCheckedAt. So a
	// sign-out is not lost if it comes before the login.
	IdP IdP
	// IP selects sessions whose login came from this network. A session
	// without an address never matches. No field selects by UserSession.LastIP, where a
	// session was last used from.
	IP netip.Prefix
	// UserAgent selects sessions whose User-Agent contains this text, upper
	// and lower case of the letters A to Z alike.
	UserAgent string
	// Meta selects sessions that have all of these pairs.
	Meta map[string]string
	// Bound selects sessions that are bound to a device, by package dbsc.
	Bound bool
	// ExceptCurrent leaves out the session of the context, if it has one.
	ExceptCurrent bool
	// Ended selects ended sessions, for as long as their rows are kept,
	// instead of live ones. It cannot be used to revoke.
	Ended bool
	// EndedAfter compares the time at which the session ended. It needs Ended.
	// The bound itself does not match.
	EndedAfter time.Time

	// Everyone says that the sessions of every user are meant. RevokeMatching
	// needs it if no other field selects anything. With another field it changes nothing.
	Everyone bool
}

// selective reports whether the filter says whom it means.
func (f Filter) selective() bool {
	return f.Everyone || len(f.UserIDs) > 0 || len(f.IDs) > 0 || !f.CreatedBefore.IsZero() || !f.CreatedAfter.IsZero() ||
		!f.SeenBefore.IsZero() || !f.SeenAfter.IsZero() || !f.AuthenticatedBefore.IsZero() || f.IdP != (IdP{}) || f.IP.IsValid() || f.UserAgent != "" || len(f.Meta) > 0 || f.Bound
}

// check refuses what cannot be meant.
func (f Filter) check() error {
	switch {
	case f.UserIDs != nil && len(f.UserIDs) == 0:
		// A list that came out empty means nobody, and never everybody.
		return errors.New("usersession: Filter.UserIDs: the list is empty")
	case f.IDs != nil && len(f.IDs) == 0:
		return errors.New("usersession: Filter.IDs: the list is empty")
	case slices.ContainsFunc(f.IDs, isNoID):
		return errors.New("usersession: Filter.IDs: a text in it is not an ID of 22 letters, digits, - and _")
	case slices.ContainsFunc(f.ExceptIDs, isNoID):
		return errors.New("usersession: Filter.ExceptIDs: a text in it is not an ID of 22 letters, digits, - and _")
	case !f.EndedAfter.IsZero() && !f.Ended:
		return errors.New("usersession: Filter.EndedAfter: needs Ended")
	case f.IP != (netip.Prefix{}) && !f.IP.IsValid():
		return errors.New("usersession: Filter.IP: is not a valid prefix")
	case f.IdP != (IdP{}):
		return f.IdP.check("Filter.IdP")
	}
	return nil
}

func isNoID(id string) bool { return !token.ValidID(id) }

// Page says which of the sessions that a Filter selects are read, in the order
// of their IDs, or which users of [Manager.ListUsers]. The zero Page is all of them.
type Page struct {
	// After leaves out the IDs up to this one. The last ID of a page gives the
	// next page.
	After string
	// Limit is how many sessions, or users, a page has at most. If 0, there is no
	// limit.
	Limit int
}

// check refuses what cannot be meant.
func (p Page) check() error {
	switch {
	case p.Limit < 0:
		return fmt.Errorf("usersession: Page.Limit: must not be negative, is %d", p.Limit)
	case !index.Storable(p.After):
		return errors.New("usersession: Page.After: is not an ID")
	}
	return nil
}

// state says which rows ListMatching reads.
func (f Filter) state() index.State {
	if f.Ended {
		return index.Ended
	}
	return index.Live
}

// where returns f as a selection. currentID is the session that ExceptCurrent
// leaves out.
func (f Filter) where(x *index.Index, currentID string) (*index.Selection, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	s := x.Select()
	if len(f.UserIDs) > 0 {
		users := make([]string, len(f.UserIDs))
		for i, u := range f.UserIDs {
			id, err := checkUserID(x, u)
			if err != nil {
				return nil, err
			}
			users[i] = id
		}
		s.Users(users)
	}
	if len(f.IDs) > 0 {
		s.IDs(f.IDs)
	}
	if len(f.ExceptIDs) > 0 {
		s.ExceptIDs(f.ExceptIDs)
	}
	s.EndedAfter(f.EndedAfter)
	s.Created(f.CreatedBefore, f.CreatedAfter)
	s.Seen(f.SeenBefore, f.SeenAfter)
	s.Authenticated(f.AuthenticatedBefore)
	if f.IdP != (IdP{}) {
		s.IdP(index.IdP(f.IdP))
	}
	if f.IP.IsValid() {
		s.IP(f.IP)
	}
	if f.UserAgent != "" {
		s.UserAgent(f.UserAgent)
	}
	if len(f.Meta) > 0 {
		s.Meta(f.Meta)
	}
	if f.Bound {
		s.Bound()
	}
	if f.ExceptCurrent && currentID != "" {
		s.Except(currentID)
	}
	return s, nil
}
