package usersession

import (
	"context"
	"errors"
	"strings"
	"time"
)

// This file orders the two sides, index and Store: what gives life is written to
// the index first and to the Store second; what ends life ends the row first
// and deletes the data second. The keys in the Store never outlive their row.

// finishing returns a context for what must not be cut in half when a client
// hangs up.
func (m *Manager) finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), m.opts.WriteTimeout)
}

// verified reports whether a session is checked against the index on every
// request.
func (m *Manager) verified() bool { return m.fused != nil || m.verify }

// find resolves a key to data that may be served, with the binding they carry.
// A nil binding means that there is no such session. peek leaves the session
// untouched: it is somebody else who looks.
func (m *Manager) find(ctx context.Context, key string, peek bool) ([]byte, *binding, error) {
	timeout := m.timeouts.with(ctx, m.opts.ReadTimeout)
	defer timeout.release()
	ctx = timeout
	var data []byte
	var row liveRow
	if m.fused != nil {
		found, r, ok, err := m.index.findLive(ctx, key)
		if err != nil || !ok {
			return nil, nil, err
		}
		data, row = found, r
	} else {
		found, ok, err := m.store.Find(ctx, key)
		if err != nil || !ok {
			return nil, nil, err
		}
		data = found
	}
	_, b := splitTrailer(data)
	if b == nil {
		return nil, nil, nil // not written by us: it says nothing about a user
	}
	if b.key != key {
		m.emit(ctx, Event{Kind: EventMisplaced, SessionID: b.id, UserID: b.userID})
		return nil, nil, nil
	}
	if !b.deadline.After(time.Now()) {
		m.discard(ctx, key)
		return nil, nil, nil
	}
	if b.authenticated() && m.verify {
		var err error
		if row, err = m.index.liveByKey(ctx, b); err != nil {
			return nil, nil, err
		}
	}
	ok, due := true, false
	switch {
	case b.authenticated() && m.verified():
		ok, due = row.accepts(b)
	case b.authenticated() || m.idleInStore():
		due = !peek && m.touches.due(key)
	}
	if ok && due && !peek && !m.queue.add(b) {
		ok = m.touchNow(ctx, b)
	}
	if !ok {
		m.refused(ctx, key)
		return nil, nil, nil
	}
	return data, b, nil
}

// refused deletes the data of a session that is over.
func (m *Manager) refused(ctx context.Context, key string) {
	if m.local == nil || !m.verified() { // else another Manager may keep its data in that table
		m.discard(ctx, key)
	}
}

// discard deletes the data of a key that nobody may have any more. Whether that
// works does not matter to who asked for it, and the janitor comes by.
func (m *Manager) discard(ctx context.Context, keys ...string) {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	if err := m.store.Delete(ctx, keys...); err != nil {
		m.opts.Logger.WarnContext(m.hide(ctx), "usersession: an ended session could not be deleted from the store yet", "error", err)
	}
}

// idleInStore reports whether the Store's expiry carries the idle timeout of
// anonymous sessions: only where moving it cannot undo a deletion.
func (m *Manager) idleInStore() bool { return m.opts.IdleTimeout > 0 && m.atomic }

// storeExpiry returns the expiry a session is stored with that was seen then.
func (m *Manager) storeExpiry(b *binding, seen time.Time) time.Time {
	inStore := m.idleInStore() && (!b.authenticated() || !m.verified())
	if idle := seen.Add(m.opts.IdleTimeout); inStore && idle.Before(b.deadline) {
		return idle
	}
	return b.deadline
}

// touchNow notes that a session was seen: in its row, and in the Store where
// that carries the idle timeout. The row comes first, so that a session that was
// ended is not given another hour. Only a certain no makes it false: a failure is
// counted, and the session is served.
func (m *Manager) touchNow(ctx context.Context, b *binding) bool {
	if !b.authenticated() {
		return m.touchData(ctx, b, time.Now())
	}
	ok, err := m.index.touch(ctx, b)
	if err != nil {
		m.touches.failed(b.key)
		m.emit(ctx, Event{Kind: EventTouchFailed, SessionID: b.id, UserID: b.userID, Err: err})
		return true
	}
	return ok && (m.verified() || m.opts.IdleTimeout <= 0 || m.touchData(ctx, b, time.Now()))
}

