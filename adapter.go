package usersession

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession/internal/adopt"
	"github.com/seed-296ca7ab/usersession/internal/decide"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/probe"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
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
func (a *adapter) FindCtx(ctx context.Context, tok string) ([]byte, bool, error) {
	m := a.m
	key, handle := m.id.keyOfHandle(tok)
	switch {
	case handle && !m.id.allows(ctx, tok):
		return nil, false, nil
	case !handle && !token.Valid(tok):
		return nil, false, nil // no I/O for what cannot be a token
	case !handle:
		key = token.Key(tok)
	}
	var data []byte
	var b *trailer.Binding
	err := m.timed(ctx, OperationLoad, func() (err error) {
		data, b, err = m.find(m.naming(ctx, tok), key, handle)
		return err
	})
	if err != nil || b == nil {
		return nil, false, err
	}
	if ctx.Value(m.scsKey) != nil {
		// There is a session already, so this is MergeSession: it gets the
		// values and never the identity. Without any trailer the values
		// themselves, which a client may have chosen, would be taken for one.
		body, b := trailer.Split(data)
		return trailer.Append(body, &trailer.Binding{Deadline: b.Deadline}), true, nil
	}
	if r := m.request(ctx); r != nil {
		r.do(func() { r.has(b) })
	}
	return data, true, nil
}

// CommitCtx implements scs.CtxStore.
func (a *adapter) CommitCtx(ctx context.Context, tok string, data []byte, expiry time.Time) error {
	return a.m.timed(ctx, OperationCommit, func() error { return a.commit(ctx, tok, data, expiry) })
}

func (a *adapter) commit(ctx context.Context, tok string, data []byte, expiry time.Time) error {
	m, caller := a.m, ctx
	ctx, cancel := m.finishing(m.naming(ctx, tok))
	defer cancel()
	body, b := trailer.Split(data)
	if b == nil {
		if _, ours := m.Codec.(codec); ours { // somebody has called Commit of the Store of the scs manager
			return errors.New("usersession: Commit: the data are not from the Codec of the scs manager")
		}
		return errors.New("usersession: the Codec of the scs manager was replaced after New")
	}
	was := b
	b = b.EndingBy(expiry)
	if key, ok := m.id.keyOfHandle(tok); ok {
		return m.commitOther(ctx, key, body, was, b)
	}
	key := token.Key(tok)
	r := m.request(ctx)
	if r == nil {
		return m.commitByHand(ctx, key, body, was, b)
	}
	if r.other { // destroyed in InSession, and nobody would get the token of a new one
		return ErrSessionEnded
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.saves++
	return m.commitRequest(ctx, r.lost(caller), r, key, body, b)
}

// destroyRenewing ends the sessions that other requests are renewing, if scs deletes
// because the program has called its Destroy. The request has no session then.
func (m *Manager) destroyRenewing(ctx context.Context, r *request) error {
	if asker, _ := ctx.Value(askerKey{m.id}).(decide.Asker); r == nil || asker != decide.Program {
		return nil
	}
	waiting := false
	if r.do(func() { waiting = len(r.renewing) > 0 }); !waiting || !probe.Destroying() {
		return nil
	}
	return m.endAllRenewing(ctx, r, index.Ending{Reason: ReasonLogout, Actor: explicitActor(ctx)}, nil)
}

// DeleteCtx implements scs.CtxStore. scs calls it from Destroy, from RenewToken
// and from MergeSession.
func (a *adapter) DeleteCtx(ctx context.Context, tok string) error {
	m := a.m
	r := m.request(ctx)
	if err := m.destroyRenewing(ctx, r); err != nil {
		return err
	}
	key, ok := m.deleted(r, tok)
	if !ok {
		return nil
	}
	ctx, cancel := m.finishing(m.naming(ctx, tok))
	defer cancel()
	asker, _ := ctx.Value(askerKey{m.id}).(decide.Asker)
	if r == nil && asker == decide.Forget {
		return nil
	}
	if key, ok := m.id.keyOfHandle(tok); ok {
		if asker == decide.Program && !probe.Destroying() {
			return ErrOtherSession // RenewToken of scs: nobody would get the new token
		}
		return m.endOther(ctx, key)
	}
	if asker == decide.Program && probe.Destroying() {
		asker = decide.Destroyer
	}
	if r == nil && asker == decide.Destroyer {
		return m.endByHand(ctx, key, index.Ending{Reason: ReasonLogout, Actor: explicitActor(ctx)})
	}
	if r == nil {
		detached, err := m.detach(ctx, key)
		if detached {
			m.detachedByHand.note(handDetach{ctx.Value(m.scsKey), key})
		}
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.onDelete(key, asker) {
	case decide.Keep:
		return nil
	case decide.KeepOld:
		r.unstaged = true
		return nil
	case decide.EndUser:
		// By its ID: a renewal in another request may have detached the row or moved
		// it to another key.
		by := index.Ending{Reason: ReasonLogout, Actor: cmp.Or(explicitActor(ctx), r.own.By())}
		if err := m.endOwn(ctx, r.own, by); err != nil {
			return err
		}
		r.detach(true)
		return nil
	case decide.DetachUser:
		detached, err := m.detach(ctx, key)
		if err != nil {
			return err
		}
		r.detach(detached)
		return nil
	case decide.DetachAnonymous:
		// An anonymous session has no row that would tell whether a login in
		// another tab has ended it.
		_, found, err := m.data.store.Find(ctx, key)
		if err != nil {
			return err
		}
		if _, err := m.detach(ctx, key); err != nil {
			return err
		}
		r.detach(found)
		return nil
	case decide.DestroyOwn:
		if _, err := m.detach(ctx, r.own.Key); err != nil {
			return err
		}
		r.detach(false)
		return nil
	}
	_, err := m.detach(ctx, key)
	return err
}

// naming returns a context that says which token scs means, for a Store that needs it.
func (m *Manager) naming(ctx context.Context, tok string) context.Context {
	if m.adopting == nil {
		return ctx
	}
	return adopt.WithToken(ctx, tok)
}

// deleted returns the key that scs means when it deletes a token. scs knows no token
// of a session whose data could not be read.
func (m *Manager) deleted(r *request, tok string) (key string, ok bool) {
	if tok != "" || r == nil {
		_, handle := m.id.keyOfHandle(tok)
		return token.Key(tok), handle || token.Valid(tok)
	}
	r.do(func() {
		if ok = r.standing == decide.Unreadable; ok {
			key = r.own.Key
		}
	})
	return key, ok
}

// AllCtx implements scs.IterableCtxStore. The tokens of the map are handles:
// inside Iterate they stand for the session, and for nothing elsewhere.
func (a *adapter) AllCtx(ctx context.Context) (map[string][]byte, error) {
	ctx.Value(a.m.scsKey) // loads what is served from memory, so that the contexts of Iterate are told from it
	all := make(map[string][]byte)
	for key, err := range keysOfStore(ctx, a.m.data.store) {
		if err != nil {
			return nil, err
		}
		data, b, err := a.m.find(ctx, key, true)
		if err != nil {
			return nil, err
		}
		if b != nil {
			all[a.m.id.handle(key)] = data
		}
	}
	return all, nil
}
