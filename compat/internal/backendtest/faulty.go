package backendtest

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// errDown is what a Store that is down answers.
var errDown = errors.New("the store is down")

// faulty is a Store that fails on demand. It has the abilities of the one it
// wraps.
type faulty struct {
	usersession.Store

	mu   sync.Mutex
	down map[string]bool   // by the method's name; "" for all
	hook map[string]func() // called before the method
	// forgetful creates keys that never expire, whatever it is told.
	forgetful bool
	hanging   bool
}

var (
	_ usersession.Store         = (*faulty)(nil)
	_ usersession.AtomicUpdater = (*faulty)(nil)
	_ usersession.KeyLister     = (*faulty)(nil)
)

// fail makes methods fail from now on; all of them if none is named.
func (f *faulty) fail(methods ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = map[string]bool{"": len(methods) == 0}
	for _, m := range methods {
		f.down[m] = true
	}
}

// recover makes every method work again.
func (f *faulty) recover() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = nil
}

// before has fn called before each call of a method.
func (f *faulty) before(method string, fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = map[string]func(){method: fn}
}

// hang makes every method wait for the end of its context.
func (f *faulty) hang(hanging bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hanging = hanging
}

func (f *faulty) enter(ctx context.Context, method string) error {
	f.mu.Lock()
	hook, down, hanging := f.hook[method], f.down[""] || f.down[method], f.hanging
	f.mu.Unlock()
	if hook != nil {
		hook()
	}
	if hanging {
		<-ctx.Done()
		return ctx.Err()
	}
	if down {
		return errDown
	}
	return nil
}

func (f *faulty) Find(ctx context.Context, key string) ([]byte, bool, error) {
	if err := f.enter(ctx, "Find"); err != nil {
		return nil, false, err
	}
	return f.Store.Find(ctx, key)
}

func (f *faulty) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	if err := f.enter(ctx, "Create"); err != nil {
		return err
	}
	if f.forgetful {
		expiry = expiry.Add(24 * time.Hour)
	}
	return f.Store.Create(ctx, key, data, expiry)
}

func (f *faulty) Update(ctx context.Context, key string, data []byte) (bool, error) {
	if err := f.enter(ctx, "Update"); err != nil {
		return false, err
	}
	return f.Store.Update(ctx, key, data)
}

func (f *faulty) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	if err := f.enter(ctx, "Touch"); err != nil {
		return false, err
	}
	return f.Store.Touch(ctx, key, expiry)
}

func (f *faulty) Delete(ctx context.Context, keys ...string) error {
	if err := f.enter(ctx, "Delete"); err != nil {
		return err
	}
	return f.Store.Delete(ctx, keys...)
}

// AtomicUpdates implements usersession.AtomicUpdater.
func (f *faulty) AtomicUpdates() bool { return atomic(f.Store) }

// Keys implements usersession.KeyLister.
func (f *faulty) Keys(ctx context.Context) iter.Seq2[string, error] {
	if l, ok := f.Store.(usersession.KeyLister); ok {
		return l.Keys(ctx)
	}
	return func(yield func(string, error) bool) { yield("", errors.ErrUnsupported) }
}
