package index

import (
	"context"
	"database/sql"
	"strconv"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// leftSQL has no condition on the state of a row: one that was detached is neither live
// nor over.
const leftSQL = `
SELECT id, user_id, CASE WHEN ended_at IS NULL THEN 0 ELSE 1 END AS ended, CASE WHEN reason = '' THEN 0 ELSE 1 END AS detached,
	@us(expires_at) AS expires_at, @us(last_seen_at) AS last_seen_at, COALESCE(idle_timeout, 0) AS idle_timeout, @us(now_at) AS now
FROM @index
CROSS JOIN (SELECT @now AS now_at) AS clock
WHERE id IN @list`

// Left returns for how long some sessions live at most, if nobody ends them and nothing
// renews or touches them. Those that have ended are left out. There are at most PageSize,
// and users are the users of some of them, in any order.
func (x *Index) Left(ctx context.Context, ids, users []string) (map[string]time.Duration, error) {
	var rows []struct {
		ID       string         `db:"id"`
		UserID   sql.NullString `db:"user_id"`
		Ended    int            `db:"ended"`
		Detached int            `db:"detached"`
		Expires  int64          `db:"expires_at"`
		Seen     int64          `db:"last_seen_at"`
		Idle     int64          `db:"idle_timeout"`
		Now      int64          `db:"now"`
	}
	cond, args := x.amongUsers(users)
	if err := x.db.Unkept().Select(ctx, &rows, leftSQL+cond, append([]any{sqldb.ListOf(ids)}, args...)...); err != nil {
		return nil, err
	}
	left := make(map[string]time.Duration, len(rows))
	for _, r := range rows {
		switch over := r.Expires - r.Now; {
		case r.Ended == 1 || !r.UserID.Valid:
		case r.Detached == 1 && -over < x.c.Grace.Microseconds():
			left[r.ID] = time.Microsecond // the second half of a renewal may come
		default:
			if idle := r.Idle; idle > 0 || x.c.Idle > 0 {
				if idle == 0 {
					idle = x.c.Idle.Microseconds()
				}
				over = min(over, r.Seen+idle-r.Now)
			}
			// A lifetime in microseconds may be more than a Duration holds.
			left[r.ID] = time.Duration(min(over, (24*time.Hour).Microseconds())) * time.Microsecond
		}
	}
	return left, nil
}

// endedSinceSQL goes by when the data are to be deleted a second time: there is no index on
// ended_at, which every ending would pay for.
var endedSinceSQL = `
SELECT id
FROM @index
WHERE purge_at >= @after(?) AND purge_at <= @after(` + micros(firstPass) + `) AND ended_at >= @after(?)
LIMIT ` + strconv.Itoa(maxEnded+1)

const (
	// maxEnded is how many sessions Ended returns.
	maxEnded = 10_000
	// endedFor is for how long Ended knows of an ending. The janitor comes to its row
	// a minute after that, or a tenth of it sooner.
	endedFor = firstPass - firstPass/10 - 9*time.Second
)

// Ended returns the IDs of the sessions that were ended within a time, or false if it
// cannot know all of them, because that is too long ago or they are too many.
func (x *Index) Ended(ctx context.Context, within time.Duration) (ids []string, all bool, err error) {
	if within > endedFor {
		return nil, false, nil
	}
	since := -within.Microseconds()
	if err := x.db.Read(ctx, &ids, endedSinceSQL, since, since); err != nil {
		return nil, false, err
	}
	return ids, len(ids) <= maxEnded, nil
}
