package usersession

import (
	"context"
	"errors"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
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
	s := scan{m: m, opts: opts}
	if m.adopting != nil {
		return s.res, wrap("ReconcileStore", errors.New("Options.Adopt is set, and plain scs may write to the Store as well; call AdoptAll"))
	}
	rest := sqldb.Resting(ctx)
	for key, err := range keysOfStore(ctx, m.data.store) {
		if err == nil {
			s.keys = append(s.keys, key)
			if len(s.keys) < index.PruneSize {
				continue
			}
			err = s.page(ctx)
			rest()
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return s.res, wrap("ReconcileStore", err)
		}
	}
	return s.res, wrap("ReconcileStore", s.page(ctx))
}

// scan is one call of ReconcileStore.
type scan struct {
	m    *Manager
	opts ReconcileOptions
	res  ReconcileResult
	keys []string // of the page
}

// kept is what the Store has under a key.
type kept struct {
	*trailer.Binding
	expiry time.Time // the zero time: never
	known  bool      // the Store tells the expiry
}

// page compares the keys of a page. The data are read before the rows, because a row is
// there before its data are.
func (s *scan) page(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*s.m.opts.WriteTimeout)
	defer cancel()
	var found []kept
	var ids, users []string
	for _, key := range s.keys {
		k, ok, err := s.find(ctx, key)
		if err != nil {
			return err
		}
		if ok {
			found = append(found, k)
		}
		if k.Authenticated() && s.m.index.IsUserID(k.UserID) { // else there is no row of that user
			ids, users = append(ids, k.ID), append(users, k.UserID)
		}
	}
	rows, now, err := s.m.index.ByIDs(ctx, ids, users)
	for _, k := range found {
		if err == nil {
			row, there := rows[k.ID]
			err = s.compare(ctx, k, row, there, now)
		}
	}
	if err == nil {
		inside.Progress(ctx, len(s.keys))
	}
	s.keys = s.keys[:0]
	return err
}

// find reads what is under a key, if it is a session of that key.
func (s *scan) find(ctx context.Context, key string) (k kept, ok bool, err error) {
	var data []byte
	if store, tells := s.m.data.store.(ExpiryFinder); tells {
		k.known = true
		data, k.expiry, ok, err = store.FindExpiry(ctx, key)
	} else {
		data, ok, err = s.m.data.store.Find(ctx, key)
	}
	if err != nil || !ok {
		return kept{}, false, err
	}
	s.res.Keys++
	if _, k.Binding = trailer.Split(data); k.Binding == nil || k.Key != key {
		s.res.Left++
		return kept{}, false, nil
	}
	return k, true, nil
}

// compare compares what is under a key with its row. now is the time of the database
// after the row was read.
func (s *scan) compare(ctx context.Context, k kept, row index.Row, there bool, now int64) error {
	if !k.Deadline.After(time.Now()) {
		return s.over(ctx, k)
	}
	switch {
	case !k.Authenticated():
		s.res.Anonymous++
		return s.expiry(ctx, k, time.Time{})
	case !there || row.UserID.Valid && row.UserID.String != k.UserID:
		return s.rowless(ctx, k)
	case row.EndedAt != 0 || !row.UserID.Valid || row.ExpiresAt <= now:
		return s.over(ctx, k)
	case row.SessionKey == k.Key && !uncommitted(row):
		at := func(us int64) time.Time { return time.Now().Add(time.Duration(us-now) * time.Microsecond) }
		k.Binding = k.EndingBy(at(row.ExpiresAt))
		return s.expiry(ctx, k, s.m.data.storeExpiry(k.Binding, at(row.LastSeenAt)))
	case row.SessionKey == k.Key: // a login that is not committed
		return nil
	}
	if key, is := row.RenewingTo(); is && key == k.Key {
		return nil
	}
	return s.over(ctx, k)
}

// over deletes the data of a session that is over.
func (s *scan) over(ctx context.Context, k kept) error {
	s.res.Over++
	if s.opts.DryRun {
		return nil
	}
	return s.m.data.store.Delete(ctx, k.Key)
}

// rowless notes a session without a row. It spares a login in flight.
func (s *scan) rowless(ctx context.Context, k kept) error {
	s.res.Rowless++
	if len(s.res.RowlessIDs) < 100 {
		s.res.RowlessIDs = append(s.res.RowlessIDs, k.ID)
	}
	if !s.opts.DeleteRowless || time.Since(k.AuthenticatedAt) <= loginGrace {
		return nil
	}
	s.res.Deleted++
	if s.opts.DryRun {
		return nil
	}
	return s.m.data.store.Delete(ctx, k.Key)
}

// expiry sets the expiry of data right that expire before they may, or after their
// deadline. Whoever touches the session meanwhile gives it no more. An idle timeout
// begins anew, and its row ends the session in time.
func (s *scan) expiry(ctx context.Context, k kept, notBefore time.Time) error {
	inexact := max(time.Minute, 2*s.m.opts.TouchInterval) // for clocks, and touches that wait
	switch {
	case !k.known:
		return nil
	case k.expiry.IsZero() || k.expiry.After(k.Deadline.Add(inexact)):
		s.res.Late++
	case k.expiry.Before(notBefore.Add(-inexact)):
		s.res.Early++
	default:
		return nil
	}
	if s.opts.DryRun {
		return nil
	}
	_, err := s.m.data.store.Touch(ctx, k.Key, s.m.data.storeExpiry(k.Binding, time.Now()))
	return err
}
