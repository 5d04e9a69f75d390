package storetest

import (
	"context"
	"iter"
	"sync/atomic"
	"time"
)

// A moment is a context that interferes with the call it is given to: when the
// Store looks at it for the nth time, hook runs, in the middle of the call.
//
// A Store that does two steps passes its context to both, so that something
// happens between them without any luck.
type moment struct {
	context.Context
	cancel func()
	number int    // n
	hook   func() // runs at the nth look
	after  func() // runs at every look after it; may be nil
	left   atomic.Int64
}

// mostMoments is how often a call may look at its context and be met each time.
const mostMoments = 100

// moments yields the first moment, the second and so on, until a call does not
// reach the last one that was yielded.
func (c *check) moments() iter.Seq[*moment] {
	return func(yield func(*moment) bool) {
		end := time.Now().Add(raceTime())
		for n := 1; n <= mostMoments && time.Now().Before(end); n++ {
			// The deadline gives drivers a Done channel to watch.
			ctx, cancel := context.WithTimeout(c.Context(), 30*time.Second)
			m := &moment{Context: ctx, cancel: cancel, number: n}
			m.left.Store(int64(n))
			more := yield(m)
			cancel()
			if !more || !m.reached() {
				return
			}
		}
	}
}

// reached reports whether the hook has run or is running.
func (m *moment) reached() bool { return m.left.Load() <= 0 }

// interfere makes fn what happens at the moment. The function it returns waits
// until fn has returned, if it was called at all, and returns its error.
func (c *check) interfere(m *moment, fn func() error) (wait func() error) {
	result := make(chan error, 1)
	m.hook = func() {
		c.patiently(func() { result <- protect(fn) })
	}
	return func() error {
		if !m.reached() {
			return nil
		}
		return <-result
	}
}

// patiently runs fn and waits until it returns, but not for ever: a Store that
// looks at its context under a lock, or while it has its only connection, lets
// nobody in. That is right.
func (c *check) patiently(fn func()) {
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		fn()
	}()
	patience := 100 * time.Millisecond
	if c.blocked.Load() {
		patience = 2 * time.Millisecond
	}
	select {
	case <-finished:
	case <-time.After(patience):
		c.blocked.Store(true)
	}
}

func (m *moment) look() {
	switch left := m.left.Add(-1); {
	case left == 0:
		m.hook()
	case left < 0 && m.after != nil:
		m.after()
	}
}

func (m *moment) Deadline() (time.Time, bool) {
	m.look()
	return m.Context.Deadline()
}

func (m *moment) Done() <-chan struct{} {
	m.look()
	return m.Context.Done()
}

func (m *moment) Err() error {
	m.look()
	return m.Context.Err()
}

func (m *moment) Value(key any) any {
	m.look()
	return m.Context.Value(key)
}
