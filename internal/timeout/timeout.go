// Package timeout is context.WithTimeout for calls that may never wait. It imports
// nothing of this module. No context of it outlives its Release, and none says that
// it has ended while its Done is open.
package timeout

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Context ends after a time, or with its parent. Its timer starts when somebody
// asks for Done. A Store in memory asks for Err at most.
type Context struct {
	context.Context // the parent
	deadline        time.Time

	once   sync.Once
	waited atomic.Pointer[waited]
	own    waited // the room for what waited points to
}

// waited is what a Context becomes once somebody waits for it.
type waited struct {
	context.Context
	cancel context.CancelFunc
}

// released is what a Context becomes at its Release if nobody has waited.
var released = func() *waited {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return &waited{ctx, cancel}
}()

// New returns a context that ends after d, or with its parent. The caller must call
// Release once it is done with it.
func New(parent context.Context, d time.Duration) *Context {
	deadline := time.Now().Add(d)
	if p, ok := parent.Deadline(); ok && p.Before(deadline) {
		deadline = p
	}
	return &Context{Context: parent, deadline: deadline}
}

// Release ends the context, as the cancel function of context.WithTimeout does.
func (c *Context) Release() {
	c.once.Do(func() { c.waited.Store(released) })
	c.waited.Load().cancel()
}

// Deadline implements context.Context.
func (c *Context) Deadline() (time.Time, bool) { return c.deadline, true }

// Done implements context.Context.
func (c *Context) Done() <-chan struct{} { return c.wait().Done() }

func (c *Context) wait() *waited {
	c.once.Do(func() {
		ctx, cancel := context.WithDeadline(c.Context, c.deadline)
		c.own = waited{ctx, cancel}
		c.waited.Store(&c.own)
	})
	return c.waited.Load()
}

// Err implements context.Context.
func (c *Context) Err() error {
	if c.waited.Load() == nil && c.Context.Err() == nil && time.Now().Before(c.deadline) {
		return nil
	}
	return c.wait().Err() // the same from here on
}

// Value asks the context that Done belongs to, so that package context finds its
// own kind there and needs no goroutine to follow it.
func (c *Context) Value(key any) any {
	if w := c.waited.Load(); w != nil && w != released {
		return w.Value(key)
	}
	return c.Context.Value(key)
}
