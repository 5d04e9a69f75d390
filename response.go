package usersession

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession/internal/decide"
	"github.com/seed-296ca7ab/usersession/internal/header"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/response"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// exchange is a request and its response: one allocation for what every request
// needs.
type exchange struct {
	m         *Manager
	r         *http.Request
	token     string      // of the cookie
	bare      bool        // it has its token elsewhere, and no cookie is set
	came      bool        // there was a cookie of the session's name
	over      bool        // the handler has returned
	began     bool        // the response has begun before that
	data      *data       // what the commit has saved then; nil: nobody had changed anything
	saves     int         // of state, then
	tokens    [1]string   // the room for that of the cookie
	memory    *remembered // the context, if the session is served from memory
	unchanged bool        // the commit has found nothing to save
	state     request
	writer    response.Writer
}

// Commit implements response.Committer.
func (x *exchange) Commit(h http.Header, status int) error {
	x.state.do(func() { x.state.started = true })
	if err := x.commit(h, status); err != nil {
		return err
	}
	if !x.over {
		if x.began = true; !x.unchanged {
			x.data = x.changed()
		}
		x.state.do(func() { x.saves = x.state.saves })
	}
	x.m.guard(h)
	return nil
}

// Refuse implements response.Committer.
func (x *exchange) Refuse(w http.ResponseWriter, err error) {
	x.memory.giveUp()
	m, r, ctx, h := x.m, x.state.unwatched(x.r), x.r.Context(), w.Header()
	given := x.giveUp()
	header.VaryByCookie(h)
	header.NoStore(h)
	if x.loggedOut() {
		x.clearCookie(h)
		x.clearSiteData(h, true)
	}
	if errors.Is(err, ErrSessionEnded) {
		m.forget(ctx, &x.state) // nobody is logged in any more
		m.answer(w, http.StatusUnauthorized, func(rw http.ResponseWriter) { m.unauthenticated(rw, r) })
		return
	}
	switch {
	case !errors.Is(err, errLost):
		m.emit(ctx, Event{Kind: EventStoreFailed, Err: err})
	case given != nil && given.login:
		m.emitOf(ctx, EventLoginRefused, given.binding, err)
	}
	m.failed(w, r, err)
}

// Abandon implements response.Committer.
func (x *exchange) Abandon(h http.Header) {
	x.giveUp()
	x.m.guard(h) // whoever recovers may send them
}

// changed returns the data of the session, if somebody has changed them.
func (x *exchange) changed() *data {
	if asked, err := x.memory.state(); !asked || err != nil {
		return nil
	}
	return x.m.changed(x.r.Context())
}

// giveUp gives up what is staged, and returns it.
func (x *exchange) giveUp() (s *staged) {
	x.state.do(func() { s = x.state.unstage() })
	x.m.abort(x.r.Context(), s)
	return s
}

// loggedOut reports whether the cookie is to go.
func (x *exchange) loggedOut() (yes bool) {
	x.state.do(func() { yes = x.state.loggedOut })
	return yes
}

// dataNow is what the handler has made of the session data.
var dataNow = map[scs.Status]decide.Data{scs.Unmodified: decide.Unchanged, scs.Modified: decide.Changed, scs.Destroyed: decide.Destroyed}

// commit commits the session and sets the cookie, as far as there is anything to do.
func (x *exchange) commit(h http.Header, status int) error {
	if asked, err := x.memory.state(); !asked || err != nil {
		return err
	}
	m, ctx, r := x.m, x.r.Context(), &x.state
	failed := status >= http.StatusInternalServerError && !m.opts.KeepOnError
	now := dataNow[m.SessionManager.Status(ctx)]
	x.unchanged = now == decide.Unchanged
	switch (decide.Response{Data: now, Failed: failed}).Decide() {
	case decide.GiveUp:
		if s := x.giveUp(); s != nil && s.login {
			m.emitOf(ctx, EventLoginRefused, s.binding, errFailed)
		}
	case decide.CommitData:
		if m.nothingToKeep(ctx, r) {
			break
		}
		next, expiry, err := m.commitSession(ctx, r)
		if err == nil && next == "" {
			break
		}
		if err != nil {
			return err
		}
		if next != x.token {
			m.endShadowing(ctx, r, ReasonReplaced)
		}
		if b := r.loaded(); !x.bare && (next != x.token || b != nil && b.Persist != trailer.PersistDefault || m.SessionManager.Exists(ctx, rememberKey)) {
			m.writeCookie(ctx, h, next, expiry, b)
		}
		if x.loggedOut() && !r.loaded().Authenticated() { // a new session has begun since
			x.clearSiteData(h, false)
		}
		return nil
	case decide.End:
		var lost *trailer.Binding // it may have another key by now, from a renewal in another request
		r.do(func() {
			if r.loggedOut = true; r.standing == decide.Lost {
				lost = r.own
			}
		})
		if err := m.endDestroyed(ctx, r, lost); err != nil {
			return err
		}
	}
	if err := m.giveUpStaged(ctx, r); err != nil {
		return err
	}
	if x.loggedOut() {
		m.endShadowing(ctx, r, ReasonLogout)
		x.clearCookie(h)
		x.clearSiteData(h, true)
	}
	return nil
}

