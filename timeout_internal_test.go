package usersession

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What ends a context, when, and what it says then. Whoever waits for a child of
// it hears of it, too.
func TestTimeout(t *testing.T) {
	errOwn := errors.New("its own")
	for _, c := range []struct {
		name    string
		timeout time.Duration
		parent  func(context.Context) (context.Context, context.CancelFunc)
		end     func(c *lazyTimeout) // in a goroutine
		within  [2]time.Duration     // the earliest and the latest end
		want    error
	}{
		{"time", time.Second, nil, nil, [2]time.Duration{time.Second, time.Second}, context.DeadlineExceeded},
		{"time, shorter than two ticks", timeoutTick, nil, nil, [2]time.Duration{timeoutTick, timeoutTick}, context.DeadlineExceeded},
		{"time, none", 0, nil, nil, [2]time.Duration{}, context.DeadlineExceeded},
		{"time of the parent", time.Hour, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, nil, [2]time.Duration{time.Second, time.Second}, context.DeadlineExceeded},
		{"the parent, before a tick", time.Hour, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(time.Millisecond, func() { cancel(errOwn) })
			return ctx, func() { cancel(nil) }
		}, nil, [2]time.Duration{time.Millisecond, 2 * timeoutTick}, context.Canceled},
		{"the parent, later", time.Hour, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Minute, cancel)
			return ctx, cancel
		}, nil, [2]time.Duration{time.Minute, time.Minute}, context.Canceled},
		{"the parent, at first", time.Hour, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, nil, [2]time.Duration{}, context.Canceled},
		{"release, before a tick", time.Hour, nil, func(c *lazyTimeout) { <-time.After(time.Millisecond); c.release() }, [2]time.Duration{time.Millisecond, time.Millisecond}, context.Canceled},
		{"release, later", time.Hour, nil, func(c *lazyTimeout) { <-time.After(time.Minute); c.release() }, [2]time.Duration{time.Minute, time.Minute}, context.Canceled},
		{"somebody who asks for Err", time.Hour, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Millisecond, cancel)
			return ctx, cancel
		}, func(c *lazyTimeout) { <-time.After(2 * time.Millisecond); c.Err() }, [2]time.Duration{2 * time.Millisecond, 2 * time.Millisecond}, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := t.Context(), context.CancelFunc(func() {})
				if c.parent != nil {
					parent, cancel = c.parent(parent)
				}
				defer cancel()
				var all timeouts
				ctx := all.with(parent, c.timeout)
				defer ctx.release()
				start := time.Now()
				var wg sync.WaitGroup
				child, stop := context.WithCancel(ctx)
				defer stop()
				for name, waited := range map[string]context.Context{"it": ctx, "its child": child} {
					wg.Go(func() {
						<-waited.Done()
						if took := time.Since(start); took < c.within[0] || took > c.within[1] {
							t.Errorf("%s ended after %v, want between %v and %v", name, took, c.within[0], c.within[1])
						}
						if !errors.Is(waited.Err(), c.want) {
							t.Errorf("%s says %v, want %v", name, waited.Err(), c.want)
						}
					})
				}
				if c.end != nil {
					wg.Go(func() { c.end(ctx) })
				}
				wg.Wait()
				ctx.release()
				if ctx.Err() == nil {
					t.Error("it goes on after release")
				}
				<-time.After(2 * timeoutTick)
				idle(t, &all)
			})
		})
	}
}

// A context that ended before anybody asked for Done.
func TestTimeoutAskedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all timeouts
		ctx := all.with(t.Context(), time.Second)
		defer ctx.release()
		if err := ctx.Err(); err != nil {
			t.Errorf("it has ended at first: %v", err)
		}
		<-time.After(time.Second)
		if err := ctx.Err(); err != context.DeadlineExceeded {
			t.Errorf("Err %v, want that its time is over", err)
		}
		select {
		case <-ctx.Done():
		default:
			t.Error("Done is open after its end")
		}
	})
}

// A context that was released before anybody asked for Done.
func TestTimeoutReleased(t *testing.T) {
	var all timeouts
	ctx := all.with(t.Context(), time.Hour)
	ctx.release()
	if err := ctx.Err(); err != context.Canceled {
		t.Errorf("Err %v, want that it was released", err)
	}
	select {
	case <-ctx.Done():
	default:
		t.Error("Done is open after release")
	}
	idle(t, &all)
}

// followed is a parent that counts who follows it.
type followed struct {
	context.Context
	done chan struct{}
	by   atomic.Int32
}

func (f *followed) Done() <-chan struct{} { return f.done }

func (f *followed) AfterFunc(func()) (stop func() bool) {
	f.by.Add(1)
	return func() bool { f.by.Add(-1); return true }
}

// The timer that a context has in the end goes with it.
func TestTimeoutLeavesItsParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all timeouts
		parent := &followed{Context: t.Context(), done: make(chan struct{})}
		ctx := all.with(parent, time.Hour)
		ctx.Done()
		<-time.After(2 * timeoutTick)
		synctest.Wait()
		if n := parent.by.Load(); n != 1 {
			t.Errorf("%d follow the parent of one that has waited, want 1", n)
		}
		ctx.release()
		synctest.Wait()
		if n := parent.by.Load(); n != 0 {
			t.Errorf("%d follow the parent after release, want none", n)
		}
	})
}

func TestTimeoutAfterFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all timeouts
		ctx := all.with(t.Context(), time.Second)
		var called [3]bool
		var stops [3]func() bool
		for i := range called {
			stops[i] = context.AfterFunc(ctx, func() { called[i] = true })
		}
		if !stops[1]() || stops[1]() {
			t.Error("a function was stopped not at all, or twice")
		}
		ctx.release()
		synctest.Wait()
		if called != [3]bool{true, false, true} {
			t.Errorf("called: %v, want all but the one that was stopped", called)
		}
		if stops[0]() {
			t.Error("what was called could be stopped")
		}
		late := false
		context.AfterFunc(ctx, func() { late = true })
		synctest.Wait()
		if !late {
			t.Error("what comes after the end is not called")
		}
		<-time.After(2 * timeoutTick)
		idle(t, &all)
	})
}

// Contexts of all ages, released and waited for by many.
func TestTimeoutsTogether(t *testing.T) {
	var all timeouts
	parent, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := range 200 {
				ctx := all.with(parent, time.Hour)
				done := ctx.Done()
				if (g+n)%50 == 0 { // wait until it has its own timer
					child, stop := context.WithTimeout(ctx, 3*timeoutTick)
					<-child.Done()
					stop()
				}
				ctx.release()
				<-done
			}
		})
	}
	wg.Wait()
	for i := range all.lists {
		if l := &all.lists[i]; l.first != nil {
			t.Errorf("list %d holds a context that was released", i)
		}
	}
}

// idle fails the test if contexts are left, or the timer of all still runs.
func idle(t *testing.T, all *timeouts) {
	t.Helper()
	for i := range all.lists {
		if all.lists[i].first != nil {
			t.Errorf("list %d holds a context", i)
		}
	}
	if all.ticking.Load() {
		t.Error("the timer goes on")
	}
}
