package usersession

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
)

// adapter presents a Store to scs. Whatever scs asks for passes here, also when
// people call scs directly, so this is where the index is kept right.
//
// scs holds its session lock while it calls: nothing here may call an scs
// method of the same session.
type adapter struct{ m *Manager }

var (
	_ scs.CtxStore         = (*adapter)(nil)
	_ scs.IterableCtxStore = (*adapter)(nil)
)

func (a *adapter) Find(token string) ([]byte, bool, error) {
	return a.FindCtx(context.Background(), token)
}

func (a *adapter) Commit(token string, data []byte, expiry time.Time) error {
	return a.CommitCtx(context.Background(), token, data, expiry)
}

func (a *adapter) Delete(token string) error {
	return a.DeleteCtx(context.Background(), token)
}

// FindCtx implements scs.CtxStore.
func (a *adapter) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	m := a.m
	key, handle := m.keyOfHandle(token)
	switch {
	case handle && ctx.Value(handleKey{m}) != token:
		return nil, false, nil
	case !handle && !validToken(token):
		return nil, false, nil // no I/O for what cannot be a token
	case !handle:
		key = keyOf(token)
	}
	data, b, err := m.find(ctx, key, handle)
	if err != nil || b == nil {
		return nil, false, err
	}
	if ctx.Value(m.scsKey) != nil {
		// There is a session already, so this is MergeSession: it gets the
		// values and never the identity. Without any trailer the values
		// themselves, which a client may have chosen, would be taken for one.
		body, b := splitTrailer(data)
		return appendTrailer(body, &binding{deadline: b.deadline}), true, nil
	}
	if r := m.request(ctx); r != nil {
		r.do(func() { r.loaded = b })
	}
	return data, true, nil
}

// errCleared is returned by a commit whose values have lost the identity of the
// session: by Clear, which in scs logs nobody in and nobody out. The session
// has been ended.
var errCleared = &clearedError{}

type clearedError struct{}

func (*clearedError) Error() string { return ErrSessionEnded.Error() + ": its values were cleared" }
func (*clearedError) Unwrap() error { return ErrSessionEnded }

// CommitCtx implements scs.CtxStore.
func (a *adapter) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	m := a.m
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	body, b := splitTrailer(data)
	if b == nil {
		return errors.New("usersession: the Codec of the scs manager was replaced after New")
	}
	was := b
	b = minBinding(b, expiry)
	if key, ok := m.keyOfHandle(token); ok {
		return m.commitOther(ctx, key, body, was, b)
	}
	key := keyOf(token)
	r := m.request(ctx)
	if r == nil {
		return m.commitByHand(ctx, key, body, was, b)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return m.commitRequest(ctx, r, key, body, b)
}

// commitRequest commits the data of a request this Manager has loaded.
func (m *Manager) commitRequest(ctx context.Context, r *request, key string, body []byte, b *binding) error {
	own := r.loaded
	switch {
	case r.gone:
		return m.endedMeanwhile(ctx, b)
	case key == r.dead:
		return errCleared
	case r.staged != nil:
		return m.commitStaged(ctx, r, key, body, b)
	case own != nil && own.key == key && own.authenticated() && !b.authenticated():
		if err := m.endOwn(ctx, own, ending{ReasonLogout, own.userID}); err != nil {
			return err
		}
		r.loaded, r.dead = nil, key
		return errCleared
	case own != nil && own.key == key:
		nb := *own // whose session it is is known from its own loading only
		if b.deadline.Before(nb.deadline) {
			nb.deadline = b.deadline
		}
		if err := m.update(ctx, key, body, own, &nb); err != nil {
			return err
		}
		r.loaded = &nb
		return nil
	case r.detached.authenticated() && b.authenticated() && b.id == r.detached.id:
		nb, err := m.renew(ctx, r.detached, key, body, minBinding(r.detached, b.deadline), renewal{detached: true})
		if err != nil {
			return err
		}
		r.loaded, r.detached = nb, nil
		return nil
	case b.authenticated():
		return m.endedMeanwhile(ctx, b) // not a session of this request
	}
	nb := m.anonymous(key, b.deadline)
	if err := m.create(ctx, key, body, nb); err != nil {
		return err
	}
	r.loaded = nb
	return nil
}

// anonymous returns the binding of a new anonymous session. SetDeadline of scs
// may shorten its lifetime and never lengthens it.
func (m *Manager) anonymous(key string, deadline time.Time) *binding {
	return minBinding(&binding{key: key, deadline: now().Add(m.opts.Lifetime)}, deadline)
}

// minBinding returns b with a deadline that is not later than the given one.
func minBinding(b *binding, deadline time.Time) *binding {
	nb := *b
	if deadline.Before(nb.deadline) {
		nb.deadline = deadline
	}
	return &nb
}

// commitOther commits the data of a session that Iterate or WithSession opened:
// an update or nothing.
func (m *Manager) commitOther(ctx context.Context, key string, body []byte, was, b *binding) error {
	if b.key != key {
		if err := m.endOther(ctx, key); err != nil {
			return err
		}
		return errCleared
	}
	return m.update(ctx, key, body, was, b)
}

