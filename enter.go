package usersession

import (
	"context"
	"errors"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// mayBeLate reports whether the row of a login can be written in one statement with its
// data, as far as the options of the login allow that.
func (m *Manager) mayBeLate(o loginOptions, row index.Login) bool {
	return o.late && !o.idpGiven && o.recheck == nil && m.prove == nil && m.opts.UsersTable == "" &&
		m.data.voucher == vouchedByBoth && m.index.EntersWithData(row)
}

// enterPages writes the row of a login, and ends whatever number of sessions is in the
// way. own is the fence that the request has raised, or "".
func (m *Manager) enterPages(ctx context.Context, own string, b *trailer.Binding, row index.Login, replaces []string, actor string) (index.Checked, error) {
	for more := true; more; {
		entry, err := m.enterPage(ctx, b, row, replaces, actor)
		if err == nil && entry == index.Fenced {
			err = m.behindFence(ctx, own, b.UserID, &row.Checked)
		}
		if err != nil {
			return row.Checked, err
		}
		more = entry != index.Entered
	}
	return row.Checked, nil
}

// enterPage writes the row of a login if there is room. Otherwise it ends a page of
// what is in the way. Somebody who had any number of sessions, before there was a
// limit, can log in all the same.
func (m *Manager) enterPage(ctx context.Context, b *trailer.Binding, row index.Login, replaces []string, actor string) (entry index.Entry, err error) {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	by := index.Ending{Reason: ReasonEvicted, Actor: actor}
	evicted, entry, err := m.index.Enter(ctx, row, replaces, by)
	if err == nil && entry == index.Full {
		if err = m.makeRoom(ctx, b.UserID); err == nil {
			evicted, entry, err = m.index.Enter(ctx, row, replaces, by)
		}
	}
	if err != nil {
		return entry, err
	}
	if entry == index.Full {
		return entry, ErrTooManySessions
	}
	if _, err := m.deleteEnded(ctx, evicted, by); err != nil && !errors.Is(err, errElsewhere) {
		if entry == index.Entered {
			m.abort(ctx, &staged{login: true, binding: b, actor: actor})
		}
		return entry, err
	}
	return entry, nil
}
