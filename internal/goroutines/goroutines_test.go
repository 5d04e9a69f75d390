package goroutines_test

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/goroutines"
)

// Others start goroutines all the time, and none of them is counted.
func TestCounter(t *testing.T) {
	over := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for open := true; open; {
			var brief sync.WaitGroup
			for range 10 {
				brief.Go(runtime.Gosched)
			}
			brief.Wait()
			select {
			case <-over:
				open = false
			default:
			}
		}
	})
	defer others.Wait()
	defer close(over)

	test := func(t *testing.T) {
		count := goroutines.Counter(t)
		if n := count(); n != 0 {
			t.Errorf("%d goroutines of a test that has started none", n)
		}
		end := make(chan struct{})
		var started, own sync.WaitGroup
		started.Add(6)
		for range 3 {
			own.Go(func() {
				own.Go(func() { started.Done(); <-end })
				started.Done()
				<-end
			})
		}
		started.Wait()
		if n := count(); n != 6 {
			t.Errorf("%d goroutines of a test that has started six", n)
		}
		close(end)
		own.Wait()
	}
	t.Run("plain", test)
	t.Run("in a bubble", func(t *testing.T) {
		synctest.Test(t, test)
		synctest.Test(t, func(t *testing.T) {
			count := goroutines.Counter(t)
			end := make(chan struct{})
			time.AfterFunc(time.Second, func() { <-end })
			time.Sleep(time.Minute) // sleep: the clock of a bubble
			if n := count(); n != 1 {
				t.Errorf("%d goroutines with one of a timer", n)
			}
			close(end)
		})
	})
}
