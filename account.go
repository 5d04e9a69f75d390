package usersession

import (
	"context"
	"errors"
)

// PasswordChanged is to be called after the password of a user was changed. It ends
// their sessions (ASVS 5.0, 7.4.3), with ReasonPasswordChanged. It spares the session of
// the context if that is the user's, and not one of Impersonate. It returns how many it
// has ended, and the errors of RevokeOtherSessions or RevokeAllSessions. A login whose
// password was checked before is refused, but for one in this request. So change the
// password first, and call it then.
//
// An ID that nobody has is no error, and ends nothing. After RenewToken of the embedded
// scs manager in the same request, the session of the context ends as well.
func (m *Manager) PasswordChanged(ctx context.Context, userID string) (int, error) {
	return m.credentialChanged(ctx, userID, ReasonPasswordChanged)
}

// FactorChanged is PasswordChanged for another factor that was added, changed or
// removed, with ReasonFactorChanged.
func (m *Manager) FactorChanged(ctx context.Context, userID string) (int, error) {
	return m.credentialChanged(ctx, userID, ReasonFactorChanged)
}

func (m *Manager) credentialChanged(ctx context.Context, userID, why string) (int, error) {
	uid, err := checkUserID(m.index, userID)
	if err != nil {
		return 0, err
	}
	ctx = ContextWithReason(ctx, why)
	if b := m.binding(ctx); b.Authenticated() && b.UserID == uid && !b.Impersonated() {
		n, err := m.RevokeOtherSessions(ctx)
		if !errors.Is(err, ErrSessionEnded) {
			return n, err
		}
		// The password was changed by a session that has ended meanwhile. The
		// others must end all the same.
	}
	return m.RevokeAllSessions(ctx, uid)
}

// AccountDisabled is to be called when an account is disabled. It ends every session of
// the user, with ReasonAccountDisabled (ASVS 5.0, 7.4.2), and refuses logins with
// ErrAccountDisabled until AccountEnabled. It returns how many it has ended, and the
// errors of RevokeAllSessions. If an error is returned, call it again.
//
// Sessions in which the user acts for others, after Impersonate, live on, because no
// SQL index finds them. RevokeMatching with Filter.Meta and MetaImpersonator ends them.
// It reads every live row.
func (m *Manager) AccountDisabled(ctx context.Context, userID string) (int, error) {
	uid, err := checkUserID(m.index, userID)
	if err != nil {
		return 0, err
	}
	n, err := m.revokeAll(ContextWithReason(ctx, ReasonAccountDisabled), uid, true)
	return n, wrap("AccountDisabled", err)
}

// AccountEnabled lets a user log in again after AccountDisabled. It is nil also if the
// account was not disabled.
func (m *Manager) AccountEnabled(ctx context.Context, userID string) error {
	uid, err := checkUserID(m.index, userID)
	if err != nil {
		return err
	}
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	return wrap("AccountEnabled", m.index.Enable(ctx, uid))
}