func (m *Manager) touchData(ctx context.Context, b *binding, seen time.Time) bool {
	ok, err := m.store.Touch(ctx, b.key, m.storeExpiry(b, seen))
	if err != nil {
		m.touches.failed(b.key)
		m.emit(ctx, Event{Kind: EventTouchFailed, SessionID: b.id, UserID: b.userID, Err: err})
		return true
	}
	return ok
}

// create stores the data of a new key.
func (m *Manager) create(ctx context.Context, key string, body []byte, b *binding) error {
	if !b.deadline.After(time.Now()) {
		return ErrSessionEnded
	}
	err := m.store.Create(ctx, key, appendTrailer(body, b), m.storeExpiry(b, time.Now()))
	if err == nil && !(b.authenticated() && m.verified()) { // else its row tells
		m.touches.note(key)
	}
	return err
}

// update stores changed data of a session that is there; now is its binding
// from here on, was the one until here.
func (m *Manager) update(ctx context.Context, key string, body []byte, was, now *binding) error {
	if !now.deadline.After(time.Now()) {
		// The program moved the deadline into the past: that ends a session.
		if err := m.endOwn(ctx, was, ending{ReasonExpired, was.userID}); err != nil {
			return err
		}
		return ErrSessionEnded
	}
	found, err := m.store.Update(ctx, key, appendTrailer(body, now))
	if err != nil {
		return err
	}
	if !found {
		m.emit(ctx, Event{Kind: EventEndedMeanwhile, SessionID: was.id, UserID: was.userID})
		return ErrSessionEnded
	}
	if now.authenticated() && now.deadline.Before(was.deadline) {
		return m.index.shorten(ctx, now)
	}
	return nil
}

// endKey ends the session of a key, if it is a user's, and deletes its data.
func (m *Manager) endKey(ctx context.Context, key string, by ending) (int, error) {
	rows, err := m.index.endKey(ctx, key, by)
	if err != nil {
		return 0, err
	}
	if len(rows) == 0 {
		return 0, m.store.Delete(ctx, key)
	}
	return m.deleteEnded(ctx, rows, by)
}

// deleteEnded deletes the data of rows that have ended, and says how many of
// them a list would have shown. If the Store cannot, the rows say so and the
// answer is ErrRevocationPending.
func (m *Manager) deleteEnded(ctx context.Context, rows []endedRow, by ending) (int, error) {
	n := 0
	for _, r := range rows {
		if r.Again == 0 {
			n += r.Listed
		}
	}
	if len(rows) == 0 {
		return 0, nil
	}
	err := m.store.Delete(ctx, keysOf(rows)...)
	for _, r := range rows {
		if r.Again != 0 {
			continue // whoever ended it has said so
		}
		m.emit(ctx, Event{Kind: EventEnded, SessionID: r.ID, UserID: r.UserID.String, Reason: by.reason, Actor: by.actor})
	}
	if err == nil {
		return n, nil
	}
	// The store may have used up the time that was there.
	pctx, cancel := m.finishing(ctx)
	defer cancel()
	err = errors.Join(ErrRevocationPending, err, m.index.pending(pctx, rows))
	m.emit(ctx, Event{Kind: EventRevocationPending, Count: len(rows), Actor: by.actor, Reason: by.reason, Err: err})
	return n, err
}

// renewal says what kind of renewal it is.
type renewal struct {
	authenticated bool   // the user has proved again who they are
	detached      bool   // the caller deleted the old key through scs before
	meta          string // the new metadata; "": as they are
}

// reason returns what the row says of the session meanwhile.
func (r renewal) reason() string {
	if r.detached {
		return ReasonLogout
	}
	return ""
}

