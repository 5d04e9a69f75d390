package usersession

import (
	"context"
	"database/sql"
	"slices"
	"strings"
)

// ending says why sessions end and who ends them.
type ending struct{ reason, actor string }

// endedRow is a row that an ending covered: whose it was, every key of it, and
// whether a list would have shown it.
type endedRow struct {
	ID         string         `db:"id"`
	UserID     sql.NullString `db:"user_id"`
	SessionKey string         `db:"session_key"`
	OtherKey   string         `db:"other_key"`
	Listed     int            `db:"listed"`
	Again      int            `db:"again"` // it had ended before: endedBefore, or endedPending
}

const endedColumns = `
	id, user_id, session_key, COALESCE(other_key, '') AS other_key,
	CASE WHEN @current THEN 1 ELSE 0 END AS listed,
	CASE WHEN purge_at = @again THEN 1 WHEN purge_at = @retried THEN 2 ELSE 0 END AS again`

// What endedRow.Again says of a row that had ended before: that whoever ended it
// deleted its data, or could not.
const (
	endedBefore  = 1
	endedPending = 2
)

// bindingMark stands before an other_key that a renewal is binding. Without the
// mark it is the previous key, which is dead.
const bindingMark = "+"

func keysOf(rows []endedRow) []string {
	keys := make([]string, 0, len(rows))
	for _, r := range rows {
		keys = append(keys, r.SessionKey)
		if other := strings.TrimPrefix(r.OtherKey, bindingMark); other != "" {
			keys = append(keys, other)
		}
	}
	return keys
}

func idsOf(rows []endedRow) []string {
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return ids
}

// usersOf returns whose rows they are; "" of those whose user is gone.
func usersOf(rows []endedRow) []string {
	users := make([]string, len(rows))
	for i, r := range rows {
		users[i] = r.UserID.String
	}
	return users
}

// amongUsers returns the condition, to be added to one on IDs, that spares a
// partitioned index the partitions that have no row of these users, also if they
// are gone meanwhile. It is "" for one that is not partitioned.
func (x *userIndex) amongUsers(users []string) (cond string, args []any) {
	if x.d.partitions == 0 {
		return "", nil
	}
	for _, u := range slices.Compact(slices.Sorted(slices.Values(users))) {
		if u != "" {
			args = append(args, x.d.userArg(u))
		}
	}
	if len(args) == 0 {
		return " AND user_id IS NULL", nil
	}
	return " AND (user_id IN (?" + strings.Repeat(", ?", len(args)-1) + ") OR user_id IS NULL)", args
}

// Ending a session never asks whether it has expired: a clock must not decide
// whether a revocation covers it. It covers rows that ended before as well,
// until the janitor has deleted their data a second time: whoever ended them may
// have died before the first time, and whoever ends them now is to be told the
// truth. Such a row is marked as ended again, or as retried if its deletion was
// known to be pending. ended_at comes last, because MariaDB sees the new value in what
// follows.
const (
	endableSQL = `(ended_at IS NULL OR purge_at <= @firstpass)`
	endSetSQL  = `
SET ended_by = CASE WHEN ended_at IS NULL THEN ? ELSE ended_by END,
	reason = CASE WHEN ended_at IS NULL AND reason = '' THEN ? ELSE reason END,
	purge_at = CASE WHEN ended_at IS NULL THEN @after(60000000) WHEN purge_at = ended_at THEN @retried ELSE @again END,
	ended_at = COALESCE(ended_at, @now)`
	endReturningSQL = "UPDATE @index" + endSetSQL + "\nWHERE "
	endSelectSQL    = "SELECT" + endSelectColumns + "\nFROM @index\nWHERE "
	endByIDsSQL     = "UPDATE @index" + endSetSQL + "\nWHERE id IN @list"
)

// endSelectColumns are endedColumns as they will be.
const endSelectColumns = `
	id, user_id, session_key, COALESCE(other_key, '') AS other_key,
	CASE WHEN @current THEN 1 ELSE 0 END AS listed,
	CASE WHEN ended_at IS NULL THEN 0 WHEN purge_at = ended_at THEN 2 ELSE 1 END AS again`

