package explore

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// gateStore is a Store in memory whose calls are steps, and which reads a clock
// of its own. Its updates are atomic unless it says otherwise.
type gateStore struct {
	clock  *clock
	atomic bool

	mu   sync.Mutex
	data map[string]entry
	// latest bounds the expiry of keys whose lifetime a world has shortened: the
	// data say so to the program, by its clock.
	latest map[string]int64
}

// entry is the data of a key. Nobody changes the bytes.
type entry struct {
	data   []byte
	expiry int64 // of the Store's clock
}

func (s *gateStore) AtomicUpdates() bool { return s.atomic }

// do makes fn a step of the operation that calls, if there is one.
func (s *gateStore) do(ctx context.Context, name string, write bool, fn func(), keys ...string) error {
	var err error
	if t := taskOf(ctx); t != nil {
		var call bool
		if call, err = t.step(step{side: storeSide, name: name, write: write, keys: keys}); !call {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
	return err
}

// live returns the data of a key. The caller has locked s.
func (s *gateStore) live(key string) (entry, bool) {
	e, ok := s.data[key]
	return e, ok && e.expiry > s.clock.now()
}

// expiryAt turns a time of the program into one of the Store, as a relative
// expiry does.
func (s *gateStore) expiryAt(key string, at time.Time) int64 {
	us := s.clock.now() + time.Until(at).Microseconds()
	if latest, ok := s.latest[key]; ok {
		us = min(us, latest)
	}
	return us
}

func (s *gateStore) Find(ctx context.Context, key string) (data []byte, found bool, err error) {
	err = s.do(ctx, "Find", false, func() {
		e, ok := s.live(key)
		data, found = bytes.Clone(e.data), ok
	}, key)
	if err != nil || !found {
		return nil, false, err
	}
	return data, true, nil
}

func (s *gateStore) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	exists := false
	err := s.do(ctx, "Create", true, func() {
		if _, exists = s.live(key); !exists {
			s.data[key] = entry{bytes.Clone(data), s.expiryAt(key, expiry)}
		}
	}, key)
	if err == nil && exists {
		return usersession.ErrKeyExists
	}
	return err
}

func (s *gateStore) Update(ctx context.Context, key string, data []byte) (found bool, err error) {
	if !s.atomic { // what scs's stores can do: look, and then write
		_, found, err = s.Find(ctx, key)
		if err != nil || !found {
			return found, err
		}
		err = s.do(ctx, "Commit", true, func() {
			e := s.data[key]
			s.data[key] = entry{bytes.Clone(data), max(e.expiry, s.clock.now()+time.Hour.Microseconds())}
		}, key)
		return err == nil, err
	}
	err = s.do(ctx, "Update", true, func() {
		var e entry
		if e, found = s.live(key); found {
			s.data[key] = entry{bytes.Clone(data), e.expiry}
		}
	}, key)
	if t := taskOf(ctx); t != nil && err == nil && !found {
		t.dropped = true
	}
	return found && err == nil, err
}

func (s *gateStore) Touch(ctx context.Context, key string, expiry time.Time) (found bool, err error) {
	err = s.do(ctx, "Touch", true, func() {
		var e entry
		if e, found = s.live(key); found {
			s.data[key] = entry{e.data, s.expiryAt(key, expiry)}
		}
	}, key)
	return found && err == nil, err
}

func (s *gateStore) Delete(ctx context.Context, keys ...string) error {
	return s.do(ctx, "Delete", true, func() {
		for _, k := range keys {
			delete(s.data, k)
		}
	}, keys...)
}

func (s *gateStore) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.live(key)
	return ok
}

// keys returns the keys that are not past their expiry, in order.
func (s *gateStore) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := slices.Sorted(maps.Keys(s.data))
	return slices.DeleteFunc(keys, func(k string) bool { _, ok := s.live(k); return !ok })
}
