package usersession

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/mileusna/useragent"
)

// UserSession is one session of one user, as the index knows it. It holds
// nothing secret: its ID is a public name, safe in URLs, logs and e-mails.
type UserSession struct {
	// ID is the public name of the session: 22 characters from
	// [A-Za-z0-9_-]. It stays the same while the token is renewed.
	ID string

	// UserID is the user the session belongs to. It is empty only for an
	// ended session whose user has been deleted from Options.UsersTable.
	UserID string

	// CreatedAt is the time of the login.
	CreatedAt time.Time

	// AuthenticatedAt is the last time the user proved who they are: the login,
	// or the last Reauthenticate.
	AuthenticatedAt time.Time

	// LastSeenAt is the time of the last request, up to Options.TouchInterval
	// behind.
	LastSeenAt time.Time

	// ExpiresAt is when the session ends if it is not used any more: the
	// earlier of LastSeenAt plus Options.IdleTimeout and the end of its
	// lifetime.
	ExpiresAt time.Time

	// IP is the client's address at login, as Options.ClientIP found it. The
	// zero Addr if it is not known.
	IP netip.Addr

	// UserAgent is the User-Agent header at login, cut to 512 bytes. It is
	// what the client claims: escape it in HTML.
	UserAgent string

	// Meta is what WithMeta and WithMethod noted at login. Never nil.
	Meta map[string]string

	// Current reports whether this is the session of the context that the
	// listing call was made with.
	Current bool

	// EndedAt is when the session ended; the zero time while it has not.
	EndedAt time.Time

	// EndedBy is who ended it: the actor of WithActor, or the user.
	EndedBy string

	// Reason is why it ended: one of the Reason constants, or the text of
	// WithReason.
	Reason string
}

// The values of UserSession.Reason this package sets.
const (
	ReasonLogout      = "logout"       // Logout or Destroy in the session's own request
	ReasonRevoked     = "revoked"      // one of the Revoke methods
	ReasonReplaced    = "replaced"     // a login in the same browser
	ReasonEvicted     = "evicted"      // Options.MaxSessions was reached
	ReasonExpired     = "expired"      // past its lifetime; noted by the janitor, for idle ones as well only then
	ReasonAborted     = "aborted"      // a login whose response was never committed
	ReasonUserDeleted = "user_deleted" // the row of the user is gone from Options.UsersTable
)

// Device describes the client in a few words, such as "Firefox on Linux", as
// far as its User-Agent can be understood; "Unknown device" otherwise. It is a
// label for a person to recognise their own session by, nothing to base a
// decision on.
func (s UserSession) Device() string {
	ua := useragent.Parse(s.UserAgent)
	name := len(ua.Name) > 1 // else it is a piece of something that is no browser's
	switch {
	case name && ua.OS != "":
		return ua.Name + " on " + ua.OS
	case name:
		return ua.Name
	case ua.OS != "":
		return ua.OS
	}
	return "Unknown device"
}

// sessionJSON fixes the names and the order of the JSON form.
type sessionJSON struct {
	ID              string            `json:"id"`
	UserID          string            `json:"user_id"`
	CreatedAt       time.Time         `json:"created_at"`
	AuthenticatedAt time.Time         `json:"authenticated_at"`
	LastSeenAt      time.Time         `json:"last_seen_at"`
	ExpiresAt       time.Time         `json:"expires_at"`
	IP              string            `json:"ip"`
	UserAgent       string            `json:"user_agent"`
	Device          string            `json:"device"`
	Meta            map[string]string `json:"meta"`
	Current         bool              `json:"current"`
	EndedAt         time.Time         `json:"ended_at,omitzero"`
	EndedBy         string            `json:"ended_by,omitempty"`
	Reason          string            `json:"reason,omitempty"`
}

// MarshalJSON returns the session in snake_case, with its Device. Times are
// RFC 3339 in UTC; ip is "" if it is not known; ended_at, ended_by and reason
// are there for ended sessions only.
func (s UserSession) MarshalJSON() ([]byte, error) {
	j := sessionJSON{
		ID: s.ID, UserID: s.UserID,
		CreatedAt: s.CreatedAt.UTC(), AuthenticatedAt: s.AuthenticatedAt.UTC(),
		LastSeenAt: s.LastSeenAt.UTC(), ExpiresAt: s.ExpiresAt.UTC(),
		UserAgent: s.UserAgent, Device: s.Device(), Meta: s.Meta, Current: s.Current,
		EndedBy: s.EndedBy, Reason: s.Reason,
	}
	if s.IP.IsValid() {
		j.IP = s.IP.String()
	}
	if j.Meta == nil {
		j.Meta = map[string]string{}
	}
	if !s.EndedAt.IsZero() {
		j.EndedAt = s.EndedAt.UTC()
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *UserSession) UnmarshalJSON(b []byte) error {
	var j sessionJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	var ip netip.Addr
	if j.IP != "" {
		var err error
		if ip, err = netip.ParseAddr(j.IP); err != nil {
			return fmt.Errorf("usersession: ip: %w", err)
		}
	}
	*s = UserSession{
		ID: j.ID, UserID: j.UserID,
		CreatedAt: j.CreatedAt, AuthenticatedAt: j.AuthenticatedAt,
		LastSeenAt: j.LastSeenAt, ExpiresAt: j.ExpiresAt,
		IP: ip, UserAgent: j.UserAgent, Meta: j.Meta, Current: j.Current,
		EndedAt: j.EndedAt, EndedBy: j.EndedBy, Reason: j.Reason,
	}
	return nil
}
