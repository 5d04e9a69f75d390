package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// raceTime is how long a race is run again and again.
func raceTime() time.Duration {
	if testing.Short() {
		return 50 * time.Millisecond
	}
	return 400 * time.Millisecond
}

// raceCases are about calls at the same time. They run alone.
var raceCases = []testCase{
	{"DifferentKeysAtOnce", ruleShared, differentKeysAtOnce},
	{"SameKeyAtOnce", ruleShared, sameKeyAtOnce},
	{"CreateRacesCreate", ruleExists, createRacesCreate},
	{"UpdateRacesDelete", ruleAtomic, func(c *check) {
		c.racesDelete("Update", func(ctx context.Context, key string) (bool, error) {
			return c.store.Update(ctx, key, []byte("new"))
		})
	}},
	{"TouchRacesDelete", ruleAtomic, func(c *check) {
		c.racesDelete("Touch", func(ctx context.Context, key string) (bool, error) {
			return c.store.Touch(ctx, key, later())
		})
	}},
	{"TouchRacesUpdate", ruleTouch, touchRacesUpdate},
}

// rounds calls round for the time of a race, and a few times in any case.
func (c *check) rounds(round func() error) {
	c.Helper()
	for n, end := 0, time.Now().Add(raceTime()); n < 4 || time.Now().Before(end); n++ {
		if err := round(); err != nil {
			c.brokenf("round %d: %w", n+1, err)
		}
	}
}

// atomic reports whether the Store has to win races. It says so if not.
func (c *check) atomic() bool {
	if a, ok := c.store.(usersession.AtomicUpdater); ok && a.AtomicUpdates() {
		return true
	}
	c.Log("the store does not declare its updates atomic: its sessions are verified against the index on every request")
	return false
}

// differentKeysAtOnce lets every goroutine live the life of keys of its own.
func differentKeysAtOnce(c *check) {
	const workers = 16
	c.rounds(func() error {
		fns := make([]func() error, workers)
		for w := range fns {
			key := newKey()
			first, second := []byte("first of "+key), []byte("second of "+key)
			steps := []func() error{
				func() error { return c.lacks(key) },
				func() error { return c.creates(key, first, later()) },
				func() error { return c.finds(key, first) },
				func() error { return c.updates(key, second) },
				func() error { return c.finds(key, second) },
				func() error { return c.touches(key, later()) },
				func() error { return c.finds(key, second) },
				func() error { return c.deletes(key, newKey()) },
				func() error { return c.lacksUpdate(key, first) },
			}
			fns[w] = func() error {
				for _, step := range steps {
					if err := step(); err != nil {
						return err
					}
				}
				return nil
			}
		}
		return together(fns...)
	})
}

// sameKeyAtOnce lets many goroutines use one key that nobody deletes.
func sameKeyAtOnce(c *check) {
	const size = 4 << 10
	value := func() []byte { return bytes.Repeat([]byte{byte(rand.IntN(256))}, size) }
	c.rounds(func() error {
		key := newKey()
		if err := c.creates(key, value(), later()); err != nil {
			return err
		}
		find := func() error {
			for range 4 {
				data, found, err := c.store.Find(c.Context(), key)
				switch {
				case err != nil:
					return fmt.Errorf("Find: unexpected error: %w", err)
				case !found:
					return errors.New("Find: a key that exists is not found")
				case len(data) != size || !bytes.Equal(data, bytes.Repeat(data[:1], size)):
					return fmt.Errorf("Find: returned %s, which nobody has stored", show(data))
				}
			}
			return nil
		}
		update := func() error { return c.updates(key, value()) }
		touch := func() error { return c.touches(key, later()) }
		create := func() error {
			err := c.store.Create(c.Context(), key, value(), later())
			if err != nil && !errors.Is(err, usersession.ErrKeyExists) {
				return fmt.Errorf("Create of a key that exists: %w, want ErrKeyExists", err)
			}
			return nil
		}
		return together(find, update, touch, find, update, create, find, update, touch, find)
	})
}

