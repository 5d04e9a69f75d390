package goroutines_test

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

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
		if n := count(); n != 1 {
			t.Errorf("%d goroutines of a test that has started none", n)
		}
		end := make(chan struct{})
		var own sync.WaitGroup
		for range 3 {
			own.Go(func() {
				own.Go(func() { <-end })
				<-end
			})
		}
		for count() < 7 {
			if n := count(); n > 7 {
				t.Fatalf("%d goroutines", n)
			}
		}
		close(end)
		own.Wait()
		for count() > 1 {
		}
	}
	t.Run("plain", test)
	t.Run("in a bubble", func(t *testing.T) { synctest.Test(t, test) })
}
