package index

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// DataWords are the macros of the table of a SQLStore, which this package reads
// and writes together with the index:
//
//	@data       the table
//	@dnow       the database's clock, as the table keeps times
//	@dafter(x)  x microseconds from now, likewise
//	@dleft(x)   microseconds from now until such a time
//
// Its times are those of scs's own store for that database, so that both can use
// the same table.
func DataWords(d sqldb.Dialect, table string) sqldb.Words {
	return func(name, arg string) (string, bool) {
		switch name {
		case "data":
			return table, true
		case "dnow":
			if d == sqldb.SQLite {
				return "(2440587.5 + @now / 86400000000.0)", true // the Julian day of 1970
			}
			return "@now", true
		case "dafter":
			if d == sqldb.SQLite {
				return "(2440587.5 + @after(" + arg + ") / 86400000000.0)", true
			}
			return "@after(" + arg + ")", true
		case "dleft":
			return fmt.Sprintf(map[sqldb.Dialect]string{
				sqldb.Postgres: "(EXTRACT(EPOCH FROM %s - @now) * 1000000)::bigint",
				sqldb.MariaDB:  "TIMESTAMPDIFF(MICROSECOND, @now, %s)",
				sqldb.SQLite:   "CAST((%s - (2440587.5 + @now / 86400000000.0)) * 86400000000.0 AS INTEGER)",
			}[d], arg), true
		}
		return "", false
	}
}

// DataReplaceExpiredSQL lets an INSERT take the place of data that have expired.
// They count as missing, but the janitor has not been by yet.
const DataReplaceExpiredSQL = `
ON CONFLICT (token) DO UPDATE
SET data = excluded.data, expiry = excluded.expiry
WHERE @data.expiry <= @dnow`

// findLiveSQL reads the data of a key and its row of the index in one statement.
// The index and the data must be in the same database.
const (
	findLiveSQL       = "\nSELECT data, " + liveColumns + ofDataSQL
	findLiveDeviceSQL = "\nSELECT data, " + liveColumns + deviceColumns + ofDataSQL
	ofDataSQL         = `
FROM @data
LEFT JOIN @index ON session_key = token
WHERE token = ? AND expiry > @dnow`
)

// FindLive returns the data of a key and its row, the zero row if there is none.
func (x *Index) FindLive(ctx context.Context, key string) ([]byte, LiveRow, bool, error) {
	f := &struct { // one allocation for what every request needs
		data []byte
		row  LiveRow
		args [1]any
		dest [6]any
	}{args: [1]any{key}}
	f.dest = [6]any{&f.data, &f.row.id, &f.row.userID, &f.row.state, &f.row.Device.State, &f.row.Device.Secret}
	query, dest := findLiveSQL, f.dest[:4]
	if x.c.Devices {
		query, dest = findLiveDeviceSQL, f.dest[:]
	}
	found, err := x.db.ReadRow(ctx, query, f.args[:], dest...)
	if err != nil {
		return nil, LiveRow{}, false, err
	}
	return f.data, f.row, found, nil
}

// confirmWithDataSQL is confirmSQL that stores the data at once. A driver that lost
// the answer may ask again: the data are there then, and may have changed since.
const confirmWithDataSQL = `
WITH confirmed AS (` + confirmUnlessFencedSQL + `
RETURNING session_key),
stored AS (
INSERT INTO @data (token, data, expiry)
SELECT session_key, CAST(? AS bytea), @dafter(?)
FROM confirmed` + DataReplaceExpiredSQL + `)
SELECT count(*)
FROM confirmed`

// ConfirmsWithData reports whether the database can do ConfirmWithData.
func (x *Index) ConfirmsWithData() bool { return x.c.Dialect == sqldb.Postgres }

// ConfirmWithData is Confirm for a login that replaces nothing, with its data in
// the same database. It reports false, and stores nothing, if the login is not
// live any more. A caller that ends the session meanwhile waits for the row,
// and deletes the data then.
func (x *Index) ConfirmWithData(ctx context.Context, b *trailer.Binding, c Checked, data []byte) (bool, error) {
	lifetime := time.Until(b.Deadline).Microseconds()
	args := append([]any{lifetime, b.ID, b.Key, x.userArg(b.UserID)}, x.unfenced(b.UserID, c, 1)...)
	var n []int
	err := x.db.Select(ctx, &n, confirmWithDataSQL, append(args, data, lifetime)...)
	return err == nil && len(n) == 1 && n[0] == 1, err
}
