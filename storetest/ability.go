package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// abilityCases are about what a Store can do beyond its five methods.
var abilityCases = []testCase{
	{"Keys", ruleKeys, func(c *check) {
		c.keys() // skips the case before it creates anything
		live := make([]string, 20)
		for i := range live {
			live[i] = newKey()
			c.must(c.creates(live[i], []byte("data"), later()))
		}
		deleted, past := newKey(), newKey()
		c.must(c.creates(deleted, []byte("data"), later()))
		c.must(c.deletes(deleted))
		c.must(c.creates(past, []byte("data"), time.Now().Add(-time.Hour)))

		keys := c.keys()
		for i, key := range live {
			if !slices.Contains(keys, key) {
				c.brokenf("Keys: did not yield key %d of %d", i+1, len(live))
			}
		}
		if slices.Contains(keys, deleted) || slices.Contains(keys, past) {
			c.brokenf("Keys: yielded a key that does not exist")
		}
	}},
	{"KeysBreak", ruleKeys, func(c *check) {
		c.keys()
		for range 3 {
			c.must(c.creates(newKey(), []byte("data"), later()))
		}
		for range 20 { // a connection lost each time would be noticed
			for _, err := range c.lister().Keys(c.Context()) {
				c.must(err)
				break
			}
		}
		c.must(c.creates(newKey(), []byte("data"), later()))
	}},
	{"FindExpiry", ruleFindExpiry, func(c *check) {
		f, ok := c.store.(usersession.ExpiryFinder)
		if !ok {
			c.Skip("the store cannot tell when data expire")
		}
		key, expiry := newKey(), later()
		find := func(key string, want time.Time) {
			data, at, found, err := f.FindExpiry(c.Context(), key)
			c.must(err)
			if found == want.IsZero() || found && (string(data) != "data" || at.Sub(want).Abs() > time.Minute) {
				c.brokenf("FindExpiry: %q, %v, %v; want an expiry of %v", data, at, found, want)
			}
		}
		find(key, time.Time{})
		c.must(c.creates(key, []byte("data"), expiry))
		find(key, expiry)
		_, err := c.store.Touch(c.Context(), key, expiry.Add(time.Hour))
		c.must(err)
		find(key, expiry.Add(time.Hour))
		c.must(c.deletes(key))
		find(key, time.Time{})
	}},
	{"KeysWhileChanging", ruleKeysRaced, keysWhileChanging},
	{"KeysCancelled", ruleKeysStop, func(c *check) {
		c.keys()
		c.must(c.creates(newKey(), []byte("data"), later()))
		var errs []error
		for _, err := range c.lister().Keys(cancelled()) {
			errs = append(errs, err)
		}
		if len(errs) != 1 || errs[0] == nil {
			c.brokenf("Keys with a cancelled context: yielded %v, want one error and nothing else", errs)
		}
	}},
}

// lister returns the Store's ability to iterate. It skips the case if there is
// none.
func (c *check) lister() usersession.KeyLister {
	c.Helper()
	l, ok := c.store.(usersession.KeyLister)
	if !ok {
		c.Skip("the store cannot iterate its keys")
	}
	return l
}

// keys returns what Keys yields, each key once. It skips the case if the Store cannot iterate.
func (c *check) keys() []string {
	c.Helper()
	var keys []string
	for key, err := range c.lister().Keys(c.Context()) {
		if errors.Is(err, errors.ErrUnsupported) {
			c.Skip("the store cannot iterate its keys")
		}
		if err != nil {
			c.brokenf("Keys: unexpected error: %w", err)
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// keysWhileChanging uses the Store inside the loop over its keys, as the
// janitor does: a lock or an only connection must not be held meanwhile.
func keysWhileChanging(c *check) {
	lister := c.lister()
	c.keys()
	mine := make(map[string]bool)
	for range 5 {
		key := newKey()
		c.must(c.creates(key, []byte("data"), later()))
		mine[key] = true
	}
	ctx, cancel := context.WithTimeout(c.Context(), 5*time.Second)
	defer cancel()
	loop := func() error {
		seen := make(map[string]bool)
		for key, err := range lister.Keys(ctx) {
			if err != nil {
				return fmt.Errorf("Keys, while keys are deleted: %w", err)
			}
			if !mine[key] {
				continue
			}
			seen[key] = true
			if err := c.store.Delete(ctx, key); err != nil {
				return fmt.Errorf("Delete inside a loop over Keys: %w", err)
			}
			if err := c.store.Create(ctx, newKey(), []byte("new"), later()); err != nil {
				return fmt.Errorf("Create inside a loop over Keys: %w", err)
			}
		}
		if len(seen) < len(mine) {
			return fmt.Errorf("Keys: yielded %d of %d keys that existed until they were yielded", len(seen), len(mine))
		}
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- protect(loop) }()
	select {
	case err := <-done:
		c.must(err)
	case <-time.After(6 * time.Second):
		c.brokenf("Delete or Create inside a loop over Keys does not return")
	}
	for key := range mine {
		c.must(c.lacks(key))
	}
}