// end ends the rows that a condition selects and returns them. cond must name
// an indexed column first.
func (x *userIndex) end(ctx context.Context, q querier, by ending, cond string, args ...any) ([]endedRow, error) {
	var rows []endedRow
	if x.d.name != MariaDB {
		err := x.query(ctx, q, &rows, endReturningSQL+cond+" AND "+endableSQL+"\nRETURNING"+endedColumns,
			append([]any{by.actor, by.reason}, args...)...)
		return rows, err
	}
	// MariaDB has no RETURNING for UPDATE: two statements, one transaction.
	if q == nil {
		err := x.tx(ctx, func(q querier) error {
			var err error
			rows, err = x.end(ctx, q, by, cond, args...)
			return err
		})
		if err != nil {
			return nil, err
		}
		return rows, nil
	}
	if err := x.query(ctx, q, &rows, endSelectSQL+cond+" AND "+endableSQL+"\nORDER BY id\nFOR UPDATE", args...); err != nil || len(rows) == 0 {
		return nil, err
	}
	for chunk := range slices.Chunk(idsOf(rows), pageSize) {
		if _, err := x.many(ctx, q, nil, endByIDsSQL, chunk, []any{by.actor, by.reason}, nil); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func (x *userIndex) endUser(ctx context.Context, userID string, by ending) ([]endedRow, error) {
	return x.end(ctx, nil, by, "user_id = ?", x.d.userArg(userID))
}

func (x *userIndex) endOne(ctx context.Context, userID, id string, by ending) ([]endedRow, error) {
	return x.end(ctx, nil, by, "id = ? AND user_id = ?", id, x.d.userArg(userID))
}

// endID ends the session of b, also if its user is gone.
func (x *userIndex) endID(ctx context.Context, b *binding, by ending) ([]endedRow, error) {
	return x.end(ctx, nil, by, "id = ? AND (user_id = ? OR user_id IS NULL)", b.id, x.d.userArg(b.userID))
}

// endKey ends the session of a key.
func (x *userIndex) endKey(ctx context.Context, key string, by ending) ([]endedRow, error) {
	return x.end(ctx, nil, by, "session_key = ?", key)
}

// endIDs ends the sessions of a list of at most pageSize IDs, if they meet a
// further condition.
func (x *userIndex) endIDs(ctx context.Context, q querier, ids []string, by ending, cond string, condArgs ...any) ([]endedRow, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	args := make([]any, len(ids))
	marks := make([]byte, 0, 2*len(ids))
	for i, id := range ids {
		args[i] = id
		marks = append(marks, ',', '?')
	}
	if q == nil && x.d.name != MariaDB {
		q = unkept{x.db} // lists have all lengths: not worth a kept statement
	}
	return x.end(ctx, q, by, "id IN ("+string(marks[1:])+")"+cond, append(args, condArgs...)...)
}

const lockOthersSQL = `
SELECT id, user_id, session_key, COALESCE(other_key, '') AS other_key,
	CASE WHEN @live THEN 1 ELSE 0 END AS listed, 0 AS again
FROM @index
WHERE user_id = ? AND ` + endableSQL + `
ORDER BY id`

// endOthers ends all sessions of a user but one, which must be live: of two
// sessions that end each other, one does and the other is told ErrSessionEnded.
// Locking in the order of IDs keeps them from a deadlock.
func (x *userIndex) endOthers(ctx context.Context, userID, exceptID string, by ending) ([]endedRow, error) {
	var ended []endedRow
	err := x.tx(ctx, func(q querier) error {
		ended = nil
		lock := lockOthersSQL
		if x.d.name != SQLite {
			lock += "\nFOR UPDATE"
		}
		var rows []endedRow
		if err := x.query(ctx, q, &rows, lock, x.d.userArg(userID)); err != nil {
			return err
		}
		caller := false
		var others []string
		for _, r := range rows {
			if r.ID == exceptID {
				caller = r.Listed == 1
			} else {
				others = append(others, r.ID)
			}
		}
		if !caller {
			return ErrSessionEnded
		}
		for chunk := range slices.Chunk(others, pageSize) {
			rows, err := x.endIDs(ctx, q, chunk, by, " AND user_id = ?", x.d.userArg(userID))
			if err != nil {
				return err
			}
			ended = append(ended, rows...)
		}
		return nil
	})
	return ended, err
}

const pendingSQL = `
UPDATE @index
SET purge_at = ended_at
WHERE id IN @list AND ended_at IS NOT NULL`

// pending notes that the keys of ended rows are still to be deleted.
func (x *userIndex) pending(ctx context.Context, rows []endedRow) error {
	for chunk := range slices.Chunk(rows, pageSize) {
		cond, users := x.amongUsers(usersOf(chunk))
		if _, err := x.many(ctx, nil, nil, pendingSQL+cond, idsOf(chunk), nil, users); err != nil {
			return err
		}
	}
	return nil
}

const endedKeysSQL = `
SELECT` + endedColumns + `
FROM @index
WHERE id IN @list AND ended_at IS NOT NULL`

// endedAmong returns those of the given rows that have ended.
func (x *userIndex) endedAmong(ctx context.Context, rows []endedRow) ([]endedRow, error) {
	var all []endedRow
	for chunk := range slices.Chunk(rows, pageSize) {
		var ended []endedRow
		cond, users := x.amongUsers(usersOf(chunk))
		if _, err := x.many(ctx, nil, &ended, endedKeysSQL+cond, idsOf(chunk), nil, users); err != nil {
			return nil, err
		}
		all = append(all, ended...)
	}
	return all, nil
}
