package usersession

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// checked says since when the credentials of a login count.
func (m *Manager) checked(r *request, o loginOptions) index.Checked {
	c := index.Checked{At: r.began, Within: m.opts.WriteTimeout}
	if o.checkedAt != nil {
		c.At = *o.checkedAt
	}
	return c
}

// behindFence looks at the fence that may be in the way of a login. It returns nil if
// the login began after it, which c.Fence says then. If two replicas are too close in
// time to tell, the login is refused.
func (m *Manager) behindFence(ctx context.Context, r *request, userID string, c *index.Checked) error {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	f, err := m.index.Fence(ctx, userID)
	switch {
	case err != nil || f == nil:
		return err
	case f.Disabled:
		return ErrAccountDisabled
	case f.ID == r.fence(userID), f.Latest.Before(c.At):
		c.Fence = f.ID
		return nil
	}
	return ErrRevokedMeanwhile
}

// fence returns the last fence that this request has raised for a user, or "".
func (r *request) fence(userID string) (id string) {
	r.do(func() { id = r.fences[userID] })
	return id
}

// raise raises a fence for some users. The request of ctx may log in behind it.
func (m *Manager) raise(ctx context.Context, tx sqldb.Transaction, disabled bool, users ...string) error {
	return m.raiseFence(ctx, tx, index.Raise{Users: users, Disabled: disabled})
}

// raiseFence is raise for a fence that may have an ID.
func (m *Manager) raiseFence(ctx context.Context, tx sqldb.Transaction, f index.Raise) error {
	f.ID = cmp.Or(f.ID, index.NewFenceID())
	r := m.request(ctx)
	if r != nil && r.other {
		r = nil
	}
	if r != nil {
		f.Began, f.Within = r.began, m.opts.WriteTimeout
		r.do(func() {
			for _, user := range f.Users {
				if id, ok := r.fences[user]; ok && !slices.Contains(f.Own, id) {
					f.Own = append(f.Own, id)
				}
				if r.fences == nil {
					r.fences = make(map[string]string)
				}
				r.fences[user] = f.ID // also if it is not known what became of it
			}
		})
	}
	fctx, cancel := m.finishing(ctx)
	defer cancel()
	if tx == nil {
		if raised, err := m.index.RaiseAlone(fctx, f); raised || err != nil {
			return err
		}
	}
	if r != nil && len(f.Users) == 1 { // a fence of somebody else may be older than the request
		if there, err := m.index.Fence(fctx, f.Users[0]); err == nil && there != nil && there.Latest.Before(r.began) {
			f.Own = append(f.Own, there.ID)
		}
	}
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	return m.index.Raise(wctx, tx, f)
}

// signOut remembers a sign-out at an identity provider.
func (m *Manager) signOut(ctx context.Context, tx sqldb.Transaction, f Filter) error {
	before := f.AuthenticatedBefore
	if before.IsZero() {
		before = now().Add(time.Microsecond) // what is of this very moment as well
	}
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	return m.index.SignOut(ctx, tx, index.IdP(f.IdP), before)
}

// raiseFor raises a fence for the users of a filter that means all of their sessions, or
// all that were authenticated before a time.
func (m *Manager) raiseFor(ctx context.Context, tx sqldb.Transaction, f Filter) error {
	if f.IdP != (IdP{}) {
		if reflect.DeepEqual(f, Filter{IdP: f.IdP, AuthenticatedBefore: f.AuthenticatedBefore, Everyone: f.Everyone}) {
			return m.signOut(ctx, tx, f)
		}
		return nil
	}
	all := Filter{UserIDs: f.UserIDs, AuthenticatedBefore: f.AuthenticatedBefore, ExceptCurrent: f.ExceptCurrent, Everyone: f.Everyone}
	if len(f.UserIDs) == 0 || !reflect.DeepEqual(f, all) {
		return nil
	}
	var users []string
	for _, id := range f.UserIDs {
		uid, err := checkUserID(m.index, id)
		if err != nil {
			return err
		}
		users = append(users, uid)
	}
	slices.Sort(users)
	raise := index.Raise{Users: slices.Compact(users)}
	if at := f.AuthenticatedBefore; at.Before(time.Now()) { // else who logs in now would wait for it
		raise.At = at
	}
	return m.raiseFence(ctx, tx, raise)
}
