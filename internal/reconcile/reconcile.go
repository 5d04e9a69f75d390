// Package reconcile compares what a Store has under its keys with the rows of the index,
// and repairs what is certain. What the index has no row of is in quarantine.
//
// The package may import the packages index and trailer and nothing else of this module.
// A failure of the Store or the index deletes nothing, and neither does a dry run.
package reconcile

import (
	"context"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Store has what is compared of a Store of usersession. It may have FindExpiry, else no
// expiry is compared.
type Store interface {
	Find(ctx context.Context, key string) (data []byte, found bool, err error)
	Touch(ctx context.Context, key string, expiry time.Time) (found bool, err error)
	Delete(ctx context.Context, keys ...string) error
}

type expiryFinder interface {
	FindExpiry(ctx context.Context, key string) (data []byte, expiry time.Time, found bool, err error)
}

// Index has what is asked of an [index.Index].
type Index interface {
	IsUserID(id string) bool
	ByIDs(ctx context.Context, ids, users []string) (rows map[string]index.Row, now int64, err error)
}

// Scan is one pass over a Store. It is for one goroutine.
type Scan struct {
	Store Store
	Index Index

	DryRun        bool
	DeleteRowless bool
	Grace         time.Duration // so long after its login a session may be one without a row
	Inexact       time.Duration // what expiries may be off by, for clocks and touches that wait

	StoreExpiry func(b *trailer.Binding, seen time.Time) time.Time // that the data of a session have
	Uncommitted func(index.Row) bool                               // a login whose data are still to come

	Result
}

// Result counts each key that had data once. Each field is that of ReconcileResult.
type Result struct {
	Keys, Anonymous, Over, Early, Late, Rowless, Left, Deleted int

	RowlessIDs []string
}

// kept is what the Store has under a key.
type kept struct {
	*trailer.Binding
	expiry time.Time // the zero time: never
	known  bool      // the Store tells the expiry
}

// Page compares some keys, at most as many as ByIDs takes. The data are read before the
// rows, because a row is there before its data are.
func (s *Scan) Page(ctx context.Context, keys []string) error {
	var found []kept
	var ids, users []string
	for _, key := range keys {
		k, ok, err := s.find(ctx, key)
		if err != nil {
			return err
		}
		if ok {
			found = append(found, k)
		}
		if k.Authenticated() && s.Index.IsUserID(k.UserID) { // else there is no row of that user
			ids, users = append(ids, k.ID), append(users, k.UserID)
		}
	}
	rows, now, err := s.Index.ByIDs(ctx, ids, users)
	for _, k := range found {
		if err == nil {
			row, there := rows[k.ID]
			err = s.compare(ctx, k, row, there, now)
		}
	}
	return err
}

// find reads what is under a key, if it is a session of that key.
func (s *Scan) find(ctx context.Context, key string) (k kept, ok bool, err error) {
	var data []byte
	if store, tells := s.Store.(expiryFinder); tells {
		k.known = true
		data, k.expiry, ok, err = store.FindExpiry(ctx, key)
	} else {
		data, ok, err = s.Store.Find(ctx, key)
	}
	if err != nil || !ok {
		return kept{}, false, err
	}
	s.Keys++
	if _, k.Binding = trailer.Split(data); k.Binding == nil || k.Key != key {
		s.Left++
		return kept{}, false, nil
	}
	return k, true, nil
}

// compare compares what is under a key with its row. now is the time of the database
// after the row was read.
func (s *Scan) compare(ctx context.Context, k kept, row index.Row, there bool, now int64) error {
	if !k.Deadline.After(time.Now()) {
		return s.over(ctx, k)
	}
	switch {
	case !k.Authenticated():
		s.Anonymous++
		return s.expiry(ctx, k, time.Time{})
	case !there || row.UserID.Valid && row.UserID.String != k.UserID:
		return s.rowless(ctx, k)
	case row.EndedAt != 0 || !row.UserID.Valid || row.ExpiresAt <= now:
		return s.over(ctx, k)
	case row.SessionKey == k.Key && !s.Uncommitted(row):
		at := func(us int64) time.Time { return time.Now().Add(time.Duration(us-now) * time.Microsecond) }
		k.Binding = k.EndingBy(at(row.ExpiresAt))
		return s.expiry(ctx, k, s.StoreExpiry(k.Binding, at(row.LastSeenAt)))
	case row.SessionKey == k.Key: // a login that is not committed
		return nil
	}
	if key, is := row.RenewingTo(); is && key == k.Key {
		return nil
	}
	return s.over(ctx, k)
}

// over deletes the data of a session that is over.
func (s *Scan) over(ctx context.Context, k kept) error {
	s.Over++
	return s.delete(ctx, k.Key)
}

func (s *Scan) delete(ctx context.Context, key string) error {
	if s.DryRun {
		return nil
	}
	return s.Store.Delete(ctx, key)
}

// rowless notes a session without a row. It spares a login in flight.
func (s *Scan) rowless(ctx context.Context, k kept) error {
	s.Rowless++
	if len(s.RowlessIDs) < 100 {
		s.RowlessIDs = append(s.RowlessIDs, k.ID)
	}
	if !s.DeleteRowless || time.Since(k.AuthenticatedAt) <= s.Grace {
		return nil
	}
	s.Deleted++
	return s.delete(ctx, k.Key)
}

// expiry sets the expiry of data right that expire before they may, or after their
// deadline. Whoever touches the session meanwhile gives it no more. An idle timeout
// begins anew, and its row ends the session in time.
func (s *Scan) expiry(ctx context.Context, k kept, notBefore time.Time) error {
	switch {
	case !k.known:
		return nil
	case k.expiry.IsZero() || k.expiry.After(k.Deadline.Add(s.Inexact)):
		s.Late++
	case k.expiry.Before(notBefore.Add(-s.Inexact)):
		s.Early++
	default:
		return nil
	}
	if s.DryRun {
		return nil
	}
	_, err := s.Store.Touch(ctx, k.Key, s.StoreExpiry(k.Binding, time.Now()))
	return err
}
