package storetest_test

import (
	"bytes"
	"context"
	"iter"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// fake is a Store that keeps the contract, except where one of its functions is
// replaced.
type fake struct {
	find   func(ctx context.Context, key string) ([]byte, bool, error)
	create func(ctx context.Context, key string, data []byte, expiry time.Time) error
	update func(ctx context.Context, key string, data []byte) (bool, error)
	touch  func(ctx context.Context, key string, expiry time.Time) (bool, error)
	delete func(ctx context.Context, keys ...string) error
	keys   func(ctx context.Context) iter.Seq2[string, error]
	prune  func(ctx context.Context) (int, error)

	notAtomic bool
	off       time.Duration // by which FindExpiry is wrong

	mu    sync.Mutex
	items map[string]item
}

type item struct {
	data   []byte
	expiry time.Time
}

func (f *fake) Find(ctx context.Context, key string) ([]byte, bool, error) { return f.find(ctx, key) }
func (f *fake) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	return f.create(ctx, key, data, expiry)
}
func (f *fake) Update(ctx context.Context, key string, data []byte) (bool, error) {
	return f.update(ctx, key, data)
}
func (f *fake) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	return f.touch(ctx, key, expiry)
}
func (f *fake) Delete(ctx context.Context, keys ...string) error  { return f.delete(ctx, keys...) }
func (f *fake) Keys(ctx context.Context) iter.Seq2[string, error] { return f.keys(ctx) }
func (f *fake) Prune(ctx context.Context) (int, error)            { return f.prune(ctx) }
func (f *fake) FindExpiry(ctx context.Context, key string) ([]byte, time.Time, bool, error) {
	data, found, err := f.find(ctx, key)
	it, _ := f.raw(key)
	return data, it.expiry.Add(f.off), found, err
}
func (f *fake) AtomicUpdates() bool { return !f.notAtomic }

// newFake returns a fake that keeps the contract.
func newFake() *fake {
	f := &fake{items: make(map[string]item)}
	f.find = func(ctx context.Context, key string) ([]byte, bool, error) {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		it, ok := f.get(key)
		return bytes.Clone(it.data), ok, nil
	}
	f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if it, ok := f.items[key]; ok && time.Now().Before(it.expiry) {
			return usersession.ErrKeyExists
		}
		f.items[key] = item{bytes.Clone(data), expiry}
		return nil
	}
	f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
		return f.change(ctx, key, func(it *item) { it.data = bytes.Clone(data) })
	}
	f.touch = func(ctx context.Context, key string, expiry time.Time) (bool, error) {
		return f.change(ctx, key, func(it *item) { it.expiry = expiry })
	}
	f.delete = func(ctx context.Context, keys ...string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, key := range keys {
			f.remove(key)
		}
		return nil
	}
	f.keys = func(ctx context.Context) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			for _, key := range f.all() {
				if _, ok := f.get(key); ok && !yield(key, nil) {
					return
				}
			}
		}
	}
	f.prune = func(ctx context.Context) (int, error) {
		n := 0
		for _, key := range f.all() {
			if ctx.Err() == nil && f.expired(key) {
				f.remove(key)
				n++
			}
		}
		return n, ctx.Err()
	}
	return f
}

// change changes a key that exists, in one step.
func (f *fake) change(ctx context.Context, key string, change func(*item)) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	it, ok := f.items[key]
	if !ok || !time.Now().Before(it.expiry) {
		return false, nil
	}
	change(&it)
	f.items[key] = it
	return true, nil
}

// get, set, remove, expired and all are the steps that broken stores do one
// after the other.

func (f *fake) get(key string) (item, bool) {
	defer runtime.Gosched() // others run while a store waits for its backend
	f.mu.Lock()
	defer f.mu.Unlock()
	it, ok := f.items[key]
	if !ok || !time.Now().Before(it.expiry) {
		return item{}, false
	}
	return it, true
}

func (f *fake) set(key string, it item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items[key] = it
}

func (f *fake) remove(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.items, key)
}

func (f *fake) expired(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	it, ok := f.items[key]
	return ok && !time.Now().Before(it.expiry)
}

// raw returns what is kept under a key, expired or not.
func (f *fake) raw(key string) (item, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	it, ok := f.items[key]
	return it, ok
}

func (f *fake) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.items))
}
