package usersession

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/decide"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Login makes the session of the context one of userID, under a new token
// (ASVS 5.0, 7.2.4). Call it in the login handler once the user has proved who
// they are, before the response begins. Anonymous data of the session are kept.
// The data of another user are cleared. A session that was logged in already
// ends with ReasonReplaced. If its data are in another Store, Login goes on, and
// EventRevocationPending says so.
//
// The login is in the index at once, and takes effect with the response. A
// handler that panics or answers 500 leaves the browser's session as it was, and
// so does a request that has ended before the response begins.
//
// Login returns ErrNoUserID, ErrBadUserID, ErrUnknownUser, ErrTooManySessions,
// ErrAccountDisabled after AccountDisabled, ErrRevokedMeanwhile if all sessions of the
// user were revoked after the request began, ErrOtherUser of WithUserID,
// ErrResponseStarted, ErrInRecheck inside a check of WithRecheck, ErrOtherSession inside
// InSession, ErrNoSession without LoadAndSave, or the error of an option, of a check of
// WithRecheck, of a request that has ended, or of a database or Store that is down. On
// error the browser keeps its session, possibly under a new token.
func (m *Manager) Login(ctx context.Context, userID string, opts ...LoginOption) (result error) {
	defer m.operation(ctx, OperationLogin, &result)()
	uid, err := checkUserID(m.index, userID)
	if err != nil {
		return err
	}
	o, err := newLoginOptions(opts)
	if err != nil {
		return err
	}
	return m.login(ctx, uid, o)
}

// checkUser refuses credentials of another user, as far as the options tell.
func (m *Manager) checkUser(o loginOptions, uid string) error {
	if o.userID == nil {
		return nil
	}
	proved, err := checkUserID(m.index, *o.userID)
	if err == nil && proved != uid {
		err = ErrOtherUser
	}
	return err
}

