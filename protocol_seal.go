package usersession

import (
	"context"
	"errors"

	"github.com/seed-296ca7ab/usersession/internal/decide"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// A sealed value is
//
//	sealed bytes of the codec | trailer
//
// The trailer is not secret, so that whose session it is can be told without the keys.
// It is authenticated: it is associated data of the seal, with the name of the index.
// As the trailer has the key, user and deadline, the value is no other session's.

var (
	errNotSealed = errors.New("usersession: Options.Seal.RefuseUnsealed: the session data are not sealed")
	errNoSeal    = errors.New("usersession: Options.Seal: the session data are sealed, and it is nil")
	errNotOpened = errors.New("usersession: Options.Seal: the session data are forged, were changed or moved, or are sealed with another name or a key that is not in Keys")
)

// associated returns the associated data of a value. The label and the end of the
// trailer leave one reading of it.
func (s *sealing) associated(tail []byte) []byte {
	const label = "usersession sealed value 1\x00"
	a := make([]byte, 0, len(label)+len(s.name)+len(tail))
	return append(append(append(a, label...), s.name...), tail...)
}

// stored returns the value that goes to the Store, of the codec's bytes and a binding.
func (m *Manager) stored(body []byte, b *trailer.Binding) []byte {
	if m.seal == nil {
		return trailer.Append(body, b)
	}
	tail := trailer.Sealed(b)
	return append(m.seal.ring.Seal(body, m.seal.associated(tail), len(tail)), tail...)
}

// open returns the codec's bytes with the trailer of b, of a value from the Store. An
// error means that the value may not be served, whatever it says.
func (m *Manager) open(value []byte, b *trailer.Binding) ([]byte, error) {
	sealed, tail, ok := trailer.SplitSealed(value)
	switch {
	case m.seal == nil && ok:
		return nil, errNoSeal
	case !ok && m.seal != nil && m.seal.refuse:
		return nil, errNotSealed
	case !ok:
		return value, nil
	}
	body, ok := m.seal.ring.Open(sealed, m.seal.associated(tail), trailer.Room)
	if !ok {
		return nil, errNotOpened
	}
	return trailer.Append(body, b), nil
}

// notOpened deals with a value that may not be served. It may be another replica's that
// has a key which this one has not. So it stays, and like data that the codec cannot
// read, its session ends with what ends or replaces that of this browser. Whose session
// that is the row says, because the value may be forged.
func (m *Manager) notOpened(ctx context.Context, b *trailer.Binding, why error) {
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	row, found, err := m.index.LiveRowByKey(wctx, b.Key)
	m.emit(ctx, Event{Kind: EventUnreadable, SessionID: row.ID, UserID: row.UserID.String, Actor: bindingOf(row, b.Key).Actor, Err: why})
	r := m.request(ctx)
	switch {
	case r == nil || ctx.Value(m.scsKey) != nil:
	case found || err != nil || b.Authenticated():
		m.notHere(ctx, r, b.Key, row)
	default:
		r.do(func() {
			if r.own == nil {
				r.standing, r.own = decide.Unreadable, &trailer.Binding{Key: b.Key, Deadline: b.Deadline}
			}
		})
	}
}
