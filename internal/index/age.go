package index

import (
	"context"
	"errors"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

const (
	idleNowSQL = `
UPDATE @index
SET last_seen_at = @after(?)
WHERE id = ? AND user_id = ? AND @live`
	expireNowSQL = `
UPDATE @index
SET expires_at = @now
WHERE id = ? AND user_id = ? AND @live`
)

var errNeverIdle = errors.New("the session has no idle timeout within its lifetime")

// Age has a live session of a user reach the end of its idle timeout, or of its
// lifetime if idle is false, for tests. It returns the row as it was. The answer is
// false if there is no such session.
func (x *Index) Age(ctx context.Context, userID, id string, idle bool) (row Row, found bool, err error) {
	if row, found, err = x.LiveByID(ctx, userID, id); err != nil || !found {
		return row, false, err
	}
	timeout := row.IdleTimeout
	if timeout == 0 {
		timeout = x.c.Idle.Microseconds()
	}
	if idle && (timeout <= 0 || timeout > row.ExpiresAt-row.CreatedAt) {
		return row, false, errNeverIdle
	}
	var n int64
	var q sqldb.Querier = x.db.Unkept()
	if idle {
		n, err = q.Exec(ctx, idleNowSQL, -timeout, id, x.userArg(userID))
	} else {
		n, err = q.Exec(ctx, expireNowSQL, id, x.userArg(userID))
	}
	return row, n > 0, err
}
