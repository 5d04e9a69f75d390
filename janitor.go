package usersession

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// PruneResult says what one pass of the janitor did, in sessions.
type PruneResult struct {
	Expired     int // ended, because their lifetime was over
	UserDeleted int // ended, because their user is gone from Options.UsersTable
	Redeleted   int // their data deleted again, or at last, from the Store
	Pruned      int // their rows deleted, past deadline and Options.Retention
	StorePruned int // their data deleted by the Store, because they had expired
	Blanked     int // an address or User-Agent taken out of their rows, see Options.Privacy
}

// Run is the janitor. It prunes every Options.PruneInterval until ctx ends, and
// then returns nil. One replica is enough for that, and any number is safe. The
// error of a pass is logged, and the next pass tries again.
//
// In a process that calls Run, requests do not wait for touches. Touches that
// are due are written together, within a second or an eighth of
// Options.TouchInterval. The rest are written before Run returns. If the
// process dies, touches that are not yet written are lost, and idle sessions
// end by so much earlier.
func (m *Manager) Run(ctx context.Context) error {
	written := make(chan struct{})
	go func() {
		defer close(written)
		m.writeTouches(ctx)
	}()
	leased := make(chan struct{})
	go func() {
		defer close(leased)
		if m.remembers() {
			defer m.watches.Attend()()
			m.leases.Run(ctx)
		}
	}()
	defer func() { <-written; <-leased }()
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

// Prune is one pass of the janitor.
//
//   - It ends sessions past their deadline, and those without a user.
//   - It deletes the data of ended sessions a second time, a minute after the
//     first. This covers a Store that was down and a failover that forgot.
//   - It deletes rows past deadline and Options.Retention.
//   - It deletes what this Manager could not delete after a login or a renewal.
//   - It calls Prune of a Store that is a [Pruner].
//   - It takes out of rows what Options.Privacy keeps no longer, once an hour.
//
// Data go first and rows second. If the Store cannot delete, the rows stay for
// the next pass. Prune then returns the error with the result so far.
//
// Prune works in small batches and rests between them, so that requests hardly
// wait for it. The SQL store does the same.
//
// An index in partitions is pruned one partition after the other, in batches of
// its own each. It begins with any of them, so that replicas do not queue and
// one that fails does not keep the rest waiting for ever.
func (m *Manager) Prune(ctx context.Context) (_ PruneResult, result error) {
	defer m.operation(ctx, OperationPrune, &result)()
	var res PruneResult
	steps := []struct {
		name  string
		count *int
		run   func(context.Context, *index.Index, *int) (more bool, err error)
	}{
		{"expire", &res.Expired, func(ctx context.Context, x *index.Index, n *int) (bool, error) {
			return m.endBatch(ctx, x.EndExpired, index.Ending{Reason: ReasonExpired}, n)
		}},
		{"end sessions without a user", &res.UserDeleted, func(ctx context.Context, x *index.Index, n *int) (bool, error) {
			return m.endBatch(ctx, x.EndUserless, index.Ending{Reason: ReasonUserDeleted}, n)
		}},
		{"purge", &res.Redeleted, func(ctx context.Context, x *index.Index, n *int) (bool, error) {
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
	var parts []*index.Index
	errs := []error{step("find the partitions", func(ctx context.Context) (err error) {
		parts, err = m.index.Parts(ctx)
		return err
	})}
	for _, s := range steps {
		var err error
		for i := 0; i < len(parts) && err == nil; i++ {
			rest := sqldb.Resting(ctx)
			for more := true; more && err == nil; {
				err = step(s.name, func(ctx context.Context) (err error) {
					more, err = s.run(ctx, parts[i], s.count)
					return err
				})
				if more && err == nil {
					rest()
				}
			}
		}
		errs = append(errs, err) // what ails one batch ails the next
	}
	errs = append(errs, step("delete the locks of users", m.index.PruneLocks))
	errs = append(errs, step("delete old fences", func(ctx context.Context) error {
		keep := index.FenceKept
		if m.adopting != nil {
			keep = max(keep, m.opts.Lifetime) // they speak against sessions that were not seen yet, too
		}
		return m.index.PruneFences(ctx, keep)
	}))
	errs = append(errs, step("delete old sign-outs", func(ctx context.Context) error {
		return m.index.PruneSignOuts(ctx, index.FenceKept)
	}))
	errs = append(errs, m.blank(ctx, parts, &res.Blanked, step))
	errs = append(errs, step("delete what could not be deleted", func(ctx context.Context) (err error) {
		rest := sqldb.Resting(ctx)
		for more := true; more && err == nil; {
			if more, err = m.leftovers.Retry(ctx, m.data.store.Delete, index.PruneSize); more {
				rest()
			}
		}
		return err
	}))
	errs = append(errs, step("prune the store", func(ctx context.Context) (err error) {
		res.StorePruned, err = pruneStore(ctx, m.opts.Store)
		return err
	}))
	return res, errors.Join(errs...)
}

// endBatch deletes the data of sessions that end has ended.
func (m *Manager) endBatch(ctx context.Context, end func(context.Context, index.Ending) ([]index.EndedRow, error), by index.Ending, n *int) (more bool, err error) {
	rows, err := end(ctx, by)
	if err != nil {
		return false, err
	}
	*n += len(rows)
	inside.Progress(ctx, len(rows))
	finish := m.deleteEnded
	if by.Reason == ReasonExpired {
		finish = m.deleteExpired
	}
	_, err = finish(ctx, rows, by)
	return len(rows) == index.PruneSize, err
}

// purgeBatch deletes the data of ended sessions again, and then the rows that
// need not be kept.
func (m *Manager) purgeBatch(ctx context.Context, x *index.Index, redeleted, pruned *int) (more bool, err error) {
	due, err := x.Due(ctx)
	if err != nil || len(due.Rows) == 0 {
		return false, err
	}
	if err := m.data.store.Delete(ctx, index.Keys(due.Rows)...); err != nil {
		return false, err
	}
	if due.Pending > 0 { // perhaps because replicas could not be told
		if err := m.dropEnded(ctx, due.Rows)(); err != nil {
			return false, err
		}
	}
	*redeleted += len(due.Rows)
	inside.Progress(ctx, len(due.Rows))
	if due.Pending > 0 {
		m.emit(ctx, Event{Kind: EventRevocationDone, Count: due.Pending})
	}
	n, err := x.Purge(ctx, due)
	*pruned += n
	return err == nil && len(due.Rows) == index.PruneSize, err
}
