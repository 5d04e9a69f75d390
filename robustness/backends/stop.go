package backends

import (
	"context"
	"sync"
	"sync/atomic"
)

// Stop stops whoever carries it in a context, once, at one of its calls to the
// database or the Store. It is safe for concurrent use.
type Stop struct {
	at      int64 // which call; 0 is the first
	after   bool  // behind the call and not before it
	calls   atomic.Int64
	reached chan struct{}
	release chan struct{}
	once    sync.Once
}

// NewStop returns a Stop at the call number at, counted from 0: before it, or
// behind it.
func NewStop(at int, after bool) *Stop {
	return &Stop{at: int64(at), after: after, reached: make(chan struct{}), release: make(chan struct{})}
}

// Reached is closed when the carrier has stopped.
func (s *Stop) Reached() <-chan struct{} { return s.reached }

// Release lets the carrier go on, now or when it comes by.
func (s *Stop) Release() { s.once.Do(func() { close(s.release) }) }

// Wait stops the carrier, where it is no call that stops it.
func (s *Stop) Wait() {
	close(s.reached)
	<-s.release
}

type stopKey struct{}

// With returns a context that carries s.
func (s *Stop) With(ctx context.Context) context.Context {
	return context.WithValue(ctx, stopKey{}, s)
}

// pass is called before a call to a backend; what it returns, behind it.
func pass(ctx context.Context) (after func()) {
	s, _ := ctx.Value(stopKey{}).(*Stop)
	if s == nil || s.calls.Add(1)-1 != s.at {
		return func() {}
	}
	if s.after {
		return s.Wait
	}
	s.Wait()
	return func() {}
}
