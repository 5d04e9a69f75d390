package usersession

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/internal/token"
)

// RevokeSession ends one session of a user. Once it has returned nil, no
// request is served by that session, on any replica, and no request in flight
// brings it back. Revoking the session of the context is a logout.
// RevokeSession returns ErrSessionNotFound for an unknown ID and for one of
// somebody else. If it returns ErrRevocationPending, call it again to retry the
// deletion.
func (m *Manager) RevokeSession(ctx context.Context, userID, id string) (result error) {
	defer m.operation(ctx, OperationRevoke, &result)()
	uid, err := checkUserID(m.index, userID)
	if err != nil {
		return err
	}
	if !token.ValidID(id) {
		return ErrSessionNotFound
	}
	by := index.Ending{Reason: reason(ctx), Actor: m.actor(ctx)}
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	rows, err := m.index.EndOne(wctx, uid, id, by)
	if err == nil && len(rows) == 0 {
		return ErrSessionNotFound
	}
	if err == nil {
		_, err = m.deleteEnded(wctx, rows, by)
		err = errors.Join(err, m.forgetAmong(ctx, rows))
	}
	if err == nil && rows[0].Again == index.EndedBefore {
		return ErrSessionNotFound // it had ended; now its data are certainly gone
	}
	return wrap("RevokeSession", err)
}

// forgetAmong logs the context out if its session is among the ended.
func (m *Manager) forgetAmong(ctx context.Context, rows []index.EndedRow) error {
	current, r := m.currentID(ctx), m.request(ctx)
	if current == "" || r == nil || r.other {
		return nil
	}
	if !slices.ContainsFunc(rows, func(row index.EndedRow) bool { return row.ID == current }) {
		return nil
	}
	if m.stagedLogin(ctx) != "" { // the session that the login was to replace is not to outlive it
		return m.Logout(ctx)
	}
	m.forget(ctx, r)
	return nil
}

// stagedLogin returns the ID of the session that the context's request is to log in
// with its commit; "" if there is none.
func (m *Manager) stagedLogin(ctx context.Context) (id string) {
	if r := m.request(ctx); r != nil {
		r.do(func() {
			if r.staged != nil && r.staged.login {
				id = r.staged.binding.ID
			}
		})
	}
	return id
}

// RevokeOtherSessions ends all sessions of the current user but the current
// one, and returns how many. Call it after a change of password (ASVS 5.0,
// 7.4.3). It returns ErrNoSession if nobody is logged in, and ErrSessionEnded
// if the current session has itself been ended. ErrRevocationPending comes with
// the count. It works as RevokeAllSessions does, and its pages on PostgreSQL are of 500
// sessions with any Store. After Impersonate it returns ErrImpersonated.
func (m *Manager) RevokeOtherSessions(ctx context.Context) (_ int, result error) {
	defer m.operation(ctx, OperationRevoke, &result)()
	b := m.binding(ctx)
	if !b.Authenticated() {
		return 0, ErrNoSession
	}
	if b.Impersonated() {
		return 0, wrap("RevokeOtherSessions", ErrImpersonated) // it would end the user's, and be left
	}
	by := index.Ending{Reason: reason(ctx), Actor: m.actor(ctx)}.InPages()
	fenced := m.raise(ctx, nil, false, b.UserID)
	n, err := m.endPages(ctx, by, func(ctx context.Context, from index.Place) ([]index.EndedRow, *index.Place, error) {
		rows, next, live, err := m.index.EndOthers(ctx, b.UserID, b.ID, from, by)
		if err == nil && !live {
			err = ErrSessionEnded
		}
		return rows, next, err
	})
	return n, wrap("RevokeOtherSessions", withFence(err, fenced))
}

// RevokeAllSessions ends every session of a user, that of the context included,
// and returns how many. Call it when an account is compromised or closed (ASVS
// 5.0, 7.4.2 and 7.4.5). If the user has no sessions, it returns 0 and no
// error. ErrRevocationPending comes with the count.
//
// It works in pages until none is left, each within Options.WriteTimeout. On PostgreSQL
// they are of 500 sessions, or of 2,000 with the default Store and an index that is not
// partitioned, and on SQLite and MariaDB of 50. If the Store cannot delete the data of a
// page, the next ones are ended all the same. Any other error stops it, and comes with
// the count of the sessions that were ended before. Call it again to go on.
func (m *Manager) RevokeAllSessions(ctx context.Context, userID string) (int, error) {
	uid, err := checkUserID(m.index, userID)
	if err != nil {
		return 0, err
	}
	n, err := m.revokeAll(ctx, uid, false)
	return n, wrap("RevokeAllSessions", err)
}

// revokeAll is RevokeAllSessions for a user ID that was checked. It also refuses
// logins, if disabled says so.
func (m *Manager) revokeAll(ctx context.Context, uid string, disabled bool) (total int, result error) {
	defer m.operation(ctx, OperationRevoke, &result)()
	by := index.Ending{Reason: reason(ctx), Actor: m.actor(ctx)}.InPages()
	together := m.data.voucher == vouchedByBoth
	fence := index.Raise{ID: index.NewFenceID(), Users: []string{uid}, Disabled: disabled, Lazily: together && m.opts.Index.Dialect == DialectPostgres}
	for {
		kept := false
		fenced := m.raiseFence(ctx, nil, fence)
		n, err := m.endPages(ctx, by, func(ctx context.Context, from index.Place) (rows []index.EndedRow, next *index.Place, err error) {
			if !together {
				return m.index.EndUser(ctx, uid, from, by)
			}
			rows, next, there, err := m.index.EndUserWithData(ctx, uid, from, by, fence.ID)
			kept = kept || there
			return rows, next, err
		})
		total += n
		if !fence.Lazily || kept || err != nil || fenced != nil {
			return total, withFence(err, fenced)
		}
		fence.Lazily = false // it may not be on disk, so again, and whoever has logged in since
	}
}

