package index

import (
	"context"
	"database/sql"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

const touchSQL = `
UPDATE @index
SET last_seen_at = @now, place = @here,` + setClientSQL + `
WHERE id = ? AND session_key = ? AND user_id = ? AND @live`

// Touch notes that a session was seen, and by whom. It reports false if the session
// is not live any more, or not under this key.
func (x *Index) Touch(ctx context.Context, b *trailer.Binding, by Client) (bool, error) {
	n, err := x.db.Exec(ctx, touchSQL, append(by.args(), b.ID, b.Key, x.userArg(b.UserID))...)
	return n == 1, err
}

const (
	liveOfKeysSQL = `
FROM @index
WHERE session_key IN @list AND @live`
	// Rows that somebody has locked are left out: whoever waits for a row while
	// holding others may be waited for.
	touchManySQL = `
WITH seen AS (
SELECT id, user_id, session_key` + liveOfKeysSQL + `
FOR UPDATE SKIP LOCKED)
UPDATE @index AS t
SET last_seen_at = @seen(?), place = @here` + setEachSQL + `
FROM seen
JOIN json_to_recordset(CAST(? AS json)) AS client (k text, a text, u text) ON client.k = seen.session_key
WHERE t.id = seen.id AND t.user_id = seen.user_id
RETURNING t.session_key, t.id, t.user_id`
	touchReturningSQL = `
UPDATE @index
SET last_seen_at = @seen(?), place = @here` + setEachSQL + `
FROM (
	SELECT json_extract(value, '$.k') AS k, json_extract(value, '$.a') AS a, json_extract(value, '$.u') AS u
	FROM json_each(?)
) AS client
WHERE session_key = client.k AND session_key IN @list AND @live`
	touchKeysSQL = `
UPDATE @index
JOIN JSON_TABLE(@text(?), '$[*]' COLUMNS (
	k CHAR(43) CHARACTER SET ascii COLLATE ascii_bin PATH '$.k',
	a VARCHAR(45) CHARACTER SET ascii COLLATE ascii_bin PATH '$.a',
	u TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.u'
)) AS client ON session_key = client.k
SET last_seen_at = @seen(?), place = @here` + setEachSQL + `
WHERE session_key IN @list AND @live`
)

// owned is whose session a key is.
type owned struct {
	Key    string         `db:"session_key"`
	ID     string         `db:"id"`
	UserID sql.NullString `db:"user_id"`
}

const ownedColumns = "session_key, id, user_id"

// TouchMany notes that at most PageSize sessions of users were seen, so long ago, and
// returns the keys of those that are live. The sessions it leaves out may have ended,
// be locked, or be other sessions than their data say.
func (x *Index) TouchMany(ctx context.Context, all []Seen, ago time.Duration) (map[string]bool, error) {
	if len(all) == 0 {
		return nil, nil
	}
	bindings := make([]*trailer.Binding, len(all))
	for i, s := range all {
		bindings[i] = s.Binding
	}
	keys := keysOf(bindings)
	seen, by := -ago.Microseconds(), clientsJSON(all)
	var touched []owned
	var err error
	switch x.c.Dialect {
	case sqldb.Postgres:
		err = x.db.Unkept().Select(ctx, &touched, touchManySQL, sqldb.ListOf(keys), seen, by)
	case sqldb.SQLite:
		err = x.db.Unkept().Select(ctx, &touched, touchReturningSQL+"\nRETURNING "+ownedColumns, seen, by, sqldb.ListOf(keys))
	case sqldb.MariaDB:
		err = x.db.Tx(ctx, func(q sqldb.Tx) error {
			touched = nil
			err := q.Select(ctx, &touched, "SELECT "+ownedColumns+liveOfKeysSQL+"\nFOR UPDATE SKIP LOCKED", sqldb.ListOf(keys))
			if err != nil || len(touched) == 0 {
				return err
			}
			live := make([]string, len(touched))
			for i, o := range touched {
				live[i] = o.Key
			}
			_, err = q.Exec(ctx, touchKeysSQL, by, seen, sqldb.ListOf(live))
			return err
		})
	}
	return owners(bindings, touched), err
}

// LiveKeys returns the keys of those of at most PageSize sessions of users that are
// live. It waits for no lock.
func (x *Index) LiveKeys(ctx context.Context, all []*trailer.Binding) (map[string]bool, error) {
	if len(all) == 0 {
		return nil, nil
	}
	var live []owned
	err := x.db.Unkept().Select(ctx, &live, "SELECT "+ownedColumns+liveOfKeysSQL, sqldb.ListOf(keysOf(all)))
	return owners(all, live), err
}

func keysOf(all []*trailer.Binding) []string {
	keys := make([]string, len(all))
	for i, b := range all {
		keys[i] = b.Key
	}
	return keys
}

// owners returns the keys of the sessions that are what their data say. A key alone
// does not tell, because data in a Store may be forged.
func owners(all []*trailer.Binding, rows []owned) map[string]bool {
	by := make(map[string]owned, len(rows))
	for _, o := range rows {
		by[o.Key] = o
	}
	set := make(map[string]bool, len(rows))
	for _, b := range all {
		if o, ok := by[b.Key]; ok && o.ID == b.ID && o.UserID.Valid && o.UserID.String == b.UserID {
			set[b.Key] = true
		}
	}
	return set
}
