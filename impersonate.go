package usersession

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Impersonate makes the session of the context one of userID in which somebody else
// acts, such as an administrator who looks for a fault. That is the actor of
// ContextWithActor, or else the user who is logged in.
// Whether they may is for the program to check, before the call. It is Login in
// everything that is not said here. The session of the actor in this browser ends with
// ReasonReplaced.
//
// The user sees it among the sessions, with [UserSession.Impersonator], and can end it.
// All revocations end it, and so do PasswordChanged and FactorChanged. The events and
// the rows of what is done in it have the actor, and EventLogin has one only then.
//
// It lives for DefaultImpersonation, 1 hour. WithLifetime may say otherwise, up to
// MaxImpersonation, 8 hours. Options.Lifetime bounds both. Its cookie does not outlive
// the browser. It ends no session of the user's for MaxSessions, but counts at the
// user's own logins.
//
// What belongs to the user alone is refused in it. RequireFresh and RequireLevel answer
// 403, and Reauthenticate, RevokeOtherSessions and Impersonate return ErrImpersonated.
// Put RequireFresh before a change of password, of a factor or of an address.
//
// Impersonate returns the errors of Login, and an error if nobody is named or logged in,
// or if WithLevel or WithMethod is given, which are about a proof of the user.
func (m *Manager) Impersonate(ctx context.Context, userID string, opts ...LoginOption) (result error) {
	defer m.operation(ctx, OperationLogin, &result)()
	uid, err := checkUserID(m.index, userID)
	if err != nil {
		return err
	}
	o, err := newLoginOptions(opts)
	if err != nil {
		return err
	}
	_, method := o.meta[MetaMethod]
	o.actor = m.actor(ctx)
	switch longest := min(MaxImpersonation, m.opts.Lifetime); {
	case o.actor == "":
		return errors.New("usersession: Impersonate: there is no actor: nobody is logged in, and ContextWithActor names nobody")
	case o.level != 0 || method:
		return errors.New("usersession: Impersonate: WithLevel and WithMethod are for a proof of the user, which there is none of")
	case m.binding(ctx).Impersonated():
		return wrap("Impersonate", ErrImpersonated)
	case o.lifetime == nil:
		lifetime := min(DefaultImpersonation, longest)
		o.lifetime = &lifetime
	case *o.lifetime > longest:
		return fmt.Errorf("usersession: Impersonate: WithLifetime: must be at most %v, is %v", longest, *o.lifetime)
	}
	o.persist = trailer.PersistNever
	WithMeta(map[string]string{MetaImpersonator: o.actor, MetaMethod: MethodImpersonation})(&o)
	if err := checkMeta("Impersonate", o.meta); err != nil {
		return err
	}
	return m.login(ctx, uid, o)
}

// Impersonator returns who acts in the session of the context in the place of its user,
// after Impersonate. It is "" if the user does. It costs no I/O.
func (m *Manager) Impersonator(ctx context.Context) string {
	if b := m.binding(ctx); b != nil {
		return b.Actor
	}
	return ""
}

// Level returns the level of the session of the context, and when it was reached. Both
// are zero if no level was noted, and in a session of Impersonate. It costs no I/O.
func (m *Manager) Level(ctx context.Context) (level Level, at time.Time) {
	if b := m.binding(ctx); b.Authenticated() {
		return Level(b.Level), b.LevelAt
	}
	return 0, time.Time{}
}
