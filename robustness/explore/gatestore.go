package explore

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// gateStore is a Store in memory whose calls are steps. Its updates are atomic
// unless it says otherwise.
type gateStore struct {
	mu     sync.Mutex
	data   map[string][]byte
	atomic bool
}

func (s *gateStore) AtomicUpdates() bool { return s.atomic }

func (s *gateStore) do(ctx context.Context, name string, fn func()) error {
	if t := taskOf(ctx); t != nil {
		call, err := t.step("store " + name)
		if call {
			s.mu.Lock()
			fn()
			s.mu.Unlock()
		}
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
	return nil
}

func (s *gateStore) Find(ctx context.Context, key string) (data []byte, found bool, err error) {
	err = s.do(ctx, "Find", func() {
		data, found = s.data[key]
		data = slices.Clone(data)
	})
	if err != nil {
		return nil, false, err
	}
	return data, found, nil
}

func (s *gateStore) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	exists := false
	err := s.do(ctx, "Create", func() {
		if _, exists = s.data[key]; !exists {
			s.data[key] = slices.Clone(data)
		}
	})
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
		err = s.do(ctx, "Commit", func() { s.data[key] = slices.Clone(data) })
		return err == nil, err
	}
	err = s.do(ctx, "Update", func() {
		if _, found = s.data[key]; found {
			s.data[key] = slices.Clone(data)
		}
	})
	return found && err == nil, err
}

func (s *gateStore) Touch(ctx context.Context, key string, expiry time.Time) (found bool, err error) {
	err = s.do(ctx, "Touch", func() { _, found = s.data[key] })
	return found && err == nil, err
}

func (s *gateStore) Delete(ctx context.Context, keys ...string) error {
	return s.do(ctx, "Delete", func() {
		for _, k := range keys {
			delete(s.data, k)
		}
	})
}

func (s *gateStore) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.data[key]
	return ok
}

func (s *gateStore) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.data))
}