// createRacesCreate lets several goroutines create the same keys.
func createRacesCreate(c *check) {
	// A Store whose updates are atomic and that knows an existing key when
	// nothing else happens has what it takes to know it always.
	atomically := c.atomic()
	strict := c.tells() && atomically
	// create reports whether it has created the key.
	create := func(ctx context.Context, key, data string) (bool, error) {
		err := c.store.Create(ctx, key, []byte(data), later())
		if err != nil && atomically && !errors.Is(err, usersession.ErrKeyExists) {
			return false, fmt.Errorf("Create: %w, want nil or ErrKeyExists", err)
		}
		return err == nil, nil
	}
	settled := func(key string, winners []string) error {
		if len(winners) == 0 || strict && len(winners) > 1 {
			return fmt.Errorf("Create: %d calls at the same time have created the key, want one", len(winners))
		}
		values := make([][]byte, len(winners))
		for i, data := range winners {
			values[i] = []byte(data)
		}
		return c.holdsOneOf(key, values...)
	}

	for moment := range c.moments() {
		key := newKey()
		var winners []string
		wait := c.interfere(moment, func() error {
			won, err := create(c.Context(), key, "second")
			if won {
				winners = append(winners, "second")
			}
			return err
		})
		won, err := create(moment, key, "first")
		c.must(err)
		c.must(wait())
		if won {
			winners = append(winners, "first")
		}
		c.must(settled(key, winners))
	}

	// Several keys, one after the other: whoever is behind catches up, so that
	// soon all are at the same point.
	const workers, keysEach = 4, 16
	c.rounds(func() error {
		var keys [keysEach]string
		for i := range keys {
			keys[i] = newKey()
		}
		var won [workers][keysEach]bool
		var fns [workers]func() error
		for w := range fns {
			fns[w] = func() (err error) {
				for i, key := range keys {
					if won[w][i], err = create(c.Context(), key, fmt.Sprintf("data of %d", w)); err != nil {
						return err
					}
				}
				return nil
			}
		}
		if err := together(fns[:]...); err != nil {
			return err
		}
		for i, key := range keys {
			var winners []string
			for w := range won {
				if won[w][i] {
					winners = append(winners, fmt.Sprintf("data of %d", w))
				}
			}
			if err := settled(key, winners); err != nil {
				return err
			}
		}
		return nil
	})
}

// racesDelete runs change and Delete on the same key at the same time: first
// with the whole Delete at each point where change looks at its context, then
// with both at full speed. A Store that looks and then writes may find that
// somebody was faster, and fail: then nothing is served, which is safe.
func (c *check) racesDelete(name string, change func(ctx context.Context, key string) (bool, error)) {
	c.Helper()
	atomically := c.atomic()
	settled := func(key string) error {
		if !atomically {
			return c.holdsOneOf(key, nil, []byte("old"), []byte("new"))
		}
		if err := c.lacks(key); err != nil {
			return fmt.Errorf("after a Delete that has returned, raced by %s: %w", name, err)
		}
		return nil
	}

	for moment := range c.moments() {
		key := newKey()
		c.must(c.creates(key, []byte("old"), later()))
		var deleted, seen atomic.Bool
		wait := c.interfere(moment, func() error {
			defer deleted.Store(true)
			return c.deletes(key)
		})
		moment.after = func() {
			c.patiently(func() {
				if deleted.Load() && settled(key) != nil {
					seen.Store(true)
				}
			})
		}
		if _, err := change(moment, key); err != nil && atomically {
			c.brokenf("%s, while the key is deleted: unexpected error: %w", name, err)
		}
		c.must(wait())
		if !moment.reached() {
			break
		}
		err := settled(key)
		if err == nil && seen.Load() {
			err = fmt.Errorf("Find: a key is found after a Delete that has returned, until %s returns", name)
		}
		if err != nil {
			c.brokenf("Delete when %s had looked at its context %d times: %w", name, moment.number, err)
		}
	}

	start := time.Now()
	_, err := change(c.Context(), newKey())
	c.must(err)
	once := time.Since(start)

	c.rounds(func() error {
		key := newKey()
		if err := c.creates(key, []byte("old"), later()); err != nil {
			return err
		}
		var over atomic.Bool
		changes := func() error {
			for !over.Load() {
				if _, err := change(c.Context(), key); err != nil && atomically {
					return fmt.Errorf("%s, while the key is deleted: unexpected error: %w", name, err)
				}
			}
			return nil
		}
		deletes := func() error {
			defer over.Store(true)
			linger(rand.N(4*once + 1))
			if err := c.deletes(key); err != nil {
				return err
			}
			// Changes are still in flight. They must not bring the key back
			// for an instant, either.
			for range 4 {
				if err := settled(key); err != nil {
					return err
				}
			}
			return nil
		}
		if err := together(changes, deletes, changes); err != nil {
			return err
		}
		return settled(key)
	})
}

