package usersession

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/alexedwards/scs/v2"
	"github.com/jmoiron/sqlx"
)

// ListSessions returns the live sessions of a user, the most recently seen
// first; an empty list if there are none. An index that cannot be read is an
// error, never an empty list.
func (m *Manager) ListSessions(ctx context.Context, userID string) ([]UserSession, error) {
	uid, err := m.index.d.userID(userID)
	if err != nil {
		return nil, err
	}
	current := m.currentID(ctx)
	ctx, cancel := context.WithTimeout(ctx, m.opts.ReadTimeout)
	defer cancel()
	rows, err := m.lists.listByUser(ctx, uid)
	if err != nil {
		return nil, m.wrap("ListSessions", err)
	}
	list := make([]UserSession, len(rows))
	for i, r := range rows {
		list[i] = r.session(m.opts.IdleTimeout, current)
	}
	return list, nil
}

// Session returns one live session of a user, or ErrSessionNotFound.
func (m *Manager) Session(ctx context.Context, userID, id string) (UserSession, error) {
	row, err := m.row(ctx, userID, id)
	if err != nil {
		return UserSession{}, m.wrap("Session", err)
	}
	return row.session(m.opts.IdleTimeout, m.currentID(ctx)), nil
}

func (m *Manager) row(ctx context.Context, userID, id string) (indexRow, error) {
	uid, err := m.index.d.userID(userID)
	if err != nil {
		return indexRow{}, err
	}
	if !validID(id) {
		return indexRow{}, ErrSessionNotFound
	}
	ctx, cancel := context.WithTimeout(ctx, m.opts.ReadTimeout)
	defer cancel()
	return m.index.liveByID(ctx, uid, id)
}

// wrap names the method in errors that come from below, once.
func (m *Manager) wrap(method string, err error) error {
	switch err {
	case nil, ErrSessionNotFound, ErrSessionEnded, ErrNoSession, ErrNoUserID, ErrEmptyFilter:
		return err
	}
	return &opError{method, err}
}

// opError says which method failed.
type opError struct {
	method string
	err    error
}

func (e *opError) Error() string {
	return "usersession: " + e.method + ": " + strings.TrimPrefix(e.err.Error(), "usersession: ")
}

func (e *opError) Unwrap() error { return e.err }

// WithSession calls fn with a context of somebody's session: Get, Put and the
// other data methods act on it, whichever Store is configured. If fn returns nil
// and has changed anything, the data are saved; if it returns an error, they are
// not, and WithSession returns that error. Destroy ends the session.
//
// It may be called inside a request of another session, which it does not
// touch, and does not count as use of the session: nothing is extended. The last
// writer wins, as between two requests of one session. It returns
// ErrSessionNotFound for unknown and foreign IDs, and ErrSessionEnded if the
// session ended, or its token was renewed, before the data were saved. Login, Reauthenticate and RenewToken
// return ErrOtherSession inside fn.
func (m *Manager) WithSession(ctx context.Context, userID, id string, fn func(ctx context.Context) error) error {
	row, err := m.row(ctx, userID, id)
	if err != nil {
		return m.wrap("WithSession", err)
	}
	handle := m.handle(row.SessionKey)
	r := &request{other: true}
	inner := context.WithValue(m.hide(ctx), requestKey{m}, r)
	if explicitActor(ctx) == "" { // it is not the session's user who acts
		inner = WithActor(inner, m.UserID(ctx))
	}
	inner, err = m.SessionManager.Load(context.WithValue(inner, handleKey{m}, handle), handle)
	switch {
	case err != nil:
		return m.wrap("WithSession", err)
	case m.loaded(r) == nil:
		// A row without data: a login that is not committed yet, or a Store
		// that has lost them.
		return ErrSessionNotFound
	}
	r.do(func() { r.session = inner.Value(m.scsKey) })
	if err := fn(inner); err != nil {
		return err
	}
	if m.SessionManager.Status(inner) != scs.Modified {
		return nil
	}
	_, _, err = m.SessionManager.Commit(inner)
	if errors.Is(err, errCleared) {
		return nil // Clear has ended the session, which is what it does
	}
	return m.wrap("WithSession", err)
}

// RevokeSession ends one session of a user: from the moment it returns nil, no
// request is served by it, on any replica, and none in flight brings it back.
// Revoking the session of the context is a logout. It returns
// ErrSessionNotFound for an unknown ID and for one of somebody else, and
// ErrRevocationPending; asked again it tries again.
func (m *Manager) RevokeSession(ctx context.Context, userID, id string) error {
	uid, err := m.index.d.userID(userID)
	if err != nil {
		return err
	}
	if !validID(id) {
		return ErrSessionNotFound
	}
	by := ending{reason(ctx), m.actor(ctx)}
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	rows, err := m.index.endOne(wctx, uid, id, by)
	if err == nil && len(rows) == 0 {
		return ErrSessionNotFound
	}
	if err == nil {
		_, err = m.deleteEnded(wctx, rows, by)
		err = errors.Join(err, m.forgetAmong(ctx, rows))
	}
	if err == nil && rows[0].Again == endedBefore {
		return ErrSessionNotFound // it had ended; now its data are certainly gone
	}
	return m.wrap("RevokeSession", err)
}

