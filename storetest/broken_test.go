package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// A brokenStore breaks a rule.
type brokenStore struct {
	name   string
	caught string // by this case
	fault  func(f *fake)
}

var brokenStores = append([]brokenStore{
	{"Find reports a missing key as an error", "FindMissing", func(f *fake) {
		find := f.find
		f.find = func(ctx context.Context, key string) ([]byte, bool, error) {
			data, found, err := find(ctx, key)
			if err == nil && !found {
				err = errors.New("no rows in result set")
			}
			return data, found, err
		}
	}},
	{"Find returns what has expired", "FindExpired", func(f *fake) {
		f.find = func(ctx context.Context, key string) ([]byte, bool, error) {
			it, ok := f.raw(key)
			return bytes.Clone(it.data), ok, ctx.Err()
		}
	}},
	{"Find returns the slice it keeps", "FindReturnsOwnSlice", func(f *fake) {
		f.find = func(ctx context.Context, key string) ([]byte, bool, error) {
			it, ok := f.get(key)
			return it.data, ok, ctx.Err()
		}
	}},
	{"Find ignores its context", "CancelledFind", func(f *fake) {
		find := f.find
		f.find = func(ctx context.Context, key string) ([]byte, bool, error) {
			return find(context.WithoutCancel(ctx), key)
		}
	}},
	{"Find answers with what a cancelled Find has left", "CancelledCallsMixNothing", func(f *fake) {
		find := f.find
		var mu sync.Mutex
		var left []byte
		f.find = func(ctx context.Context, key string) ([]byte, bool, error) {
			data, found, err := find(context.WithoutCancel(ctx), key)
			mu.Lock()
			defer mu.Unlock()
			if err := ctx.Err(); err != nil {
				left = data
				return nil, false, err
			}
			if left != nil {
				data, left = left, nil
			}
			return data, found, err
		}
	}},
	{"Find uses one buffer for everybody", "DifferentKeysAtOnce", func(f *fake) {
		var mu sync.Mutex
		var buf []byte
		fill := func(data []byte) {
			mu.Lock()
			defer mu.Unlock()
			buf = append(buf[:0], data...)
		}
		drain := func() []byte {
			mu.Lock()
			defer mu.Unlock()
			return bytes.Clone(buf)
		}
		f.find = func(ctx context.Context, key string) ([]byte, bool, error) {
			it, ok := f.get(key)
			if !ok || ctx.Err() != nil {
				return nil, false, ctx.Err()
			}
			fill(it.data)
			runtime.Gosched()
			return drain(), true, nil
		}
	}},

	{"Create overwrites and says that the key exists", "CreateExisting", func(f *fake) {
		create := f.create
		f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
			err := create(ctx, key, data, expiry)
			if err == usersession.ErrKeyExists {
				f.set(key, item{bytes.Clone(data), expiry})
			}
			return err
		}
	}},
	{"Create of an existing key does nothing and says nothing", "CreateExisting", func(f *fake) {
		create := f.create
		f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
			err := create(ctx, key, data, expiry)
			if err == usersession.ErrKeyExists {
				err = nil
			}
			return err
		}
	}},
	{"Create overwrites, and the store is atomic", "CreateExisting", func(f *fake) {
		f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			f.set(key, item{bytes.Clone(data), expiry})
			return nil
		}
	}},
	{"Create checks and then writes", "CreateRacesCreate", func(f *fake) {
		f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if _, ok := f.get(key); ok {
				return usersession.ErrKeyExists
			}
			f.set(key, item{bytes.Clone(data), expiry})
			return nil
		}
	}},
	{"Create keeps the slice it is given", "CreateKeepsNoSlice", func(f *fake) {
		create := f.create
		f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
			if err := create(ctx, key, nil, expiry); err != nil {
				return err
			}
			f.set(key, item{data, expiry})
			return nil
		}
	}},
	{"Create appends to the slice it is given", "CreateKeepsNoSlice", func(f *fake) {
		create := f.create
		f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
			framed := append(data, "trailer"...)
			return create(ctx, key, framed[:len(data)], expiry)
		}
	}},
	{"Create takes a past expiry for none", "CreateExpiryNotInFuture", func(f *fake) {
		create := f.create
		f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
			if !expiry.After(time.Now()) {
				expiry = time.Now().AddDate(100, 0, 0)
			}
			return create(ctx, key, data, expiry)
		}
	}},
	{"Create drops the time zone", "CreateExpiryIsAnInstant", func(f *fake) {
		create := f.create
		f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
			naive, _ := time.Parse(time.DateTime, expiry.Format(time.DateTime))
			return create(ctx, key, data, naive)
		}
	}},
	{"Create ignores its context", "CancelledCreate", func(f *fake) {
		create := f.create
		f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
			return create(context.WithoutCancel(ctx), key, data, expiry)
		}
	}},
	{"Create writes and then notices its context", "CancelledCreate", func(f *fake) {
		create := f.create
		f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
			if err := create(context.WithoutCancel(ctx), key, data, expiry); err != nil {
				return err
			}
			return ctx.Err()
		}
	}},
	{"Create swallows the error of a context that ends meanwhile", "CancelledInTheMiddle", func(f *fake) {
		create := f.create
		f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := create(ctx, key, data, expiry); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		}
	}},

	{"data ends at the first NUL", "DataAnyBytes", func(f *fake) {
		f.mangle(func(data []byte) []byte { data, _, _ = bytes.Cut(data, []byte{0}); return data })
	}},
	{"data becomes valid UTF-8", "DataAnyBytes", func(f *fake) {
		f.mangle(func(data []byte) []byte { return bytes.ToValidUTF8(data, []byte("?")) })
	}},
	{"data loses trailing spaces", "DataAnyBytes", func(f *fake) {
		f.mangle(func(data []byte) []byte { return bytes.TrimRight(data, " ") })
	}},
	{"data may have 64 KiB", "DataLarge", func(f *fake) {
		f.mangle(func(data []byte) []byte { return data[:min(len(data), 1<<16-1)] })
	}},
	{"data may not be nil", "DataEmpty", func(f *fake) {
		update := f.update
		f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
			if data == nil {
				return false, errors.New("NOT NULL constraint failed")
			}
			return update(ctx, key, data)
		}
	}},
	{"keys have no case", "KeysDifferInCase", func(f *fake) { f.fold(strings.ToLower) }},
	{"keys have no underscores", "KeysDifferInOneCharacter", func(f *fake) {
		f.fold(func(key string) string { return strings.ReplaceAll(key, "_", "-") })
	}},
}, brokenWrites...)

// mangle changes all data that is stored.
func (f *fake) mangle(mangle func([]byte) []byte) {
	create, update := f.create, f.update
	f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
		return create(ctx, key, mangle(data), expiry)
	}
	f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
		return update(ctx, key, mangle(data))
	}
}

// fold takes several keys for one.
func (f *fake) fold(fold func(string) string) {
	find, create, update, touch, remove := f.find, f.create, f.update, f.touch, f.delete
	f.find = func(ctx context.Context, key string) ([]byte, bool, error) { return find(ctx, fold(key)) }
	f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
		return create(ctx, fold(key), data, expiry)
	}
	f.update = func(ctx context.Context, key string, data []byte) (bool, error) { return update(ctx, fold(key), data) }
	f.touch = func(ctx context.Context, key string, expiry time.Time) (bool, error) {
		return touch(ctx, fold(key), expiry)
	}
	f.delete = func(ctx context.Context, keys ...string) error {
		for _, key := range keys {
			if err := remove(ctx, fold(key)); err != nil {
				return err
			}
		}
		return ctx.Err()
	}
}
