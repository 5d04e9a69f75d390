package usersession

import (
	"context"
	"slices"
	"time"
)

// loginRow is what a login writes to the index.
type loginRow struct {
	id, userID, key     string
	grace               time.Duration // until the commit confirms it
	ip, userAgent, meta string
}

const insertSQL = `
INSERT INTO @index (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta)
VALUES (?, ?, ?, @now, @now, @now, @after(?), ?, ?, ?)`

func (x *userIndex) insert(ctx context.Context, q querier, r loginRow) error {
	_, err := x.exec(ctx, q, insertSQL, r.id, x.d.userArg(r.userID), r.key, r.grace.Microseconds(), r.ip, r.userAgent, r.meta)
	return err
}

var lockUserSQL = map[Dialect]string{
	Postgres: "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))",
	// The lock lasts until the transaction ends, the row until the janitor comes.
	MariaDB: "INSERT INTO @lock (user_hash) VALUES (?) ON DUPLICATE KEY UPDATE user_hash = user_hash",
	// BEGIN IMMEDIATE has locked everybody out already.
	SQLite: "",
}

const (
	liveOldestFirstSQL = `
SELECT` + rowColumns + `
FROM @index
WHERE user_id = ? AND @live
ORDER BY created_at, id`
	liveLeastRecentFirstSQL = `
SELECT` + rowColumns + `
FROM @index
WHERE user_id = ? AND @live
ORDER BY last_seen_at, id`
)

// insertCapped is insert for a user who may have at most max live sessions. It
// returns the rows it ended to make room. The sessions the login replaces do
// not count: confirm ends them.
func (x *userIndex) insertCapped(ctx context.Context, r loginRow, max int, policy LimitPolicy, replaces []string, by ending) ([]endedRow, error) {
	var evicted []endedRow
	err := x.tx(ctx, func(q querier) error {
		evicted = nil
		if lock := lockUserSQL[x.d.name]; lock != "" {
			if _, err := x.exec(ctx, q, lock, keyOf(x.d.index+"\x00"+r.userID)); err != nil {
				return err
			}
		}
		order := liveOldestFirstSQL
		if policy == EvictLeastRecent {
			order = liveLeastRecentFirstSQL
		}
		var rows []indexRow
		if err := x.query(ctx, q, &rows, order, x.d.userArg(r.userID)); err != nil {
			return err
		}
		var victims []string
		for _, row := range rows {
			if !slices.Contains(replaces, row.ID) {
				victims = append(victims, row.ID)
			}
		}
		if excess := len(victims) - max + 1; excess > 0 {
			if policy == Reject {
				return ErrTooManySessions
			}
			var err error
			if evicted, err = x.endIDs(ctx, q, victims[:excess], by, " AND user_id = ?", x.d.userArg(r.userID)); err != nil {
				return err
			}
		}
		return x.insert(ctx, q, r)
	})
	if err != nil {
		return nil, err
	}
	return evicted, nil
}

const confirmSQL = `
UPDATE @index
SET expires_at = @after(?), last_seen_at = @now
WHERE id = ? AND session_key = ? AND user_id = ? AND ended_at IS NULL AND expires_at > @now`

// confirmWithDataSQL is confirmSQL that stores the data at once. A driver that lost
// the answer may ask again: the data are there then, and may have changed since.
const confirmWithDataSQL = `
WITH confirmed AS (` + confirmSQL + `
RETURNING session_key),
stored AS (
INSERT INTO @data (token, data, expiry)
SELECT session_key, CAST(? AS bytea), @dafter(?)
FROM confirmed` + dataReplaceExpiredSQL + `)
SELECT count(*)
FROM confirmed`

// confirmWithData is confirm for a login that replaces nothing, with its data in
// the same database. It reports false, and stores nothing, if the login is not
// live any more. Whoever ends the session meanwhile waits for the row, and
// deletes the data then.
func (x *userIndex) confirmWithData(ctx context.Context, b *binding, data []byte) (bool, error) {
	lifetime := time.Until(b.deadline).Microseconds()
	var n []int
	err := x.query(ctx, nil, &n, confirmWithDataSQL, lifetime, b.id, b.key, x.d.userArg(b.userID), data, lifetime)
	return err == nil && len(n) == 1 && n[0] == 1, err
}

