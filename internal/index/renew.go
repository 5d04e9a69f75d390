package index

import (
	"context"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Renewal says what kind of renewal it is.
type Renewal struct {
	Authenticated bool   // the user has proved again who they are
	Reason        string // that of Detach, if the caller detached the session before
	Meta          string // the new metadata, or "" if they stay
	By            Client // of the request
}

const rekeySQL = `
UPDATE @index
SET session_key = ?
WHERE id = ? AND session_key = ? AND user_id = ? AND ended_at IS NULL`

// Rekey moves the login of b, which is not committed yet, to its key.
func (x *Index) Rekey(ctx context.Context, b *trailer.Binding, from string) (bool, error) {
	n, err := x.db.Exec(ctx, rekeySQL, b.Key, b.ID, from, x.userArg(b.UserID))
	return n == 1, err
}

const renewBeginSQL = `
UPDATE @index
SET other_key = ?
WHERE id = ? AND session_key = ? AND user_id = ? AND ended_at IS NULL AND reason = ?
	AND (other_key IS NULL OR other_key NOT LIKE '` + bindingMark + `%')`

// RenewBegin notes the key of b, to which its session is being renewed, so that
// whatever ends the session meanwhile covers it. It reports false if the session
// has ended, is under another key already, is being renewed, or was detached by
// somebody else.
func (x *Index) RenewBegin(ctx context.Context, b *trailer.Binding, from string, how Renewal) (bool, error) {
	n, err := x.db.Exec(ctx, renewBeginSQL, bindingMark+b.Key, b.ID, from, x.userArg(b.UserID), how.Reason)
	return n == 1, err
}

const renewTakeOverSQL = `
UPDATE @index
SET other_key = ?
WHERE id = ? AND session_key = ? AND other_key = ? AND user_id = ? AND ended_at IS NULL`

// RenewTakeOver is RenewBegin in the place of another renewal.
func (x *Index) RenewTakeOver(ctx context.Context, b *trailer.Binding, from, abandoned string) (bool, error) {
	n, err := x.db.Exec(ctx, renewTakeOverSQL, bindingMark+b.Key, b.ID, from, bindingMark+abandoned, x.userArg(b.UserID))
	return n == 1, err
}

const renewSwapSQL = `
UPDATE @index
SET authenticated_at = CASE WHEN ? = 1 THEN @now ELSE authenticated_at END,
	meta = CASE WHEN ? = '' THEN meta ELSE ? END,
	last_seen_at = @now, expires_at = @after(?), reason = '', session_key = ?, other_key = ?, place = @here,@renewed` + setClientSQL + `
WHERE id = ? AND user_id = ? AND ended_at IS NULL
	AND (session_key = ? AND other_key = ? AND reason = ? OR session_key = ? AND other_key = ?)` + leasedReturning

// RenewSwap makes the new key, that of b, the session's key and keeps the old one
// as the other. It reports false if the session has ended, was detached by somebody
// else, or another renewal was faster. Done twice it is done, because
// database/sql asks again by itself if a driver takes a lost answer for a bad
// connection. unleased is as of Unleased.
func (x *Index) RenewSwap(ctx context.Context, b *trailer.Binding, from string, how Renewal) (ok bool, unleased time.Time, err error) {
	flag := 0
	if how.Authenticated {
		flag = 1
	}
	meta := how.Meta
	if meta == "" {
		meta = "{}" // valid in a column of JSON, and not used
	}
	args := append([]any{flag, how.Meta, meta, time.Until(b.Deadline).Microseconds(), b.Key, from}, how.By.args()...)
	n, unleased, err := x.execLeased(ctx, renewSwapSQL, append(args,
		b.ID, x.userArg(b.UserID), from, bindingMark+b.Key, how.Reason, b.Key, from)...)
	return n == 1, unleased, err
}

const renewBackSQL = `
UPDATE @index
SET expires_at = @after(?), authenticated_at = @at(?), session_key = ?, other_key = ?
WHERE id = ? AND session_key = ? AND other_key = ? AND user_id = ? AND ended_at IS NULL`

// RenewBack undoes RenewSwap of a session to key, but for its metadata.
func (x *Index) RenewBack(ctx context.Context, from *trailer.Binding, key string) error {
	_, err := x.db.Exec(ctx, renewBackSQL,
		time.Until(from.Deadline).Microseconds(), from.AuthenticatedAt.UnixMicro(), from.Key, key,
		from.ID, key, from.Key, x.userArg(from.UserID))
	return err
}

const detachSQL = `
UPDATE @index
SET expires_at = @now, reason = @text(?, 255)
WHERE session_key = ? AND ended_at IS NULL AND reason = ''` + leasedReturning

// Detach takes the life of a session whose key somebody deleted through scs, and
// notes the reason for which it may end. The session is in no list any more. If
// that was the first half of scs's RenewToken, the second half brings it back with
// RenewSwap. If it was Destroy, the janitor ends it. Whatever ends sessions covers
// it meanwhile. Detach reports false if the session has ended or was detached
// before. Then it is not this caller's to bring back. unleased is as of Unleased.
func (x *Index) Detach(ctx context.Context, key, reason string) (detached bool, unleased time.Time, err error) {
	n, unleased, err := x.execLeased(ctx, detachSQL, sqldb.Text(reason), key)
	return n == 1, unleased, err
}

const shortenSQL = `
UPDATE @index
SET expires_at = @after(?)
WHERE id = ? AND user_id = ? AND ended_at IS NULL AND expires_at > @after(?)` + leasedReturning

// Shorten moves the end of a session nearer, to that of b, and never away. unleased
// is as of Unleased.
func (x *Index) Shorten(ctx context.Context, b *trailer.Binding) (unleased time.Time, err error) {
	us := time.Until(b.Deadline).Microseconds()
	_, unleased, err = x.execLeased(ctx, shortenSQL, us, b.ID, x.userArg(b.UserID), us)
	return unleased, err
}

const setMetaSQL = `
UPDATE @index
SET meta = @text(?)
WHERE id = ? AND user_id = ? AND ended_at IS NULL`

// SetMeta replaces the metadata of the session of b, if it has not ended.
func (x *Index) SetMeta(ctx context.Context, b *trailer.Binding, meta string) error {
	_, err := x.db.Exec(ctx, setMetaSQL, sqldb.Verbatim(meta), b.ID, x.userArg(b.UserID))
	return err
}

// ChangeMeta gives a live session of a user the metadata that change makes of its own.
// Nobody else changes the row meanwhile. The answer is false if there is no such
// session. An error of change is returned, and nothing is changed.
func (x *Index) ChangeMeta(ctx context.Context, userID, id string, change func(Row) (string, error)) (bool, error) {
	query, found := liveByIDSQL, false
	if x.c.Dialect != sqldb.SQLite {
		query += "\nFOR UPDATE"
	}
	err := x.db.Tx(ctx, func(q sqldb.Tx) error {
		var rows []Row
		err := q.Select(ctx, &rows, query, id, x.userArg(userID))
		row, ok, err := first(ofUsers(rows, err, userID))
		if found = ok; err != nil || !ok {
			return err
		}
		meta, err := change(row)
		if err != nil {
			return err
		}
		_, err = q.Exec(ctx, setMetaSQL, sqldb.Verbatim(meta), id, x.userArg(userID))
		return err
	})
	return found && err == nil, err
}
