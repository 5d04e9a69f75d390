package signals

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// MetaDevice is the key of UserSession.Meta under which a login notes which device it
// is, by usersession.WithMeta. The value is the id or sub by which the transmitter names
// the device.
const MetaDevice = "device_id"

// ErrSubject is returned by Apply if the subject names no session, user or device that
// can be looked for. No session has ended.
var ErrSubject = errors.New("signals: the subject of the event names nobody who can be looked for")

// reasons are UserSession.Reason of the sessions that an event ends, by its type.
var reasons = map[string]string{
	SessionRevoked:         "signal_session_revoked",
	CredentialChange:       "signal_credential_change",
	AssuranceLevelChange:   "signal_assurance_level_change",
	DeviceComplianceChange: "signal_device_compliance_change",
	AccountDisabled:        "signal_account_disabled",
	AccountPurged:          "signal_account_purged",
	CredentialCompromise:   "signal_credential_compromise",
}

// Apply ends the sessions that an event means, and returns how many. Only those end whose
// user was authenticated by the end of the second in which it happened. So an event that is
// applied again, on whichever replica, ends no session that began since.
//
//   - SessionRevoked ends the session that the subject names, and those of its user
//     without a sid. Without a session it ends all of the user, or those on the device if
//     there is one.
//   - AccountDisabled, AccountPurged and CredentialCompromise end all sessions of the user,
//     and so does CredentialChange unless the credential was created.
//   - AssuranceLevelChange ends the session, or all of the user, if the level has
//     decreased. The user logs in again.
//   - DeviceComplianceChange ends the sessions on the device, if it is not compliant any
//     more, see MetaDevice. If the subject has a user as well, only those of the user end.
//   - Any other ends none.
//
// A user is found by WithIdP, from a subject with format iss_sub, or opaque with the
// issuer of the event, and by Event.UserID. A session is found by its sid at the issuer. A
// tenant does not narrow what an event means. UserSession.EndedBy is the issuer.
//
// Apply returns ErrSubject, or an error of RevokeMatching such as
// usersession.ErrRevocationPending. On error apply the event again. It is safe for
// concurrent use.
func Apply(ctx context.Context, sessions *usersession.Manager, e Event) (ended int, err error) {
	if reasons[e.Type] == "" || !e.acts() {
		return 0, nil
	}
	filters, err := e.filters()
	if err != nil {
		return 0, err
	}
	ctx = usersession.ContextWithActor(usersession.ContextWithReason(ctx, reasons[e.Type]), e.Issuer)
	for _, f := range filters {
		f.AuthenticatedBefore = e.Time.Truncate(time.Second).Add(time.Second)
		n, rerr := sessions.RevokeMatching(ctx, f)
		ended += n
		err = errors.Join(err, rerr) // the next is as urgent
	}
	if err != nil {
		return ended, fmt.Errorf("signals: Apply: %w", err)
	}
	return ended, nil
}

// acts reports whether an event of its type ends sessions.
func (e Event) acts() bool {
	switch e.Type {
	case CredentialChange:
		return e.ChangeType != "create"
	case AssuranceLevelChange:
		return e.ChangeDirection == "decrease"
	case DeviceComplianceChange:
		return e.CurrentStatus == "not-compliant"
	}
	return true
}

// parts returns whom the subject means.
func (e Event) parts() (session, user, device *Subject) {
	s := e.Subject
	switch {
	case s.Format == "complex":
		return s.Session, s.User, s.Device
	case e.Type == SessionRevoked && s.Format == "opaque":
		return &s, nil, nil
	case e.Type == DeviceComplianceChange:
		return nil, nil, &s
	}
	return nil, &s, nil
}

// filters select the sessions that the event means. Together they select something.
func (e Event) filters() ([]usersession.Filter, error) {
	if e.Time.IsZero() {
		return nil, errors.New("signals: Event.Time: is zero")
	}
	session, user, device := e.parts()
	if e.Type != SessionRevoked && e.Type != AssuranceLevelChange {
		session = nil
	}
	if e.Type != SessionRevoked && e.Type != DeviceComplianceChange {
		device = nil
	}
	var narrowed usersession.Filter
	if device != nil {
		name := cmp.Or(device.ID, device.Subject)
		if name == "" {
			return nil, ErrSubject
		}
		narrowed.Meta = map[string]string{MetaDevice: name}
	} else if e.Type == DeviceComplianceChange {
		return nil, ErrSubject
	}
	idp := usersession.IdP{Issuer: cmp.Or(e.IdPIssuer, e.Issuer)}
	if session != nil {
		if idp.Session = cmp.Or(session.ID, session.Subject); idp.Session == "" {
			return nil, ErrSubject
		}
	}
	if user != nil && (user.ID != "" || user.Subject != "") {
		idp.Issuer, idp.Subject = cmp.Or(user.Issuer, idp.Issuer), cmp.Or(user.Subject, user.ID)
	}
	for _, text := range []string{idp.Issuer, idp.Subject, idp.Session} {
		// No session has such a one: WithIdP refuses it.
		if len(text) > 255 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			return nil, ErrSubject
		}
	}
	var all []usersession.Filter
	if idp.Session != "" || idp.Subject != "" {
		f := narrowed
		f.IdP = idp
		all = append(all, f)
	}
	if e.UserID != "" && session == nil { // a session is one, whoever its user is
		f := narrowed
		f.UserIDs = []string{e.UserID}
		all = append(all, f)
	}
	if len(all) == 0 && device != nil && user == nil {
		all = append(all, narrowed)
	}
	if len(all) == 0 {
		return nil, ErrSubject
	}
	return all, nil
}
