package usersession

import (
	"cmp"
	"context"
	"time"
)

// Ended returns the session that the cookie of the request was of, if it has ended and
// its row is still kept. A login page can say why with it: UserSession.Reason is one
// of the Reason constants or the text of ContextWithReason. EndedAt of a session that
// nobody has ended yet, because it is idle or past its lifetime, is when that was, and
// its Reason is ReasonExpired.
//
// It reads one row of the index, and only if the cookie was refused. Without a cookie,
// with one of no session, and with one of a live session it returns false. So it does
// if the index cannot be read, which is logged. Only who has the token of a session
// gets it. That may be a thief of the cookie, so show the reason and the time, and not
// the user.
func (m *Manager) Ended(ctx context.Context) (UserSession, bool) {
	r := m.request(ctx)
	if r == nil {
		return UserSession{}, false
	}
	var keys []string
	r.do(func() { keys = r.refused })
	ctx, cancel := m.reading(ctx)
	defer cancel()
	for _, key := range keys {
		row, found, err := m.index.ByKey(ctx, key)
		if err != nil {
			m.opts.Logger.WarnContext(m.hide(ctx), "usersession: why a session has ended could not be read", "error", err)
			break
		}
		s := sessionOf(row, m.opts.IdleTimeout, "")
		if found && s.EndedAt.IsZero() && !s.ExpiresAt.After(time.Now()) {
			s.EndedAt, s.Reason = s.ExpiresAt, cmp.Or(row.Reason, ReasonExpired)
		}
		if found && !s.EndedAt.IsZero() {
			return s, true
		}
	}
	return UserSession{}, false
}