// withFence adds to the error of a revocation that of its fence. Without the fence the
// sessions end all the same.
func withFence(err, fenced error) error {
	if fenced == nil {
		return err // bare, if it has a name
	}
	return errors.Join(fenced, err)
}

// rest is between two pages. SQLite has one writer, and those who wait for it look from
// time to time, so that they would not get a turn. So they have as long as the page
// took, which is short there. On MariaDB a page also leaves work behind, for the threads
// that purge and flush, so there it is twice as long. PostgreSQL needs none of this.
func (m *Manager) rest(began time.Time) {
	took := min(time.Since(began), 100*time.Millisecond)
	switch m.opts.Index.Dialect {
	case DialectSQLite:
		time.Sleep(took)
	case DialectMariaDB:
		time.Sleep(2 * took)
	}
}

// endPages ends the pages of a user's sessions, one after the other. A client that
// hangs up does not stop it.
func (m *Manager) endPages(ctx context.Context, by index.Ending, end func(context.Context, index.Place) ([]index.EndedRow, *index.Place, error)) (total int, err error) {
	var pending error
	page := func(from index.Place) (next *index.Place, err error) {
		wctx, cancel := m.finishing(ctx)
		defer cancel()
		rows, next, err := end(wctx, from)
		derr := m.deletePage(wctx, rows, by, pending)
		total += index.NewlyEnded(rows)
		if derr = errors.Join(derr, m.forgetAmong(ctx, rows)); derr != nil {
			pending = derr // the next page is as urgent
		}
		return next, err
	}
	for next := new(index.Place); ; {
		began := time.Now()
		if next, err = page(*next); err != nil || next == nil {
			break
		}
		if err = inside.Interrupted(ctx); err != nil {
			break
		}
		m.rest(began)
	}
	if pending == nil {
		return total, err // bare, if it has a name
	}
	return total, errors.Join(err, pending)
}

// deletePage is deleteEnded for one page of many. A Store that has failed before, if
// pending says so, is not asked again: one that hangs would cost each page its time.
func (m *Manager) deletePage(ctx context.Context, rows []index.EndedRow, by index.Ending, pending error) error {
	if pending == nil || len(rows) == 0 || errors.Is(pending, errElsewhere) || errors.Is(pending, errUntold) {
		_, err := m.deleteEnded(ctx, rows, by)
		return err
	}
	dropped := m.dropEnded(ctx, rows)
	m.emitEnded(ctx, rows, by)
	err := dropped()
	if err != nil {
		err = errors.Join(ErrRevocationPending, errUntold, err)
	}
	if rows = index.WithData(rows); len(rows) > 0 {
		err = errors.Join(m.leavePending(ctx, rows, by, nil), err)
	}
	return err
}

// checkRevoking refuses filters that cannot be meant for revoking.
func checkRevoking(f Filter) error {
	if f.Ended {
		return errors.New("usersession: Filter.Ended: ended sessions cannot be revoked")
	}
	if !f.selective() {
		return ErrEmptyFilter
	}
	return nil
}

// RevokeMatching ends the sessions that f selects, in batches, and returns how
// many. On error it returns the number ended so far. Calling it again ends the
// rest. A filter that selects nothing in particular is refused with
// ErrEmptyFilter. To mean everyone, set Filter.Everyone.
func (m *Manager) RevokeMatching(ctx context.Context, f Filter) (_ int, result error) {
	defer m.operation(ctx, OperationRevoke, &result)()
	if err := checkRevoking(f); err != nil {
		return 0, err
	}
	sel, err := f.where(m.index, m.currentID(ctx))
	if err != nil {
		return 0, err
	}
	by := index.Ending{Reason: reason(ctx), Actor: m.actor(ctx)}
	total, after := 0, ""
	fenced := m.raiseFor(ctx, nil, f)
	var pending error
	for {
		began := time.Now()
		n, next, err := m.revokePage(ctx, sel, after, by)
		total += n
		if errors.Is(err, ErrRevocationPending) {
			pending, err = err, nil // the next batch is as urgent
		}
		if err == nil && next != "" {
			err = ctx.Err() // between batches a caller may give up
		}
		if err != nil || next == "" {
			return total, wrap("RevokeMatching", withFence(errors.Join(err, pending), fenced))
		}
		after = next
		m.rest(began)
	}
}

func (m *Manager) revokePage(ctx context.Context, sel *index.Selection, after string, by index.Ending) (int, string, error) {
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	rows, next, err := m.index.EndPage(wctx, sel, after, by)
	if err != nil {
		return 0, "", err
	}
	n, err := m.deleteEnded(wctx, rows, by)
	return n, next, errors.Join(err, m.forgetAmong(ctx, rows))
}