// renew moves a session to another key: noted in the index, created in the
// Store, swapped in the index, and only then is the old one deleted. A request
// in flight on the old key finds nothing to update.
func (m *Manager) renew(ctx context.Context, from *binding, key string, body []byte, to *binding, how renewal) (*binding, error) {
	nb := *to
	nb.key = key
	if nb.authenticated() && (!from.authenticated() || from.id != nb.id) {
		// Another goroutine of the handler ended the session meanwhile. Data
		// of a user need a row, and this is not the way to one.
		return nil, m.endedMeanwhile(ctx, &nb)
	}
	if !from.authenticated() {
		return &nb, m.renewAnonymous(ctx, from, key, body, &nb)
	}
	ok, err := m.index.renewBegin(ctx, &nb, from.key, how)
	if err == nil && !ok {
		ok, err = m.takeOver(ctx, &nb, from.key, how)
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, m.endedMeanwhile(ctx, &nb)
	}
	if err := m.create(ctx, key, body, &nb); err != nil {
		m.discard(ctx, key) // the outcome of a failed Create is unknown
		return nil, err
	}
	ok, err = m.index.renewSwap(ctx, &nb, from.key, how)
	if err != nil {
		// Perhaps it was done and only the answer is lost. The browser keeps
		// the old token, so the row has to keep it too.
		m.renewBack(ctx, from, key)
		m.discard(ctx, key)
		return nil, err
	}
	if !ok {
		m.discard(ctx, key)
		return nil, m.endedMeanwhile(ctx, &nb)
	}
	if err := m.store.Delete(ctx, from.key); err != nil && !m.verified() {
		// The row does not speak on every request. A token from before the renewal must not stay good, so there is no
		// renewal: the browser keeps the one it has.
		m.renewBack(ctx, from, key)
		m.discard(ctx, key)
		return nil, err
	}
	return &nb, nil
}

// renewBack gives the row its old key back. The time of what failed may be used
// up, so it has its own.
func (m *Manager) renewBack(ctx context.Context, from *binding, key string) {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	if err := m.index.renewBack(ctx, from, key); err != nil {
		m.opts.Logger.WarnContext(m.hide(ctx), "usersession: a renewal that failed could not be undone; the session ends at its next touch", "error", err)
	}
}

