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
			for _, err := range usersession.Keys(c.Context(), c.store) {
				c.must(err)
				break
			}
		}
		c.must(c.creates(newKey(), []byte("data"), later()))
	}},
	{"KeysWhileChanging", ruleKeysRaced, keysWhileChanging},
	{"KeysCancelled", ruleKeysStop, func(c *check) {
		c.keys()
		c.must(c.creates(newKey(), []byte("data"), later()))
		var errs []error
		for _, err := range usersession.Keys(cancelled(), c.store) {
			errs = append(errs, err)
		}
		if len(errs) != 1 || errs[0] == nil {
			c.brokenf("Keys with a cancelled context: yielded %v, want one error and nothing else", errs)
		}
	}},

	{"Existing", ruleExisting, existing},
	{"ExistingCancelled", ruleCtx, func(c *check) {
		checker, ok := c.store.(usersession.KeyChecker)
		if !ok {
			c.Skip("the store is no KeyChecker")
		}
		key := newKey()
		c.must(c.creates(key, []byte("data"), later()))
		if keys, err := checker.Existing(cancelled(), key); err == nil {
			c.brokenf("Existing with a cancelled context: %q and no error", keys)
		}
	}},
}

// keys returns what Keys yields, each key once. It skips the case if the Store cannot iterate.
func (c *check) keys() []string {
	c.Helper()
	var keys []string
	for key, err := range usersession.Keys(c.Context(), c.store) {
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
		for key, err := range usersession.Keys(ctx, c.store) {
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

func existing(c *check) {
	checker, ok := c.store.(usersession.KeyChecker)
	if !ok {
		c.Skip("the store is no KeyChecker")
	}
	// More keys than some backends take parameters in one statement.
	keys := make([]string, 2500)
	for i := range keys {
		keys[i] = newKey()
	}
	var want []string
	for _, i := range []int{0, 1, 100, 999, 1000, 2099, 2100, 2499} {
		c.must(c.creates(keys[i], []byte("data"), later()))
		want = append(want, keys[i])
	}
	deleted := keys[7]
	c.must(c.creates(deleted, []byte("data"), later()))
	c.must(c.deletes(deleted))
	c.must(c.creates(keys[8], []byte("data"), time.Now().Add(-time.Hour)))

	for _, ask := range []struct{ keys, want []string }{
		{nil, nil},
		{[]string{newKey()}, nil},
		{want[:1], want[:1]},
		{want[:1:1], want[:1]},
		{keys, want},
	} {
		got, err := checker.Existing(c.Context(), ask.keys...)
		if err != nil {
			c.brokenf("Existing of %d keys: unexpected error: %w", len(ask.keys), err)
		}
		got, sorted := slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(ask.want))
		if !slices.Equal(got, sorted) {
			c.brokenf("Existing of %d keys: returned %d keys, want the %d that exist", len(ask.keys), len(got), len(sorted))
		}
	}
}
