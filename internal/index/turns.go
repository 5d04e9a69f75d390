package index

import (
	"context"
	"sync"
)

// turns lets the callers with one key go one after the other. The zero value is
// ready. It is safe for concurrent use.
type turns struct {
	mu sync.Mutex
	of map[string]*turn
}

// turn is the one of a key. It is there as long as somebody has it or waits for it.
type turn struct {
	free  chan struct{} // holds one if nobody has the turn
	users int
}

// take waits for the turn of a key, until ctx ends. leave passes it on.
func (t *turns) take(ctx context.Context, key string) (leave func(), err error) {
	t.mu.Lock()
	its := t.of[key]
	if its == nil {
		if t.of == nil {
			t.of = make(map[string]*turn)
		}
		its = &turn{free: make(chan struct{}, 1)}
		its.free <- struct{}{}
		t.of[key] = its
	}
	its.users++
	t.mu.Unlock()
	forget := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if its.users--; its.users == 0 {
			delete(t.of, key)
		}
	}
	select {
	case <-its.free:
		return func() { its.free <- struct{}{}; forget() }, nil
	case <-ctx.Done():
		forget()
		return nil, ctx.Err()
	}
}
