// Package signals receives and sends the events of the OpenID Shared Signals Framework
// 1.0, of CAEP 1.0 and of RISC 1.0. So an account that is disabled elsewhere, or a device
// that was stolen, ends sessions here, and others hear of the sessions that end here.
//
// [Apply] is the verb, for programs that receive events with another library. [Receiver]
// is an endpoint for push delivery (RFC 8935). [Transmitter] sends the sessions that have
// ended. Log users in with usersession.WithIdP, by which the sessions are found.
//
// A stream has few events, so that nobody notices when it is dead. [Receiver.Watch] asks
// for verification events and reports when they do not come.
package signals

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The types of events that end sessions, and those about a stream.
const (
	SessionRevoked         = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
	CredentialChange       = "https://schemas.openid.net/secevent/caep/event-type/credential-change"
	AssuranceLevelChange   = "https://schemas.openid.net/secevent/caep/event-type/assurance-level-change"
	DeviceComplianceChange = "https://schemas.openid.net/secevent/caep/event-type/device-compliance-change"
	AccountDisabled        = "https://schemas.openid.net/secevent/risc/event-type/account-disabled"
	AccountPurged          = "https://schemas.openid.net/secevent/risc/event-type/account-purged"
	CredentialCompromise   = "https://schemas.openid.net/secevent/risc/event-type/credential-compromise"
	Verification           = "https://schemas.openid.net/secevent/ssf/event-type/verification"
	StreamUpdated          = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated"
)

// Subject is a Subject Identifier (RFC 9493), or a complex one of the Shared Signals
// Framework. Fields that its format does not have are empty.
type Subject struct {
	Format string `json:"format"`

	Issuer  string `json:"iss,omitempty"` // iss_sub
	Subject string `json:"sub,omitempty"` // iss_sub
	ID      string `json:"id,omitempty"`  // opaque
	Email   string `json:"email,omitempty"`
	Phone   string `json:"phone_number,omitempty"`
	URI     string `json:"uri,omitempty"` // account

	User    *Subject `json:"user,omitempty"` // complex, and those that follow
	Device  *Subject `json:"device,omitempty"`
	Session *Subject `json:"session,omitempty"`
	Tenant  *Subject `json:"tenant,omitempty"`
}

// Event is an event that was verified. Fields that its type does not have are empty.
type Event struct {
	Type   string // one of the constants, or another
	Issuer string // iss of the token
	ID     string // jti of the token
	// Time is when it happened, by event_timestamp, or else toe or iat of the token. Sessions
	// whose user was authenticated since are not ended.
	Time    time.Time
	Subject Subject

	// IdPIssuer is the issuer in usersession.WithIdP, for subjects that name none. If it is
	// empty, it is the Issuer.
	IdPIssuer string

	// UserID is the user of the program whom the Subject means, if it is not found by
	// WithIdP, as that of an e-mail address. It may be empty.
	UserID string

	ChangeType      string // change_type of CredentialChange: create, revoke, update or delete
	ChangeDirection string // change_direction of AssuranceLevelChange: increase or decrease
	CurrentStatus   string // current_status of DeviceComplianceChange: compliant or not-compliant
	State           string // state of Verification
	Status          string // status of StreamUpdated: enabled, paused or disabled
}

// maxAhead is how far the clock of the transmitter may be ahead.
const maxAhead = time.Minute

// set is the claims of a Security Event Token (RFC 8417).
type set struct {
	Issuer   string                     `json:"iss"`
	ID       string                     `json:"jti"`
	IssuedAt number                     `json:"iat"`
	Audience audience                   `json:"aud"`
	TimeOf   number                     `json:"toe,omitempty"`
	Subject  *Subject                   `json:"sub_id"`
	Events   map[string]json.RawMessage `json:"events"`

	OldSubject json.RawMessage `json:"sub,omitempty"` // which must not be there
	Expiry     json.RawMessage `json:"exp,omitempty"` // likewise
}

// number is a NumericDate.
type number float64

