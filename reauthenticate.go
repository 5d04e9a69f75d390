package usersession

import (
	"context"
	"errors"
	"maps"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/policy"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Reauthenticate notes that the user of the session has proved again who they
// are (ASVS 5.0, 7.5.3). The token is renewed, the authentication time is now,
// and the lifetime starts again. Call it before the response begins. It takes
// effect with the response. Metadata in the options are added to those of the
// login. A lifetime or cookie in the options replaces the session's own. WithLevel
// raises the level of the session, or makes it fresh.
//
// Reauthenticate returns ErrNoSession if nobody is logged in,
// ErrResponseStarted if the response has begun, ErrSessionEnded if the session
// has ended, ErrOtherSession inside InSession, ErrOtherUser if WithUserID names
// another user, who must log in, and ErrImpersonated after Impersonate.
func (m *Manager) Reauthenticate(ctx context.Context, opts ...LoginOption) error {
	o, err := newLoginOptions(opts)
	if err != nil {
		return err
	}
	if err := m.opts.checkLimits(o); err != nil {
		return err
	}
	r, leave, err := m.change(ctx)
	if err != nil {
		return err
	}
	defer leave()
	b := m.binding(ctx)
	if !b.Authenticated() {
		return ErrNoSession
	}
	if err := m.checkUser(o, b.UserID); err != nil {
		return wrap("Reauthenticate", err)
	}
	if b.Impersonated() {
		return wrap("Reauthenticate", ErrImpersonated)
	}
	if byte(o.level) < b.Level {
		delete(o.meta, MetaLevel)
	}
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	row, found, err := m.index.LiveByID(wctx, b.UserID, b.ID)
	if err != nil {
		return wrap("Reauthenticate", err)
	}
	if !found {
		return ErrSessionEnded
	}
	meta := ""
	if len(o.meta) > 0 {
		all := sessionOf(row, 0, "").Meta
		maps.Copy(all, o.meta)
		if err := checkMeta("WithMeta", all); err != nil {
			return err
		}
		meta = index.MetaJSON(all)
	}
	nb := *b
	lifetime := b.Deadline.Sub(b.AuthenticatedAt)
	if o.lifetime != nil {
		lifetime = *o.lifetime
	}
	if p, ok := policy.Of(int(m.opts.Preset)); ok {
		lifetime = min(lifetime, p.Lifetime) // it may be from before the preset
	}
	nb.AuthenticatedAt = now()
	nb.Deadline = nb.AuthenticatedAt.Add(lifetime)
	if o.level != 0 && byte(o.level) >= b.Level {
		nb.Level, nb.LevelAt = byte(o.level), nb.AuthenticatedAt
	}
	if o.persist != trailer.PersistDefault {
		nb.Persist = o.persist
	}
	if s, _ := r.former(); s != nil && s.login && meta != "" {
		// The row is that of the login, which will not be renewed but committed.
		if err := m.index.SetMeta(wctx, b, meta); err != nil {
			return wrap("Reauthenticate", err)
		}
	}
	return m.stageRenewal(ctx, r, &nb, true, meta)
}

// RenewToken is RenewToken of scs. Call it when the rights of the session
// change (ASVS 5.0, 7.2.4). The session keeps its ID and its lifetime. The old
// token is dead once the response has begun, also for a request in flight that
// came with it. RenewToken returns ErrResponseStarted if the response has
// begun, ErrSessionEnded if the session has ended, and ErrOtherSession inside
// InSession and Iterate.
func (m *Manager) RenewToken(ctx context.Context) error {
	if m.request(ctx) == nil {
		return m.SessionManager.RenewToken(ctx)
	}
	r, leave, err := m.change(ctx)
	if err != nil {
		return err
	}
	defer leave()
	b := m.binding(ctx)
	if b == nil {
		b = &trailer.Binding{Deadline: now().Add(m.opts.Lifetime)}
	}
	return m.stageRenewal(ctx, r, b, false, "")
}

// stageRenewal gives the session a new token that the commit will make good.
func (m *Manager) stageRenewal(ctx context.Context, r *request, b *trailer.Binding, authenticated bool, meta string) error {
	key, err := m.newToken(ctx, r)
	if err != nil {
		return wrap("RenewToken", err)
	}
	if b.Authenticated() {
		if m.currentID(ctx) != b.ID {
			// Destroy from another goroutine of the handler, just before the
			// new token.
			wctx, cancel := m.finishing(ctx)
			defer cancel()
			var own *trailer.Binding
			r.do(func() { own = r.origin() })
			err := m.endOwn(wctx, own, index.Ending{Reason: ReasonLogout, Actor: b.By()})
			m.forget(ctx, r)
			return errors.Join(ErrSessionEnded, err)
		}
		m.SessionManager.Put(ctx, reservedKey, b)
	}
	m.SessionManager.SetDeadline(ctx, b.Deadline)
	r.do(func() {
		r.unstaged = false
		if r.started {
			err = ErrResponseStarted // by another goroutine of the handler
			return
		}
		if r.staged == nil {
			r.staged = r.move(b)
		}
		r.staged.binding = b
		if !r.staged.login { // a login that is not committed yet is moved to the new key then
			r.staged.key = key
			r.staged.authenticated = r.staged.authenticated || authenticated
			if meta != "" {
				r.staged.meta = meta
			}
		}
	})
	return err
}
