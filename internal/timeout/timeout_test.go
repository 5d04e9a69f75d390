package timeout_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/goroutines"
	"github.com/seed-296ca7ab/usersession/internal/timeout"
)

// What ends a context, when, and what it says then. Whoever waits for a child of
// it hears of it, too.
func TestTimeout(t *testing.T) {
	after := func(d time.Duration) func(context.Context) (context.Context, context.CancelFunc) {
		return func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(d, cancel)
			return ctx, cancel
		}
	}
	for _, c := range []struct {
		name    string
		timeout time.Duration
		parent  func(context.Context) (context.Context, context.CancelFunc)
		release time.Duration // when it is released; 0: at its end
		end     time.Duration
		want    error
	}{
		{"time", time.Second, nil, 0, time.Second, context.DeadlineExceeded},
		{"time, none", 0, nil, 0, 0, context.DeadlineExceeded},
		{"time of the parent", time.Hour, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, 0, time.Second, context.DeadlineExceeded},
		{"the parent", time.Hour, after(time.Minute), 0, time.Minute, context.Canceled},
		{"the parent, at first", time.Hour, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, 0, 0, context.Canceled},
		{"release", time.Hour, nil, time.Minute, time.Minute, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := t.Context(), context.CancelFunc(func() {})
				if c.parent != nil {
					parent, cancel = c.parent(parent)
				}
				defer cancel()
				ctx := timeout.New(parent, c.timeout)
				defer ctx.Release()
				start := time.Now()
				var wg sync.WaitGroup
				child, stop := context.WithCancel(ctx)
				defer stop()
				for name, waited := range map[string]context.Context{"it": ctx, "its child": child} {
					wg.Go(func() {
						<-waited.Done()
						if took := time.Since(start); took != c.end {
							t.Errorf("%s ended after %v, want %v", name, took, c.end)
						}
						if !errors.Is(waited.Err(), c.want) {
							t.Errorf("%s says %v, want %v", name, waited.Err(), c.want)
						}
					})
				}
				if c.release > 0 {
					<-time.After(c.release)
					ctx.Release()
				}
				wg.Wait()
			})
		})
	}
}

// A context that has ended before anybody asked for Done says so from then on, also
// after its release.
func TestAskedLate(t *testing.T) {
	type key struct{}
	for _, c := range []struct {
		name string
		end  func(ctx *timeout.Context, cancel context.CancelFunc)
		want error
	}{
		{"its time is over", func(*timeout.Context, context.CancelFunc) { <-time.After(time.Second) }, context.DeadlineExceeded},
		{"its parent has ended", func(_ *timeout.Context, cancel context.CancelFunc) { cancel() }, context.Canceled},
		{"it was released", func(ctx *timeout.Context, _ context.CancelFunc) { ctx.Release() }, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
				defer cancel()
				ctx := timeout.New(parent, time.Second)
				if err := ctx.Err(); err != nil {
					t.Errorf("it has ended at first: %v", err)
				}
				c.end(ctx, cancel)
				for range 2 {
					if err := ctx.Err(); err != c.want {
						t.Errorf("Err is %v, want %v", err, c.want)
					}
					select {
					case <-ctx.Done():
					default:
						t.Error("Done is open")
					}
					if v := ctx.Value(key{}); v != "value" {
						t.Errorf("the value of the parent is %v", v)
					}
					ctx.Release()
				}
			})
		})
	}
}

// What follows a context needs no goroutine for it, and nothing is left of one that
// was released.
func TestLeavesNothing(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	defer cancel()
	count := goroutines.Counter(t)
	var all []*timeout.Context
	for range 100 {
		ctx := timeout.New(parent, time.Hour)
		ctx.Done()
		_, stop := context.WithCancel(ctx)
		defer stop()
		all = append(all, ctx)
	}
	if n := count(); n > 0 {
		t.Errorf("%d goroutines for 100 contexts", n)
	}
	for _, ctx := range all {
		ctx.Release()
	}
}

// Somebody who asks while another releases.
func TestTogether(t *testing.T) {
	var wg sync.WaitGroup
	for range 200 {
		ctx := timeout.New(t.Context(), time.Hour)
		wg.Go(func() { <-ctx.Done() })
		wg.Go(func() { ctx.Err() })
		wg.Go(ctx.Release)
	}
	wg.Wait()
}

func TestAllocatesLittle(t *testing.T) {
	parent := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		ctx := timeout.New(parent, time.Hour)
		ctx.Err()
		ctx.Release()
	}); n > 1 {
		t.Errorf("%v allocations for one that nobody waits for, want 1", n)
	}
}
