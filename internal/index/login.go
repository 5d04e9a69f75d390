package index

import (
	"context"
	"database/sql"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Login is what a login writes to the index.
type Login struct {
	ID, UserID, Key     string
	Grace               time.Duration // until the commit confirms it
	IP, UserAgent, Meta string
	IdleTimeout         int64 // as in Row
	Max                 int   // of this login, instead of that of the Config; -1 if there is no limit, 0 if it has none of its own
}

// idleArg returns the idle timeout of a login as the column has it.
func (l Login) idleArg() sql.NullInt64 {
	return sql.NullInt64{Int64: l.IdleTimeout, Valid: l.IdleTimeout != 0}
}

const insertSQL = `
INSERT INTO @index (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta, place, idle_timeout)
VALUES (?, ?, ?, @now, @now, @now, @after(?), ?, @text(?), @text(?), @here, ?)`

// insert writes the row of a login.
func (x *Index) insert(ctx context.Context, q sqldb.Querier, l Login) error {
	_, err := q.Exec(ctx, insertSQL, l.ID, x.userArg(l.UserID), l.Key, l.Grace.Microseconds(), l.IP, sqldb.Text(l.UserAgent), sqldb.Verbatim(l.Meta), l.idleArg())
	return err
}

const confirmSQL = `
UPDATE @index
SET expires_at = @after(?), last_seen_at = @now
WHERE id = ? AND session_key = ? AND user_id = ? AND ended_at IS NULL AND expires_at > @now`

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

// Confirm gives the login of b its real deadline and ends the session it
// replaces, that of from if it is a user's. It reports false if the login is
// not live any more, because it was revoked before it was committed.
func (x *Index) Confirm(ctx context.Context, b, from *trailer.Binding, by Ending) (bool, []EndedRow, error) {
	id, user, lifetime := b.ID, x.userArg(b.UserID), time.Until(b.Deadline).Microseconds()
	if !from.Authenticated() {
		n, err := x.db.Exec(ctx, confirmSQL, lifetime, id, b.Key, user)
		return n == 1, nil, err
	}
	var rows []EndedRow
	if x.c.Dialect == sqldb.MariaDB {
		ok := false
		err := x.db.Tx(ctx, func(q sqldb.Tx) error {
			rows = nil
			n, err := q.Exec(ctx, confirmSQL, lifetime, id, b.Key, user)
			if ok = n == 1; err != nil || !ok {
				return err
			}
			rows, err = x.endIDs(ctx, q, []string{from.ID}, by, " AND user_id = ?", x.userArg(from.UserID))
			return err
		})
		if err != nil {
			return false, nil, err
		}
		return ok, rows, nil
	}
	err := x.db.Select(ctx, &rows, confirmReplacingSQL,
		id, lifetime, id, id, id, sqldb.Text(by.Actor), id, sqldb.Text(by.Reason), id,
		id, b.Key, user, from.ID, x.userArg(from.UserID), id, user)
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
