package usersession

import (
	"context"
	"errors"

	"github.com/seed-296ca7ab/usersession/internal/index"
)

// lost ends the live row of a key under which the Store has found nothing.
func (m *Manager) lost(ctx context.Context, key string) {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	row, found, err := m.index.LiveRowByKey(ctx, key)
	if err == nil && found && m.data.has(row.Place) {
		_, err = m.endLost(ctx, row)
	}
	if err != nil {
		m.opts.Logger.WarnContext(m.hide(ctx), "usersession: a session whose data are lost could not be ended yet", "error", err)
	}
}

// endLost ends a row whose data the Store does not have, and counts it. It spares a
// login that is not committed, whose data are still to come. A row that was renewed
// since it was read has another key, and is spared too.
func (m *Manager) endLost(ctx context.Context, row index.Row) (int, error) {
	if row.ExpiresAt-row.CreatedAt <= loginGrace.Microseconds() {
		return 0, nil
	}
	by := index.Ending{Reason: ReasonDataLost}
	rows, err := m.index.EndKey(ctx, row.SessionKey, by)
	if err != nil {
		return 0, err
	}
	m.emitEnded(ctx, rows, by)
	return index.NewlyEnded(rows), m.data.store.Delete(ctx, index.Keys(rows)...) // of a renewal under way
}

// endIfLost asks the Store for the data of a live row, and ends it if there are none.
func (m *Manager) endIfLost(ctx context.Context, row index.Row) (int, error) {
	_, found, err := m.data.store.Find(ctx, row.SessionKey)
	if err != nil || found {
		return 0, err
	}
	return m.endLost(ctx, row)
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
		if m.data.has(row.Place) {
			n, err := m.endIfLost(ctx, row)
			if err != nil {
				return errors.Join(ErrTooManySessions, err)
			}
			ended += n
		}
	}
	if ended == 0 {
		return ErrTooManySessions
	}
	return nil
}
