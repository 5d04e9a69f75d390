package usersession

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/agent"
)

// UserSession is one session of one user, as the index knows it. It holds
// nothing secret. Its ID is a public name, safe in URLs, logs and e-mails.
type UserSession struct {
	// ID is the public name of the session. It has 22 characters from
	// [A-Za-z0-9_-]. It stays the same while the token is renewed.
	ID string

	// UserID is the user the session belongs to. It is empty only for an
	// ended session whose user has been deleted from Options.UsersTable, or by PurgeUser.
	UserID string

	// CreatedAt is the time of the login.
	CreatedAt time.Time

	// AuthenticatedAt is the last time the user proved who they are, by Login
	// or by Reauthenticate. After WithIdP it is the time of WithCheckedAt.
	AuthenticatedAt time.Time

	// LastSeenAt is the time of the last request, up to Options.TouchInterval
	// behind.
	LastSeenAt time.Time

	// ExpiresAt is when the session ends if it is not used any more. It is the
	// earlier of LastSeenAt plus Options.IdleTimeout, or that of WithIdleTimeout, and
	// the end of the session's lifetime.
	ExpiresAt time.Time

	// IP is the client's address at login, as Options.ClientIP found it. It is
	// the zero Addr if the address is not known.
	IP netip.Addr

	// UserAgent is the User-Agent header at login, cut to 512 bytes. The client
	// can send any text, so escape it in HTML.
	UserAgent string

	// LastIP and LastUserAgent are those of the request that LastSeenAt is the time
	// of, and until then those of the login. They are as fresh as LastSeenAt. A request
	// that does not count as use, by Options.NoTouch, does not change them. What the
	// login left out, by WithIP or WithUserAgent, stays empty here.
	LastIP        netip.Addr
	LastUserAgent string

	// IdP is who the user is at the identity provider, as WithIdP noted it. It is the
	// zero IdP in a session that did not begin there.
	IdP IdP

	// Meta has the pairs that WithMeta and WithMethod noted, at login or by
	// Reauthenticate, and those of SetMeta. It is never nil.
	Meta map[string]string

	// Bound reports whether the session is bound to its device, by package dbsc. It is
	// false where the Manager does not have that package.
	Bound bool

	// Current reports whether this is the session of the context that the
	// listing call was made with.
	Current bool

	// EndedAt is when the session ended. It is the zero time until then.
	EndedAt time.Time

	// EndedBy is who ended the session. It is the actor of ContextWithActor, that of
	// Impersonate, or else the user. It is empty if the janitor ended the session, and
	// after PurgeUser.
	EndedBy string

	// Reason is why the session ended. It is one of the Reason constants, or
	// the text of ContextWithReason.
	Reason string
}

// IdP is who a user is at an identity provider of OpenID Connect.
type IdP struct {
	Issuer  string `json:"iss"`           // the claim iss of the ID token
	Subject string `json:"sub,omitempty"` // its claim sub
	Session string `json:"sid,omitempty"` // its claim sid, or "" if it has none
}

// check refuses what no provider may send, and what could not be compared alike on
// every database. what is where it stands.
func (p IdP) check(what string) error {
	for _, f := range []struct{ name, text string }{{"Issuer", p.Issuer}, {"Subject", p.Subject}, {"Session", p.Session}} {
		if len(f.text) > 255 || strings.ContainsFunc(f.text, func(r rune) bool { return r < ' ' || r > '~' }) {
			return fmt.Errorf("usersession: %s: %s is longer than 255 bytes, or not printable ASCII", what, f.name)
		}
	}
	switch {
	case p.Issuer == "":
		return fmt.Errorf("usersession: %s: Issuer is empty", what)
	case p.Subject == "" && p.Session == "":
		return fmt.Errorf("usersession: %s: Subject and Session are empty", what)
	}
	return nil
}