// time returns the zero time for 0.
func (n number) time() time.Time {
	if n <= 0 {
		return time.Time{}
	}
	if n > 1e11 { // some transmitters have milliseconds, as drafts of CAEP had
		n /= 1000
	}
	return time.Unix(int64(n), 0)
}

// audience is a text or a list of texts.
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// event checks the claims, but for issuer and audience, and reads the event.
func (s set) event() (Event, error) {
	e := Event{Issuer: s.Issuer, ID: s.ID}
	switch {
	case s.ID == "":
		return e, errors.New("jti is missing")
	case s.IssuedAt.time().IsZero():
		return e, errors.New("iat is missing")
	case time.Until(s.IssuedAt.time()) > maxAhead:
		return e, errors.New("iat is in the future")
	case len(s.OldSubject) > 0:
		return e, errors.New("sub must not be there")
	case len(s.Expiry) > 0:
		return e, errors.New("exp must not be there")
	case s.Subject == nil:
		return e, errors.New("sub_id is missing")
	case len(s.Events) != 1:
		return e, fmt.Errorf("%d events, want 1", len(s.Events))
	}
	if err := s.Subject.check(); err != nil {
		return e, err
	}
	e.Subject = *s.Subject
	var body struct {
		Timestamp       number `json:"event_timestamp"`
		ChangeType      string `json:"change_type"`
		ChangeDirection string `json:"change_direction"`
		CurrentStatus   string `json:"current_status"`
		State           string `json:"state"`
		Status          string `json:"status"`
	}
	for name, raw := range s.Events {
		e.Type = name
		if !strings.HasPrefix(strings.TrimSpace(string(raw)), "{") {
			return e, errors.New("the event is not an object")
		}
		if err := json.Unmarshal(raw, &body); err != nil {
			return e, fmt.Errorf("the event: %w", err)
		}
	}
	for _, at := range []number{body.Timestamp, s.TimeOf, s.IssuedAt} {
		if e.Time = at.time(); !e.Time.IsZero() {
			break
		}
	}
	if time.Until(e.Time) > maxAhead {
		return e, errors.New("event_timestamp is in the future")
	}
	e.ChangeType, e.ChangeDirection, e.CurrentStatus = body.ChangeType, body.ChangeDirection, body.CurrentStatus
	e.State, e.Status = body.State, body.Status
	return e, e.check()
}

// check refuses an event that is not as its type wants it.
func (e Event) check() error {
	for _, c := range []struct{ of, name, value, want string }{
		{CredentialChange, "change_type", e.ChangeType, "create revoke update delete"},
		{AssuranceLevelChange, "change_direction", e.ChangeDirection, "increase decrease"},
		{DeviceComplianceChange, "current_status", e.CurrentStatus, "compliant not-compliant"},
	} {
		if e.Type != c.of || c.value == "" && c.of == AssuranceLevelChange { // where it is optional
			continue
		}
		if c.value == "" || strings.Contains(c.value, " ") || !strings.Contains(" "+c.want+" ", " "+c.value+" ") {
			return fmt.Errorf("%s is %.40q, want one of: %s", c.name, c.value, c.want)
		}
	}
	return nil
}

// check refuses a subject that lacks what its format has.
func (s Subject) check() error {
	missing := false
	switch s.Format {
	case "":
		return errors.New("sub_id has no format")
	case "iss_sub":
		missing = s.Issuer == "" || s.Subject == ""
	case "opaque":
		missing = s.ID == ""
	case "email":
		missing = s.Email == ""
	case "phone_number":
		missing = s.Phone == ""
	case "account":
		missing = s.URI == ""
	case "complex":
		for _, part := range []*Subject{s.User, s.Device, s.Session, s.Tenant} {
			if part == nil {
				continue
			}
			if part.Format == "complex" {
				return errors.New("sub_id is complex in itself")
			}
			if err := part.check(); err != nil {
				return err
			}
		}
	}
	if missing {
		return fmt.Errorf("sub_id lacks what the format %s has", s.Format)
	}
	return nil
}
