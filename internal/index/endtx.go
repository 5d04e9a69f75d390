package index

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// EndPageIn is EndPage in a transaction of the application. A snapshot of that
// transaction may hide rows. EndMeanwhile ends those, once it is committed.
func (x *Index) EndPageIn(ctx context.Context, tx sqldb.Transaction, s *Selection, after string, by Ending) (ended []EndedRow, next string, err error) {
	ended, next, err = x.endCurrent(ctx, x.db.In(tx), s, endable, after, by)
	begun(ended, time.Time{}) // it may see the replicas of long ago
	return ended, next, err
}

// EndMeanwhile ends a page of the sessions that s selects, and those that
// somebody else has ended, who may not have come to the rest of it. On MariaDB it waits
// for those of transactions under way, if s names users.
func (x *Index) EndMeanwhile(ctx context.Context, s *Selection, after string, by Ending) (ended []EndedRow, next string, err error) {
	var then string // not a result: what sets it may outlast an error
	ended, err = x.atOnce(ctx, x.db.Unkept(), func(q sqldb.Querier) (rows []EndedRow, err error) {
		rows, then, err = x.endCurrent(ctx, q, s, endable, after, by)
		return rows, err
	})
	if err != nil {
		return nil, "", err
	}
	return ended, then, nil
}

// endCurrent ends a page of rows as they are now. In a transaction of MariaDB only a
// read that locks sees those. One that finds its rows by their users locks theirs,
// and the gaps beside them at REPEATABLE READ. It locks all where MariaDB prefers to
// walk PRIMARY. A read without users would always do that, and is left to
// EndMeanwhile. On MariaDB q must be a transaction.
func (x *Index) endCurrent(ctx context.Context, q sqldb.Querier, s *Selection, state State, after string, by Ending) (ended []EndedRow, next string, err error) {
	text, args := s.page(state, after, PageSize)
	if x.c.Dialect == sqldb.MariaDB && s.users != nil {
		text += "\nFOR UPDATE"
	}
	var rows []Row
	if err := q.Select(ctx, &rows, text, args...); err != nil {
		return nil, "", err
	}
	ids, cond, args := x.matching(rows, s)
	ended, err = x.endIDs(ctx, q, ids, by, cond, args...)
	return ended, nextPage(rows, PageSize), err
}

// Mark is what an ending has left in a row: when it ended, who ended it and why.
// Who can read that elsewhere knows that the ending is committed.
type Mark struct {
	id, userID string
	EndingMark
}

// EndingMark is the part of a Mark that the row holds.
type EndingMark struct {
	EndedAt int64  `db:"ended_at"`
	EndedBy string `db:"ended_by"`
	Reason  string `db:"reason"`
	Gone    int    `db:"gone"` // 1: the row has no user any more
}

const markSQL = `
SELECT COALESCE(@us(ended_at), 0) AS ended_at, ended_by, reason, CASE WHEN user_id IS NULL THEN 1 ELSE 0 END AS gone
FROM @index
WHERE id = ?`

// MarkIn returns the mark of a row that tx has ended. If there are several, one
// that had not ended before tells most.
func (x *Index) MarkIn(ctx context.Context, tx sqldb.Transaction, row EndedRow) (Mark, error) {
	found, err := x.marks(ctx, x.db.In(tx), row.ID, row.UserID.String)
	if err != nil {
		return Mark{}, err
	}
	if len(found) != 1 {
		return Mark{}, fmt.Errorf("usersession: %d rows of a session that was just ended", len(found))
	}
	return Mark{row.ID, row.UserID.String, found[0]}, nil
}

func (x *Index) marks(ctx context.Context, q sqldb.Querier, id, userID string) (found []EndingMark, err error) {
	cond, users := x.amongUsers([]string{userID})
	err = q.Select(ctx, &found, markSQL+cond, append([]any{id}, users...)...)
	return found, err
}

// Committed reports whether the ending that left the mark is committed. If the row
// is not there any more, there is nothing left to tell, and it reports true. Of a row
// whose user was purged only the time is left.
func (x *Index) Committed(ctx context.Context, m Mark) (bool, error) {
	found, err := x.marks(ctx, x.db.Unkept(), m.id, m.userID)
	if err != nil || len(found) == 0 {
		return err == nil, err
	}
	f := found[0]
	return f == m.EndingMark || f.Gone == 1 && f.EndedAt == m.EndedAt, nil
}

const nowSQL = `
SELECT @us(now)
FROM (SELECT @now AS now) AS clock`

// Now returns the time of the database, in microseconds since 1970.
func (x *Index) Now(ctx context.Context) (int64, error) {
	var us []int64
	if err := x.db.Unkept().Select(ctx, &us, nowSQL); err != nil {
		return 0, err
	}
	if len(us) != 1 {
		return 0, fmt.Errorf("usersession: %d answers to the time", len(us))
	}
	return us[0], nil
}
