package usersession

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// A LoginOption is a setting of one login.
type LoginOption func(*loginOptions)

type loginOptions struct {
	meta       map[string]string
	ip         *netip.Addr
	userAgent  *string
	lifetime   *time.Duration
	idle       *time.Duration
	persist    trailer.Persistence
	checkedAt  *time.Time
	recheck    func(ctx context.Context) error
	level      Level
	levelGiven bool
	userID     *string
	actor      string // of Impersonate
	idp        IdP
	idpGiven   bool
}

// WithMeta notes pairs in UserSession.Meta. Lists show them, and Filter.Meta
// finds them. The login fails if there are more than 32 pairs or 4096 bytes in
// all, if a text is not UTF-8 or holds a NUL, or if a key is empty.
func WithMeta(pairs map[string]string) LoginOption {
	return func(o *loginOptions) {
		if o.meta == nil {
			o.meta = make(map[string]string)
		}
		maps.Copy(o.meta, pairs)
	}
}

// WithMethod notes how the user proved who they are, "password" or "passkey"
// say, in UserSession.Meta under MetaMethod.
func WithMethod(method string) LoginOption {
	return WithMeta(map[string]string{MetaMethod: method})
}

// WithLevel notes how surely the user has proved who they are, for RequireLevel and in
// UserSession.Meta under MetaLevel. In Reauthenticate it raises the level of the session,
// or makes it as fresh as new. A lower one than the session has leaves that as it is.
// The login fails if it is none of AAL1, AAL2 and AAL3.
func WithLevel(level Level) LoginOption {
	return func(o *loginOptions) { o.level, o.levelGiven = level, true }
}

// WithUserID says whose credentials were checked, such as a passkey that names its own
// user. Reauthenticate returns ErrOtherUser if that is not the user of the session, and
// Login if it is not the user that it was called with.
func WithUserID(userID string) LoginOption {
	return func(o *loginOptions) { o.userID = &userID }
}

// WithIdP notes who the user is at the identity provider where they have logged in, from
// the claims iss, sub and sid of the ID token. A provider that has no sid leaves session
// empty. Then a sign-out there ends the session here, see Filter.IdP and the package
// idp/oidclogout. It costs two statements more. Reauthenticate ignores it.
//
// UserSession.AuthenticatedAt is the time of WithCheckedAt then, so that a sign-out which
// is told late ends the session. RequireFresh counts from the login.
//
// Login returns ErrRevokedMeanwhile if the user was signed out there after the
// credentials were checked, see WithCheckedAt. It fails if issuer or subject is empty, or
// if a text is longer than 255 bytes or not printable ASCII.
func WithIdP(issuer, subject, session string) LoginOption {
	return func(o *loginOptions) { o.idp, o.idpGiven = IdP{issuer, subject, session}, true }
}

// WithIP notes another address of the client than that of Options.ClientIP.
// Reauthenticate ignores it.
func WithIP(ip netip.Addr) LoginOption {
	return func(o *loginOptions) { o.ip = &ip }
}

// WithUserAgent notes another User-Agent than that of the request, cut to 512
// bytes. Reauthenticate ignores it.
func WithUserAgent(userAgent string) LoginOption {
	return func(o *loginOptions) { o.userAgent = &userAgent }
}

// WithLifetime gives this one session another lifetime than Options.Lifetime,
// for "remember me". The idle timeout still counts, see WithIdleTimeout, and the cookie
// ends with the browser, see WithPersistentCookie. The login fails if d is less than
// 1 second.
func WithLifetime(d time.Duration) LoginOption {
	return func(o *loginOptions) { o.lifetime = &d }
}

// WithIdleTimeout gives this one session another idle timeout than
// Options.IdleTimeout, longer or shorter. With NoIdleTimeout it ends by its lifetime
// only. It is kept in the row, so that a later change of Options.IdleTimeout leaves it
// as it is. The login fails if d is less than four times Options.TouchInterval.
// Reauthenticate ignores it.
func WithIdleTimeout(d time.Duration) LoginOption {
	return func(o *loginOptions) { o.idle = &d }
}

// WithPersistentCookie says whether the cookie of this session outlives the
// browser's window. The default is Cookie.Persist of the scs manager.
func WithPersistentCookie(persistent bool) LoginOption {
	return func(o *loginOptions) {
		o.persist = trailer.PersistNever
		if persistent {
			o.persist = trailer.PersistAlways
		}
	}
}

// WithCheckedAt says when the credentials of the user were checked, if that was before
// this request: in the first step of a login in two steps, for example. A login is
// refused with ErrRevokedMeanwhile if all sessions of the user were revoked since then.
// The default is the time at which the request began. Login fails if t is in the
// future or more than 23 hours ago. Reauthenticate ignores it.
func WithCheckedAt(t time.Time) LoginOption {
	return func(o *loginOptions) { o.checkedAt = &t }
}

// maxChecked is how long ago credentials may have been checked. The fence that speaks
// against them is kept longer.
const maxChecked = index.FenceKept - time.Hour

// WithRecheck calls check once the row of the login is in the index, where every
// revocation finds it. If check returns an error, the login ends, and Login returns
// an error that wraps it. Reauthenticate ignores it.
//
// It closes the gap between the check of a password and the login. A login whose
// password is changed in between would begin after the revocation that ends the
// others. Let check read, from the primary database, that what the user has proved
// still counts, such as the same password hash and an account that is not disabled.
//
// Then either check sees the change, or the revocation after the change ends the
// login. Change first and revoke second, or do both in a transaction and call
// Finish of the Revocation. Sessions that made room for a refused login, because
// of MaxSessions, stay ended. The context is that of Login.
func WithRecheck(check func(ctx context.Context) error) LoginOption {
	return func(o *loginOptions) { o.recheck = check }
}

func newLoginOptions(opts []LoginOption) (loginOptions, error) {
	var o loginOptions
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.lifetime != nil && *o.lifetime < time.Second {
		return o, fmt.Errorf("usersession: WithLifetime: must be at least 1s, is %v", *o.lifetime)
	}
	if t := o.checkedAt; t != nil && (time.Until(*t) > 0 || time.Since(*t) > maxChecked) {
		return o, fmt.Errorf("usersession: WithCheckedAt: must be within the last %v, is %v", maxChecked, *t)
	}
	if o.levelGiven && !o.level.known() {
		return o, fmt.Errorf("usersession: WithLevel: is %d, which is none of AAL1, AAL2, AAL3", int(o.level))
	}
	if o.idpGiven {
		if err := o.idp.check("WithIdP"); err != nil {
			return o, err
		}
		if o.idp.Subject == "" {
			return o, errors.New("usersession: WithIdP: Subject is empty")
		}
	}
	if err := refuseReserved("WithMeta", o.meta); err != nil {
		return o, err
	}
	if o.level != 0 {
		WithMeta(map[string]string{MetaLevel: o.level.String()})(&o)
	}
	return o, checkMeta("WithMeta", o.meta)
}

// checkMeta refuses metadata that cannot be kept. what is whose they are.
func checkMeta(what string, meta map[string]string) error {
	size := 0
	for k, v := range meta {
		size += len(k) + len(v)
		for _, text := range []string{k, v} {
			if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
				return fmt.Errorf("usersession: %s: not UTF-8 text without NUL", what)
			}
		}
		if k == "" {
			return fmt.Errorf("usersession: %s: empty key", what)
		}
	}
	if len(meta) > 32 || size > 4096 {
		return fmt.Errorf("usersession: %s: %d pairs of %d bytes, at most 32 of 4096", what, len(meta), size)
	}
	return nil
}
