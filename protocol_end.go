package usersession

import (
	"context"
	"errors"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/decide"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/lease"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// The files protocol_*.go order the two sides, index and Store: what gives life is
// written to the index first and to the Store second; what ends life ends the row
// first and deletes the data second. The keys in the Store never outlive their row.

// endOwn ends the session of a request.
func (m *Manager) endOwn(ctx context.Context, own *trailer.Binding, by index.Ending) error {
	if own == nil {
		return nil
	}
	if !own.Authenticated() {
		return m.data.store.Delete(ctx, own.Key)
	}
	rows, err := m.index.EndID(ctx, own, by)
	if err != nil {
		// The row stands; without its data the session is not accepted
		// either, if that much works.
		return errors.Join(err, m.data.store.Delete(ctx, own.Key))
	}
	if len(rows) == 0 {
		return m.data.store.Delete(ctx, own.Key)
	}
	_, err = m.deleteEnded(ctx, rows, by)
	return err
}

// deleteEnded deletes the data of rows that have ended, and says how many of them a list
// would have shown. No replica serves them from memory then. If the Store cannot, or the
// data are in another one, the rows say so and the answer is ErrRevocationPending. If a
// replica cannot be told, that is the answer, too, and the next call tells it: the rows
// are left as they are, so that it finds them.
func (m *Manager) deleteEnded(ctx context.Context, rows []index.EndedRow, by index.Ending) (int, error) {
	dropped := m.dropEnded(ctx, rows) // replicas hear it while the data are deleted
	n, err := m.deleteData(ctx, rows, by)
	if held := dropped(); held != nil {
		held = errors.Join(ErrRevocationPending, errUntold, held)
		m.emit(ctx, Event{Kind: EventRevocationPending, Count: len(rows), Actor: by.Actor, Reason: by.Reason, Err: held})
		err = errors.Join(err, held)
	}
	return n, err
}

// deleteExpired is deleteEnded for rows that no replica has in memory, because their time
// is over.
func (m *Manager) deleteExpired(ctx context.Context, rows []index.EndedRow, by index.Ending) (int, error) {
	m.tellEnded(ctx, rows)
	return m.deleteData(ctx, rows, by)
}

func (m *Manager) deleteData(ctx context.Context, rows []index.EndedRow, by index.Ending) (int, error) {
	if len(rows) == 0 {
		return 0, nil
	}
	n, left := index.NewlyEnded(rows), index.WithData(rows)
	other := m.elsewhere(ctx, left) // before they are deleted
	var err error
	if len(left) > 0 {
		err = m.data.store.Delete(ctx, index.Keys(left)...)
	}
	m.emitEnded(ctx, rows, by)
	if err != nil {
		return n, m.leavePending(ctx, left, by, err)
	}
	if len(other) > 0 {
		err = m.leavePending(ctx, other, by, errElsewhere)
	}
	return n, err
}

// elsewhere returns those of some ended rows whose data are in another Store. What the
// Store has, though the row names another address, is not.
func (m *Manager) elsewhere(ctx context.Context, rows []index.EndedRow) (other []index.EndedRow) {
	var failed error
	for _, r := range m.data.elsewhere(rows) {
		found := false
		for _, key := range index.Keys([]index.EndedRow{r}) {
			if m.data.name.MayBe(r.Place) && !found && failed == nil {
				_, found, failed = m.data.store.Find(ctx, key)
			}
		}
		if !found {
			other = append(other, r)
		}
	}
	return other
}

func (m *Manager) emitEnded(ctx context.Context, rows []index.EndedRow, by index.Ending) {
	for _, r := range rows {
		if r.Again != 0 {
			continue // whoever ended it has said so
		}
		m.emit(ctx, Event{Kind: EventEnded, SessionID: r.ID, UserID: r.UserID.String, Reason: by.Reason, Actor: by.Actor})
	}
}

// tellEnded ends what watches the sessions of ended rows, here at once and on other
// replicas soon.
func (m *Manager) tellEnded(ctx context.Context, rows []index.EndedRow) {
	m.unwatch(ctx, rows)
	m.watches.Send(index.IDs(rows))
}

// unwatch ends what watches the sessions of ended rows here. The request that has ended its
// own goes on.
func (m *Manager) unwatch(ctx context.Context, rows []index.EndedRow) {
	r, _ := ctx.Value(requestKey{m.id}).(*request) // it may be locked
	ids := make([]string, len(rows))
	for i, row := range rows {
		if ids[i] = row.ID; r != nil && r.watched.Is(row.ID) {
			r.watched.Leave()
		}
	}
	m.watches.End(ids)
}

// dropEverywhere waits until no replica serves sessions from memory, by their IDs or keys.
// Their rows must have been written, by whoever ends them or moves them to another key. It
// may take as long as the lease of a replica that is dead.
func (m *Manager) dropEverywhere(ctx context.Context, unleased time.Time, names ...string) error {
	return m.beginDrop(ctx, unleased, names, nil)()
}

// beginDrop is dropEverywhere that waits only when what it returns is called, which must be.
// ended are the IDs of sessions for those who watch them on other replicas, who are hinted
// with the same message.
func (m *Manager) beginDrop(ctx context.Context, unleased time.Time, names, ended []string) (dropped func() error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease.MaxLength+m.opts.WriteTimeout)
	telling, err := m.leases.Tell(ctx, names, unleased)
	if hint := telling.Hint(); hint != "" {
		ended = append([]string{hint}, ended...) // first: of many IDs the last may get lost
	}
	m.watches.Send(ended)
	return func() error {
		defer cancel()
		if err != nil {
			return err
		}
		return telling.Wait(ctx)
	}
}

