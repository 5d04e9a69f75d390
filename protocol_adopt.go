package usersession

import (
	"context"
	"errors"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// adoption says what has become of a session of plain scs.
type adoption int

const (
	adoptedNow       adoption = iota // it has got its row
	adoptedBefore                    // it has one
	adoptedAnonymous                 // it needs none
	adoptedOver                      // it has ended, or is another's, and its data are deleted
	adoptedNot                       // its data cannot be read, or its user cannot have a session
)

// adopt makes a session of what plain scs has written, or has written once more. The
// row comes first, and nothing is served without it. The data are left as they are,
// and get a trailer here in memory alone: a request that only reads must not overwrite
// what another one writes. The binding is nil if nothing may be served.
//
// Which row it is follows from the key alone. So of two at once one makes it, and a
// session that has ended or was renewed is known again while its row is there, which
// is at least until its deadline.
//
// peek changes nothing: it is somebody else who looks, and sees what has a row.
func (m *Manager) adopt(ctx context.Context, key string, body []byte, peek bool) ([]byte, *trailer.Binding, adoption, error) {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	deadline, values, err := m.decodeOld(body)
	if err != nil {
		m.emit(ctx, Event{Kind: EventUnreadable, Err: err})
		return nil, nil, adoptedNot, nil
	}
	if !deadline.After(time.Now()) {
		m.discardOnce(ctx, key)
		return nil, nil, adoptedOver, nil
	}
	b := &trailer.Binding{Key: key, Deadline: deadline.UTC().Truncate(time.Microsecond)}
	how := adoptedAnonymous
	user := m.opts.Adopt.UserID(values)
	if user != "" {
		if user, err = checkUserID(m.index, user); err != nil {
			m.emit(ctx, Event{Kind: EventUnreadable, Err: err})
			return nil, nil, adoptedNot, nil
		}
	}
	row, found, err := m.index.ByKey(ctx, key)
	switch {
	case found:
		how = adoptedBefore
	case err == nil && user != "" && !peek:
		row, found, how, err = m.adoptUser(ctx, b, user)
	}
	switch {
	case errors.Is(err, ErrUnknownUser):
		m.emit(ctx, Event{Kind: EventUnreadable, Err: err})
		return nil, nil, adoptedNot, nil
	case err != nil:
		return nil, nil, adoptedNot, err
	case peek && (!found || row.UserID.String != user):
		return nil, nil, adoptedNot, nil
	case how == adoptedOver || found && (user == "" || row.UserID.String != user || row.EndedAt != 0):
		// Plain scs has logged somebody out under this token, or in, or has written
		// what had ended.
		_, err := m.endKey(ctx, nil, key, index.Ending{Reason: ReasonLogout, Actor: bindingOf(row, key).By()})
		return nil, nil, adoptedOver, err
	case found:
		b = bindingOf(row, key).EndingBy(b.Deadline)
	}
	return trailer.Append(body[:len(body):len(body)], b), b, how, nil
}

// adoptUser writes the row of a user's session, unless one says that it is over.
func (m *Manager) adoptUser(ctx context.Context, b *trailer.Binding, user string) (row index.Row, found bool, how adoption, err error) {
	age := max(0, m.opts.Lifetime-time.Until(b.Deadline))
	began := b.Deadline.Add(-m.opts.Lifetime)
	a := index.Adoption{
		ID: token.AdoptedID(b.Key), UserID: user, Key: b.Key,
		// RequireFresh must not take for fresh what nobody has proved here.
		Age: age, Unproved: m.opts.Lifetime, Left: time.Until(b.Deadline),
	}
	over, err := m.index.Adopted(ctx, a.ID, user, b.Key)
	if err == nil && over {
		if row, found, err = m.index.ByKey(ctx, b.Key); found { // another request was faster by a moment
			return row, true, adoptedBefore, nil
		}
	} else if err == nil {
		over, err = m.revokedSince(ctx, user, began)
	}
	if err != nil || over {
		return row, false, adoptedOver, err
	}
	// Before the row: whoever ends that is to find the data.
	if err := m.adopting.Alias(ctx, b.Key, b.Deadline); err != nil {
		return row, false, adoptedOver, err
	}
	r, _ := ctx.Value(requestKey{m.id}).(*request)
	a.IP, a.UserAgent = m.rowClient(m.client(r))
	won, err := m.index.Adopt(ctx, a)
	if err == nil {
		row, found, err = m.index.ByKey(ctx, b.Key)
	}
	if err == nil && won {
		m.emit(ctx, Event{Kind: EventAdopted, SessionID: a.ID, UserID: user})
		// A revocation that did not see the row has raised its fence before.
		over, err = m.revokedSince(ctx, user, began)
	}
	switch {
	case err != nil || over || !found: // not found: it was renewed in this very moment
		return row, false, adoptedOver, err
	case !won:
		return row, true, adoptedBefore, nil
	}
	return row, true, adoptedNow, nil
}

// revokedSince reports whether all sessions of a user were revoked after a session
// began that no row tells of: its fence says so. It errs to the side of refusing.
func (m *Manager) revokedSince(ctx context.Context, user string, began time.Time) (bool, error) {
	f, err := m.index.Fence(ctx, user)
	return err == nil && f != nil && (f.Disabled || !f.Latest.Before(began)), err
}

// keepOld notes that a session was seen that plain scs may have used in the meantime
// without a word to the index. With an idle timeout, plain scs has given the data less
// than their deadline, and nothing moves that any more.
func (m *Manager) keepOld(ctx context.Context, b *trailer.Binding, how adoption, data []byte) error {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	if how == adoptedBefore {
		r, _ := ctx.Value(requestKey{m.id}).(*request)
		if err := m.index.Readopt(ctx, b, m.usedBy(r)); err != nil {
			return err
		}
	}
	if m.opts.IdleTimeout <= 0 {
		return nil
	}
	return m.adopting.Keep(ctx, b, data)
}

// settle moves the data of a session to the hashed key, if they are to move and are
// not there yet.
func (m *Manager) settle(ctx context.Context, b *trailer.Binding, at string, data []byte) ([]byte, error) {
	if !m.adopting.Moves(at, b) {
		return data, nil
	}
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	return m.adopting.Settle(ctx, b.Key, at, b, data)
}
