package backendtest

import (
	"context"
	"slices"
	"sync"
	"time"
)

// handWritten is the Store that somebody writes in an afternoon: five methods,
// none of the abilities, nothing declared.
type handWritten struct {
	mu      sync.Mutex
	entries map[string]handEntry
}

type handEntry struct {
	data   []byte
	expiry time.Time
}

func (s *handWritten) Find(ctx context.Context, key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	return slices.Clone(e.data), ok && time.Now().Before(e.expiry), ctx.Err()
}

func (s *handWritten) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[key] = handEntry{slices.Clone(data), expiry}
	return ctx.Err()
}

func (s *handWritten) Update(ctx context.Context, key string, data []byte) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	if ok = ok && time.Now().Before(e.expiry); ok {
		s.entries[key] = handEntry{slices.Clone(data), e.expiry}
	}
	return ok, ctx.Err()
}

func (s *handWritten) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	if ok = ok && time.Now().Before(e.expiry); ok {
		s.entries[key] = handEntry{e.data, expiry}
	}
	return ok, ctx.Err()
}

func (s *handWritten) Delete(ctx context.Context, keys ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		delete(s.entries, key)
	}
	return ctx.Err()
}