// takeOver begins a renewal of a session that another one has begun to renew. Of
// two at once the later wins: the row forgets the former's key first, so that it
// cannot be swapped in any more, and then its data go. One that died in the
// middle leaves nothing behind.
func (m *Manager) takeOver(ctx context.Context, nb *binding, from string, how renewal) (bool, error) {
	row, err := m.index.byID(ctx, nb)
	if errors.Is(err, ErrSessionNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	abandoned, binding := strings.CutPrefix(row.OtherKey, bindingMark)
	if !binding || row.SessionKey != from || row.EndedAt != 0 || row.Reason != how.reason() {
		return false, nil
	}
	ok, err := m.index.renewTakeOver(ctx, nb, from, abandoned)
	if err != nil || !ok {
		return false, err
	}
	return true, m.store.Delete(ctx, abandoned)
}

// renewAnonymous moves a session without a row to another key.
func (m *Manager) renewAnonymous(ctx context.Context, from *binding, key string, body []byte, nb *binding) error {
	if from == nil || from.key == "" {
		return m.create(ctx, key, body, nb)
	}
	// Only a conditional update can tell whether a login in another tab has
	// ended it, in which case this response must not set a cookie.
	if err := m.update(ctx, from.key, body, from, from); err != nil {
		return err
	}
	if err := m.create(ctx, key, body, nb); err != nil {
		m.discard(ctx, key)
		return err
	}
	m.discard(ctx, from.key)
	return nil
}

func (m *Manager) endedMeanwhile(ctx context.Context, b *binding) error {
	m.emit(ctx, Event{Kind: EventEndedMeanwhile, SessionID: b.id, UserID: b.userID})
	return ErrSessionEnded
}

// commitStaged finishes a Login, a Reauthenticate or a RenewToken. The caller
// has locked r.
func (m *Manager) commitStaged(ctx context.Context, r *request, key string, body []byte, b *binding) error {
	s := r.staged
	r.staged = nil
	if !b.authenticated() && (s.binding.authenticated() || s.from.authenticated()) {
		return m.commitCleared(ctx, r, s, key, body, b)
	}
	if !s.login {
		nb, err := m.renew(ctx, s.from, key, body, minBinding(s.binding, b.deadline), renewal{s.authenticated, s.detached, s.meta})
		if err != nil {
			return err
		}
		r.loaded = nb
		if nb.authenticated() {
			kind := EventRenewed
			if s.authenticated {
				kind = EventReauthenticated
			}
			m.emit(ctx, Event{Kind: kind, SessionID: nb.id, UserID: nb.userID})
		}
		return nil
	}
	nb := minBinding(s.binding, b.deadline)
	nb.key = key
	err := m.commitLogin(ctx, s, nb, body)
	if err != nil {
		m.abort(ctx, s)
		m.emit(ctx, Event{Kind: EventLoginRefused, SessionID: nb.id, UserID: nb.userID, Err: err})
		return err
	}
	r.loaded = nb
	m.emit(ctx, Event{Kind: EventLogin, SessionID: nb.id, UserID: nb.userID})
	return nil
}

// commitCleared commits a session whose identity was cleared away, by Clear or
// Destroy of scs, after a login or a renewal was staged: neither happens, the
// former session ends, and what was put since is a new anonymous session's.
func (m *Manager) commitCleared(ctx context.Context, r *request, s *staged, key string, body []byte, b *binding) error {
	m.abort(ctx, s)
	if err := m.endOwn(ctx, s.from, ending{ReasonLogout, s.by.actor}); err != nil {
		return err
	}
	nb := m.anonymous(key, b.deadline)
	if err := m.create(ctx, key, body, nb); err != nil {
		return err
	}
	r.loaded = nb
	return nil
}

func (m *Manager) commitLogin(ctx context.Context, s *staged, nb *binding, body []byte) error {
	if nb.key != s.key { // RenewToken of scs after Login
		ok, err := m.index.rekey(ctx, nb, s.key)
		if err != nil {
			return err
		}
		if !ok {
			return ErrSessionEnded
		}
	}
	by := ending{ReasonReplaced, s.by.actor}
	ok, ended, err := m.createConfirmed(ctx, nb, body, s.from, by)
	// The row of the former session has ended, so its data go, whatever became
	// of the login. If they cannot, the row says so, and it is reported.
	m.deleteEnded(ctx, ended, by)
	if err != nil || !ok {
		m.discard(ctx, nb.key)
		if err == nil {
			err = ErrSessionEnded
		}
		return err
	}
	if len(ended) == 0 && s.from != nil {
		m.discard(ctx, s.from.key)
	}
	return nil
}

// createConfirmed stores the data of a login and confirms its row: in one statement
// where data and row are in one database that can, and nothing is replaced.
func (m *Manager) createConfirmed(ctx context.Context, b *binding, body []byte, from *binding, by ending) (ok bool, ended []endedRow, err error) {
	if m.fused != nil && m.index.d.name == Postgres && !from.authenticated() {
		if !b.deadline.After(time.Now()) {
			return false, nil, ErrSessionEnded
		}
		ok, err = m.index.confirmWithData(ctx, b, appendTrailer(body, b))
		return ok, nil, err
	}
	if err := m.create(ctx, b.key, body, b); err != nil {
		return false, nil, err
	}
	return m.index.confirm(ctx, b, from, by)
}

// abort ends the row of a login that will not be committed. If even that fails,
// its short deadline ends it.
func (m *Manager) abort(ctx context.Context, s *staged) {
	if s == nil || !s.login {
		return
	}
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	if _, err := m.index.endID(ctx, s.binding, ending{ReasonAborted, s.by.actor}); err != nil {
		m.opts.Logger.WarnContext(m.hide(ctx), "usersession: a login that was given up could not be ended yet", "error", err)
	}
}
