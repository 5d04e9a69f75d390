package usersession

import (
	"context"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// commitLogin finishes a Login. The caller has locked r.
func (m *Manager) commitLogin(ctx context.Context, r *request, key string, body []byte, b *trailer.Binding) error {
	s := r.unstage()
	nb := s.binding.EndingBy(b.Deadline)
	nb.Key = key
	if own := r.fences[nb.UserID]; own != "" {
		s.checked.Fence = own
	}
	if err := m.confirmLogin(ctx, s, nb, body); err != nil {
		m.abort(ctx, s)
		m.emitOf(ctx, EventLoginRefused, nb, err)
		return err
	}
	r.has(nb)
	m.emitOf(ctx, EventLogin, nb, nil)
	m.noticeDevice(ctx, nb)
	return nil
}

// confirmLogin stores the data of a login and gives its row its real deadline.
func (m *Manager) confirmLogin(ctx context.Context, s *staged, nb *trailer.Binding, body []byte) error {
	if nb.Key != s.key { // RenewToken of scs after Login
		ok, err := m.index.Rekey(ctx, nb, s.key)
		if err != nil {
			return err
		}
		if !ok {
			return ErrSessionEnded
		}
	}
	by := index.Ending{Reason: ReasonReplaced, Actor: s.actor}
	ok, ended, err := m.createConfirmed(ctx, nb, body, s, by)
	// The row of the former session has ended, so its data go, whatever became
	// of the login. If they cannot, the row says so, and it is reported.
	m.deleteEnded(ctx, ended, by)
	if err != nil || !ok {
		m.discard(ctx, nb.Key)
		if err == nil {
			err = ErrSessionEnded
		}
		return err
	}
	if len(ended) == 0 && s.from != nil {
		m.discard(ctx, s.from.Key)
	}
	return nil
}

// createConfirmed stores the data of a login and confirms its row: in one statement
// where data and row are in one database that can, and nothing is replaced.
func (m *Manager) createConfirmed(ctx context.Context, b *trailer.Binding, body []byte, s *staged, by index.Ending) (ok bool, ended []index.EndedRow, err error) {
	if m.data.voucher == vouchedByBoth && m.index.ConfirmsWithData() && !s.from.Authenticated() {
		if !b.Deadline.After(time.Now()) {
			return false, nil, ErrSessionEnded
		}
		if m.leftovers.Has(b.Key) {
			return false, nil, errLeftOver
		}
		ok, err = m.index.ConfirmWithData(ctx, b, s.checked, m.seal.Value(body, b))
		return ok, nil, err
	}
	if err := m.create(ctx, b.Key, body, b); err != nil {
		return false, nil, err
	}
	return m.index.Confirm(ctx, b, s.from, s.checked, by)
}
