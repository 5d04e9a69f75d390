package usersession

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/decide"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// errSpoilt says of a session with a live row why its data are not served.
var errSpoilt = errors.New("what the Store has under the key of the session are not its data, or not all of them: they were cut off, overwritten, or written by another version of this package")

// gone reports whether what the Store has under a key are the data of its session to
// no version of this package. A column that cuts off and a program that overwrites
// take the trailer away, which is the end of the data.
func gone(key string, data []byte) bool {
	_, b := trailer.Split(data)
	return b == nil && !trailer.Marked(data) || b != nil && b.Key != key
}

// lost ends the live row of a key under which the Store has not found its data, but
// nothing or, if there is something, that. The Store should have the data. If another
// one has them, or another version of this package can read them, the session is not
// served here and is this browser's all the same.
func (m *Manager) lost(ctx context.Context, key string, data []byte, there bool) {
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	row, found, err := m.presented(ctx, wctx, key, there)
	if found && there {
		m.emit(ctx, Event{Kind: EventUnreadable, SessionID: row.ID, UserID: row.UserID.String, Actor: bindingOf(row, key).Actor, Err: errSpoilt})
	}
	lost := false
	if err == nil && found && (!there || gone(key, data)) {
		lost, err = m.shouldHave(wctx, row)
	}
	if lost {
		_, err = m.endLost(wctx, row)
	} else if r := m.request(ctx); r != nil && ctx.Value(m.scsKey) == nil && (found || err != nil) {
		m.notHere(ctx, r, key, row)
	}
	if err != nil {
		m.opts.Logger.WarnContext(m.hide(ctx), "usersession: a session whose data are lost could not be ended yet", "error", err)
	}
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

// presented returns the live row of a key without data. That of a key which was renewed
// is none, and is noted.
func (m *Manager) presented(ctx, wctx context.Context, key string, there bool) (index.Row, bool, error) {
	if m.opts.TokenReuse == ReuseIgnored || there {
		return m.index.LiveRowByKey(wctx, key)
	}
	row, found, renewed, err := m.index.Presented(wctx, key)
	if r, _ := ctx.Value(requestKey{m.id}).(*request); renewed && r != nil {
		r.do(func() { r.reused = &row })
	}
	return row, found && !renewed, err
}

// notHere notes a session whose data are not in the Store of the Manager, or not in a
// form that it knows. Like one whose data the codec cannot read, it ends with what ends
// or replaces the session of this browser. Without a user in its row, only Logout ends
// it. One that is bound to a device is this browser's if the request comes from there.
func (m *Manager) notHere(ctx context.Context, r *request, key string, row index.Row) {
	if !row.UserID.Valid {
		r.alsoEnds(key)
		return
	}
	b := bindingOf(row, key)
	if row.Bound != 0 {
		wctx, cancel := m.finishing(ctx)
		defer cancel()
		live, err := m.index.LiveByKey(wctx, b)
		if err != nil {
			r.alsoEnds(key) // Logout looks again, and says so
			return
		}
		if !m.onDevice(ctx, b, live.Device) {
			return
		}
	}
	r.do(func() {
		if r.own == nil {
			r.standing, r.own = decide.Unreadable, b
		}
	})
}

// bindingOf returns what a row says of the binding of its session, whose data have none
// or none to be trusted. A row does not tell when a level was reached, so there is no
// level.
func bindingOf(row index.Row, key string) *trailer.Binding {
	s := sessionOf(row, 0, "")
	b := &trailer.Binding{
		ID: s.ID, UserID: s.UserID, Key: key, AuthenticatedAt: s.AuthenticatedAt,
		Deadline: fromMicro(row.ExpiresAt), Idle: time.Duration(row.IdleTimeout) * time.Microsecond,
		Actor: index.Clip(s.Impersonator(), 255),
	}
	if b.Impersonated() {
		b.Persist = trailer.PersistNever // as Impersonate has it
	}
	return b
}

// alsoEnds notes a key whose session a Logout ends as well. The caller has not locked
// r.
func (r *request) alsoEnds(key string) {
	r.do(func() {
		if (r.own == nil || key != r.own.Key) && !slices.Contains(r.others, key) {
			r.others = append(r.others, key)
		}
	})
}

// endLost ends a row whose data the Store does not have, and counts it. It spares a
// login that is not committed, whose data are still to come. A row that was renewed
// since it was read has another key, and is spared too.
func (m *Manager) endLost(ctx context.Context, row index.Row) (int, error) {
	if uncommitted(row) {
		return 0, nil
	}
	by := index.Ending{Reason: ReasonDataLost}
	rows, err := m.index.EndKey(ctx, row.SessionKey, by)
	if err != nil {
		return 0, err
	}
	dropped := m.dropEnded(ctx, rows)
	m.emitEnded(ctx, rows, by)
	err = m.data.store.Delete(ctx, index.Keys(rows)...) // of a renewal under way
	return index.NewlyEnded(rows), errors.Join(err, dropped())
}

// uncommitted reports whether a row is that of a login whose data are still to come.
func uncommitted(row index.Row) bool {
	return row.ExpiresAt-row.CreatedAt <= loginGrace.Microseconds()
}

// isLost asks the Store for the data of a live row, and reports whether there are none.
// Rows with data in another Store are not lost, and neither are logins that are not
// committed.
func (m *Manager) isLost(ctx context.Context, row index.Row) (bool, error) {
	if uncommitted(row) {
		return false, nil
	}
	if here, err := m.shouldHave(ctx, row); err != nil || !here {
		return false, err
	}
	data, found, err := m.data.store.Find(ctx, row.SessionKey)
	return err == nil && (!found || m.adopting == nil && gone(row.SessionKey, data)), err
}

// endIfLost ends a live row whose data are lost, and counts it.
func (m *Manager) endIfLost(ctx context.Context, row index.Row) (int, error) {
	if lost, err := m.isLost(ctx, row); err != nil || !lost {
		return 0, err
	}
	return m.endLost(ctx, row)
}

// shouldHave reports whether the data of a row are in the Store, or were in one of its
// kind that has ended with its process.
func (m *Manager) shouldHave(ctx context.Context, row index.Row) (bool, error) {
	if m.data.name.Has(row.Place) {
		return true, nil
	}
	return m.former(ctx, row)
}

// former reports whether the data of a row have ended with a process before this one.
// Another process may live as well as this one, and then one of its sessions is seen
// now and then.
func (m *Manager) former(ctx context.Context, row index.Row) (bool, error) {
	if !m.data.name.MayBeFormer(row.Place) {
		return false, nil
	}
	now, err := m.index.Now(ctx)
	began := now - time.Since(m.data.began).Microseconds()
	if err != nil || row.LastSeenAt >= began {
		return false, err
	}
	if at, ok := m.unseen.Load(row.Place); ok && time.Since(at.(time.Time)) < time.Second {
		return true, nil // for Reconcile, which has many rows of one place
	}
	lives, err := m.index.PlaceSeen(ctx, row.Place, max(began, now-loginGrace.Microseconds()))
	if err == nil && !lives {
		m.unseen.Store(row.Place, time.Now())
	}
	return !lives, err
}

// makeRoom ends those of a user's sessions whose data are lost. It is asked only
// before a login is refused.
func (m *Manager) makeRoom(ctx context.Context, userID string) error {
	rows, err := m.index.ListByUser(ctx, userID)
	if err != nil {
		return err
	}
	ended := 0
	for _, row := range rows {
		n, err := m.endIfLost(ctx, row)
		if err != nil {
			return errors.Join(ErrTooManySessions, err)
		}
		ended += n
	}
	if ended == 0 {
		return ErrTooManySessions
	}
	return nil
}