// dropEnded is tellEnded and beginDrop of the sessions of ended rows.
func (m *Manager) dropEnded(ctx context.Context, rows []index.EndedRow) (dropped func() error) {
	if len(rows) == 0 {
		return func() error { return nil }
	}
	m.unwatch(ctx, rows)
	ids := index.IDs(rows)
	return m.beginDrop(ctx, index.Unleased(rows), ids, ids)
}

// leavePending notes that the data of rows that have ended are still to be deleted,
// and returns ErrRevocationPending with the reason.
func (m *Manager) leavePending(ctx context.Context, rows []index.EndedRow, by index.Ending, why error) error {
	// The store may have used up the time that was there.
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	err := errors.Join(ErrRevocationPending, why, m.index.Pending(ctx, rows))
	m.emit(ctx, Event{Kind: EventRevocationPending, Count: len(rows), Actor: by.Actor, Reason: by.Reason, Err: err})
	return err
}

// detach deletes a key for scs: first the row loses its life, then the data go.
// It reports whether this call was the one that took it.
func (m *Manager) detach(ctx context.Context, key string) (bool, error) {
	detached, unleased, err := m.index.Detach(ctx, key, ReasonLogout)
	if err != nil {
		return false, err
	}
	if !detached {
		return false, m.data.store.Delete(ctx, key)
	}
	dropped := m.beginDrop(ctx, unleased, []string{key}, nil)
	err = m.data.store.Delete(ctx, key)
	return true, errors.Join(err, dropped())
}

// abort ends the row of a login that will not be committed. If even that fails,
// its short deadline ends it.
func (m *Manager) abort(ctx context.Context, s *staged) {
	if s == nil || !s.login {
		return
	}
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	if _, err := m.index.EndID(ctx, s.binding, index.Ending{Reason: ReasonAborted, Actor: s.actor}); err != nil {
		m.opts.Logger.WarnContext(m.hide(ctx), "usersession: a login that was given up could not be ended yet", "error", err)
	}
}

// giveUpStaged ends a login that Destroy or Clear of scs has taken back: there is
// nothing to commit.
func (m *Manager) giveUpStaged(ctx context.Context, r *request) error {
	var s *staged
	r.do(func() { s = r.unstage() })
	if s == nil {
		return nil
	}
	m.abort(ctx, s)
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	return m.endOwn(ctx, s.from, index.Ending{Reason: ReasonLogout, Actor: s.actor})
}

func (m *Manager) endedMeanwhile(ctx context.Context, b *trailer.Binding) error {
	m.emitOf(ctx, EventEndedMeanwhile, b, nil)
	return ErrSessionEnded
}

// forget makes the context's session a new empty one and clears the cookie.
// Nothing is deleted: the caller has seen to that.
func (m *Manager) forget(ctx context.Context, r *request) {
	if r.memory != nil {
		r.memory.skip()
	}
	m.SessionManager.Destroy(context.WithValue(ctx, askerKey{m.id}, decide.Forget)) // cannot fail: it is not to delete
	r.do(func() {
		r.forget()
		r.loggedOut = true
	})
}
