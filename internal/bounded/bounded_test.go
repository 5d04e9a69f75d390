package bounded_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/bounded"
)

var errOwn = errors.New("its own")

func TestCall(t *testing.T) {
	for _, c := range []struct {
		name  string
		ctx   func(context.Context) (context.Context, context.CancelFunc)
		fn    func(ctx context.Context) (int, error)
		want  int
		err   error
		after time.Duration
	}{
		{"returns what it is given", hour, func(context.Context) (int, error) { return 1, nil }, 1, nil, 0},
		{"returns its error", hour, func(context.Context) (int, error) { return 0, errOwn }, 0, errOwn, 0},
		{"waits for a slow one", hour, func(context.Context) (int, error) { <-time.After(time.Minute); return 2, nil }, 2, nil, time.Minute},
		{"lets a call that heeds its context say how it ended", hour, func(ctx context.Context) (int, error) { <-ctx.Done(); return 3, errOwn }, 3, errOwn, time.Hour},
		{"does not wait for one that does not", hour, func(context.Context) (int, error) { <-time.After(5 * time.Hour); return 4, nil }, 0, context.DeadlineExceeded, time.Hour + 100*time.Millisecond},
		{"waits where there is no end", endless, func(context.Context) (int, error) { <-time.After(5 * time.Hour); return 5, nil }, 5, nil, 5 * time.Hour},
		{"takes an ended goroutine for no success", hour, func(context.Context) (int, error) { runtime.Goexit(); return 6, nil }, 0, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := c.ctx(context.Background())
				defer cancel()
				start := time.Now()
				got, err := bounded.Call(ctx, func() (int, error) { return c.fn(ctx) })
				if got != c.want || c.err != nil && !errors.Is(err, c.err) || c.err == nil && c.want == 0 && err == nil {
					t.Errorf("%d, %v; want %d, %v", got, err, c.want, c.err)
				}
				if took := time.Since(start); took != c.after {
					t.Errorf("it took %v, want %v", took, c.after)
				}
				<-time.After(24 * time.Hour) // in the bubble: what goes on by itself has ended
			})
		})
	}
}

// TestCallPanics wants a panic to say where it was, as far as that is told without
// an error of its own.
func TestCallPanics(t *testing.T) {
	call := func(value any) (p any) {
		defer func() { p = recover() }()
		ctx, cancel := hour(context.Background())
		defer cancel()
		bounded.Call(ctx, func() (int, error) { return panicking(value) })
		return nil
	}
	for _, value := range []any{errOwn, "a text", 7} {
		err, ok := call(value).(error)
		if !ok || !strings.HasPrefix(err.Error(), fmt.Sprint(value)+"\n") || !strings.Contains(err.Error(), "bounded_test.panicking(") {
			t.Errorf("recovered %v, want %v and the stack of what panicked", err, value)
		}
		if want, isError := value.(error); isError && !errors.Is(err, want) {
			t.Errorf("recovered %v, which does not wrap %v", err, value)
		}
	}
	if p := call(http.ErrAbortHandler); p != http.ErrAbortHandler {
		t.Errorf("recovered %v, want http.ErrAbortHandler itself", p)
	}
}

//go:noinline
func panicking(value any) (int, error) { panic(value) }

func hour(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Hour)
}

func endless(ctx context.Context) (context.Context, context.CancelFunc) { return ctx, func() {} }