// confirmReplacingSQL gives the new session its real deadline and ends the one
// it replaces. If the new one is not live any more, neither happens; only one
// that ends in this very moment may take the former one along.
const confirmReplacingSQL = `
UPDATE @index
SET expires_at = CASE WHEN id = ? THEN @after(?) ELSE expires_at END,
	last_seen_at = CASE WHEN id = ? THEN @now ELSE last_seen_at END,
	ended_at = CASE WHEN id = ? THEN NULL ELSE @now END,
	ended_by = CASE WHEN id = ? THEN ended_by ELSE ? END,
	reason = CASE WHEN id = ? THEN reason ELSE ? END,
	purge_at = CASE WHEN id = ? THEN NULL ELSE @after(60000000) END
WHERE ended_at IS NULL
	AND (id = ? AND session_key = ? AND user_id = ? AND expires_at > @now
		OR id = ? AND user_id = ?
			AND EXISTS (SELECT 1 FROM @index n WHERE n.id = ? AND n.user_id = ? AND n.ended_at IS NULL AND n.expires_at > @now))
RETURNING` + endedColumns

// confirm gives the login of b its real deadline and ends the session it
// replaces, that of from if it is a user's. It reports false if the login is not
// live any more: it was revoked before it was committed.
func (x *userIndex) confirm(ctx context.Context, b, from *binding, by ending) (bool, []endedRow, error) {
	id, user, lifetime := b.id, x.d.userArg(b.userID), time.Until(b.deadline).Microseconds()
	if !from.authenticated() {
		n, err := x.exec(ctx, nil, confirmSQL, lifetime, id, b.key, user)
		return n == 1, nil, err
	}
	var rows []endedRow
	if x.d.name == MariaDB {
		ok := false
		err := x.tx(ctx, func(q querier) error {
			n, err := x.exec(ctx, q, confirmSQL, lifetime, id, b.key, user)
			if ok = n == 1; err != nil || !ok {
				return err
			}
			rows, err = x.endIDs(ctx, q, []string{from.id}, by, " AND user_id = ?", x.d.userArg(from.userID))
			return err
		})
		if err != nil {
			return false, nil, err
		}
		return ok, rows, nil
	}
	err := x.query(ctx, nil, &rows, confirmReplacingSQL,
		id, lifetime, id, id, id, by.actor, id, by.reason, id,
		id, b.key, user, from.id, x.d.userArg(from.userID), id, user)
	if err != nil {
		return false, nil, err
	}
	ok := false
	ended := rows[:0]
	for _, r := range rows {
		if r.ID == id {
			ok = true
		} else {
			ended = append(ended, r)
		}
	}
	return ok, ended, nil
}

const rekeySQL = `
UPDATE @index
SET session_key = ?
WHERE id = ? AND session_key = ? AND user_id = ? AND ended_at IS NULL`

// rekey moves the login of b, which is not committed yet, to its key.
func (x *userIndex) rekey(ctx context.Context, b *binding, from string) (bool, error) {
	n, err := x.exec(ctx, nil, rekeySQL, b.key, b.id, from, x.d.userArg(b.userID))
	return n == 1, err
}

const renewBeginSQL = `
UPDATE @index
SET other_key = ?
WHERE id = ? AND session_key = ? AND user_id = ? AND ended_at IS NULL AND reason = ?
	AND (other_key IS NULL OR other_key NOT LIKE '` + bindingMark + `%')`

// renewBegin notes the key of b, to which its session is being renewed, so that whatever ends
// the session meanwhile covers it. It reports false if the session has ended, is
// under another key already, is being renewed, or was detached by somebody else.
func (x *userIndex) renewBegin(ctx context.Context, b *binding, from string, how renewal) (bool, error) {
	n, err := x.exec(ctx, nil, renewBeginSQL, bindingMark+b.key, b.id, from, x.d.userArg(b.userID), how.reason())
	return n == 1, err
}