// endOther ends a session that Iterate or WithSession opened under a key.
func (m *Manager) endOther(ctx context.Context, key string) error {
	by := ending{ReasonLogout, explicitActor(ctx)}
	if r := m.request(ctx); r != nil {
		return m.endOwn(ctx, m.loaded(r), by) // by its ID: its token may be another by now
	}
	_, found, err := m.store.Find(ctx, key)
	if err != nil {
		return err
	}
	if !found {
		return ErrSessionEnded // or it has another key by now, which only its row knows
	}
	_, err = m.endKey(ctx, key, by)
	return err
}

// commitByHand commits data whose loading this Manager has not seen: somebody
// called Load and Commit of the embedded scs manager. What the request would
// know, the index must tell.
func (m *Manager) commitByHand(ctx context.Context, key string, body []byte, was, b *binding) error {
	switch {
	case b.key == key:
		return m.update(ctx, key, body, was, b)
	case b.authenticated():
		row, err := m.index.byID(ctx, b)
		switch {
		case errors.Is(err, ErrSessionNotFound):
			return ErrSessionEnded
		case err != nil:
			return err
		case row.SessionKey == key:
			nb := *b
			nb.key = key
			return m.update(ctx, key, body, was, &nb)
		case row.EndedAt != 0 || !m.detachedByHand.take(handDetach{ctx.Value(m.scsKey), row.SessionKey}):
			return m.endedMeanwhile(ctx, b)
		}
		from := *b
		from.key = row.SessionKey // not that of the binding, if this is not the first renewal
		_, err = m.renew(ctx, &from, key, body, b, renewal{detached: true})
		return err
	}
	// A new session, or one whose identity was cleared away.
	_, err := m.index.byKey(ctx, key)
	switch {
	case err == nil:
		if _, err := m.endKey(ctx, key, ending{ReasonLogout, ""}); err != nil {
			return err
		}
		return errCleared
	case !errors.Is(err, ErrSessionNotFound):
		return err
	}
	nb := m.anonymous(key, b.deadline)
	err = m.create(ctx, key, body, nb)
	if errors.Is(err, ErrKeyExists) { // committed by hand before
		return m.update(ctx, key, body, nb, nb)
	}
	return err
}

// DeleteCtx implements scs.CtxStore. scs calls it from Destroy, from RenewToken
// and from MergeSession, and does not say from which.
func (a *adapter) DeleteCtx(ctx context.Context, token string) error {
	m := a.m
	if token == "" {
		return nil
	}
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	if key, ok := m.keyOfHandle(token); ok {
		return m.endOther(ctx, key)
	}
	if !validToken(token) {
		return nil
	}
	key := keyOf(token)
	r := m.request(ctx)
	if r == nil {
		detached, err := m.detach(ctx, key)
		if detached {
			m.detachedByHand.note(handDetach{ctx.Value(m.scsKey), key})
		}
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.keep:
		return nil
	case r.renewing == deletingOld:
		r.renewing = renewed
		return nil
	case r.staged != nil && (key == r.staged.key || r.loaded != nil && key == r.loaded.key):
		// Nothing of the new session is in the Store yet. Whether it gets yet
		// another token or is given up shows at the commit.
		return nil
	}
	destroyed := r.renewing == renewed && r.loaded != nil
	if destroyed {
		// Destroy from another goroutine of the handler, in the middle of a
		// Login or renewal: it means the session there is.
		key = r.loaded.key
	}
	own := r.loaded != nil && r.loaded.key == key
	if own && !r.loaded.authenticated() {
		// An anonymous session has no row that would tell whether a login in
		// another tab has ended it.
		_, found, err := m.store.Find(ctx, key)
		if err != nil {
			return err
		}
		r.gone = !found
	}
	detached, err := m.detach(ctx, key)
	if err != nil {
		return err
	}
	if own {
		r.gone = r.gone || destroyed || r.loaded.authenticated() && !detached
		r.detached, r.loaded = r.loaded, nil
	}
	return nil
}

// detach deletes a key for scs: first the row loses its life, then the data go.
// It reports whether this call was the one that took it.
func (m *Manager) detach(ctx context.Context, key string) (bool, error) {
	detached, err := m.index.detach(ctx, key)
	if err != nil {
		return false, err
	}
	return detached, m.store.Delete(ctx, key)
}

// handLog remembers which sessions, loaded and changed by hand without a
// request of ours, were detached by whom: scs's own session data tell one
// caller from another. What is not committed within the grace of a login is
// forgotten, and the janitor ends it.
type handLog struct {
	mu sync.Mutex
	at map[handDetach]time.Time
}

// handDetach is one caller and the key it deleted.
type handDetach struct {
	session any
	key     string
}

func (l *handLog) note(d handDetach) {
	if d.session == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == nil {
		l.at = make(map[handDetach]time.Time)
	}
	for s, at := range l.at {
		if time.Since(at) > loginGrace {
			delete(l.at, s)
		}
	}
	l.at[d] = time.Now()
}

func (l *handLog) take(d handDetach) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.at[d]
	delete(l.at, d)
	return ok
}

// AllCtx implements scs.IterableCtxStore. The tokens of the map are handles:
// inside Iterate they stand for the session, and for nothing elsewhere.
func (a *adapter) AllCtx(ctx context.Context) (map[string][]byte, error) {
	all := make(map[string][]byte)
	for key, err := range Keys(ctx, a.m.store) {
		if err != nil {
			return nil, err
		}
		data, b, err := a.m.find(ctx, key, true)
		if err != nil {
			return nil, err
		}
		if b != nil {
			all[a.m.handle(key)] = data
		}
	}
	return all, nil
}