// The values of UserSession.Reason that this package sets, and the keys of
// UserSession.Meta, by which [Filter].Meta finds sessions.
const (
	ReasonLogout      = "logout"       // Logout or Destroy in the session's own request
	ReasonRevoked     = "revoked"      // one of the Revoke methods
	ReasonReplaced    = "replaced"     // a login in the same browser
	ReasonEvicted     = "evicted"      // Options.MaxSessions was reached
	ReasonExpired     = "expired"      // past its lifetime, or idle for too long, when the janitor found it
	ReasonAborted     = "aborted"      // a login whose response was never committed
	ReasonDataLost    = "data_lost"    // the Store has lost its data, or has them no longer whole
	ReasonUserDeleted = "user_deleted" // PurgeUser, or the row of the user is gone from Options.UsersTable

	ReasonPasswordChanged = "password_changed" // PasswordChanged
	ReasonFactorChanged   = "factor_changed"   // FactorChanged
	ReasonAccountDisabled = "account_disabled" // AccountDisabled

	ReasonNotMe       = "not_me"       // the user has followed a link of sessionui.NotMe
	ReasonTokenReused = "token_reused" // Options.TokenReuse

	MetaMethod       = "auth_method"     // that of WithMethod, or MethodImpersonation
	MetaLevel        = "auth_level"      // that of WithLevel, as its String. Only this package sets it
	MetaImpersonator = "impersonated_by" // the actor of Impersonate. Only this package sets it

	MethodImpersonation = "impersonation" // of a session of Impersonate
)

// Device describes the client in a few words, such as "Firefox on Linux". It
// returns "Unknown device" if it does not understand the User-Agent. The text
// is a label by which people recognise their own sessions. Base no decision on
// it.
func (s UserSession) Device() string { return agent.Device(s.UserAgent) }

// sessionJSON fixes the names and the order of the JSON form.
type sessionJSON struct {
	ID              string            `json:"id"`
	UserID          string            `json:"user_id"`
	CreatedAt       time.Time         `json:"created_at"`
	AuthenticatedAt time.Time         `json:"authenticated_at"`
	LastSeenAt      time.Time         `json:"last_seen_at"`
	ExpiresAt       time.Time         `json:"expires_at"`
	IP              netip.Addr        `json:"ip"`
	UserAgent       string            `json:"user_agent"`
	LastIP          netip.Addr        `json:"last_ip"`
	LastUserAgent   string            `json:"last_user_agent"`
	IdP             IdP               `json:"idp,omitzero"`
	Device          string            `json:"device"`
	Meta            map[string]string `json:"meta"`
	Current         bool              `json:"current"`
	Bound           bool              `json:"bound,omitempty"`
	EndedAt         time.Time         `json:"ended_at,omitzero"`
	EndedBy         string            `json:"ended_by,omitempty"`
	Reason          string            `json:"reason,omitempty"`
}

// MarshalJSON returns the session in snake_case, with its Device. Times are RFC
// 3339 in UTC. If the address is not known, ip is "". Only ended sessions have
// ended_at, ended_by and reason, only those of WithIdP have idp, and only those that
// are bound to a device have bound.
func (s UserSession) MarshalJSON() ([]byte, error) {
	if s.Meta == nil {
		s.Meta = map[string]string{}
	}
	return json.Marshal(sessionJSON{
		ID: s.ID, UserID: s.UserID,
		CreatedAt: s.CreatedAt.UTC(), AuthenticatedAt: s.AuthenticatedAt.UTC(),
		LastSeenAt: s.LastSeenAt.UTC(), ExpiresAt: s.ExpiresAt.UTC(),
		IP: s.IP, UserAgent: s.UserAgent, LastIP: s.LastIP, LastUserAgent: s.LastUserAgent,
		IdP: s.IdP, Device: s.Device(), Meta: s.Meta, Current: s.Current, Bound: s.Bound,
		EndedAt: s.EndedAt.UTC(), EndedBy: s.EndedBy, Reason: s.Reason,
	})
}

// UnmarshalJSON reads the form that MarshalJSON writes.
func (s *UserSession) UnmarshalJSON(b []byte) error {
	var j sessionJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*s = UserSession{
		ID: j.ID, UserID: j.UserID,
		CreatedAt: j.CreatedAt, AuthenticatedAt: j.AuthenticatedAt,
		LastSeenAt: j.LastSeenAt, ExpiresAt: j.ExpiresAt,
		IP: j.IP, UserAgent: j.UserAgent, LastIP: j.LastIP, LastUserAgent: j.LastUserAgent,
		IdP: j.IdP, Meta: j.Meta, Current: j.Current, Bound: j.Bound,
		EndedAt: j.EndedAt, EndedBy: j.EndedBy, Reason: j.Reason,
	}
	return nil
}
