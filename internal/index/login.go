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
	Checked             Checked
	IdleTimeout         int64 // as in Row
	Max                 int   // of this login, instead of that of the Config; -1 if there is no limit, 0 if it has none of its own
}

// idleArg returns the idle timeout of a login as the column has it.
func (l Login) idleArg() sql.NullInt64 {
	return sql.NullInt64{Int64: l.IdleTimeout, Valid: l.IdleTimeout != 0}
}

const (
	insertIntoSQL   = "\nINSERT INTO @index (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta, place, idle_timeout)\n"
	insertValuesSQL = insertIntoSQL + "VALUES (?, ?, ?, @now, @now, @now, @after(?), ?, @text(?, 512), @text(?), @here, ?)"
	insertSelectSQL = insertIntoSQL + "SELECT ?, ?, ?, @now, @now, @now, @after(?), ?, @text(?, 512), @text(?), @here, CAST(? AS @bigint)\nFROM ("
	insertSQL       = insertSelectSQL + `SELECT 1 AS one) AS one
WHERE one = 1` + unfencedSQL
)

// values are the arguments of insertIntoSQL.
func (x *Index) values(l Login) []any {
	return []any{l.ID, x.userArg(l.UserID), l.Key, l.Grace.Microseconds(), l.IP, sqldb.Text(l.UserAgent), sqldb.Verbatim(l.Meta), l.idleArg()}
}

// insert writes the row of a login, unless a fence is in the way. On MariaDB q is a
// transaction.
func (x *Index) insert(ctx context.Context, q sqldb.Querier, l Login) (Entry, error) {
	n, err := x.execLazily(ctx, q, insertSQL, insertSQL+lazilySQL, append(x.values(l), x.unfenced(l.UserID, l.Checked, 2)...)...)
	if err == nil && n == 0 {
		return Fenced, nil
	}
	return Entered, err
}

// lazilySQL has PostgreSQL answer a statement before it is on disk. A server that
// crashes then forgets the row of a login, and its commit finds none. That commit waits
// for the disk, and for all before it. The condition holds whatever the server answers.
const lazilySQL = "\n\tAND set_config('synchronous_commit', 'off', true) IS NOT NULL"

// execLazily runs text for q, or lazy, which is text with lazilySQL. In a transaction it
// is text, because that may have ended sessions.
func (x *Index) execLazily(ctx context.Context, q sqldb.Querier, text, lazy string, args ...any) (int64, error) {
	if _, in := q.(sqldb.Tx); !in && x.c.Dialect == sqldb.Postgres && !x.neverLazy.Load() {
		n, err := q.Exec(ctx, lazy, args...)
		if !sqldb.Unsupported(err) {
			return n, err
		}
		x.neverLazy.Store(true)
	}
	return q.Exec(ctx, text, args...)
}

// insertUnlimited is insert where there is no limit, on the pool.
func (x *Index) insertUnlimited(ctx context.Context, l Login) (Entry, error) {
	if x.c.Dialect != sqldb.MariaDB {
		return x.insert(ctx, x.db, l)
	}
	if fenced, err := x.fenced(ctx, x.db, l.UserID, l.Checked, 2); fenced || err != nil {
		return Fenced, err
	}
	_, err := x.db.Exec(ctx, insertValuesSQL, x.values(l)...)
	return Entered, err
}

const (
	confirmUnlessFencedSQL = confirmSQL + unfencedSQL
	confirmSQL             = `
UPDATE @index
SET expires_at = @after(?), last_seen_at = @now
WHERE id = ? AND session_key = ? AND user_id = ? AND ended_at IS NULL AND expires_at > @now`
)

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
			AND EXISTS (SELECT 1 FROM @index n WHERE n.id = ? AND n.user_id = ? AND n.ended_at IS NULL AND n.expires_at > @now))` + unfencedSQL + `
RETURNING` + endedColumns

// Confirm gives the login of b its real deadline and ends the session it
// replaces, that of from if it is a user's. It reports false if the login is
// not live any more, because it was revoked before it was committed, or if a fence is
// in the way.
func (x *Index) Confirm(ctx context.Context, b, from *trailer.Binding, c Checked, by Ending) (bool, []EndedRow, error) {
	id, user, lifetime := b.ID, x.userArg(b.UserID), time.Until(b.Deadline).Microseconds()
	unfenced := x.unfenced(b.UserID, c, 1)
	if !from.Authenticated() && x.c.Dialect == sqldb.MariaDB {
		if fenced, err := x.fenced(ctx, x.db, b.UserID, c, 1); fenced || err != nil {
			return false, nil, err
		}
		n, err := x.db.Exec(ctx, confirmSQL, lifetime, id, b.Key, user)
		return n == 1, nil, err
	}
	if !from.Authenticated() {
		n, err := x.db.Exec(ctx, confirmUnlessFencedSQL, append([]any{lifetime, id, b.Key, user}, unfenced...)...)
		return n == 1, nil, err
	}
	var rows []EndedRow
	if x.c.Dialect == sqldb.MariaDB {
		ok := false
		err := x.db.Tx(ctx, func(q sqldb.Tx) error {
			rows = nil
			n, err := q.Exec(ctx, confirmUnlessFencedSQL, append([]any{lifetime, id, b.Key, user}, unfenced...)...)
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
	began := time.Now()
	err := x.db.Select(ctx, &rows, confirmReplacingSQL, append([]any{
		id, lifetime, id, id, id, sqldb.Text(by.Actor), id, sqldb.Text(by.Reason), id,
		id, b.Key, user, from.ID, x.userArg(from.UserID), id, user,
	}, unfenced...)...)
	if err != nil {
		return false, nil, err
	}
	begun(rows, began)
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
