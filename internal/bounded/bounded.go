// Package bounded brings a call back when its context ends, whatever it calls.
package bounded

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"
)

// grace is what a call may take to come back by itself once its context has
// ended. Most do at once, and know best what the outcome is.
const grace = 100 * time.Millisecond

// errGone is the error of a call whose goroutine ended without a return.
var errGone = errors.New("the call has ended its goroutine")

// panicError is the panic of a goroutine, for the goroutine that waits for it: the
// stack would be that of the one that waits.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("%v\n\n%s", p.value, p.stack) }

func (p *panicError) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

// Call calls fn and returns what it returns. If fn does not come back with the
// end of ctx, Call does, with an error that wraps ctx.Err(). The driver lib/pq,
// for one, waits for a server that does not answer as long as the connection
// lasts, and a store for scs may not know of contexts at all. Then fn goes on
// in a goroutine of its own, until it comes back. So fn must not touch anything
// that the caller uses after an error. If fn panics, Call panics with an error that
// has the stack of fn and wraps the value, if that is an error.
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
			if o.panicked != nil && o.panicked != http.ErrAbortHandler { // which net/http looks for
				o.panicked = &panicError{o.panicked, debug.Stack()}
			}
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
