package usersession

import (
	"context"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/decide"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/timeout"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Load is Load of scs. It returns a context with the session of token, or with
// an empty new one. Programs without LoadAndSave pair it with Commit. A
// malformed token is treated as unknown. Session data that the codec cannot
// read are kept, and the context gets an empty session. What ends or replaces that
// session ends the one that could not be read.
func (m *Manager) Load(ctx context.Context, token string) (context.Context, error) {
	if ctx.Value(m.scsKey) != nil {
		return ctx, nil
	}
	r := &request{began: time.Now()}
	loaded, err := m.load(ctx, token, r)
	if err == nil {
		m.tellReuse(loaded, r)
	}
	return loaded, err
}

func (m *Manager) load(ctx context.Context, tok string, r *request) (context.Context, error) {
	ctx = context.WithValue(ctx, requestKey{m.id}, r)
	loaded, err := m.SessionManager.Load(ctx, tok)
	if err != nil {
		b := r.loaded()
		if b == nil {
			return nil, err
		}
		// The Store answered, so it is the codec: a value whose type this
		// program does not know, in the middle of a deployment perhaps.
		m.emitOf(ctx, EventUnreadable, b, err)
		r.do(func() { r.standing = decide.Unreadable })
		loaded, err = m.SessionManager.Load(ctx, "")
	}
	if err != nil {
		return nil, err
	}
	r.do(func() {
		r.session = loaded.Value(m.scsKey)
		if r.own != nil {
			r.refused = nil
		} else if token.Valid(tok) {
			r.refused = append(r.refused, token.Key(tok))
		}
	})
	return loaded, nil
}

// find resolves a key to data that may be served, with the binding they carry.
// A nil binding means that there is no such session. peek leaves the session
// untouched: it is somebody else who looks.
func (m *Manager) find(ctx context.Context, key string, peek bool) ([]byte, *trailer.Binding, error) {
	limited := timeout.New(ctx, m.opts.ReadTimeout)
	defer limited.Release()
	ctx = limited
	var data []byte
	var at string // where a Manager with Options.Adopt has found them
	var row index.LiveRow
	if m.data.voucher == vouchedByBoth {
		found, r, ok, err := m.index.FindLive(ctx, key)
		if err != nil || !ok {
			return nil, nil, m.notFound(ctx, key, peek, err)
		}
		data, row = found, r
	} else {
		found, where, ok, err := m.locate(ctx, key)
		if err != nil || !ok {
			return nil, nil, m.notFound(ctx, key, peek, err)
		}
		data, at = found, where
	}
	_, b := trailer.Split(data)
	if b == nil && m.adopting != nil {
		var how adoption
		var err error
		if data, b, how, err = m.adopt(ctx, key, data, peek); err == nil && b != nil && m.use(ctx, peek) == decide.InUse && m.touches.Due(key) {
			err = m.keepOld(ctx, b, how, data)
		}
		if err != nil || b == nil {
			return nil, nil, err
		}
	}
	if b != nil && b.Key != key {
		m.emit(ctx, Event{Kind: EventMisplaced, SessionID: b.ID, UserID: b.UserID})
	}
	if b == nil || b.Key != key { // it says nothing about a user
		if !peek {
			m.lost(ctx, key, data, true)
		}
		return nil, nil, nil
	}
	if !b.Deadline.After(time.Now()) {
		m.discardOnce(ctx, key)
		return nil, nil, nil
	}
	if b.Authenticated() && !m.index.IsUserID(b.UserID) {
		m.unlisted(ctx, b)
		return nil, nil, nil
	}
	data, err := m.seal.Open(data, b)
	if err != nil {
		if !peek {
			m.notOpened(ctx, b, err)
		}
		return nil, nil, nil
	}
	if b.Authenticated() && m.data.voucher == vouchedByRow {
		if row, err = m.index.LiveByKey(ctx, b); err != nil {
			return nil, nil, err
		}
	}
	if b.Authenticated() && !m.data.verified() && m.strangers.Noted(key) && !m.listedAgain(ctx, b) {
		return nil, nil, nil
	}
	ok, due := true, false
	if m.data.rowTells(b) {
		ok, due = row.Accepts(b)
	}
	if ok && b.Authenticated() && m.prove != nil && !peek && !m.onDevice(ctx, b, row.Device) {
		return nil, nil, nil
	}
	q := decide.Loading{Use: m.use(ctx, peek), User: b.Authenticated(), RowRead: m.data.rowTells(b), Idle: m.data.idleInStore(b)}
	switch q.Decide() {
	case decide.NotSeen:
		due = false
	case decide.TouchWhenDue:
		due = m.touches.Due(key)
	case decide.LookWhenDue:
		ok = !m.looks.Due(key) || m.look(ctx, b)
	}
	if ok && due {
		r, _ := ctx.Value(requestKey{m.id}).(*request)
		if by := m.usedBy(r); !m.queue.Add(b, by) {
			ok = m.touchNow(ctx, b, by)
		}
	}
	if !ok {
		r, _ := ctx.Value(requestKey{m.id}).(*request)
		if m.refused(ctx, b, m.data.rowTells(b) && row.Of(b)) && r != nil && !peek && ctx.Value(m.scsKey) == nil {
			r.do(func() { r.renewing = append(r.renewing, b) })
		}
		return nil, nil, nil
	}
	if m.adopting != nil && !peek {
		if data, err = m.settle(ctx, b, at, data); err != nil || data == nil {
			return nil, nil, err
		}
	}
	return data, b, nil
}

// listedAgain reports whether the row of a session is back, of which there was none. It
// looks as often as a session is touched, because somebody may put back what an index
// from an older backup lacks.
func (m *Manager) listedAgain(ctx context.Context, b *trailer.Binding) bool {
	if !m.looks.Due(b.Key) {
		return false
	}
	row, err := m.index.LiveByKey(ctx, b)
	if err != nil {
		m.looks.Failed(b.Key)
	}
	ok, _ := row.Accepts(b)
	if ok = ok && err == nil; ok {
		m.strangers.Forget(b.Key)
	}
	return ok
}

// use says what a session is loaded for.
func (m *Manager) use(ctx context.Context, peek bool) decide.Use {
	r, _ := ctx.Value(requestKey{m.id}).(*request)
	switch {
	case peek:
		return decide.Peek
	case r != nil && r.passive:
		return decide.Passive
	}
	return decide.InUse
}

// locate is Find of the Store that says under which key the data are; "" if that
// cannot differ.
func (m *Manager) locate(ctx context.Context, key string) (data []byte, at string, found bool, err error) {
	if m.adopting != nil {
		return m.adopting.Locate(ctx, key)
	}
	data, found, err = m.data.store.Find(ctx, key)
	return data, "", found, err
}

// notFound ends the row of a key without data, unless err says that this is not known.
func (m *Manager) notFound(ctx context.Context, key string, peek bool, err error) error {
	if err == nil && !peek {
		m.lost(ctx, key, nil, false)
	}
	return err
}
