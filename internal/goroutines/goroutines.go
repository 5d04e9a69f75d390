// Package goroutines counts the goroutines that one test has started.
//
// The number of all goroutines of a process also counts those of the tests before and
// beside it, which come and go whenever the machine finds the time. A label of
// runtime/pprof is handed down from goroutine to goroutine, and so tells a test's own.
//
// The package imports the standard library only. It must never be used for goroutines
// that were there before the test.
package goroutines

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
)

var tests atomic.Int64

// Counter labels the test's goroutine, and with it all that it starts from now on. The
// function that it returns counts those which are still there, with the test's own. Both
// are called on the test's goroutine.
func Counter(tb testing.TB) (count func() int) {
	tb.Helper()
	name := fmt.Sprint(tests.Add(1))
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("counter", name)))
	label := fmt.Sprintf("%q:%q", "counter", name)
	return func() int {
		tb.Helper()
		var profile bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
			tb.Fatal(err)
		}
		n := 0
		for _, stack := range strings.Split(profile.String(), "\n\n") {
			if !strings.Contains(stack, label) {
				continue
			}
			// The first stack follows a line that says how many there are in all.
			if _, rest, ok := strings.Cut(stack, "goroutine profile: "); ok {
				_, stack, _ = strings.Cut(rest, "\n")
			}
			var same int
			if _, err := fmt.Sscanf(stack, "%d @", &same); err != nil {
				tb.Fatalf("not a goroutine profile: %v: %q", err, stack)
			}
			n += same
		}
		return n
	}
}
