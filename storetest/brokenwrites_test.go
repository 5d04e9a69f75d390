package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// brokenWrites are the broken stores whose fault is in Update, Touch, Delete, Keys or Prune.
var brokenWrites = []brokenStore{
	{"Update creates", "UpdateMissing", func(f *fake) {
		f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
			if err := ctx.Err(); err != nil {
				return false, err
			}
			it, ok := f.get(key)
			if !ok {
				it.expiry = time.Now().Add(time.Hour)
			}
			f.set(key, item{bytes.Clone(data), it.expiry})
			return true, nil
		}
	}},
	{"Update creates after a Delete", "DeleteThenUpdate", func(f *fake) {
		var mu sync.Mutex
		known := make(map[string]time.Time)
		create := f.create
		f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
			mu.Lock()
			known[key] = expiry
			mu.Unlock()
			return create(ctx, key, data, expiry)
		}
		f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
			mu.Lock()
			expiry, ok := known[key]
			mu.Unlock()
			if ok {
				f.set(key, item{bytes.Clone(data), expiry})
			}
			return ok, ctx.Err()
		}
	}},
	{"Update does not say that the key is missing", "UpdateMissing", func(f *fake) {
		update := f.update
		f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
			_, err := update(ctx, key, data)
			return true, err
		}
	}},
	{"Update of equal data finds nothing", "UpdateReplaces", func(f *fake) {
		update := f.update
		f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
			if it, ok := f.get(key); ok && bytes.Equal(it.data, data) {
				return false, ctx.Err() // as MySQL counts rows
			}
			return update(ctx, key, data)
		}
	}},
	{"Update sets a new expiry", "UpdateKeepsExpiry", func(f *fake) {
		f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
			return f.change(ctx, key, func(it *item) { *it = item{bytes.Clone(data), time.Now().Add(time.Hour)} })
		}
	}},
	{"Update brings what has expired back", "UpdateExpired", func(f *fake) {
		f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
			if _, ok := f.raw(key); ok {
				f.set(key, item{bytes.Clone(data), time.Now().Add(time.Hour)})
				return true, ctx.Err()
			}
			return false, ctx.Err()
		}
	}},
	{"Update goes back to the first expiry", "UpdateKeepsTouchedExpiry", func(f *fake) {
		var mu sync.Mutex
		first := make(map[string]time.Time)
		create, update, touch := f.create, f.update, f.touch
		f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
			mu.Lock()
			first[key] = expiry
			mu.Unlock()
			return create(ctx, key, data, expiry)
		}
		f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
			mu.Lock()
			expiry := first[key]
			mu.Unlock()
			if found, err := touch(ctx, key, expiry); !found || err != nil {
				return found, err
			}
			return update(ctx, key, data)
		}
	}},
	{"Update keeps the slice it is given", "UpdateKeepsNoSlice", func(f *fake) {
		f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
			return f.change(ctx, key, func(it *item) { it.data = data })
		}
	}},
	{"Update ignores its context", "CancelledUpdate", func(f *fake) {
		update := f.update
		f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
			return update(context.WithoutCancel(ctx), key, data)
		}
	}},
	{"Update checks, looks at its context and writes", "UpdateRacesDelete", func(f *fake) {
		f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
			if err := ctx.Err(); err != nil {
				return false, err
			}
			it, ok := f.get(key)
			if err := ctx.Err(); !ok || err != nil {
				return false, err
			}
			f.set(key, item{bytes.Clone(data), it.expiry})
			return true, nil
		}
	}},
	{"Update checks and writes", "UpdateRacesDelete", func(f *fake) {
		f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
			if err := ctx.Err(); err != nil {
				return false, err
			}
			it, ok := f.get(key)
			if !ok {
				return false, nil
			}
			f.set(key, item{bytes.Clone(data), it.expiry})
			return true, nil
		}
	}},
	{"Update writes, checks and undoes", "UpdateRacesDelete", func(f *fake) {
		var mu sync.Mutex
		deleted := make(map[string]bool)
		mark := func(key string, value bool) {
			mu.Lock()
			defer mu.Unlock()
			deleted[key] = value
		}
		create, remove := f.create, f.delete
		f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
			mark(key, false)
			return create(ctx, key, data, expiry)
		}
		f.delete = func(ctx context.Context, keys ...string) error {
			for _, key := range keys {
				mark(key, ctx.Err() == nil)
			}
			return remove(ctx, keys...)
		}
		f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
			it, ok := f.get(key)
			if !ok || ctx.Err() != nil {
				return false, ctx.Err()
			}
			f.set(key, item{bytes.Clone(data), it.expiry})
			if err := ctx.Err(); err != nil { // as the next query would
				return false, err
			}
			mu.Lock()
			defer mu.Unlock()
			if deleted[key] {
				f.remove(key)
			}
			return !deleted[key], nil
		}
	}},
	{"Update writes the expiry that it has read", "UpdateRacesTouch", func(f *fake) {
		f.update = func(ctx context.Context, key string, data []byte) (bool, error) {
			it, ok := f.get(key)
			if !ok || ctx.Err() != nil {
				return false, ctx.Err()
			}
			return f.change(ctx, key, func(now *item) { *now = item{bytes.Clone(data), it.expiry} })
		}
	}},

	{"Touch creates", "TouchMissing", func(f *fake) {
		f.touch = func(ctx context.Context, key string, expiry time.Time) (bool, error) {
			it, _ := f.get(key)
			f.set(key, item{it.data, expiry})
			return true, ctx.Err()
		}
	}},
	{"Touch brings what has expired back", "TouchExpired", func(f *fake) {
		f.touch = func(ctx context.Context, key string, expiry time.Time) (bool, error) {
			it, ok := f.raw(key)
			if ok {
				f.set(key, item{it.data, expiry})
			}
			return ok, ctx.Err()
		}
	}},
	{"Touch says that nothing is there and brings it back", "TouchExpired", func(f *fake) {
		f.touch = func(ctx context.Context, key string, expiry time.Time) (bool, error) {
			_, live := f.get(key)
			it, ok := f.raw(key)
			if ok {
				f.set(key, item{it.data, expiry})
			}
			return live, ctx.Err()
		}
	}},
	{"Touch forgets the data", "TouchKeepsData", func(f *fake) {
		f.touch = func(ctx context.Context, key string, expiry time.Time) (bool, error) {
			return f.change(ctx, key, func(it *item) { *it = item{nil, expiry} })
		}
	}},
	{"Touch does nothing", "TouchExtends", func(f *fake) {
		f.touch = func(ctx context.Context, key string, _ time.Time) (bool, error) {
			return f.change(ctx, key, func(*item) {})
		}
	}},
	{"Touch only extends", "TouchShortens", func(f *fake) {
		f.touch = func(ctx context.Context, key string, expiry time.Time) (bool, error) {
			return f.change(ctx, key, func(it *item) {
				if expiry.After(it.expiry) {
					it.expiry = expiry
				}
			})
		}
	}},
	{"Touch takes a past expiry for none", "TouchIntoThePast", func(f *fake) {
		f.touch = func(ctx context.Context, key string, expiry time.Time) (bool, error) {
			if !expiry.After(time.Now()) {
				expiry = time.Now().AddDate(100, 0, 0)
			}
			return f.change(ctx, key, func(it *item) { it.expiry = expiry })
		}
	}},
	{"Touch ignores its context", "CancelledTouch", func(f *fake) {
		touch := f.touch
		f.touch = func(ctx context.Context, key string, expiry time.Time) (bool, error) {
			return touch(context.WithoutCancel(ctx), key, expiry)
		}
	}},
	{"Touch checks and writes the whole", "TouchRacesDelete", func(f *fake) {
		f.touch = func(ctx context.Context, key string, expiry time.Time) (bool, error) {
			it, ok := f.get(key)
			if !ok || ctx.Err() != nil {
				return false, ctx.Err()
			}
			f.set(key, item{it.data, expiry})
			return true, nil
		}
	}},
	{"Touch writes the data that it has read", "TouchRacesUpdate", func(f *fake) {
		f.touch = func(ctx context.Context, key string, expiry time.Time) (bool, error) {
			it, ok := f.get(key)
			if !ok || ctx.Err() != nil {
				return false, ctx.Err()
			}
			return f.change(ctx, key, func(now *item) { *now = item{it.data, expiry} })
		}
	}},

	{"Delete removes only the first key", "DeleteMany", func(f *fake) {
		remove := f.delete
		f.delete = func(ctx context.Context, keys ...string) error { return remove(ctx, keys[:min(1, len(keys))]...) }
	}},
	{"Delete removes at most 1000 keys", "DeleteMany", func(f *fake) {
		remove := f.delete
		f.delete = func(ctx context.Context, keys ...string) error { return remove(ctx, keys[:min(1000, len(keys))]...) }
	}},
	{"Delete reports a missing key", "DeleteMissing", func(f *fake) {
		remove := f.delete
		f.delete = func(ctx context.Context, keys ...string) error {
			for _, key := range keys {
				if _, ok := f.get(key); !ok {
					return errors.New("no such key")
				}
			}
			return remove(ctx, keys...)
		}
	}},
	{"Delete of nothing is a syntax error", "DeleteNone", func(f *fake) {
		remove := f.delete
		f.delete = func(ctx context.Context, keys ...string) error {
			if len(keys) == 0 {
				return errors.New(`syntax error near "IN ()"`)
			}
			return remove(ctx, keys...)
		}
	}},
	{"Delete of nothing removes everything", "DeleteNone", func(f *fake) {
		remove := f.delete
		f.delete = func(ctx context.Context, keys ...string) error {
			if len(keys) == 0 {
				keys = f.all()
			}
			return remove(ctx, keys...)
		}
	}},
	{"Delete leaves a tombstone that Create respects", "DeleteThenCreate", func(f *fake) {
		var mu sync.Mutex
		deleted := make(map[string]bool)
		create, remove := f.create, f.delete
		f.create = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
			mu.Lock()
			defer mu.Unlock()
			if deleted[key] {
				return usersession.ErrKeyExists
			}
			return create(ctx, key, data, expiry)
		}
		f.delete = func(ctx context.Context, keys ...string) error {
			mu.Lock()
			for _, key := range keys {
				deleted[key] = true
			}
			mu.Unlock()
			return remove(ctx, keys...)
		}
	}},
	{"Delete ignores its context", "CancelledDelete", func(f *fake) {
		remove := f.delete
		f.delete = func(ctx context.Context, keys ...string) error { return remove(context.WithoutCancel(ctx), keys...) }
	}},
	{"Delete works later", "DeleteRemoves", func(f *fake) {
		remove := f.delete
		f.delete = func(ctx context.Context, keys ...string) error {
			time.AfterFunc(100*time.Millisecond, func() { remove(context.WithoutCancel(ctx), keys...) })
			return ctx.Err()
		}
	}},

	{"Keys yields what has expired", "KeysWithoutExpired", func(f *fake) {
		f.keys = func(ctx context.Context) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				for _, key := range f.all() {
					if !yield(key, ctx.Err()) || ctx.Err() != nil {
						return
					}
				}
			}
		}
	}},
	{"FindExpiry has no time zone", "FindExpiry", func(f *fake) { f.off = 2 * time.Hour }},
	{"Keys yields a page", "Keys", func(f *fake) {
		keys := f.keys
		f.keys = func(ctx context.Context) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				n := 0
				for key, err := range keys(ctx) {
					if n++; n > 10 || !yield(key, err) {
						return
					}
				}
			}
		}
	}},
	{"Keys holds the lock", "KeysWhileChanging", func(f *fake) {
		f.keys = func(ctx context.Context) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				f.mu.Lock()
				defer f.mu.Unlock()
				for key := range f.items {
					if !yield(key, ctx.Err()) {
						return
					}
				}
			}
		}
	}},
	{"Keys goes on after an error", "KeysCancelled", func(f *fake) {
		f.keys = func(ctx context.Context) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				if err := ctx.Err(); err != nil && !yield("", err) {
					return
				}
				for _, key := range f.all() {
					if !yield(key, nil) {
						return
					}
				}
			}
		}
	}},
	{"Prune deletes everything", "PruneExpired", func(f *fake) {
		f.prune = func(ctx context.Context) (int, error) {
			keys := f.all()
			return len(keys), f.delete(ctx, keys...)
		}
	}},
	{"Prune ignores its context", "CancelledPrune", func(f *fake) {
		prune := f.prune
		f.prune = func(ctx context.Context) (int, error) { return prune(context.WithoutCancel(ctx)) }
	}},
	{"Prune counts nothing", "PruneExpired", func(f *fake) {
		prune := f.prune
		f.prune = func(ctx context.Context) (int, error) {
			_, err := prune(ctx)
			return 0, err
		}
	}},
}
