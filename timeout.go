package usersession

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// timeouts are the contexts of the calls under way that somebody waits for.
//
// Most calls are over long before a timer could say anything, but to start and stop
// one for each costs each of them, and may wake a thread, because it is the next
// to fire. So one timer of all looks now and then, and only those that it sees
// twice get their own.
type timeouts struct {
	lists   [8]timeoutList // several, so that requests do not wait for each other
	ticking atomic.Bool
}

type timeoutList struct {
	mu    sync.Mutex
	first *lazyTimeout
	_     [48]byte // a cache line for each
}

// timeoutTick is how often it looks. A context has its own timer, and knows of the
// end of its parent, after two ticks at the latest.
const timeoutTick = 25 * time.Millisecond

// with returns a context that ends after d, or with its parent, which it may learn
// up to two ticks late. Whoever asks for it calls release at last.
func (ts *timeouts) with(parent context.Context, d time.Duration) *lazyTimeout {
	deadline := time.Now().Add(d)
	if p, ok := parent.Deadline(); ok && p.Before(deadline) {
		deadline = p
	}
	return &lazyTimeout{Context: parent, all: ts, deadline: deadline}
}

func (ts *timeouts) add(c *lazyTimeout) {
	l := &ts.lists[rand.Uint32()%uint32(len(ts.lists))]
	c.list = l
	l.mu.Lock()
	if c.next = l.first; c.next != nil {
		c.next.prev = c
	}
	l.first, c.listed = c, true
	l.mu.Unlock()
	ts.start()
}

func (ts *timeouts) start() {
	if !ts.ticking.Load() && ts.ticking.CompareAndSwap(false, true) {
		time.AfterFunc(timeoutTick, ts.look)
	}
}

// look gives those that it has seen before a timer of their own.
func (ts *timeouts) look() {
	var late []*lazyTimeout
	busy := false
	for i := range ts.lists {
		l := &ts.lists[i]
		l.mu.Lock()
		for c := l.first; c != nil; {
			next := c.next
			if c.seen {
				l.remove(c)
				late = append(late, c)
			}
			c.seen = true
			c = next
		}
		busy = busy || l.first != nil
		l.mu.Unlock()
	}
	// First, because what follows asks the contexts of the application.
	if busy {
		time.AfterFunc(timeoutTick, ts.look)
	} else {
		ts.ticking.Store(false)
		if ts.any() { // one that was added before it could know
			ts.start()
		}
	}
	for _, c := range late {
		c.follow()
	}
}

func (ts *timeouts) any() bool {
	for i := range ts.lists {
		l := &ts.lists[i]
		l.mu.Lock()
		first := l.first
		l.mu.Unlock()
		if first != nil {
			return true
		}
	}
	return false
}

// remove takes out a context that is in the list. The caller holds the lock.
func (l *timeoutList) remove(c *lazyTimeout) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next, c.listed = nil, nil, false
}

// lazyTimeout is context.WithTimeout for calls that are over soon. Nothing is made
// until somebody asks for Done: a Store in memory asks for Err at most.
type lazyTimeout struct {
	context.Context // the parent
	all             *timeouts
	deadline        time.Time

	// Guarded by the lock of the list.
	listed, seen bool
	prev, next   *lazyTimeout

	mu     sync.Mutex
	list   *timeoutList // nil: never put in one
	done   chan struct{}
	err    error
	after  []*func()          // what AfterFunc was given
	cancel context.CancelFunc // ends its own timer
}

// release ends the context, as the cancel function of context.WithTimeout does.
func (c *lazyTimeout) release() {
	c.mu.Lock()
	if c.err == nil {
		c.end(context.Canceled)
	}
	list, cancel := c.list, c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	if list == nil {
		return
	}
	list.mu.Lock()
	if c.listed {
		list.remove(c)
	}
	list.mu.Unlock()
}

func (c *lazyTimeout) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *lazyTimeout) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done != nil {
		return c.done
	}
	c.done = make(chan struct{})
	switch {
	case c.err != nil:
		close(c.done)
	case c.check() != nil:
	case time.Until(c.deadline) <= 2*timeoutTick:
		c.followNow()
	default:
		c.all.add(c)
	}
	return c.done
}

func (c *lazyTimeout) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.check()
}

// check returns why the context has ended, or nil, and sees to it that Done says
// the same. The caller holds the lock.
func (c *lazyTimeout) check() error {
	if c.err != nil {
		return c.err
	}
	if err := c.Context.Err(); err != nil {
		c.end(err)
	} else if !time.Now().Before(c.deadline) {
		c.end(context.DeadlineExceeded)
	}
	return c.err
}

// end is called once, by who holds the lock.
func (c *lazyTimeout) end(err error) {
	c.err = err
	if c.done != nil {
		close(c.done)
	}
	for _, f := range c.after {
		go (*f)()
	}
	c.after = nil
}

// follow starts a timer for a context that may have ended.
func (c *lazyTimeout) follow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.followNow()
	}
}

func (c *lazyTimeout) followNow() {
	ctx, cancel := context.WithDeadline(c.Context, c.deadline)
	c.cancel = cancel
	context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.err == nil {
			c.end(ctx.Err())
		}
	})
}

// AfterFunc is what package context looks for in a context that is not its own,
// which it otherwise needs a goroutine to follow.
func (c *lazyTimeout) AfterFunc(f func()) (stop func() bool) {
	c.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	id := &f
	c.after = append(c.after, id)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, known := range c.after {
			if known == id {
				c.after = append(c.after[:i], c.after[i+1:]...)
				return true
			}
		}
		return false
	}
}
