package index

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// Place is where an ending of a user's sessions goes on. The zero Place is the
// beginning.
type Place struct {
	after   string // of those that had ended
	unended bool   // these only, until none is left
}

// endableOfUserSQL finds a page of the rows that endableSQL means, in two ranges of
// the user's indexes: those that have not ended, which leave their range when they
// are ended, and those whose data were not deleted a second time. A user may have
// any number of others, which are not read. A minute would do for the second range,
// but for a clock of the database that is set back. Each page sorts that range again, so
// its pages are large.
var endableOfUserSQL = `
SELECT id, 0 AS again
FROM (
	SELECT id
	FROM @index
	WHERE user_id = ? AND ended_at IS NULL AND id <> ?
	LIMIT @endpage
) AS unended
UNION ALL
SELECT id, 1 AS again
FROM (
	SELECT id
	FROM @index
	WHERE user_id = ? AND purge_at <= @after(?) AND purge_at <= @firstpass AND purge_at <> @endedin(?)
		AND id > ? AND id <> ?
	ORDER BY id
	LIMIT ` + strconv.Itoa(PageSize) + `
) AS ended`

// foundRow is a row of endableOfUserSQL.
type foundRow struct {
	ID    string `db:"id"`
	Again int    `db:"again"`
}

// endableArgs are the arguments of endableOfUserSQL.
func (x *Index) endableArgs(userID, exceptID string, from Place, by Ending) []any {
	user, due := x.userArg(userID), 10*time.Minute
	if from.unended {
		due = -100 * 365 * 24 * time.Hour // none is
	}
	return []any{user, exceptID, user, due.Microseconds(), by.purgeAfter(), from.after, exceptID}
}

// endableOfUser returns the IDs of a page of a user's rows, but for one, and where
// the next page is; nil if there is none. by must be InPages.
func (x *Index) endableOfUser(ctx context.Context, userID, exceptID string, from Place, by Ending) (ids []string, next *Place, err error) {
	var found []foundRow
	if err := x.db.Read(ctx, &found, endableOfUserSQL, x.endableArgs(userID, exceptID, from, by)...); err != nil {
		return nil, nil, err
	}
	for _, f := range found {
		ids = append(ids, f.ID)
	}
	return ids, nextPlace(found, from, x.c.endPage()), nil
}

// nextPlace returns where the page is that follows that which was found, of at most
// page rows that had not ended; nil if there is none.
func nextPlace(found []foundRow, from Place, page int) (next *Place) {
	unended, ended, last := 0, 0, ""
	for _, f := range found {
		if f.Again == 0 {
			unended++
		} else if ended++; f.ID > last {
			last = f.ID
		}
	}
	switch {
	case unended == page:
		// Those that this ending ends come into the other range, which is not
		// read on every page.
		next = &Place{unended: true}
	case from.unended:
		// Whoever ended some of the rest meanwhile, and died, has left them to
		// the other range.
		next = &Place{}
	case ended == PageSize:
		next = &Place{after: last}
	}
	return next
}

// EndUser ends a page of a user's sessions, and returns where the next one is; nil
// if there is none. by must be InPages.
func (x *Index) EndUser(ctx context.Context, userID string, from Place, by Ending) (ended []EndedRow, next *Place, err error) {
	ids, next, err := x.endableOfUser(ctx, userID, "", from, by)
	if err != nil {
		return nil, nil, err
	}
	// Naming the user where a list does lets a planner read all rows of the user.
	cond, users := x.amongUsers([]string{userID})
	for chunk := range slices.Chunk(ids, PageSize) {
		rows, err := x.atOnce(ctx, x.db.Unkept(), func(q sqldb.Querier) ([]EndedRow, error) {
			return x.endIDs(ctx, q, chunk, by, cond, users...)
		})
		if err != nil {
			return ended, nil, err
		}
		ended = append(ended, rows...)
	}
	return ended, next, unendable(len(ids), ended, next)
}

// unendable returns an error if no row of a page was ended that the next page would
// find again.
func unendable(found int, ended []EndedRow, next *Place) error {
	if next != nil && next.unended && found > 0 && len(ended) == 0 {
		return errors.New("the rows of the index can be read and not changed")
	}
	return nil
}

const lockByIDsSQL = `
SELECT id, CASE WHEN @live THEN 1 ELSE 0 END AS live
FROM @index
WHERE id IN @list`

var errCallerEnded = errors.New("the caller's session has ended")

// EndOthers is EndUser for all sessions but one, the caller's. That must be live,
// or nothing is ended and the answer says that it is not: of two sessions that end
// each other, one does and the other is told. Locking in the order of IDs keeps
// them from a deadlock.
func (x *Index) EndOthers(ctx context.Context, userID, callerID string, from Place, by Ending) (ended []EndedRow, next *Place, callerLive bool, err error) {
	ids, next, err := x.endableOfUser(ctx, userID, callerID, from, by)
	if err != nil {
		return nil, nil, false, err
	}
	cond, users := x.amongUsers([]string{userID})
	var done []EndedRow // not a result: fn may outlast an error
	err = x.db.Tx(ctx, func(q sqldb.Tx) error {
		var ended []EndedRow
		lock := lockByIDsSQL + cond + "\nORDER BY id"
		if x.c.Dialect != sqldb.SQLite {
			lock += "\nFOR UPDATE"
		}
		var locked []struct {
			ID   string `db:"id"`
			Live int    `db:"live"`
		}
		if err := q.Select(ctx, &locked, lock, append([]any{sqldb.ListOf(append([]string{callerID}, ids...))}, users...)...); err != nil {
			return err
		}
		caller := false
		for _, r := range locked {
			caller = caller || r.ID == callerID && r.Live == 1
		}
		if !caller {
			return errCallerEnded
		}
		for chunk := range slices.Chunk(ids, PageSize) {
			rows, err := x.endIDs(ctx, q, chunk, by, cond, users...)
			if err != nil {
				return err
			}
			ended = append(ended, rows...)
		}
		done = ended
		return nil
	})
	switch {
	case errors.Is(err, errCallerEnded):
		return nil, nil, false, nil
	case err != nil:
		return nil, nil, false, err
	}
	return done, next, true, unendable(len(ids), done, next)
}