const renewTakeOverSQL = `
UPDATE @index
SET other_key = ?
WHERE id = ? AND session_key = ? AND other_key = ? AND user_id = ? AND ended_at IS NULL`

// renewTakeOver is renewBegin in the place of another renewal.
func (x *userIndex) renewTakeOver(ctx context.Context, b *binding, from, abandoned string) (bool, error) {
	n, err := x.exec(ctx, nil, renewTakeOverSQL, bindingMark+b.key, b.id, from, bindingMark+abandoned, x.d.userArg(b.userID))
	return n == 1, err
}

const renewSwapSQL = `
UPDATE @index
SET authenticated_at = CASE WHEN ? = 1 THEN @now ELSE authenticated_at END,
	meta = CASE WHEN ? = '' THEN meta ELSE ? END,
	last_seen_at = @now, expires_at = @after(?), reason = '', session_key = ?, other_key = ?
WHERE id = ? AND user_id = ? AND ended_at IS NULL
	AND (session_key = ? AND other_key = ? AND reason = ? OR session_key = ? AND other_key = ?)`

// renewSwap makes the new key, that of b, the session's key and keeps the old one as the
// other. It reports false if the session has ended, was detached by somebody
// else, or another renewal was faster. Done twice it is done: database/sql asks
// again by itself if a driver takes a lost answer for a bad connection.
func (x *userIndex) renewSwap(ctx context.Context, b *binding, from string, how renewal) (bool, error) {
	flag := 0
	if how.authenticated {
		flag = 1
	}
	meta := how.meta
	if meta == "" {
		meta = "{}" // valid in a column of JSON, and not used
	}
	n, err := x.exec(ctx, nil, renewSwapSQL, flag, how.meta, meta, time.Until(b.deadline).Microseconds(), b.key, from,
		b.id, x.d.userArg(b.userID), from, bindingMark+b.key, how.reason(), b.key, from)
	return n == 1, err
}

const renewBackSQL = `
UPDATE @index
SET expires_at = @after(?), authenticated_at = @at(?), session_key = ?, other_key = ?
WHERE id = ? AND session_key = ? AND other_key = ? AND user_id = ? AND ended_at IS NULL`

// renewBack undoes renewSwap of a session to key, but for its metadata.
func (x *userIndex) renewBack(ctx context.Context, from *binding, key string) error {
	_, err := x.exec(ctx, nil, renewBackSQL,
		time.Until(from.deadline).Microseconds(), from.authenticatedAt.UnixMicro(), from.key, key,
		from.id, key, from.key, x.d.userArg(from.userID))
	return err
}

const detachSQL = `
UPDATE @index
SET expires_at = @now, reason = '` + ReasonLogout + `'
WHERE session_key = ? AND ended_at IS NULL AND reason = ''`

// detach takes the life of a session whose key somebody deleted through scs:
// it is in no list any more. If that was the first half of scs's RenewToken, the
// second half brings it back with renewSwap; if it was Destroy, the janitor ends
// it. Whatever ends sessions covers it meanwhile. It reports false if the session
// has ended or was detached before: then it is not this caller's to bring back.
func (x *userIndex) detach(ctx context.Context, key string) (bool, error) {
	n, err := x.exec(ctx, nil, detachSQL, key)
	return n == 1, err
}

const shortenSQL = `
UPDATE @index
SET expires_at = @after(?)
WHERE id = ? AND user_id = ? AND ended_at IS NULL AND expires_at > @after(?)`

// shorten moves the end of a session nearer, to that of b, and never away.
func (x *userIndex) shorten(ctx context.Context, b *binding) error {
	us := time.Until(b.deadline).Microseconds()
	_, err := x.exec(ctx, nil, shortenSQL, us, b.id, x.d.userArg(b.userID), us)
	return err
}

const setMetaSQL = `
UPDATE @index
SET meta = ?
WHERE id = ? AND user_id = ? AND ended_at IS NULL`

func (x *userIndex) setMeta(ctx context.Context, b *binding, meta string) error {
	_, err := x.exec(ctx, nil, setMetaSQL, meta, b.id, x.d.userArg(b.userID))
	return err
}