// clearCookie clears the cookie that came. A request of another site comes without
// the cookie that the browser has (SameSite), so an answer to a request without one
// must not touch it: that would be a logout by anybody, of a session that lives on.
func (x *exchange) clearCookie(h http.Header) {
	header.LastCookies(h, x.m.sealed.Name, 0)
	if x.came {
		x.m.writeCookie(x.r.Context(), h, "", time.Time{}, nil)
	}
}

// clearSiteData does what Options.ClearSiteData asks for. As with the cookie, a request of
// another site is no logout, and neither is one with a cookie that is malformed.
func (x *exchange) clearSiteData(h http.Header, cookies bool) {
	if x.came && x.token != "" {
		header.ClearSiteData(h, x.r, x.m.opts.ClearSiteData, cookies)
	}
}

// commitSession commits the session; no token if nothing is left of it after Clear.
func (m *Manager) commitSession(ctx context.Context, r *request) (string, time.Time, error) {
	err := m.endClearedUnreadable(ctx, r)
	if err == nil {
		token, expiry, err := m.SessionManager.Commit(ctx)
		if !errors.Is(err, errCleared) {
			return token, expiry, err
		}
	} else if !errors.Is(err, errCleared) {
		return "", time.Time{}, err
	}
	return m.commitRest(ctx, r)
}

// endClearedUnreadable ends a session whose data could not be read, if the program
// has cleared it: that is errCleared.
func (m *Manager) endClearedUnreadable(ctx context.Context, r *request) error {
	var own *trailer.Binding
	_, kept := m.SessionManager.Get(ctx, reservedKey).(unreadable)
	r.do(func() {
		if r.standing == decide.Unreadable && r.staged == nil && !kept {
			own = r.own
		}
	})
	if own == nil {
		return nil
	}
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	if err := m.endOwn(ctx, own, index.Ending{Reason: ReasonLogout, Actor: own.By()}); err != nil {
		return err
	}
	return errCleared
}

// endDestroyed ends what Destroy of scs has not: the session of a user under a key
// that scs does not know, which is lost, and those of the other cookies that came.
func (m *Manager) endDestroyed(ctx context.Context, r *request, lost *trailer.Binding) error {
	by := index.Ending{Reason: ReasonLogout, Actor: explicitActor(ctx)}
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	err := m.endOthers(ctx, r, by, nil)
	if lost.Authenticated() {
		by.Actor = cmp.Or(by.Actor, lost.By())
		err = errors.Join(err, m.endOwn(ctx, lost, by))
	}
	return err
}

// endShadowing ends the sessions of the other cookies that came with one that is
// cleared or gets a new token. The browser may send them before that, and would be
// somebody else again.
func (m *Manager) endShadowing(ctx context.Context, r *request, reason string) {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	b, actor := r.loaded(), ""
	if b != nil {
		actor = b.By()
	}
	r.do(func() {
		if reason == ReasonReplaced && !b.Authenticated() && !r.loggedOut {
			r.renewing = nil // a visitor's data are no reason to end it
		}
	})
	err := m.endOthers(ctx, r, index.Ending{Reason: reason, Actor: actor}, nil)
	if err != nil && !errors.Is(err, errElsewhere) && !errors.Is(err, errSpared) {
		m.opts.Logger.WarnContext(m.hide(ctx), "usersession: the session of another cookie of the browser could not be ended yet", "error", err)
	}
}

// nothingToKeep reports whether a commit would make a session with nothing in
// it: that of a visitor whose login was refused, say.
func (m *Manager) nothingToKeep(ctx context.Context, r *request) bool {
	// Not the Keys of m: the identity is something.
	keys := len(m.SessionManager.Keys(ctx))
	_, kept := m.SessionManager.Get(ctx, reservedKey).(unreadable)
	renewed := m.SessionManager.Token(ctx) != "" // by scs, if not by a login that was refused
	nothing := false
	r.do(func() {
		switch {
		case r.standing == decide.Unreadable:
			nothing = kept && keys == 1 && r.staged == nil && (!renewed || r.unstaged)
		default:
			nothing = keys == 0 && r.present() == nil && (r.staged == nil || r.staged.from == nil)
		}
	})
	return nothing
}

// commitRest makes a new anonymous session of what was put after Clear, if anything was.
func (m *Manager) commitRest(ctx context.Context, r *request) (string, time.Time, error) {
	rest := make(map[string]any)
	for _, k := range m.Keys(ctx) {
		rest[k] = m.SessionManager.Get(ctx, k)
	}
	if m.forget(ctx, r); len(rest) == 0 {
		return "", time.Time{}, nil
	}
	for k, v := range rest {
		m.SessionManager.Put(ctx, k, v)
	}
	return m.SessionManager.Commit(ctx)
}

// failed lets the ErrorFunc answer.
func (m *Manager) failed(w http.ResponseWriter, r *http.Request, err error) {
	m.answer(w, http.StatusServiceUnavailable, func(rw http.ResponseWriter) { m.SessionManager.ErrorFunc(rw, r, err) })
}

// answer sends what write writes, with headers as guard leaves them.
func (m *Manager) answer(w http.ResponseWriter, status int, write func(http.ResponseWriter)) {
	response.Answer(w, status, write, m.guard)
}
