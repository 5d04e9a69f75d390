package index

import (
	"context"
	"math/rand/v2"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// PruneSize is how many rows a batch of the janitor has, which is the LIMIT of its
// queries. Requests wait for the disk behind a batch. One of 500 rows costs
// their p99 more than five of 100, and a pause after each costs the janitor
// only time.
const PruneSize = 100

const (
	expiredSQL = `
SELECT` + endedColumns + `
FROM @index
WHERE ended_at IS NULL AND expires_at <= @now
ORDER BY expires_at
LIMIT 100`
	userlessSQL = `
SELECT` + endedColumns + `
FROM @index
WHERE user_id IS NULL AND ended_at IS NULL
LIMIT 100`
)

const (
	freeLocksSQL = `
SELECT user_hash
FROM @lock
LIMIT 500
FOR UPDATE SKIP LOCKED`
	deleteLocksSQL = `
DELETE FROM @lock
WHERE user_hash IN @list`
)

// PruneLocks deletes the locks of users that nobody holds, where locks are rows.
// The next login of the user makes a new one.
func (x *Index) PruneLocks(ctx context.Context) error {
	if x.c.Dialect != sqldb.MariaDB {
		return nil
	}
	for {
		var free []string
		err := x.db.Tx(ctx, func(q sqldb.Tx) error {
			free = nil
			if err := q.Select(ctx, &free, freeLocksSQL); err != nil || len(free) == 0 {
				return err
			}
			_, err := q.Exec(ctx, deleteLocksSQL, sqldb.ListOf(free))
			return err
		})
		if err != nil || len(free) < PageSize {
			return err
		}
	}
}

// EndExpired ends a batch of sessions past their deadline.
func (x *Index) EndExpired(ctx context.Context, by Ending) ([]EndedRow, error) {
	return x.endBatch(ctx, expiredSQL, by)
}

// EndUserless ends a batch of sessions whose user is gone.
func (x *Index) EndUserless(ctx context.Context, by Ending) ([]EndedRow, error) {
	return x.endBatch(ctx, userlessSQL, by)
}

// endBatch ends the rows a query selects. Replicas that do the same pass by each
// other's rows.
func (x *Index) endBatch(ctx context.Context, text string, by Ending) ([]EndedRow, error) {
	if x.c.Dialect != sqldb.SQLite {
		text += "\nFOR UPDATE SKIP LOCKED"
	}
	var rows []EndedRow
	err := x.db.Tx(ctx, func(q sqldb.Tx) error {
		rows = nil
		if err := q.Select(ctx, &rows, text); err != nil {
			return err
		}
		var err error
		rows, err = x.endIDs(ctx, q, IDs(rows), by, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// Due is a batch of ended rows whose data are to be deleted again.
type Due struct {
	Rows    []EndedRow
	Pending int // how many of them had data that could not be deleted before

	final, later []string // IDs of rows that need not be kept, and of the rest
}

const purgeDueSQL = `
SELECT` + endedColumns + `,
	CASE WHEN @keepuntil <= @now THEN 1 ELSE 0 END AS final,
	CASE WHEN purge_at = ended_at THEN 1 ELSE 0 END AS pending
FROM @index
WHERE purge_at <= @now AND ended_at IS NOT NULL AND (place IN ('', @here) OR place LIKE '=%' OR expires_at <= @now)
ORDER BY purge_at
LIMIT 100`

const purgeLaterSQL = `
UPDATE @index
SET purge_at = @keepuntil
WHERE id IN @list AND ended_at IS NOT NULL AND @keepuntil > @now`

const purgeSQL = `
DELETE FROM @index
WHERE id IN @list AND ended_at IS NOT NULL AND @keepuntil <= @now`

// Due returns the next batch. It has no rows if none are due.
func (x *Index) Due(ctx context.Context) (Due, error) {
	var rows []struct {
		EndedRow
		Final   int `db:"final"`
		Pending int `db:"pending"`
	}
	if err := x.db.Read(ctx, &rows, purgeDueSQL); err != nil {
		return Due{}, err
	}
	var due Due
	for _, r := range rows {
		due.Rows = append(due.Rows, r.EndedRow)
		due.Pending += r.Pending
		if r.Final == 1 {
			due.final = append(due.final, r.ID)
		} else {
			due.later = append(due.later, r.ID)
		}
	}
	return due, nil
}

// Purge notes that the data of a batch are gone, and deletes the rows that need
// not be kept. It returns how many.
func (x *Index) Purge(ctx context.Context, due Due) (int, error) {
	if len(due.later) > 0 {
		if _, err := x.db.Unkept().Exec(ctx, purgeLaterSQL, sqldb.ListOf(due.later)); err != nil {
			return 0, err
		}
	}
	if len(due.final) == 0 {
		return 0, nil
	}
	n, err := x.db.Unkept().Exec(ctx, purgeSQL, sqldb.ListOf(due.final))
	return int(n), err
}

const partitionsSQL = `
SELECT inhrelid::regclass::text
FROM pg_inherits
WHERE inhparent = to_regclass(?)
ORDER BY 1`

// Parts returns the index in parts that can be pruned one by one, from anywhere
// on. They are its partitions, whatever made them, or the index itself.
func (x *Index) Parts(ctx context.Context) ([]*Index, error) {
	if x.c.Partitions == 0 {
		return []*Index{x}, nil
	}
	var names []string
	if err := x.db.Unkept().Select(ctx, &names, partitionsSQL, x.c.Table); err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return []*Index{x}, nil // not migrated, which the next statement says
	}
	parts := make([]*Index, len(names))
	first := rand.IntN(len(names))
	for i := range names {
		name := names[(first+i)%len(names)]
		part, ok := x.part.Load(name)
		if !ok {
			c := x.c
			c.Table, c.Partitions = name, 0
			part, _ = x.part.LoadOrStore(name, New(x.db.Pool(), c))
		}
		parts[i] = part.(*Index)
	}
	return parts, nil
}
