package usersession

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// lazyTimeout is context.WithTimeout for calls that may never wait: its timer
// starts when somebody asks for Done. A Store in memory asks for Err at most.
type lazyTimeout struct {
	context.Context // the parent
	deadline        time.Time

	once   sync.Once
	waited atomic.Pointer[waitedTimeout]
}

// waitedTimeout is what a lazyTimeout becomes once somebody waits for it.
type waitedTimeout struct {
	context.Context
	cancel context.CancelFunc
}

// withLazyTimeout returns a context that ends after d, or with its parent. Whoever
// asks for it calls release at last.
func withLazyTimeout(parent context.Context, d time.Duration) *lazyTimeout {
	deadline := time.Now().Add(d)
	if p, ok := parent.Deadline(); ok && p.Before(deadline) {
		deadline = p
	}
	return &lazyTimeout{Context: parent, deadline: deadline}
}

// release frees what the context holds. Unlike the cancel function of
// context.WithTimeout it need not end it if nobody has waited for it.
func (c *lazyTimeout) release() {
	if w := c.waited.Load(); w != nil {
		w.cancel()
	}
}

func (c *lazyTimeout) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *lazyTimeout) Done() <-chan struct{} {
	c.once.Do(func() {
		ctx, cancel := context.WithDeadline(c.Context, c.deadline)
		c.waited.Store(&waitedTimeout{ctx, cancel})
	})
	return c.waited.Load().Done()
}

func (c *lazyTimeout) Err() error {
	if w := c.waited.Load(); w != nil {
		return w.Err()
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(c.deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// Value asks the context that Done belongs to, so that package context finds its
// own kind there and needs no goroutine to follow it.
func (c *lazyTimeout) Value(key any) any {
	if w := c.waited.Load(); w != nil {
		return w.Value(key)
	}
	return c.Context.Value(key)
}
