package index

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// endPage is how many sessions a page of an ending has. On SQLite others wait for the
// one writer, and on MariaDB for what a page leaves to purge and flush, so there it is
// short.
func (c Config) endPage() int {
	if c.Dialect == sqldb.Postgres {
		return PageSize
	}
	return PageSize / 10
}

// Ending says why sessions end and who ends them.
type Ending struct {
	Reason, Actor string

	// sooner is how much sooner than usual the janitor is to delete the data
	// again, in microseconds. It tells the rows of one ending from all others,
	// so that an ending in pages does not meet its own.
	sooner int64
}

// InPages returns an ending whose rows can be told from those of any other.
func (e Ending) InPages() Ending {
	e.sooner = 1000 + rand.Int64N(firstPass.Microseconds()/10)
	return e
}

// purgeAfter returns when the janitor is to delete the data again, in microseconds
// from the end.
func (e Ending) purgeAfter() int64 { return firstPass.Microseconds() - e.sooner }

// EndedRow is a row that an ending covered. It has the user, every key of the
// row, and whether a list would have shown it.
type EndedRow struct {
	ID         string         `db:"id"`
	UserID     sql.NullString `db:"user_id"`
	SessionKey string         `db:"session_key"`
	OtherKey   string         `db:"other_key"`
	Listed     int            `db:"listed"`
	Again      int            `db:"again"`  // it had ended before, see EndedBefore
	Place      string         `db:"place"`  // where its data are, see Config.Here
	Gone       int            `db:"gone"`   // 1: its data were deleted with its ending
	Leased     int            `db:"leased"` // there are replicas, see Replica

	Began time.Time `db:"-"` // when the statement was sent that says so, if that is known
}

// Unleased returns since when it is known that there are no replicas; the zero time if
// that is not known.
func Unleased(rows []EndedRow) (since time.Time) {
	for i, r := range rows {
		if r.Leased != 0 || r.Began.IsZero() {
			return time.Time{}
		}
		if i == 0 || r.Began.Before(since) {
			since = r.Began
		}
	}
	return since
}

const (
	leasedColumn    = ", " + leased
	leasedReturning = "\nRETURNING " + leased
	leased          = "CASE WHEN EXISTS (SELECT 1 FROM @replica) THEN 1 ELSE 0 END AS leased"
)

// execLeased is Exec for a statement with leasedReturning, which MariaDB has not. It also
// returns what Unleased would.
func (x *Index) execLeased(ctx context.Context, q string, args ...any) (n int, unleased time.Time, err error) {
	if x.c.Dialect == sqldb.MariaDB {
		n, err := x.db.Exec(ctx, strings.TrimSuffix(q, leasedReturning), args...)
		return int(n), time.Time{}, err
	}
	var rows []EndedRow
	began := time.Now()
	if err := x.db.Select(ctx, &rows, q, args...); err != nil {
		return 0, time.Time{}, err
	}
	begun(rows, began)
	return len(rows), Unleased(rows), nil
}

// begun notes when the statement was sent that has returned some rows.
func begun(rows []EndedRow, at time.Time) {
	for i := range rows {
		rows[i].Began = at
	}
}

const endedColumns = `
	id, user_id, session_key, COALESCE(other_key, '') AS other_key,
	CASE WHEN @current THEN 1 ELSE 0 END AS listed,
	CASE WHEN purge_at = @again THEN 1 WHEN purge_at = @retried THEN 2 ELSE 0 END AS again,
	place` + leasedColumn

// EndedBefore is EndedRow.Again of a row that had ended before. It is 2 if the data
// could not be deleted then.
const EndedBefore = 1

// bindingMark stands before an other_key that a renewal is binding. Without the
// mark it is the previous key, which is dead.
const bindingMark = "+"

// IDs returns the IDs of some rows.
func IDs(rows []EndedRow) []string {
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return ids
}

// NewlyEnded counts the rows that a list would have shown and that had not ended
// before.
func NewlyEnded(rows []EndedRow) int {
	n := 0
	for _, r := range rows {
		if r.Again == 0 {
			n += r.Listed
		}
	}
	return n
}

// usersOf returns whose rows they are; "" of those whose user is gone.
func usersOf(rows []EndedRow) []string {
	users := make([]string, len(rows))
	for i, r := range rows {
		users[i] = r.UserID.String
	}
	return users
}

// amongUsers returns the condition, to be added to one on IDs, that spares a
// partitioned index the partitions that have no row of these users, also if they
// are gone meanwhile. It is "" for one that is not partitioned.
func (x *Index) amongUsers(users []string) (cond string, args []any) {
	if x.c.Partitions == 0 {
		return "", nil
	}
	var list sqldb.List
	for _, u := range slices.Compact(slices.Sorted(slices.Values(users))) {
		if u != "" {
			list = append(list, x.userArg(u))
		}
	}
	if len(list) == 0 {
		return " AND user_id IS NULL", nil
	}
	return " AND (user_id IN @list OR user_id IS NULL)", []any{list}
}