// forgetAmong logs the context out if its session is among the ended.
func (m *Manager) forgetAmong(ctx context.Context, rows []endedRow) error {
	current, r := m.currentID(ctx), m.request(ctx)
	if current == "" || r == nil || r.other {
		return nil
	}
	if !slices.ContainsFunc(rows, func(row endedRow) bool { return row.ID == current }) {
		return nil
	}
	staged := false
	r.do(func() { staged = r.staged != nil && r.staged.login })
	if staged { // the session that the login was to replace is not to outlive it
		return m.Logout(ctx)
	}
	m.forget(ctx, r)
	return nil
}

// RevokeOtherSessions ends all sessions of the current user but the current
// one, and says how many: what follows a change of password (ASVS 5.0, 7.4.3).
// It returns ErrNoSession if nobody is logged in, ErrSessionEnded if the current
// session has itself been ended, and ErrRevocationPending with the count.
func (m *Manager) RevokeOtherSessions(ctx context.Context) (int, error) {
	b := m.binding(ctx)
	if !b.authenticated() {
		return 0, ErrNoSession
	}
	by := ending{reason(ctx), m.actor(ctx)}
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	rows, err := m.index.endOthers(ctx, b.userID, b.id, by)
	if err != nil {
		return 0, m.wrap("RevokeOtherSessions", err)
	}
	n, err := m.deleteEnded(ctx, rows, by)
	return n, m.wrap("RevokeOtherSessions", err)
}

// RevokeAllSessions ends every session of a user, that of the context included,
// and says how many: what follows a stolen account or an employee's leaving
// (ASVS 5.0, 7.4.2 and 7.4.5). No session is no error. ErrRevocationPending
// comes with the count.
func (m *Manager) RevokeAllSessions(ctx context.Context, userID string) (int, error) {
	uid, err := m.index.d.userID(userID)
	if err != nil {
		return 0, err
	}
	by := ending{reason(ctx), m.actor(ctx)}
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	rows, err := m.index.endUser(wctx, uid, by)
	if err != nil {
		return 0, m.wrap("RevokeAllSessions", err)
	}
	n, err := m.deleteEnded(wctx, rows, by)
	return n, m.wrap("RevokeAllSessions", errors.Join(err, m.forgetAmong(ctx, rows)))
}

// ListEndedSessions returns the sessions of a user that have ended and whose rows
// are still kept, at most limit of them, the most recently ended first.
func (m *Manager) ListEndedSessions(ctx context.Context, userID string, limit int) ([]UserSession, error) {
	uid, err := m.index.d.userID(userID)
	if err != nil {
		return nil, err
	}
	if limit < 1 {
		return nil, fmt.Errorf("usersession: ListEndedSessions: the limit must be at least 1, is %d", limit)
	}
	ctx, cancel := context.WithTimeout(ctx, m.opts.ReadTimeout)
	defer cancel()
	rows, err := m.lists.listEnded(ctx, uid, limit)
	if err != nil {
		return nil, m.wrap("ListEndedSessions", err)
	}
	list := make([]UserSession, len(rows))
	for i, r := range rows {
		list[i] = r.session(m.opts.IdleTimeout, "")
	}
	return list, nil
}

// Sessions yields the sessions that f selects, across users, in the order of
// their IDs. It reads pages of bounded size as the loop goes on, holds nothing
// open in between, and stops after the first error. The zero Filter selects
// every live session.
func (m *Manager) Sessions(ctx context.Context, f Filter) iter.Seq2[UserSession, error] {
	return func(yield func(UserSession, error) bool) {
		current := m.currentID(ctx)
		sel, err := m.index.where(f, current)
		if err != nil {
			yield(UserSession{}, err)
			return
		}
		after, found := f.After, 0
		for {
			size := pageSize
			if f.Limit > 0 && sel.exact {
				size = min(size, f.Limit-found)
			}
			pctx, cancel := context.WithTimeout(ctx, m.opts.WriteTimeout)
			rows, err := m.lists.page(pctx, nil, sel, f.state(), after, size)
			cancel()
			if err != nil {
				yield(UserSession{}, m.wrap("Sessions", err))
				return
			}
			for _, r := range rows {
				after = r.ID
				s := r.session(m.opts.IdleTimeout, current)
				if !f.matches(s) {
					continue
				}
				if found++; !yield(s, nil) || found == f.Limit {
					return
				}
			}
			if len(rows) < size {
				return
			}
		}
	}
}

