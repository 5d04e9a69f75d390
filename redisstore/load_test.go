package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/redisstore"
)

// load creates, changes, touches and deletes keys until it is finished, and
// knows which of them must exist and which must not.
type load struct {
	store  *redisstore.Store
	over   atomic.Bool
	rounds atomic.Int64
	done   sync.WaitGroup

	mu      sync.Mutex
	live    map[string][]byte // acknowledged data
	deleted []string          // acknowledged
	unknown map[string]bool   // some call returned an error
	failed  int
	err     error // one of the errors
}

func startLoad(t *testing.T, store *redisstore.Store) *load {
	t.Helper()
	l := &load{store: store, live: make(map[string][]byte), unknown: make(map[string]bool)}
	// Not as fast as it can: all of it is checked in the end.
	pace := time.NewTicker(time.Millisecond)
	t.Cleanup(pace.Stop)
	for range 8 {
		l.done.Go(func() {
			for ; !l.over.Load(); <-pace.C {
				l.round(t)
				l.rounds.Add(1)
			}
		})
	}
	t.Cleanup(func() { l.over.Store(true); l.done.Wait() })
	l.more()
	return l
}

// more waits until the load has done a good deal more.
func (l *load) more() {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for end := l.rounds.Load() + 300; l.rounds.Load() < end && !l.over.Load(); {
		<-poll.C
	}
}

// round lives the life of one to five sessions. The calls of a request in flight
// race the deletion.
func (l *load) round(t *testing.T) {
	ctx := t.Context()
	keys := make([]string, 1+rand.N(5))
	for i := range keys {
		keys[i] = newKey()
		if err := l.store.Create(ctx, keys[i], []byte("old"), later()); err != nil {
			// Nobody else knows this key.
			if errors.Is(err, usersession.ErrKeyExists) {
				t.Errorf("Create of a new key: %v", err)
			}
			l.lost(err, keys...)
			return
		}
		found, err := l.store.Update(ctx, keys[i], []byte("new"))
		if err == nil && !found {
			t.Error("Update: a key that was created is not found")
		}
		if err == nil {
			found, err = l.store.Touch(ctx, keys[i], later())
			if err == nil && !found {
				t.Error("Touch: a key that was created is not found")
			}
		}
		if err != nil {
			l.lost(err, keys...)
			return
		}
	}
	if rand.N(2) == 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, key := range keys {
			l.live[key] = []byte("new")
		}
		return
	}
	var inFlight sync.WaitGroup
	for _, key := range keys {
		inFlight.Go(func() { _, _ = l.store.Update(ctx, key, []byte("too late")) })
		inFlight.Go(func() { _, _ = l.store.Touch(ctx, key, later()) })
	}
	err := l.store.Delete(ctx, keys...)
	if err != nil {
		l.lost(err, keys...)
	} else {
		existing, err := existing(ctx, l.store, keys...)
		if err == nil && len(existing) > 0 {
			t.Errorf("%d keys whose Delete has returned are found", len(existing))
		}
	}
	inFlight.Wait()
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.deleted = append(l.deleted, keys...)
	}
}

func (l *load) lost(err error, keys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed++
	l.err = err
	for _, key := range keys {
		l.unknown[key] = true
	}
}

// finish stops the load and checks that nothing is lost and nothing has come
// back.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.over.Store(true)
	l.done.Wait()
	if lost, back := l.count(t); lost > 0 || back > 0 {
		t.Errorf("%d keys are lost, %d have come back", lost, back)
	}
	if len(l.live) == 0 || len(l.deleted) == 0 {
		t.Error("the load has done nothing")
	}
	t.Logf("%d keys kept, %d deleted, %d of unknown outcome", len(l.live), len(l.deleted), len(l.unknown))
}

// count returns how many acknowledged writes and deletions do not hold.
func (l *load) count(t *testing.T) (lost, back int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, want := range l.live {
		data, found, err := l.store.Find(t.Context(), key)
		if err != nil {
			t.Fatalf("Find, when all is over: %v", err)
		}
		if !found || !bytes.Equal(data, want) {
			lost++
		}
	}
	found, err := existing(t.Context(), l.store, l.deleted...)
	if err != nil {
		t.Fatalf("Find, when all is over: %v", err)
	}
	return lost, len(found)
}

// existing returns those of keys that are found.
func existing(ctx context.Context, store *redisstore.Store, keys ...string) ([]string, error) {
	var existing []string
	for _, key := range keys {
		_, found, err := store.Find(ctx, key)
		if err != nil {
			return nil, err
		}
		if found {
			existing = append(existing, key)
		}
	}
	return existing, nil
}
