package usersession

import (
	"context"
	"errors"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/internal/reconcile"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// Reconcile ends the live sessions whose data the Store has lost, or has no longer
// whole, with ReasonDataLost, and returns how many. Call it after the Store was emptied, has
// restarted without its data, or was restored from a backup. A request, and a login
// that MaxSessions is about to refuse, do the same for the sessions they meet.
//
// It reads the index in pages and asks the Store once for each session. It leaves
// out sessions with data in another Store, and logins that are not committed. A
// Store whose data end with their process, such as memstore, cannot tell a process
// that has ended from another one that has not. Of a process of which no session was
// seen since New, and within five minutes, all are taken for lost.
//
// After each page it rests for as long as that took, so that requests hardly wait for
// it. Reconcile stops at the first error, and returns it with the count so far. A failure
// of the Store ends nothing. [Manager.ReconcileStore] is the other direction.
func (m *Manager) Reconcile(ctx context.Context) (int, error) { return m.reconcile(ctx, true) }

// reconcile is Reconcile. If end is false it ends nothing, and counts.
func (m *Manager) reconcile(ctx context.Context, end bool) (int, error) {
	one := func(row index.Row) (n int, err error) {
		octx, cancel := context.WithTimeout(ctx, m.opts.WriteTimeout)
		defer cancel()
		is, err := m.isLost(octx, row)
		if is {
			if n = 1; end {
				n, err = m.endLost(octx, row)
			}
		}
		if err == nil {
			inside.Progress(ctx, 1)
		}
		return n, err
	}
	total, read, rest := 0, 0, sqldb.Resting(ctx)
	for row, err := range m.rows(ctx, m.index, m.index.Select(), index.Live, "", index.PageSize) {
		if err == nil {
			var n int
			n, err = one(row)
			total += n
		}
		if err != nil {
			return total, wrap("Reconcile", err)
		}
		if read++; read%index.PageSize == 0 {
			rest()
		}
	}
	return total, nil
}

// ReconcileOptions say what ReconcileStore may do. The zero value is to repair what
// the index and the data themselves decide.
type ReconcileOptions struct {
	// DryRun counts, and changes nothing.
	DryRun bool

	// DeleteRowless deletes the data of sessions that have no row, if their user has
	// logged in more than five minutes ago. It cannot be undone. Do not set it where
	// another program, with an index of its own, keeps sessions in the same Store, or
	// while the index is being restored.
	DeleteRowless bool
}

// ReconcileResult says what ReconcileStore has found in the Store. Each key counts once.
type ReconcileResult struct {
	Keys      int // keys that had data when they were read
	Anonymous int // sessions without a user, which have no row
	Over      int // data whose session has ended, was renewed to another key or is past its deadline; they are deleted
	Early     int // data that expire before their session can; their expiry is set right
	Late      int // data that expire after their session, or never; likewise
	Rowless   int // sessions of users that no row tells of, or that of another user
	Left      int // data that are not ours, cannot be read, or are those of another key; they are left alone

	// Deleted is how many of Rowless are deleted, or would be. RowlessIDs are the IDs of the
	// first 100, for a look into logs and backups.
	Deleted    int
	RowlessIDs []string
}

// ReconcileStore compares every key of the Store with the index, and repairs what is
// certain. It deletes data whose session is over, and sets an expiry right that the row
// contradicts. It is what to call after the index or a Redis was restored from a
// backup, and after a failover that has forgotten deletions.
//
// Sessions without a row are in quarantine. They are counted and named, and stay as
// they are. No request is served by them for longer than Options.TouchInterval, and
// they are good again if their rows come back. They are deleted only when told.
//
// It reads the Store in pages of 100 keys, and after each it rests for as long as that
// took. It may run beside requests, and again. It stops at the first error, and returns
// it with the result so far. A failure of the Store or the index deletes nothing.
//
// The Store must be able to iterate its keys, else the error wraps
// errors.ErrUnsupported. Expiries are compared if it is an [ExpiryFinder]. With
// Options.Adopt it returns an error, because [Manager.AdoptAll] looks at each key then.
func (m *Manager) ReconcileStore(ctx context.Context, opts ReconcileOptions) (ReconcileResult, error) {
	if m.adopting != nil {
		return ReconcileResult{}, wrap("ReconcileStore", errors.New("Options.Adopt is set, and plain scs may write to the Store as well; call AdoptAll"))
	}
	s := reconcile.Scan{
		Store: m.data.store, Index: m.index, DryRun: opts.DryRun, DeleteRowless: opts.DeleteRowless,
		Grace: loginGrace, Inexact: max(time.Minute, 2*m.opts.TouchInterval),
		StoreExpiry: m.data.storeExpiry, Uncommitted: uncommitted,
	}
	var keys []string // of the page
	page := func() error {
		pctx, cancel := context.WithTimeout(ctx, 4*m.opts.WriteTimeout)
		defer cancel()
		err := s.Page(pctx, keys)
		if err == nil {
			inside.Progress(ctx, len(keys))
		}
		keys = keys[:0]
		return err
	}
	rest := sqldb.Resting(ctx)
	for key, err := range keysOfStore(ctx, m.data.store) {
		if err == nil {
			if keys = append(keys, key); len(keys) < index.PruneSize {
				continue
			}
			err = page()
			rest()
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return ReconcileResult(s.Result), wrap("ReconcileStore", err)
		}
	}
	err := page()
	return ReconcileResult(s.Result), wrap("ReconcileStore", err)
}
