package usersession

import (
	"cmp"
	"context"
	"errors"

	"github.com/seed-296ca7ab/usersession/internal/decide"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Logout ends the session of the context, anonymous or not, and clears its
// data. The cookie is cleared also when an error is returned, so the browser is
// logged out in any case. It returns ErrNoSession if the context has no
// session. Any other error means that the session may still be accepted. So may the session
// of another cookie, which is bound to a device (package dbsc) and not to this one. After
// ErrRevocationPending the janitor (Run) deletes the session's data.
func (m *Manager) Logout(ctx context.Context) (result error) {
	r := m.request(ctx)
	if (r == nil || r.memory == nil) && ctx.Value(m.scsKey) == nil {
		return ErrNoSession
	}
	if r == nil {
		return m.logoutByHand(ctx)
	}
	if r.other {
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

// logoutByHand is Logout of a session that Iterate or the scs manager has loaded. It ends
// it by its ID, because its token may be another by now.
func (m *Manager) logoutByHand(ctx context.Context) error {
	b := m.binding(ctx)
	if !b.Authenticated() {
		return m.SessionManager.Destroy(ctx)
	}
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	if err := m.endOwn(wctx, b, index.Ending{Reason: ReasonLogout, Actor: explicitActor(ctx)}); err != nil {
		return wrap("Logout", err) // the context keeps the session, for the next call
	}
	m.SessionManager.Destroy(context.WithValue(ctx, askerKey{m.id}, decide.Forget)) // cannot fail: it is not to delete
	return nil
}

// endOthers ends the sessions of the other cookies that came: the browser would send
// them on, and be logged in. It also asks again for one that could not be looked up. One
// that another request is renewing ends too, because that may go back to the token that
// came. failed is the error of what came before, and is a part of the answer.
func (m *Manager) endOthers(ctx context.Context, r *request, by index.Ending, failed error) error {
	var keys []string
	r.do(func() { keys, r.others = r.others, nil })
	for _, key := range keys {
		if failed == nil { // the one before may have waited for the lease of a replica that is dead
			var cancel context.CancelFunc
			ctx, cancel = m.finishing(ctx)
			defer cancel()
		}
		err := m.leaveToEnd(ctx, r, key)
		if err == nil {
			_, err = m.endKey(ctx, r, key, by)
		}
		if err != nil {
			failed = errors.Join(failed, err)
		}
		if err != nil && err != errSpared {
			r.alsoEnds(key) // by the next Logout
		}
	}
	return m.endAllRenewing(ctx, r, by, failed)
}

// endAllRenewing ends the sessions that other requests are renewing. Those that it could
// not end are asked for again.
func (m *Manager) endAllRenewing(ctx context.Context, r *request, by index.Ending, failed error) error {
	for _, b := range r.takeRenewing() {
		if failed == nil {
			var cancel context.CancelFunc
			ctx, cancel = m.finishing(ctx)
			defer cancel()
		}
		if err := m.endRenewing(ctx, r, b, by); err != nil {
			failed = errors.Join(failed, err)
			r.do(func() { r.renewing = append(r.renewing, b) })
		}
	}
	return failed
}

// takeRenewing returns the sessions of renewing, but for that of the request itself, and
// forgets them. The caller has not locked r.
func (r *request) takeRenewing() (taken []*trailer.Binding) {
	r.do(func() {
		for _, b := range r.renewing {
			if r.own == nil || r.own.ID != b.ID {
				taken = append(taken, b)
			}
		}
		r.renewing = nil
	})
	return taken
}

// endRenewing ends a session if another request is renewing it.
func (m *Manager) endRenewing(ctx context.Context, r *request, b *trailer.Binding, by index.Ending) error {
	known, err := m.index.Knows(ctx, b)
	if err != nil || !known.Renewing {
		return err
	}
	return m.endMoved(ctx, r, b, by)
}

// Destroy is Logout under the name scs gives it.
func (m *Manager) Destroy(ctx context.Context) error { return m.Logout(ctx) }
