package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// contextCases are about contexts that have ended or end meanwhile.
var contextCases = []testCase{
	{"CancelledFind", ruleCtx, func(c *check) {
		c.cancelled(func(ctx context.Context, key string) error {
			_, _, err := c.store.Find(ctx, key)
			return err
		})
	}},
	{"CancelledCreate", ruleCtx, func(c *check) {
		fresh := newKey()
		c.cancelled(func(ctx context.Context, _ string) error {
			return c.store.Create(ctx, fresh, []byte("new"), later())
		})
		c.must(c.lacks(fresh))
		c.must(c.creates(fresh, []byte("data"), later()))
	}},
	{"CancelledUpdate", ruleCtx, func(c *check) {
		c.cancelled(func(ctx context.Context, key string) error {
			_, err := c.store.Update(ctx, key, []byte("new"))
			return err
		})
	}},
	{"CancelledTouch", ruleCtx, func(c *check) {
		c.cancelled(func(ctx context.Context, key string) error {
			_, err := c.store.Touch(ctx, key, time.Now().Add(-time.Hour))
			return err
		})
	}},
	{"CancelledDelete", ruleCtx, func(c *check) {
		c.cancelled(func(ctx context.Context, key string) error {
			return c.store.Delete(ctx, key, newKey())
		})
	}},
	{"CancelledPrune", ruleCtx, func(c *check) {
		pruner, ok := c.store.(usersession.Pruner)
		if !ok {
			c.Skip("the store is no Pruner")
		}
		c.cancelled(func(ctx context.Context, _ string) error {
			_, err := pruner.Prune(ctx)
			return err
		})
	}},
	{"CancelledInTheMiddle", ruleError, cancelledInTheMiddle},
	{"CancelledCallsMixNothing", ruleShared, cancelledCallsMixNothing},
}

// cancelled checks that call returns an error once its context has ended, and
// leaves its key as it was.
func (c *check) cancelled(call func(ctx context.Context, key string) error) {
	c.Helper()
	key := newKey()
	c.must(c.creates(key, []byte("data"), later()))
	if err := call(cancelled(), key); err == nil {
		c.brokenf("with a cancelled context: no error")
	}
	late, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	if err := call(late, key); err == nil {
		c.brokenf("with a context whose deadline has passed: no error")
	}
	if err := c.finds(key, []byte("data")); err != nil {
		c.brokenf("after a call with a cancelled context: %w", err)
	}
	c.must(c.updates(key, []byte("new")))
	c.must(c.finds(key, []byte("new")))
}

// cancelledInTheMiddle ends the context at each point where the Store looks at
// it. An error leaves the outcome open; success must be one.
func cancelledInTheMiddle(c *check) {
	old, new := bytes.Repeat([]byte("old"), 1000), bytes.Repeat([]byte("new"), 1000)
	oldOrNew := func(key string) error { return either(c.finds(key, old), c.finds(key, new)) }
	for _, call := range []struct {
		name    string
		create  bool // before the call
		call    func(ctx context.Context, key string) (found bool, err error)
		success func(key string) error // what is true if the call returns no error
		unknown func(key string) error // what is true if it returns one
	}{
		{"Find", true, func(ctx context.Context, key string) (bool, error) {
			data, found, err := c.store.Find(ctx, key)
			return found && bytes.Equal(data, old), err
		}, func(key string) error { return c.finds(key, old) }, func(key string) error { return c.finds(key, old) }},
		{"Create", false, func(ctx context.Context, key string) (bool, error) {
			return true, c.store.Create(ctx, key, new, later())
		}, func(key string) error { return c.finds(key, new) }, func(key string) error { return either(c.lacks(key), c.finds(key, new)) }},
		{"Update", true, func(ctx context.Context, key string) (bool, error) {
			return c.store.Update(ctx, key, new)
		}, func(key string) error { return c.finds(key, new) }, oldOrNew},
		{"Touch", true, func(ctx context.Context, key string) (bool, error) {
			return c.store.Touch(ctx, key, later())
		}, func(key string) error { return c.finds(key, old) }, func(key string) error { return c.finds(key, old) }},
		{"Delete", true, func(ctx context.Context, key string) (bool, error) {
			return true, c.store.Delete(ctx, newKey(), key)
		}, c.lacks, func(key string) error { return either(c.finds(key, old), c.lacks(key)) }},
	} {
		for moment := range c.moments() {
			key := newKey()
			if call.create {
				c.must(c.creates(key, old, later()))
			}
			moment.hook = moment.cancel
			found, err := call.call(moment, key)
			switch {
			case err != nil:
				err = call.unknown(key)
			case !found:
				err = errors.New("it returned no error, but did not find the key")
			default:
				err = call.success(key)
			}
			if err != nil {
				c.brokenf("%s, whose context was cancelled when it had looked at it %d times: %w", call.name, moment.number, err)
			}
		}
	}
}

// either returns nil if one of two errors is nil, else the second. They are asked
// in turn. A call that came back with an error may still be under way behind it, so
// the first is what is true before its effect, and the second what is true after.
func either(first, second error) error {
	if first == nil {
		return nil
	}
	return second
}

// cancelledCallsMixNothing ends calls at random moments and checks that no
// answer reaches another call, as it does when a connection is used again with
// an answer still to come.
func cancelledCallsMixNothing(c *check) {
	const workers = 8
	end := time.Now().Add(raceTime())
	var failed atomic.Bool
	fns := make([]func() error, workers)
	for w := range fns {
		key := newKey()
		data := []byte("data of " + key)
		c.must(c.creates(key, data, later()))
		fns[w] = func() error {
			for time.Now().Before(end) && !failed.Load() {
				ctx, cancel := context.WithTimeout(c.Context(), time.Duration(rand.IntN(500))*time.Microsecond)
				got, found, err := c.store.Find(ctx, key)
				cancel()
				if err == nil && !(found && bytes.Equal(got, data)) {
					failed.Store(true)
					return fmt.Errorf("Find of a key with %s, cancelled or not: found=%v with %s", show(data), found, show(got))
				}
				if err := c.finds(key, data); err != nil {
					failed.Store(true)
					return fmt.Errorf("after a Find that was cancelled: %w", err)
				}
			}
			return nil
		}
	}
	c.must(together(fns...))
}
