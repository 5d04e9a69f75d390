package usersession

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// PruneResult says what one pass of the janitor did, in sessions.
type PruneResult struct {
	Expired     int // ended, because their lifetime was over
	UserDeleted int // ended, because their user is gone from Options.UsersTable
	Redeleted   int // their data deleted again, or at last, from the Store
	Pruned      int // their rows deleted: past deadline and Options.Retention
	StorePruned int // their data deleted by the Store, because they had expired
}

// Run is the janitor: it prunes every Options.PruneInterval until ctx ends, and
// then returns nil. One replica is enough for that, and any number is safe. What
// a pass could not do is logged, and the next one tries again.
//
// In a process in which it runs, requests do not wait for touches: those that are
// due are written together, within a second or an eighth of
// Options.TouchInterval, and the rest before Run returns. If the process dies,
// they are lost, and idle sessions end by so much earlier.
func (m *Manager) Run(ctx context.Context) error {
	written := make(chan struct{})
	go func() {
		defer close(written)
		m.writeTouches(ctx)
	}()
	defer func() { <-written }()
	tick := time.NewTicker(m.opts.PruneInterval)
	defer tick.Stop()
	for {
		if _, err := m.Prune(ctx); err != nil && ctx.Err() == nil {
			m.opts.Logger.ErrorContext(ctx, "usersession: the janitor could not finish; it tries again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Prune is one pass of the janitor: it ends sessions past their deadline and
// those without a user; deletes the data of ended sessions a second time, a
// minute after the first, which covers a Store that was down and a failover that
// forgot; and deletes rows past deadline and Options.Retention. Data go first
// and rows second: if the Store cannot delete, the rows stay for the next pass,
// and Prune returns the error with what it did until then.
//
// It works in small batches and rests between them, so that requests hardly wait
// for it; so does the SQL store.
//
// An index in partitions is pruned one partition after the other, in batches of
// its own each. It begins with any of them, so that replicas do not queue and
// one that fails does not keep the rest waiting for ever.
func (m *Manager) Prune(ctx context.Context) (PruneResult, error) {
	var res PruneResult
	steps := []struct {
		name  string
		count *int
		run   func(context.Context, *userIndex, *int) (more bool, err error)
	}{
		{"expire", &res.Expired, func(ctx context.Context, x *userIndex, n *int) (bool, error) {
			return m.endBatch(ctx, x, expiredSQL, ending{reason: ReasonExpired}, n)
		}},
		{"end sessions without a user", &res.UserDeleted, func(ctx context.Context, x *userIndex, n *int) (bool, error) {
			return m.endBatch(ctx, x, userlessSQL, ending{reason: ReasonUserDeleted}, n)
		}},
		{"purge", &res.Redeleted, func(ctx context.Context, x *userIndex, n *int) (bool, error) {
			return m.purgeBatch(ctx, x, n, &res.Pruned)
		}},
	}
	step := func(name string, run func(context.Context) error) error {
		sctx, cancel := context.WithTimeout(ctx, 4*m.opts.WriteTimeout)
		defer cancel()
		if err := run(sctx); err != nil {
			return fmt.Errorf("usersession: Prune: %s: %w", name, err)
		}
		return nil
	}
	var parts []*userIndex
	errs := []error{step("find the partitions", func(ctx context.Context) (err error) {
		parts, err = m.index.parts(ctx)
		return err
	})}
	for _, s := range steps {
		var err error
		for i := 0; i < len(parts) && err == nil; i++ {
			for more := true; more && err == nil; {
				began := time.Now()
				err = step(s.name, func(ctx context.Context) (err error) {
					more, err = s.run(ctx, parts[i], s.count)
					return err
				})
				if more && err == nil {
					pause(ctx, time.Since(began))
				}
			}
		}
		errs = append(errs, err) // what ails one batch ails the next
	}
	if m.index.d.name == MariaDB {
		errs = append(errs, step("delete the locks of users", m.index.pruneLocks))
	}
	errs = append(errs, step("prune the store", func(ctx context.Context) (err error) {
		res.StorePruned, err = pruneStore(ctx, m.store)
		return err
	}))
	return res, errors.Join(errs...)
}

// pruneSize is how many rows a batch of the janitor has, which is the LIMIT of its
// queries. Requests wait for the disk behind a batch: one of 500 rows costs their
// p99 more than five of 100, and a pause after each costs the janitor only time.
const pruneSize = 100

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

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

// pruneLocks deletes the locks that nobody holds: the next login of the user makes
// a new one.
func (x *userIndex) pruneLocks(ctx context.Context) error {
	for {
		var free []string
		err := x.tx(ctx, func(tx querier) error {
			free = nil
			if err := x.query(ctx, tx, &free, freeLocksSQL); err != nil || len(free) == 0 {
				return err
			}
			_, err := x.many(ctx, tx, nil, deleteLocksSQL, free, nil, nil)
			return err
		})
		if err != nil || len(free) < pageSize {
			return err
		}
	}
}

// endBatch ends the rows a query selects. Replicas that do the same pass by each
// other's rows.
func (m *Manager) endBatch(ctx context.Context, x *userIndex, q string, by ending, n *int) (more bool, err error) {
	if x.d.name != SQLite {
		q += "\nFOR UPDATE SKIP LOCKED"
	}
	var rows []endedRow
	err = x.tx(ctx, func(tx querier) error {
		rows = nil
		if err := x.query(ctx, tx, &rows, q); err != nil {
			return err
		}
		var err error
		rows, err = x.endIDs(ctx, tx, idsOf(rows), by, "")
		return err
	})
	if err != nil {
		return false, err
	}
	*n += len(rows)
	_, err = m.deleteEnded(ctx, rows, by)
	return len(rows) == pruneSize, err
}

// purgeRow is a row whose time has come.
type purgeRow struct {
	endedRow
	Final   int `db:"final"`
	Pending int `db:"pending"`
}

const purgeDueSQL = `
SELECT` + endedColumns + `,
	CASE WHEN @keepuntil <= @now THEN 1 ELSE 0 END AS final,
	CASE WHEN purge_at = ended_at THEN 1 ELSE 0 END AS pending
FROM @index
WHERE purge_at <= @now AND ended_at IS NOT NULL
ORDER BY purge_at
LIMIT 100`

const purgeLaterSQL = `
UPDATE @index
SET purge_at = @keepuntil
WHERE id IN @list AND ended_at IS NOT NULL AND @keepuntil > @now`

const purgeSQL = `
DELETE FROM @index
WHERE id IN @list AND ended_at IS NOT NULL AND @keepuntil <= @now`

// purgeBatch deletes the data of ended sessions again, and then the rows that
// need not be kept.
func (m *Manager) purgeBatch(ctx context.Context, x *userIndex, redeleted, pruned *int) (more bool, err error) {
	var due []purgeRow
	if err := x.read(ctx, &due, purgeDueSQL); err != nil || len(due) == 0 {
		return false, err
	}
	var rows []endedRow
	var final, later []string
	pending := 0
	for _, r := range due {
		rows = append(rows, r.endedRow)
		pending += r.Pending
		if r.Final == 1 {
			final = append(final, r.ID)
		} else {
			later = append(later, r.ID)
		}
	}
	if err := m.store.Delete(ctx, keysOf(rows)...); err != nil {
		return false, err
	}
	*redeleted += len(rows)
	if pending > 0 {
		m.emit(ctx, Event{Kind: EventRevocationDone, Count: pending})
	}
	if len(later) > 0 {
		if _, err := x.many(ctx, nil, nil, purgeLaterSQL, later, nil, nil); err != nil {
			return false, err
		}
	}
	if len(final) > 0 {
		n, err := x.many(ctx, nil, nil, purgeSQL, final, nil, nil)
		*pruned += int(n)
		if err != nil {
			return false, err
		}
	}
	return len(due) == pruneSize, nil
}
