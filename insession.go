package usersession

import (
	"context"
	"errors"

	"github.com/alexedwards/scs/v2"
)

// InSession calls fn with a context of a user's session, on which Get, Put and
// the other data methods act, whichever Store is configured. If fn returns nil
// and has changed anything, the data are saved. If fn returns an error, nothing
// is saved, and InSession returns that error. Destroy ends the session.
//
// InSession may be called inside a request of another session, which it does
// not touch. It does not count as use of the session, so no deadline moves. The
// last writer wins, as between two requests of one session.
//
// InSession returns ErrSessionNotFound for an unknown ID and for one of
// somebody else. It returns ErrSessionEnded if the session ended, or its token
// was renewed, before the data were saved. Login, Reauthenticate and RenewToken
// return ErrOtherSession inside fn.
func (m *Manager) InSession(ctx context.Context, userID, id string, fn func(ctx context.Context) error) error {
	row, err := m.row(ctx, userID, id)
	if err != nil {
		return wrap("InSession", err)
	}
	handle := m.id.handle(row.SessionKey)
	r := &request{other: true}
	inner := context.WithValue(m.hide(ctx), requestKey{m.id}, r)
	if explicitActor(ctx) == "" { // it is not the session's user who acts
		inner = ContextWithActor(inner, m.actor(ctx))
	}
	// By its address: a context prints the texts in it, and this one holds a key.
	inner, err = m.SessionManager.Load(context.WithValue(inner, handleKey{m.id}, &handle), handle)
	switch {
	case err != nil:
		return wrap("InSession", err)
	case r.loaded() == nil:
		// A row without data: a login that is not committed yet, or a Store
		// that has lost them.
		return ErrSessionNotFound
	}
	r.do(func() { r.session = inner.Value(m.scsKey) })
	if err := fn(inner); err != nil {
		return err
	}
	if m.SessionManager.Status(inner) != scs.Modified {
		return nil
	}
	_, _, err = m.SessionManager.Commit(inner)
	if errors.Is(err, errCleared) {
		return nil // Clear has ended the session, which is what it does
	}
	return wrap("InSession", err)
}