// CountSessions says how many sessions Sessions would yield. The database
// counts, in one statement that may read every row, except for networks that do
// not end at a dot or a colon of the address: those are read. With Filter.Limit
// it stops there, which is how to learn whether there are more than so many.
func (m *Manager) CountSessions(ctx context.Context, f Filter) (int, error) {
	sel, err := m.index.where(f, m.currentID(ctx))
	if err != nil {
		return 0, err
	}
	if !sel.exact {
		n := 0
		for _, err := range m.Sessions(ctx, f) {
			if err != nil {
				return 0, err
			}
			n++
		}
		return n, nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.opts.WriteTimeout)
	defer cancel()
	n, err := m.lists.count(ctx, sel, f.state(), f.After, f.Limit)
	return n, m.wrap("CountSessions", err)
}

// checkRevoking refuses filters that cannot be meant for revoking.
func checkRevoking(f Filter) error {
	if f.Ended {
		return errors.New("usersession: Filter.Ended: ended sessions cannot be revoked")
	}
	if f.Limit != 0 {
		return errors.New("usersession: Filter.Limit: cannot be used to revoke")
	}
	if !f.selective() {
		return ErrEmptyFilter
	}
	return nil
}

// endPage ends a page of the sessions that have not ended and that f selects. It
// returns them and where the next page begins; "" if there is none.
func (m *Manager) endPage(ctx context.Context, q querier, f Filter, sel selection, after string, by ending) (ended []endedRow, next string, err error) {
	rows, err := m.index.page(ctx, q, sel, endableSQL, after, pageSize)
	if err != nil {
		return nil, "", err
	}
	var ids, users []string
	for _, r := range rows {
		if f.matches(r.session(m.opts.IdleTimeout, "")) {
			ids, users = append(ids, r.ID), append(users, r.UserID.String)
		}
	}
	if len(rows) == pageSize {
		next = rows[pageSize-1].ID
	}
	cond, condArgs := m.index.amongUsers(users)
	ended, err = m.index.endIDs(ctx, q, ids, by, cond, condArgs...)
	return ended, next, err
}

// RevokeMatching ends the sessions that f selects, in batches, and says how
// many. An error comes with the count of those that were ended before it; asked
// again it goes on. A filter that selects nothing in particular is refused with
// ErrEmptyFilter: Filter{Everyone: true} means everyone.
func (m *Manager) RevokeMatching(ctx context.Context, f Filter) (int, error) {
	if err := checkRevoking(f); err != nil {
		return 0, err
	}
	sel, err := m.index.where(f, m.currentID(ctx))
	if err != nil {
		return 0, err
	}
	by := ending{reason(ctx), m.actor(ctx)}
	total, after := 0, f.After
	var pending error
	for {
		n, next, err := m.revokePage(ctx, f, sel, after, by)
		total += n
		if errors.Is(err, ErrRevocationPending) {
			pending, err = err, nil // the next batch is as urgent
		}
		if err == nil && next != "" {
			err = ctx.Err() // between batches a caller may give up
		}
		if err != nil || next == "" {
			return total, m.wrap("RevokeMatching", errors.Join(err, pending))
		}
		after = next
	}
}

func (m *Manager) revokePage(ctx context.Context, f Filter, sel selection, after string, by ending) (int, string, error) {
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	rows, next, err := m.endPage(wctx, nil, f, sel, after, by)
	if err != nil {
		return 0, "", err
	}
	n, err := m.deleteEnded(wctx, rows, by)
	return n, next, errors.Join(err, m.forgetAmong(ctx, rows))
}

// RevokeMatchingTx is RevokeMatching inside a transaction of the application, on
// the database of the index: "new password, and the other devices out, or
// neither". The sessions end when tx commits. Call finish after the commit: it
// deletes their data from the Store and returns ErrRevocationPending if it
// cannot. Until then a Store that is not verified on every request may still
// serve them. If finish is never called, the janitor does it; after a roll back it
// does nothing. tx may fail with a deadlock as any transaction may; nothing is
// retried inside it.
func (m *Manager) RevokeMatchingTx(ctx context.Context, tx *sqlx.Tx, f Filter) (finish func(context.Context) error, err error) {
	if err := checkRevoking(f); err != nil {
		return nil, err
	}
	if tx == nil {
		return nil, errors.New("usersession: RevokeMatchingTx: tx is nil")
	}
	sel, err := m.index.where(f, m.currentID(ctx))
	if err != nil {
		return nil, err
	}
	by := ending{reason(ctx), m.actor(ctx)}
	var all []endedRow
	for after, more := f.After, true; more; {
		rows, next, err := m.endPage(ctx, tx, f, sel, after, by)
		if err != nil {
			return nil, m.wrap("RevokeMatchingTx", err)
		}
		all = append(all, rows...)
		after, more = next, next != ""
	}
	return func(fctx context.Context) error {
		wctx, cancel := m.finishing(fctx)
		defer cancel()
		// What the transaction has not ended after all must not lose its data.
		rows, err := m.index.endedAmong(wctx, all)
		if err != nil {
			return m.wrap("RevokeMatchingTx", errors.Join(ErrRevocationPending, err))
		}
		_, err = m.deleteEnded(wctx, rows, by)
		return m.wrap("RevokeMatchingTx", errors.Join(err, m.forgetAmong(fctx, rows)))
	}, nil
}
