package usersession

import (
	"context"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Touch notes that the session of the context is in use, in a stream or a WebSocket for
// instance, whose request counts only when it begins. Call it now and then, at least
// once in a quarter of Options.IdleTimeout and not more often than once in
// Options.TouchInterval, because each call writes to the index at once. Stop the stream
// when it returns ErrSessionEnded. It also finds a session whose token was renewed
// since the request.
//
// Touch returns ErrNoSession if nobody is logged in, ErrOtherSession inside InSession,
// and the error of a database or Store that is down, after which the session may live
// on.
func (m *Manager) Touch(ctx context.Context) error {
	b, r := m.binding(ctx), m.request(ctx)
	switch {
	case !b.Authenticated():
		return ErrNoSession
	case r != nil && r.other:
		return ErrOtherSession
	case m.stagedLogin(ctx) != "":
		return nil // it will have been seen by its commit
	}
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	err := m.touchByID(ctx, b, m.usedBy(r))
	if err != nil && err != ErrSessionEnded {
		m.emitOf(ctx, EventTouchFailed, b, err)
	}
	return wrap("Touch", err)
}

// touchByID touches a session under the key that it has now.
func (m *Manager) touchByID(ctx context.Context, b *trailer.Binding, by index.Client) error {
	ok, err := m.index.Touch(ctx, b, by)
	if err == nil && !ok {
		var row index.Row
		if row, ok, err = m.index.LiveByID(ctx, b.UserID, b.ID); err == nil && ok {
			now := *b
			now.Key, b = row.SessionKey, &now
			ok, err = m.index.Touch(ctx, b, by)
		}
	}
	if err == nil && ok && !m.data.verified() && m.data.idleOf(b) > 0 {
		ok, err = m.data.store.Touch(ctx, b.Key, m.data.storeExpiry(b, time.Now()))
	}
	if err == nil && !ok {
		err = ErrSessionEnded
	}
	if err == nil {
		m.touches.Note(b.Key)
	}
	return err
}
