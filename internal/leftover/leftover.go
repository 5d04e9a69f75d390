// Package leftover remembers the keys whose data a Store could not delete, though
// nobody may have them any more, until it can.
//
// The package imports the standard library only. It must never be given a key that a
// session may come to have again, unless who gives it one asks Has first.
package leftover

import (
	"context"
	"slices"
	"sync"
)

// Keys are some keys. They are safe for concurrent use, and the zero Keys are none.
type Keys struct {
	mu   sync.Mutex
	left map[string]bool
	busy []string // those that Retry is just deleting
}

// most is how many keys are remembered. The data of further ones stay until they expire.
const most = 10_000

// deleter is Delete of a Store.
type deleter = func(ctx context.Context, keys ...string) error

// Delete deletes the data of a key. If that fails, the key is remembered.
func (k *Keys) Delete(ctx context.Context, del deleter, key string) error {
	err := del(ctx, key)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		delete(k.left, key)
	} else if len(k.left) < most {
		if k.left == nil {
			k.left = make(map[string]bool)
		}
		k.left[key] = true
	}
	return err
}

// Has reports whether a key is remembered, or just being deleted by Retry.
func (k *Keys) Has(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.left[key] || slices.Contains(k.busy, key)
}

// Retry deletes the data of some keys that are remembered, at most of so many, and forgets
// those. It reports whether there are more. One call of it works at a time, and others do
// nothing.
func (k *Keys) Retry(ctx context.Context, del deleter, most int) (more bool, err error) {
	k.mu.Lock()
	var keys []string
	if k.busy == nil {
		for key := range k.left {
			if keys = append(keys, key); len(keys) == most {
				break
			}
		}
		k.busy = keys
	}
	k.mu.Unlock()
	if len(keys) == 0 {
		return false, nil
	}
	deleted := false
	defer func() { // also if the Store panics
		k.mu.Lock()
		defer k.mu.Unlock()
		k.busy = nil
		if deleted {
			for _, key := range keys {
				delete(k.left, key)
			}
			more = len(k.left) > 0
		}
	}()
	err = del(ctx, keys...)
	deleted = err == nil
	return false, err
}
