// Package memstore keeps session data in the memory of the process.
//
// It serves tests, examples and programs that run as one process and may forget
// their sessions when it ends. The package imports only the standard library
// and the package usersession.
package memstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

var (
	_ usersession.Store         = (*Store)(nil)
	_ usersession.AtomicUpdater = (*Store)(nil)
	_ usersession.ExpiryFinder  = (*Store)(nil)
	_ usersession.KeyLister     = (*Store)(nil)
	_ usersession.Placer        = (*Store)(nil)
	_ usersession.Pruner        = (*Store)(nil)
)

// Store is a [usersession.Store] in memory. It is safe for concurrent use.
//
// It starts no goroutine. Expired data is never returned, but its memory is
// freed only by a Find of its key and by [Store.Prune], which
// usersession.Manager.Run calls.
type Store struct {
	place   string
	mu      sync.RWMutex
	entries map[string]entry
}

// entry is the data of one key.
type entry struct {
	data   []byte
	expiry time.Time
}

// live reports whether the entry may still be found at the time now.
func (e entry) live(now time.Time) bool { return e.expiry.After(now) }

// New returns an empty Store.
func New() *Store {
	return &Store{place: "memory#" + rand.Text(), entries: make(map[string]entry)}
}

// AtomicUpdates reports true, because Update and Touch find and change a key
// under one lock.
func (s *Store) AtomicUpdates() bool { return true }

// Place names this Store, and no other has its data or its name.
func (s *Store) Place() string { return s.place }

// Format implements fmt.Formatter. It prints neither keys nor data.
func (s *Store) Format(f fmt.State, _ rune) { io.WriteString(f, "memstore.Store") }

// Find returns a copy of the data of a key.
func (s *Store) Find(ctx context.Context, key string) ([]byte, bool, error) {
	data, _, found, err := s.FindExpiry(ctx, key)
	return data, found, err
}

// FindExpiry is Find that returns the expiry as well.
func (s *Store) FindExpiry(ctx context.Context, key string) ([]byte, time.Time, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, time.Time{}, false, err
	}
	s.mu.RLock()
	e, ok := s.entries[key]
	s.mu.RUnlock()
	if !ok {
		return nil, time.Time{}, false, nil
	}
	if !e.live(time.Now()) {
		s.drop(key)
		return nil, time.Time{}, false, nil
	}
	return bytes.Clone(e.data), e.expiry, true, nil
}

// drop deletes a key that has expired.
func (s *Store) drop(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Since the caller looked, the key may have been deleted and created anew.
	if e, ok := s.entries[key]; ok && !e.live(time.Now()) {
		delete(s.entries, key)
	}
}

// Create stores a copy of the data of a new key until expiry. It returns
// [usersession.ErrKeyExists] and changes nothing if the key exists.
func (s *Store) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e := newEntry(data, expiry)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if old, ok := s.entries[key]; ok && old.live(now) {
		return usersession.ErrKeyExists
	}
	if e.live(now) {
		s.entries[key] = e
	} else {
		delete(s.entries, key)
	}
	return nil
}

// Update replaces the data of a key that exists and keeps its expiry.
func (s *Store) Update(ctx context.Context, key string, data []byte) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	data = bytes.Clone(data)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	if !ok || !e.live(time.Now()) {
		return false, nil
	}
	e.data = data
	s.entries[key] = e
	return true, nil
}

// Touch moves the expiry of a key that exists and keeps its data. An expiry
// that is not in the future ends the key.
func (s *Store) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	if !ok || !e.live(time.Now()) {
		return false, nil
	}
	s.entries[key] = entry{data: e.data, expiry: expiry.Round(0)}
	return true, nil
}

// Delete removes keys. Missing keys and an empty list are no-ops.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.entries, key)
	}
	return nil
}

// Keys yields every key that had not expired when the iteration began. The
// Store may be used inside the loop.
func (s *Store) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, key := range s.liveKeys() {
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			if !yield(key, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield("", err)
		}
	}
}

// liveKeys returns the keys that have not expired.
func (s *Store) liveKeys() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	now := time.Now()
	keys := make([]string, 0, len(s.entries))
	for key, e := range s.entries {
		if e.live(now) {
			keys = append(keys, key)
		}
	}
	return keys
}

// Prune frees the memory of expired data and returns how many keys it freed.
func (s *Store) Prune(ctx context.Context) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	n := 0
	for key, e := range s.entries {
		if !e.live(now) {
			delete(s.entries, key)
			n++
		}
	}
	return n, nil
}

// newEntry returns an entry that shares nothing with data. Its expiry has no
// monotonic reading: that clock stands still while the machine sleeps.
func newEntry(data []byte, expiry time.Time) entry {
	return entry{data: bytes.Clone(data), expiry: expiry.Round(0)}
}
