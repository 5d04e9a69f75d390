package index

import (
	"context"
	"database/sql"

	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// LiveRow is what a request needs to know of its row. The zero value is that of
// no row.
type LiveRow struct {
	id     string
	userID sql.NullString
	state  int
	Device Device // with Config.Devices
}

// The states of a row, as liveColumns tells them. They are compared with the
// database's clock, and cost less than the times themselves.
const (
	stateOver = iota // ended, expired or idle
	stateLive
	stateDue // live, and not touched for a TouchInterval
)

// Accepts reports whether the row, as read with the data, lets the session of b
// be served, and whether it is time to touch it.
func (r LiveRow) Accepts(b *trailer.Binding) (ok, due bool) {
	return r.state != stateOver && r.id == b.ID && r.userID.Valid && r.userID.String == b.UserID, r.state == stateDue
}

// Of reports whether the row is that of the session of b, in whatever state. Its user
// may have been deleted.
func (r LiveRow) Of(b *trailer.Binding) bool {
	return r.id == b.ID && (!r.userID.Valid || r.userID.String == b.UserID)
}

const liveColumns = `COALESCE(id, ''), user_id, CASE WHEN @live THEN CASE WHEN @due THEN 2 ELSE 1 END ELSE 0 END`

const (
	liveByKeySQL       = "\nSELECT " + liveColumns + ofKeySQL
	liveDeviceByKeySQL = "\nSELECT " + liveColumns + deviceColumns + ofKeySQL
	ofKeySQL           = `
FROM @index
WHERE session_key = ? AND user_id = ?`
)

// LiveByKey returns the row of the session of b, or the zero row if there is none.
func (x *Index) LiveByKey(ctx context.Context, b *trailer.Binding) (LiveRow, error) {
	var r LiveRow
	query, dest := liveByKeySQL, []any{&r.id, &r.userID, &r.state}
	if x.c.Devices {
		query, dest = liveDeviceByKeySQL, append(dest, &r.Device.State, &r.Device.Secret)
	}
	if _, err := x.db.ReadRow(ctx, query, []any{b.Key, x.userArg(b.UserID)}, dest...); err != nil {
		return LiveRow{}, err
	}
	return r, nil
}
