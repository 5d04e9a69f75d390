package backends

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession"
)

// stopping is a Store whose calls a Stop can stop. It has the abilities of the
// one it wraps.
type stopping struct{ usersession.Store }

var (
	_ usersession.AtomicUpdater = stopping{}
	_ usersession.KeyLister     = stopping{}
)

func (s stopping) Find(ctx context.Context, key string) ([]byte, bool, error) {
	defer pass(ctx)()
	return s.Store.Find(ctx, key)
}

func (s stopping) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	defer pass(ctx)()
	return s.Store.Create(ctx, key, data, expiry)
}

func (s stopping) Update(ctx context.Context, key string, data []byte) (bool, error) {
	defer pass(ctx)()
	return s.Store.Update(ctx, key, data)
}

func (s stopping) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	defer pass(ctx)()
	return s.Store.Touch(ctx, key, expiry)
}

func (s stopping) Delete(ctx context.Context, keys ...string) error {
	defer pass(ctx)()
	return s.Store.Delete(ctx, keys...)
}

// Atomic reports whether a Store declares its updates atomic.
func Atomic(s usersession.Store) bool {
	a, ok := s.(usersession.AtomicUpdater)
	return ok && a.AtomicUpdates()
}

func (s stopping) AtomicUpdates() bool { return Atomic(s.Store) }

func (s stopping) Keys(ctx context.Context) iter.Seq2[string, error] {
	if l, ok := s.Store.(usersession.KeyLister); ok {
		return l.Keys(ctx)
	}
	return func(yield func(string, error) bool) { yield("", errors.ErrUnsupported) }
}

// stoppingSCS is an scs store whose calls a Stop can stop. A store without
// contexts gets one and ignores it.
type stoppingSCS struct{ scs.Store }

var _ scs.CtxStore = stoppingSCS{}

func (s stoppingSCS) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	defer pass(ctx)()
	if c, ok := s.Store.(scs.CtxStore); ok {
		return c.FindCtx(ctx, token)
	}
	return s.Store.Find(token)
}

func (s stoppingSCS) CommitCtx(ctx context.Context, token string, data []byte, expiry time.Time) error {
	defer pass(ctx)()
	if c, ok := s.Store.(scs.CtxStore); ok {
		return c.CommitCtx(ctx, token, data, expiry)
	}
	return s.Store.Commit(token, data, expiry)
}

func (s stoppingSCS) DeleteCtx(ctx context.Context, token string) error {
	defer pass(ctx)()
	if c, ok := s.Store.(scs.CtxStore); ok {
		return c.DeleteCtx(ctx, token)
	}
	return s.Store.Delete(token)
}