// login is Login, or Impersonate if the options have an actor.
func (m *Manager) login(ctx context.Context, uid string, o loginOptions) error {
	method := "Login"
	if o.actor != "" {
		method = "Impersonate"
	}
	if err := m.checkUser(o, uid); err != nil {
		return wrap(method, err)
	}
	if err := m.opts.checkLimits(o); err != nil {
		return err
	}
	idle, err := o.idleTimeout(m.opts.TouchInterval)
	if err != nil {
		return err
	}
	r, leave, err := m.change(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := r.lost(ctx); err != nil { // it would make room, and not be committed
		m.emit(ctx, Event{Kind: EventLoginRefused, UserID: uid, Actor: o.actor, Err: err})
		return err
	}
	actor := cmp.Or(o.actor, explicitActor(ctx), uid)

	former, from := r.former()
	key, err := m.newToken(ctx, r)
	if err != nil {
		return wrap(method, err)
	}
	lifetime := m.opts.Lifetime
	if o.lifetime != nil {
		lifetime = *o.lifetime
	}
	b := &trailer.Binding{
		UserID: uid, ID: token.NewID(), Persist: o.persist, Idle: idle,
		AuthenticatedAt: now(), Deadline: now().Add(lifetime), Level: byte(o.level), Actor: o.actor,
	}
	if b.Level != 0 {
		b.LevelAt = b.AuthenticatedAt
	}
	entered := false
	defer func() {
		if !entered { // also if the check panics
			m.keepSession(ctx, r, from, key)
		}
	}()
	next := &staged{login: true, binding: b, key: key, from: from, actor: actor}
	next.checked, err = m.enter(ctx, r, b, key, lifetime, o, replacedBy(uid, former, from), actor)
	if err == nil && o.recheck != nil {
		err = m.recheck(ctx, r, o, next)
	}
	if err == nil && o.idpGiven {
		err = m.noteIdP(ctx, o, next)
	}
	if err != nil {
		m.emit(ctx, Event{Kind: EventLoginRefused, UserID: uid, Actor: o.actor, Err: err})
		return wrap(method, err)
	}
	entered = true
	if cur := m.binding(ctx); cur.Authenticated() && cur.UserID != uid {
		for _, k := range m.Keys(ctx) {
			m.SessionManager.Remove(ctx, k)
		}
	}
	m.SessionManager.Put(ctx, reservedKey, b)
	m.SessionManager.SetDeadline(ctx, b.Deadline)
	r.do(func() {
		if err = nil; r.started {
			err = ErrResponseStarted // by another goroutine of the handler
		} else {
			r.staged, r.unstaged = next, false
		}
	})
	if err != nil {
		m.SessionManager.Remove(ctx, reservedKey)
		m.abort(ctx, next)
		return err
	}
	m.abort(ctx, former)
	return nil
}

// noteIdP writes in the row of a login who the user is at the identity provider. A login
// that was signed out there ends.
func (m *Manager) noteIdP(ctx context.Context, o loginOptions, login *staged) error {
	// As in the row, so that a renewal that is undone does not make it later.
	if b := login.binding; login.checked.At.Before(b.AuthenticatedAt) {
		b.AuthenticatedAt = login.checked.At
	}
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	signedOut, err := m.index.SetIdP(wctx, login.binding.UserID, login.binding.ID, index.IdP(o.idp), login.checked.At)
	if err == nil && signedOut {
		err = ErrRevokedMeanwhile
	}
	if err != nil {
		m.abort(ctx, login)
	}
	return err
}

// recheck runs the check of WithRecheck. A login that it refuses, or in which it
// panics, ends.
func (m *Manager) recheck(ctx context.Context, r *request, o loginOptions, login *staged) (err error) {
	r.do(func() { r.checking = true })
	passed := false
	defer func() {
		r.do(func() { r.checking = false })
		if !passed {
			m.abort(ctx, login)
		}
	}()
	err = o.recheck(ctx)
	passed = err == nil
	return err
}

// keepSession is for a login that failed. Its token is a new one and cannot be turned
// back. What was this browser's session stays it, under another one: the row of the
// login may be there and have the key of this one.
func (m *Manager) keepSession(ctx context.Context, r *request, from *trailer.Binding, key string) {
	if other, err := m.newToken(ctx, r); err == nil {
		key = other
	}
	r.do(func() {
		if r.standing == decide.Unreadable {
			return // it stays where it is, for no commit can move its data
		}
		r.unstaged = false
		if r.staged != nil {
			return // a login or renewal before, which the commit moves
		}
		kept := from
		if kept == nil {
			kept = &trailer.Binding{Deadline: now().Add(m.opts.Lifetime)}
		}
		r.staged = r.move(kept)
		r.staged.binding, r.staged.key = kept, key
	})
}

// replacedBy returns the IDs of the user's sessions that a login takes the place
// of, and that do not count against MaxSessions.
func replacedBy(userID string, former *staged, from *trailer.Binding) []string {
	var ids []string
	if from.Authenticated() && from.UserID == userID {
		ids = append(ids, from.ID)
	}
	if former != nil && former.login && former.binding.UserID == userID {
		ids = append(ids, former.binding.ID)
	}
	return ids
}

// enter writes the row of a login, and makes room for it. A client that hangs up
// does not stop it. It returns since when the credentials count.
func (m *Manager) enter(ctx context.Context, r *request, b *trailer.Binding, key string, lifetime time.Duration, o loginOptions, replaces []string, actor string) (index.Checked, error) {
	row := index.Login{
		ID: b.ID, UserID: b.UserID, Key: key, Grace: min(loginGrace, lifetime),
		Meta: index.MetaJSON(o.meta), IdleTimeout: b.Idle.Microseconds(), Checked: m.checked(r, o),
	}
	ip, userAgent := m.client(r)
	if idle := m.data.idleOf(b); idle > 0 {
		row.Grace = min(row.Grace, idle)
	}
	if o.ip != nil {
		ip = m.opts.Privacy.address(*o.ip)
	}
	if o.userAgent != nil {
		userAgent = m.opts.Privacy.agent(index.Clip(*o.userAgent, 512))
	}
	row.IP, row.UserAgent = m.rowClient(ip, userAgent)
	var err error
	if b.Impersonated() {
		row.Max = -1 // it is not to push the user out
	} else if row.Max, err = m.opts.maxSessionsFor(ctx, b.UserID, o.meta); err != nil {
		return row.Checked, err
	}
	if time.Since(row.Checked.At) > maxChecked {
		return row.Checked, ErrRevokedMeanwhile // its fence may have been pruned
	}
	for more := true; more; {
		entry, err := m.enterPage(ctx, b, row, replaces, actor)
		if err == nil && entry == index.Fenced {
			err = m.behindFence(ctx, r, b.UserID, &row.Checked)
		}
		if err != nil {
			return row.Checked, err
		}
		more = entry != index.Entered
	}
	return row.Checked, nil
}

// enterPage writes the row of a login if there is room. Otherwise it ends a page of
// what is in the way. Somebody who had any number of sessions, before there was a
// limit, can log in all the same.
func (m *Manager) enterPage(ctx context.Context, b *trailer.Binding, row index.Login, replaces []string, actor string) (entry index.Entry, err error) {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	by := index.Ending{Reason: ReasonEvicted, Actor: actor}
	evicted, entry, err := m.index.Enter(ctx, row, replaces, by)
	if err == nil && entry == index.Full {
		if err = m.makeRoom(ctx, b.UserID); err == nil {
			evicted, entry, err = m.index.Enter(ctx, row, replaces, by)
		}
	}
	if err != nil {
		return entry, err
	}
	if entry == index.Full {
		return entry, ErrTooManySessions
	}
	if _, err := m.deleteEnded(ctx, evicted, by); err != nil && !errors.Is(err, errElsewhere) {
		if entry == index.Entered {
			m.abort(ctx, &staged{login: true, binding: b, actor: actor})
		}
		return entry, err
	}
	return entry, nil
}

// newToken gives the context's session a new token, without a word to the
// Store, and returns its key.
func (m *Manager) newToken(ctx context.Context, r *request) (string, error) {
	if err := m.SessionManager.RenewToken(context.WithValue(ctx, askerKey{m.id}, decide.NewToken)); err != nil {
		r.do(func() { r.unstaged = false })
		return "", err
	}
	r.do(func() { r.unstaged = true })
	return token.Key(m.SessionManager.Token(ctx)), nil
}
