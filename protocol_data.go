package usersession

import (
	"context"
	"errors"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// anonymous returns the binding of a new anonymous session. SetDeadline of scs
// may shorten its lifetime and never lengthens it.
func (m *Manager) anonymous(key string, deadline time.Time) *trailer.Binding {
	b := &trailer.Binding{Key: key, Deadline: now().Add(m.opts.Lifetime)}
	return b.EndingBy(deadline)
}

// create stores the data of a new key.
func (m *Manager) create(ctx context.Context, key string, body []byte, b *trailer.Binding) error {
	if !b.Deadline.After(time.Now()) {
		return ErrSessionEnded
	}
	if m.leftovers.Has(key) {
		return errLeftOver
	}
	err := m.data.store.Create(ctx, key, m.seal.Value(body, b), m.data.storeExpiry(b, time.Now()))
	if err == nil && !m.data.rowTells(b) {
		m.touches.Note(key)
	}
	return err
}

// update stores changed data of a session that is there; now is its binding
// from here on, was the one until here.
func (m *Manager) update(ctx context.Context, key string, body []byte, was, now *trailer.Binding) error {
	if !now.Deadline.After(time.Now()) {
		// The program moved the deadline into the past: that ends a session.
		if err := m.endOwn(ctx, was, index.Ending{Reason: ReasonExpired, Actor: was.By()}); err != nil {
			return err
		}
		return ErrSessionEnded
	}
	found, err := m.data.store.Update(ctx, key, m.seal.Value(body, now))
	if err != nil {
		return err
	}
	if !found {
		return m.endedMeanwhile(ctx, was)
	}
	if now.Authenticated() && now.Deadline.Before(was.Deadline) {
		unleased, err := m.index.Shorten(ctx, now)
		if err != nil {
			return err
		}
		return m.dropEverywhere(ctx, unleased, now.ID)
	}
	return nil
}

// discard deletes the data of a key that no session has, and that none is to have again.
// Whether that works does not matter to who asked for it. The janitor tries it again.
func (m *Manager) discard(ctx context.Context, key string) {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	m.notDeleted(ctx, m.leftovers.Delete(ctx, m.data.store.Delete, key))
}

// errLeftOver says of a key why it is not used. A request that commits twice may come
// back to one that its first commit has discarded.
var errLeftOver = errors.New("usersession: the data of this token could not be deleted from the Store before, and it is deleted later")

// discardOnce deletes data that are over, of a key that may live again. A renewal that
// fails goes back to it, or plain scs uses it.
func (m *Manager) discardOnce(ctx context.Context, key string) {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	m.notDeleted(ctx, m.data.store.Delete(ctx, key))
}

func (m *Manager) notDeleted(ctx context.Context, err error) {
	if err != nil {
		m.opts.Logger.WarnContext(m.hide(ctx), "usersession: an ended session could not be deleted from the store yet", "error", err)
	}
}

// errUnlisted says of session data why they are not served.
var errUnlisted = errors.New("usersession: session data that claim a user have no row in the index: they are forged, of another program on the Store, or the index is from an older backup")

// refused deletes the data of a session that is over. Those of a session that is not
// in this index are another program's, on the same Store, and are left to it. As they
// stay, they are remembered where the row does not speak on every request. ours says
// that the row of the session was read. It reports whether another request may be
// renewing the session.
func (m *Manager) refused(ctx context.Context, b *trailer.Binding, ours bool) (renewing bool) {
	if b.Authenticated() && !ours {
		if m.strangers.Noted(b.Key) {
			return false
		}
		fctx, cancel := m.finishing(ctx)
		defer cancel()
		known, err := m.index.Knows(fctx, b)
		if err != nil {
			m.touches.Failed(b.Key) // so that it is asked again soon
			return true
		}
		if !known.Row || known.Others {
			m.unlisted(ctx, b)
		}
		if !known.Row {
			return false
		}
		if known.Renewing { // if that fails, the browser keeps the session it has
			m.touches.Forget(b.Key)
			m.looks.Forget(b.Key)
			return true
		}
	}
	if m.data.deletesRefused() {
		m.discardOnce(ctx, b.Key)
	}
	return false
}

// unlisted notes data that claim a user and have no row of that user.
func (m *Manager) unlisted(ctx context.Context, b *trailer.Binding) {
	if m.strangers.Noted(b.Key) {
		return
	}
	m.strangers.Note(b.Key)
	m.emit(ctx, Event{Kind: EventUnlisted, SessionID: b.ID, UserID: b.UserID, Err: errUnlisted})
}