// Ending a session never asks whether it has expired: a clock must not decide
// whether a revocation covers it. It covers rows that ended before as well,
// until the janitor has deleted their data a second time: whoever ended them may
// have died before the first time, and whoever ends them now is to be told the
// truth. Such a row is marked as ended again, or as retried if its deletion was
// known to be pending. ended_at comes last, because MariaDB sees the new value in
// what follows.
const (
	endableSQL = `(ended_at IS NULL OR purge_at <= @firstpass)`
	endSetSQL  = `
SET ended_by = CASE WHEN ended_at IS NULL THEN @text(?, 255) ELSE ended_by END,
	reason = CASE WHEN ended_at IS NULL AND reason = '' THEN @text(?, 255) ELSE reason END,
	purge_at = CASE WHEN ended_at IS NULL THEN @after(?) WHEN purge_at = ended_at THEN @retried ELSE @again END,
	ended_at = COALESCE(ended_at, @now)`
	endReturningSQL = "UPDATE @index" + endSetSQL + "\nWHERE "
	endSelectSQL    = "SELECT" + endSelectColumns + "\nFROM @index\nWHERE "
	endByIDsSQL     = "UPDATE @index" + endSetSQL + "\nWHERE id IN @list"
)

// endSelectColumns are endedColumns as they will be.
const endSelectColumns = `
	id, user_id, session_key, COALESCE(other_key, '') AS other_key,
	CASE WHEN @current THEN 1 ELSE 0 END AS listed,
	CASE WHEN ended_at IS NULL THEN 0 WHEN purge_at = ended_at THEN 2 ELSE 1 END AS again,
	place` + leasedColumn

// end ends the rows that a condition selects and returns them. cond must name
// an indexed column first.
func (x *Index) end(ctx context.Context, by Ending, cond string, args ...any) ([]EndedRow, error) {
	return x.atOnce(ctx, x.db, func(q sqldb.Querier) ([]EndedRow, error) { return x.endIn(ctx, q, by, cond, args...) })
}

// atOnce runs fn on the pool, or in a transaction where endIn takes two
// statements.
func (x *Index) atOnce(ctx context.Context, pool sqldb.Querier, fn func(sqldb.Querier) ([]EndedRow, error)) ([]EndedRow, error) {
	if x.c.Dialect != sqldb.MariaDB {
		return fn(pool)
	}
	var rows []EndedRow
	err := x.db.Tx(ctx, func(q sqldb.Tx) (err error) {
		rows, err = fn(q)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// endIn is end on the pool or in a transaction. On MariaDB, which has no RETURNING
// for UPDATE, it must be a transaction.
func (x *Index) endIn(ctx context.Context, q sqldb.Querier, by Ending, cond string, args ...any) ([]EndedRow, error) {
	var rows []EndedRow
	began := time.Now()
	defer func() { begun(rows, began) }()
	if x.c.Dialect != sqldb.MariaDB {
		err := q.Select(ctx, &rows, endReturningSQL+cond+" AND "+endableSQL+"\nRETURNING"+endedColumns,
			append([]any{sqldb.Text(by.Actor), sqldb.Text(by.Reason), by.purgeAfter()}, args...)...)
		return rows, err
	}
	if err := q.Select(ctx, &rows, endSelectSQL+cond+" AND "+endableSQL+"\nORDER BY id\nFOR UPDATE", args...); err != nil || len(rows) == 0 {
		return nil, err
	}
	for chunk := range slices.Chunk(IDs(rows), PageSize) {
		if _, err := q.Exec(ctx, endByIDsSQL, sqldb.Text(by.Actor), sqldb.Text(by.Reason), by.purgeAfter(), sqldb.ListOf(chunk)); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// EndOne ends one session of a user.
func (x *Index) EndOne(ctx context.Context, userID, id string, by Ending) ([]EndedRow, error) {
	return x.end(ctx, by, "id = ? AND user_id = ?", id, x.userArg(userID))
}

// EndID ends the session of b, also if its user is gone.
func (x *Index) EndID(ctx context.Context, b *trailer.Binding, by Ending) ([]EndedRow, error) {
	return x.end(ctx, by, "id = ? AND (user_id = ? OR user_id IS NULL)", b.ID, x.userArg(b.UserID))
}

// EndKey ends the session of a key.
func (x *Index) EndKey(ctx context.Context, key string, by Ending) ([]EndedRow, error) {
	return x.end(ctx, by, "session_key = ?", key)
}

// endIDs is endIn for the sessions of a list of at most PageSize IDs, if they meet
// a further condition. The pool must be the unkept one.
func (x *Index) endIDs(ctx context.Context, q sqldb.Querier, ids []string, by Ending, cond string, condArgs ...any) ([]EndedRow, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	args := append([]any{sqldb.ListOf(ids)}, condArgs...)
	return x.endIn(ctx, q, by, "id IN @list"+cond, args...)
}

const pendingSQL = `
UPDATE @index
SET purge_at = ended_at
WHERE id IN @list AND ended_at IS NOT NULL`

// Pending notes that the keys of ended rows are still to be deleted.
func (x *Index) Pending(ctx context.Context, rows []EndedRow) error {
	for chunk := range slices.Chunk(rows, PageSize) {
		cond, users := x.amongUsers(usersOf(chunk))
		if _, err := x.db.Unkept().Exec(ctx, pendingSQL+cond, append([]any{sqldb.ListOf(IDs(chunk))}, users...)...); err != nil {
			return err
		}
	}
	return nil
}
