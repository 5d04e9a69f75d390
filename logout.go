package usersession

import (
	"cmp"
	"context"
	"errors"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Logout ends the session of the context, anonymous or not, and clears its
// data. The cookie is cleared also when an error is returned, so the browser is
// logged out in any case. It returns ErrNoSession if the context has no
// session. Any other error means that the session may still be accepted, or that of
// another cookie, which is bound to a device (package dbsc) and not to this one. After
// ErrRevocationPending the janitor (Run) deletes the session's data.
func (m *Manager) Logout(ctx context.Context) (result error) {
	r := m.request(ctx)
	if (r == nil || r.memory == nil) && ctx.Value(m.scsKey) == nil {
		return ErrNoSession
	}
	if r == nil || r.other {
		return m.SessionManager.Destroy(ctx)
	}
	defer m.operation(ctx, OperationLogout, &result)()
	leave, err := r.change()
	if err != nil {
		return wrap("Logout", err)
	}
	defer leave()
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	by := index.Ending{Reason: ReasonLogout, Actor: m.actor(ctx)}
	var s *staged
	var own *trailer.Binding
	withheld := false
	r.do(func() {
		s, own = r.staged, cmp.Or(r.origin(), r.remembered)
		r.staged, withheld = nil, own == nil && r.withheld != nil
	})
	if by.Actor == "" && own.Authenticated() {
		by.Actor = own.By() // whose data may be unreadable
	}
	m.abort(ctx, s)
	failed := m.endOwn(wctx, own, by)
	err = m.endOthers(wctx, r, by, failed)
	m.forget(ctx, r)
	if failed != nil && own != nil {
		r.alsoEnds(own.Key) // a second call must not say that it is done
	}
	if err == nil && withheld {
		err = errWithheld
	}
	if err != nil {
		return wrap("Logout", err)
	}
	return nil
}

// endOthers ends the sessions of the other cookies that came: the browser would send
// them on, and be logged in. It also asks again for one that could not be looked up. One
// that another request is renewing ends too, because that may go back to the token that
// came. failed is the error of what came before, and is a part of the answer.
func (m *Manager) endOthers(ctx context.Context, r *request, by index.Ending, failed error) error {
	var keys []string
	var renewing []*trailer.Binding
	r.do(func() {
		keys, r.others = r.others, nil
		renewing, r.renewing = r.renewing, nil
	})
	end := func(end func(context.Context) error, again func()) {
		ctx := ctx
		if failed == nil { // the one before may have waited for the lease of a replica that is dead
			var cancel context.CancelFunc
			ctx, cancel = m.finishing(ctx)
			defer cancel()
		}
		err := end(ctx)
		if err != nil {
			failed = errors.Join(failed, err)
		}
		if err != nil && err != errSpared {
			again() // by the next Logout
		}
	}
	for _, key := range keys {
		end(func(ctx context.Context) error {
			if err := m.leaveToEnd(ctx, r, key); err != nil {
				return err
			}
			_, err := m.endKey(ctx, key, by)
			return err
		}, func() { r.alsoEnds(key) })
	}
	for _, b := range renewing {
		end(func(ctx context.Context) error {
			if m.prove != nil {
				row, found, err := m.index.LiveByID(ctx, b.UserID, b.ID)
				if err == nil && found {
					err = m.leaveToEnd(ctx, r, row.SessionKey) // by now
				}
				if err != nil {
					return err
				}
			}
			return m.endOwn(ctx, b, by)
		}, func() { r.do(func() { r.renewing = append(r.renewing, b) }) })
	}
	return failed
}

// Destroy is Logout under the name scs gives it.
func (m *Manager) Destroy(ctx context.Context) error { return m.Logout(ctx) }
