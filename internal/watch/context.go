package watch

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
)

// Context is the context of a request. It ends with its parent, or when its session has
// ended. It joins the Set when somebody first asks whether it has, so that a request of
// which nobody asks has no part in it.
type Context struct {
	context.Context // the parent

	set *Set
	of  Session
	why error

	live atomic.Pointer[live] // what it becomes once somebody asks

	mu    sync.Mutex
	watch *Watch // nil if nobody has asked
	left  bool
}

type live struct {
	context.Context
	cancel context.CancelCauseFunc
}

// Init makes the zero Context one of a request with a session. why is the cause with
// which it ends. The caller must call Release once the request is over.
func (c *Context) Init(parent context.Context, set *Set, of Session, why error) {
	c.Context, c.set, c.of, c.why = parent, set, of, why
}

// Is reports whether the Context is that of a session.
func (c *Context) Is(id string) bool { return c.of.ID == id }

// Leave says that the request has ended its own session, and goes on.
func (c *Context) Leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	if c.watch != nil {
		c.set.Remove(c.watch)
	}
}

// Release ends the context, as net/http does after the handler.
func (c *Context) Release() {
	c.Leave()
	if l := c.live.Load(); l != nil {
		l.cancel(nil)
	}
}

func (c *Context) asked() *live {
	if l := c.live.Load(); l != nil {
		return l
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.live.Load(); l != nil {
		return l
	}
	l := new(live)
	l.Context, l.cancel = context.WithCancelCause(c.Context)
	c.live.Store(l)
	if !c.left {
		c.watch = c.set.Add(c.of, func() { l.cancel(c.why) })
	}
	return l
}

// Done implements context.Context.
func (c *Context) Done() <-chan struct{} { return c.asked().Done() }

// Err implements context.Context.
func (c *Context) Err() error { return c.asked().Err() }

// Value asks the context that Done belongs to, so that package context finds its own
// kind there and needs no goroutine to follow it.
func (c *Context) Value(key any) any {
	if l := c.live.Load(); l != nil {
		return l.Value(key)
	}
	return c.Context.Value(key)
}

// Body is the body of a request, of which nothing is read after its session has ended.
type Body struct {
	io.ReadCloser
	Of *Context
}

func (b *Body) Read(p []byte) (int, error) {
	if err := b.ended(); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	if ended := b.ended(); ended != nil {
		return 0, ended
	}
	return n, err
}

// ended returns why the session has ended, and nothing if only the client has gone.
func (b *Body) ended() error {
	if why := context.Cause(b.Of.asked()); why == b.Of.why {
		return why
	}
	return nil
}
