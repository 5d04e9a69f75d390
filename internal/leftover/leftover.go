// Package leftover remembers the keys whose data a Store could not delete, though
// nobody may have them any more, until it can.
//
// The package imports the standard library only. It must never be given a key that a
// session may come to have again.
package leftover

import (
	"context"
	"sync"
)

// Keys are some keys. They are safe for concurrent use, and the zero Keys are none.
type Keys struct {
	mu   sync.Mutex
	left []string // in the order in which they came
}

// most is how many keys are remembered. The data of further ones stay until they expire.
const most = 10_000

// Delete deletes the data of some keys, and of at most a page of those that were left
// before. If that fails, all of them are left. It reports whether there are more.
func (k *Keys) Delete(ctx context.Context, del func(ctx context.Context, keys ...string) error, page int, keys ...string) (more bool, err error) {
	k.mu.Lock()
	n := min(page, len(k.left))
	keys = append(keys, k.left[:n]...)
	if k.left = k.left[n:]; len(k.left) == 0 {
		k.left = nil
	}
	more = k.left != nil
	k.mu.Unlock()
	if len(keys) == 0 {
		return false, nil
	}
	if err := del(ctx, keys...); err != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.left = append(k.left, keys[:min(len(keys), most-len(k.left))]...)
		return false, err
	}
	return more, nil
}
