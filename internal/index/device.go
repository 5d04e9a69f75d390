package index

import (
	"context"

	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Device is what a request needs to know of how its session is bound to a device. The
// zero value is that of a session that is not, and that nothing was offered to.
type Device struct {
	State  int
	Secret string // of the row, under which its short cookies are made
}

// The states of a Device.
const (
	Unbound   = iota
	JustBound // not longer ago than the answer to the registration may be under way
	Bound
)

// deviceColumns are read with a row by an Index of WithDevices, and by no other. The
// time is how long the requests of a page may be under way that were sent before the
// browser had its first short cookie.
const deviceColumns = `, CASE WHEN device_key IS NULL THEN 0 WHEN device_bound_at > @after(-60000000) THEN 1 ELSE 2 END, COALESCE(device_secret, '')`

// deviceColumnNames are those that Migrate makes.
const deviceColumnNames = ", device_key, device_bound_at, device_secret, device_challenge, device_challenge_before"

// WithDevices returns the index with Config.Devices.
func (x *Index) WithDevices() *Index {
	c := x.c
	c.Devices = true
	return New(x.db.Pool(), c)
}

const offerDeviceSQL = `
UPDATE @index
SET device_secret = ?
WHERE id = ? AND user_id = ? AND @live AND device_secret IS NULL`

// OfferDevice gives the row of a live session its secret. The answer is false if it has
// one, or there is no such row.
func (x *Index) OfferDevice(ctx context.Context, b *trailer.Binding, secret string) (bool, error) {
	n, err := x.db.Exec(ctx, offerDeviceSQL, secret, b.ID, x.userArg(b.UserID))
	return n == 1, err
}

// DeviceRow is the binding of a session, as the row of a live session has it.
type DeviceRow struct {
	Key       string `db:"device_key"` // "" if the session is not bound
	Secret    string `db:"device_secret"`
	Challenge string `db:"device_challenge"` // the one that was not used yet
}

const deviceByIDSQL = `
SELECT COALESCE(device_key, '') AS device_key, COALESCE(device_secret, '') AS device_secret, COALESCE(device_challenge, '') AS device_challenge
FROM @index
WHERE id = ? AND user_id = ? AND @live`

// DeviceByID returns the binding of a live session of a user. The answer is false if
// there is no such session.
func (x *Index) DeviceByID(ctx context.Context, b *trailer.Binding) (DeviceRow, bool, error) {
	var rows []DeviceRow
	err := x.db.Read(ctx, &rows, deviceByIDSQL, b.ID, x.userArg(b.UserID))
	if err != nil || len(rows) == 0 {
		return DeviceRow{}, false, err
	}
	return rows[0], true, nil
}

const bindDeviceSQL = `
UPDATE @index
SET device_key = ?, device_bound_at = @now, device_challenge = ?
WHERE id = ? AND user_id = ? AND @live AND device_key IS NULL AND device_secret = ?`

// BindDevice binds a live session to a key. The answer is false if it is bound, or has
// ended, or its row has another secret.
func (x *Index) BindDevice(ctx context.Context, b *trailer.Binding, key, challenge, secret string) (bool, error) {
	n, err := x.db.Exec(ctx, bindDeviceSQL, key, challenge, b.ID, x.userArg(b.UserID), secret)
	return n == 1, err
}

// A challenge is good once. A driver that lost the answer may ask again with all it has
// asked before, and what it signed is the challenge before then.
const refreshDeviceSQL = `
UPDATE @index
SET device_challenge_before = device_challenge, device_challenge = ?,
	last_seen_at = CASE WHEN ? = 1 THEN @now ELSE last_seen_at END, place = @here,` + setClientSQL + `
WHERE id = ? AND user_id = ? AND @live AND device_key = ?
	AND (device_challenge = ? OR device_challenge_before = ? AND device_challenge = ?)`

// RefreshDevice uses up a challenge that the device of a live session has signed, and
// touches the session if the request counts as use. The answer is false if it is not the
// challenge of the row, or the session has ended.
func (x *Index) RefreshDevice(ctx context.Context, b *trailer.Binding, key, signed, next string, use bool, by Client) (bool, error) {
	used := 0
	if use {
		used = 1
	}
	args := append([]any{next, used}, by.args()...)
	n, err := x.db.Exec(ctx, refreshDeviceSQL, append(args, b.ID, x.userArg(b.UserID), key, signed, signed, next)...)
	return n == 1, err
}

// Bound selects the rows of sessions that are bound to a device.
func (s *Selection) Bound() { s.add("device_key IS NOT NULL") }
