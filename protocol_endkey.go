package usersession

import (
	"cmp"
	"context"
	"errors"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// endKey ends the session of a key, if it is a user's, and deletes its data. It reports
// whether there was a row that had not ended, or data. r is the request whose cookie the
// key is of, or nil if the program asks.
func (m *Manager) endKey(ctx context.Context, r *request, key string, by index.Ending) (found bool, err error) {
	rows, err := m.index.EndKey(ctx, key, by)
	if err != nil {
		return false, errors.Join(err, m.data.store.Delete(ctx, key)) // as endOwn does
	}
	if len(rows) == 0 {
		return m.endRowless(ctx, r, key, by)
	}
	_, err = m.deleteEnded(ctx, rows, by)
	return true, err
}

// endRowless deletes the data of a key without a row that could be ended. Those of a
// user's session that is not in this index are another program's, on the same Store. A
// session that another request is renewing just now has its row under the new key, and
// ends.
func (m *Manager) endRowless(ctx context.Context, r *request, key string, by index.Ending) (found bool, err error) {
	data, found, err := m.data.store.Find(ctx, key)
	if err != nil {
		return found, errors.Join(err, m.data.store.Delete(ctx, key))
	}
	if _, b := trailer.Split(data); found && b.Authenticated() {
		known, err := m.index.Knows(ctx, b)
		switch {
		case err != nil || !known.Row:
			return found, err
		case known.Renewing && b.Key == key:
			return found, m.endMoved(ctx, r, b, by)
		}
	}
	return found, m.data.store.Delete(ctx, key)
}

// endMoved ends a session that another request is renewing. It does so by its ID, because
// its key may change at any time. r is the request whose cookie it is of, or nil if the
// program asks.
func (m *Manager) endMoved(ctx context.Context, r *request, b *trailer.Binding, by index.Ending) error {
	if m.prove != nil && r != nil {
		row, _, err := m.index.LiveByID(ctx, b.UserID, b.ID)
		if err == nil {
			err = m.leaveToEnd(ctx, r, row.SessionKey)
		}
		if err != nil {
			return err
		}
		if again, _, err := m.index.LiveByID(ctx, b.UserID, b.ID); err != nil || again.SessionKey != row.SessionKey {
			return errors.Join(errSpared, err) // it has moved, and was perhaps not looked at
		}
	}
	by.Actor = cmp.Or(by.Actor, b.By())
	return m.endOwn(ctx, b, by)
}

// endOther ends a session that Iterate or InSession opened under a key.
func (m *Manager) endOther(ctx context.Context, key string) error {
	by := index.Ending{Reason: ReasonLogout, Actor: explicitActor(ctx)}
	if r := m.request(ctx); r != nil {
		return m.endOwn(ctx, r.loaded(), by) // by its ID: its token may be another by now
	}
	return m.endByHand(ctx, key, by)
}

// endByHand ends the session of a key that was loaded outside of a request of ours.
func (m *Manager) endByHand(ctx context.Context, key string, by index.Ending) error {
	found, err := m.endKey(ctx, nil, key, by)
	if err == nil && !found {
		return ErrSessionEnded // or it has another key by now, which only its row knows
	}
	return err
}
