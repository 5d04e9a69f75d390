package index

import (
	"context"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

const touchSQL = `
UPDATE @index
SET last_seen_at = @now, place = @here
WHERE id = ? AND session_key = ? AND user_id = ? AND @live`

// Touch notes that a session was seen. It reports false if the session is not
// live any more, or not under this key.
func (x *Index) Touch(ctx context.Context, b *trailer.Binding) (bool, error) {
	n, err := x.db.Exec(ctx, touchSQL, b.ID, b.Key, x.userArg(b.UserID))
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
SELECT id, user_id` + liveOfKeysSQL + `
FOR UPDATE SKIP LOCKED)
UPDATE @index AS t
SET last_seen_at = @seen(?), place = @here
FROM seen
WHERE t.id = seen.id AND t.user_id = seen.user_id
RETURNING t.session_key`
	touchKeysSQL = `
UPDATE @index
SET last_seen_at = @seen(?), place = @here
WHERE session_key IN @list AND @live`
)

// TouchMany notes that the sessions of at most PageSize keys were seen, so long
// ago, and returns the keys of those that are live. The sessions it leaves out
// may have ended, or be locked.
func (x *Index) TouchMany(ctx context.Context, keys []string, ago time.Duration) (map[string]bool, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	seen := -ago.Microseconds()
	var touched []string
	var err error
	switch x.c.Dialect {
	case sqldb.Postgres:
		err = x.db.Unkept().Select(ctx, &touched, touchManySQL, sqldb.ListOf(keys), seen)
	case sqldb.SQLite:
		err = x.db.Unkept().Select(ctx, &touched, touchKeysSQL+"\nRETURNING session_key", seen, sqldb.ListOf(keys))
	case sqldb.MariaDB:
		err = x.db.Tx(ctx, func(q sqldb.Tx) error {
			touched = nil
			err := q.Select(ctx, &touched, "SELECT session_key"+liveOfKeysSQL+"\nFOR UPDATE SKIP LOCKED", sqldb.ListOf(keys))
			if err != nil || len(touched) == 0 {
				return err
			}
			_, err = q.Exec(ctx, touchKeysSQL, seen, sqldb.ListOf(touched))
			return err
		})
	}
	return setOf(touched), err
}

// LiveKeys returns those of at most PageSize keys whose session is live. It
// waits for no lock.
func (x *Index) LiveKeys(ctx context.Context, keys []string) (map[string]bool, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	var live []string
	err := x.db.Unkept().Select(ctx, &live, "SELECT session_key"+liveOfKeysSQL, sqldb.ListOf(keys))
	return setOf(live), err
}

func setOf(keys []string) map[string]bool {
	set := make(map[string]bool, len(keys))
	for _, key := range keys {
		set[key] = true
	}
	return set
}
