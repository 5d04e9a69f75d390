// Package bounded brings a call back when its context ends, whatever it calls.
package bounded

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// grace is what a call may take to come back by itself once its context has
// ended. Most do at once, and know best what the outcome is.
const grace = 100 * time.Millisecond

// errGone is the error of a call whose goroutine ended without a return.
var errGone = errors.New("the call has ended its goroutine")

// Call calls fn and returns what it returns. If fn does not come back with the end
// of ctx, Call does, with an error that wraps ctx.Err(): the driver lib/pq, for
// one, waits for a server that does not answer as long as the connection lasts,
// and a store for scs may not know of contexts at all. What was called goes on in
// a goroutine of its own then, until it comes back; so fn must not touch what the
// caller uses after an error.
func Call[T any](ctx context.Context, fn func() (T, error)) (T, error) {
	if ctx.Done() == nil {
		return fn()
	}
	type outcome struct {
		value    T
		err      error
		panicked any
	}
	back := make(chan outcome, 1)
	go func() {
		o := outcome{err: errGone}
		defer func() {
			o.panicked = recover()
			back <- o
		}()
		o.value, o.err = fn()
	}()
	var o outcome
	select {
	case o = <-back:
	case <-ctx.Done():
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case o = <-back:
		case <-timer.C:
			return o.value, fmt.Errorf("no answer: %w", ctx.Err())
		}
	}
	if o.panicked != nil {
		panic(o.panicked)
	}
	return o.value, o.err
}
