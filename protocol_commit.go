package usersession

import (
	"context"
	"errors"

	"github.com/seed-296ca7ab/usersession/internal/decide"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// errCleared is returned by a commit whose values have lost the identity of the
// session: by Clear, which in scs logs nobody in and nobody out. The session
// has been ended.
var errCleared = &clearedError{}

type clearedError struct{}

func (*clearedError) Error() string { return ErrSessionEnded.Error() + ": its values were cleared" }

func (*clearedError) Unwrap() error { return ErrSessionEnded }

// commitRequest commits the data of a request this Manager has loaded. The caller
// has locked r. lost says that nobody waits for the response any more: nothing gets a
// new life then, and what ends goes on.
func (m *Manager) commitRequest(ctx context.Context, lost error, r *request, key string, body []byte, b *trailer.Binding) error {
	own, answer := r.own, r.onCommit(key, b)
	switch answer {
	case decide.RenewDetached, decide.CommitLogin, decide.CommitRenewal, decide.ReplaceUnreadable:
		if lost != nil {
			if answer == decide.CommitLogin && r.http == nil { // else LoadAndSave gives it up
				s := r.unstage()
				m.abort(ctx, s)
				m.emitOf(ctx, EventLoginRefused, s.binding, lost)
			}
			return lost
		}
	}
	switch answer {
	case decide.RefuseEnded:
		return m.endedMeanwhile(ctx, b)
	case decide.EndLost:
		if err := m.endOwn(ctx, own, index.Ending{Reason: ReasonLogout, Actor: own.By()}); err != nil {
			return err
		}
		return m.endedMeanwhile(ctx, own)
	case decide.RefuseCleared:
		return errCleared
	case decide.EndCleared:
		if err := m.endOwn(ctx, own, index.Ending{Reason: ReasonLogout, Actor: own.By()}); err != nil {
			return err
		}
		r.standing = decide.Cleared
		return errCleared
	case decide.Update:
		nb := own.EndingBy(b.Deadline) // whose session it is is known from its own loading only
		if err := m.update(ctx, key, body, own, nb); err != nil {
			return err
		}
		r.has(nb)
		return nil
	case decide.RenewDetached:
		nb, err := m.renew(ctx, own, key, body, own.EndingBy(b.Deadline), index.Renewal{Reason: ReasonLogout, By: m.usedBy(r)})
		if err != nil {
			return err
		}
		r.has(nb)
		return nil
	case decide.CommitLogin:
		return m.commitLogin(ctx, r, key, body, b)
	case decide.CommitRenewal:
		return m.commitRenewal(ctx, r, key, body, b)
	case decide.ReplaceUnreadable:
		r.unstage() // at most a renewal
		err := m.endOwn(ctx, own, index.Ending{Reason: ReasonReplaced, Actor: own.By()})
		if err != nil && !errors.Is(err, errElsewhere) { // which is pending, as of an eviction
			return err
		}
	case decide.GiveUpStaged:
		// Neither the login nor the renewal happens, the former session ends, and
		// what was put since is a new anonymous session's.
		s := r.unstage()
		m.abort(ctx, s)
		if err := m.endOwn(ctx, s.from, index.Ending{Reason: ReasonLogout, Actor: s.actor}); err != nil {
			return err
		}
	}
	if lost != nil {
		return lost
	}
	nb := m.anonymous(key, b.Deadline)
	if err := m.create(ctx, key, body, nb); err != nil {
		return err
	}
	r.has(nb)
	return nil
}

// commitOther commits the data of a session that Iterate or InSession opened:
// an update or nothing.
func (m *Manager) commitOther(ctx context.Context, key string, body []byte, was, b *trailer.Binding) error {
	if b.Key != key {
		if err := m.endOther(ctx, key); err != nil {
			return err
		}
		return errCleared
	}
	return m.update(ctx, key, body, was, b)
}

// commitByHand commits data whose loading this Manager has not seen: somebody
// called Load and Commit of the embedded scs manager.
func (m *Manager) commitByHand(ctx context.Context, key string, body []byte, was, b *trailer.Binding) error {
	q := decide.ByHand{Moved: b.Key != key, User: b.Authenticated()}
	var row index.Row
	if q.Moved {
		var found bool
		var err error
		if q.User {
			row, found, err = m.index.ByID(ctx, b)
		} else {
			row, found, err = m.index.ByKey(ctx, key)
		}
		switch {
		case err != nil:
			return err
		case !found:
		case row.EndedAt != 0:
			q.Row = decide.Over
		case row.SessionKey == key:
			q.Row = decide.Here
		default:
			q.Row = decide.Elsewhere
			q.Detached = m.detachedByHand.take(handDetach{ctx.Value(m.scsKey), row.SessionKey})
		}
	}
	nb := *b
	switch q.Decide() {
	case decide.Update:
		nb.Key = key
		return m.update(ctx, key, body, was, &nb)
	case decide.RefuseEnded:
		return m.endedMeanwhile(ctx, b)
	case decide.RenewDetached:
		nb.Key = row.SessionKey // not that of the binding, if this is not the first renewal
		_, err := m.renew(ctx, &nb, key, body, b, index.Renewal{Reason: ReasonLogout})
		return err
	case decide.EndCleared:
		if _, err := m.endKey(ctx, nil, key, index.Ending{Reason: ReasonLogout}); err != nil {
			return err
		}
		return errCleared
	}
	created := m.anonymous(key, b.Deadline)
	err := m.create(ctx, key, body, created)
	if errors.Is(err, ErrKeyExists) { // committed by hand before
		return m.update(ctx, key, body, created, created)
	}
	return err
}

// commitRenewal finishes a Reauthenticate or a RenewToken. The caller has locked r.
func (m *Manager) commitRenewal(ctx context.Context, r *request, key string, body []byte, b *trailer.Binding) error {
	s := r.unstage()
	how := index.Renewal{Authenticated: s.authenticated, Meta: s.meta, By: m.usedBy(r)}
	if s.detached {
		how.Reason = ReasonLogout
	}
	nb, err := m.renew(ctx, s.from, key, body, s.binding.EndingBy(b.Deadline), how)
	if err != nil {
		return err
	}
	r.has(nb)
	if nb.Authenticated() {
		kind := EventRenewed
		if s.authenticated {
			kind = EventReauthenticated
		}
		m.emitOf(ctx, kind, nb, nil)
	}
	return nil
}