// touchRacesUpdate looks for a Touch that writes back the data it has read.
func touchRacesUpdate(c *check) {
	atomically := c.atomic()
	settled := func(key string) error {
		if !atomically {
			return c.holdsOneOf(key, []byte("old"), []byte("new"))
		}
		if err := c.finds(key, []byte("new")); err != nil {
			return fmt.Errorf("after an Update that has returned, raced by Touch: %w", err)
		}
		return nil
	}

	for moment := range c.moments() {
		key := newKey()
		c.must(c.creates(key, []byte("old"), later()))
		wait := c.interfere(moment, func() error { return c.updates(key, []byte("new")) })
		if _, err := c.store.Touch(moment, key, later()); err != nil {
			c.brokenf("Touch, while the key is updated: unexpected error: %w", err)
		}
		c.must(wait())
		if moment.reached() {
			c.must(settled(key))
		}
	}

	c.rounds(func() error {
		key := newKey()
		if err := c.creates(key, []byte("old"), later()); err != nil {
			return err
		}
		var over atomic.Bool
		touch := func() error {
			for !over.Load() {
				if err := c.touches(key, later()); err != nil {
					return err
				}
			}
			return nil
		}
		update := func() error {
			defer over.Store(true)
			return c.updates(key, []byte("new"))
		}
		if err := together(touch, update, touch); err != nil {
			return err
		}
		return settled(key)
	})
}

// updateRacesTouch looks for an Update that writes back the expiry it has read.
// Only waiting until that has passed makes it visible.
func updateRacesTouch(c *check) {
	atomically := c.atomic()
	var keys []string
	update := func(ctx context.Context, key string) error {
		if _, err := c.store.Update(ctx, key, []byte("new")); err != nil {
			return fmt.Errorf("Update, while the key is touched: unexpected error: %w", err)
		}
		return nil
	}

	for moment := range c.moments() {
		key := newKey()
		expiry := soon()
		c.must(c.creates(key, []byte("old"), expiry))
		wait := c.interfere(moment, func() error { return c.touches(key, later()) })
		c.must(update(moment, key))
		c.inTime(expiry, wait())
		if moment.reached() {
			keys = append(keys, key)
		}
	}

	const most = 1000
	c.rounds(func() error {
		if len(keys) >= most {
			return nil
		}
		key := newKey()
		expiry := soon()
		if err := c.creates(key, []byte("old"), expiry); err != nil {
			return err
		}
		var over atomic.Bool
		updates := func() error {
			for !over.Load() {
				if err := update(c.Context(), key); err != nil {
					return err
				}
			}
			return nil
		}
		touch := func() error {
			defer over.Store(true)
			return c.touches(key, later())
		}
		c.inTime(expiry, together(updates, touch, updates))
		keys = append(keys, key)
		return nil
	})

	c.waitPast(soon())
	for _, key := range keys {
		if !atomically {
			c.must(c.holdsOneOf(key, nil, []byte("old"), []byte("new")))
		} else if err := c.finds(key, []byte("new")); err != nil {
			if c.holdsOneOf(key, []byte("old")) == nil {
				continue // no Update was in time
			}
			c.brokenf("after a Touch that has returned, raced by Update: %w", err)
		}
	}
}

// holdsOneOf checks that a key has one of these values; nil stands for none.
func (c *check) holdsOneOf(key string, values ...[]byte) error {
	data, found, err := c.store.Find(c.Context(), key)
	if err != nil {
		return fmt.Errorf("Find: unexpected error: %w", err)
	}
	if !found {
		data = nil
	}
	if !slices.ContainsFunc(values, func(v []byte) bool { return (v != nil) == found && bytes.Equal(v, data) }) {
		return fmt.Errorf("Find: found=%v with %s, which nobody has stored under this key", found, show(data))
	}
	return nil
}
