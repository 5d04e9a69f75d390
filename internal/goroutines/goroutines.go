// Package goroutines counts the goroutines that one test has started.
//
// The number of all goroutines of a process also counts those of the tests before and
// beside it, which come and go whenever the machine finds the time.
//
// The package imports the standard library only. It must never be used for goroutines
// that were there before the test.
package goroutines

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
)

var (
	labels atomic.Int64
	bubble = regexp.MustCompile(`^goroutine \d+ .*(synctest bubble \d+)`)
)

// Counter returns a function that counts the goroutines which the test has started since
// Counter was called, and those which they have started. Both are called on the test's
// goroutine.
//
// Outside a bubble of testing/synctest it does not see what a timer has started: a label
// is handed down from goroutine to goroutine only.
func Counter(tb testing.TB) (count func() int) {
	tb.Helper()
	if own := bubble.FindStringSubmatch(stacks(false)); own != nil {
		inBubble := func() int {
			n := 0
			for stack := range strings.SplitSeq(stacks(true), "\n\n") {
				if in := bubble.FindStringSubmatch(stack); in != nil && in[1] == own[1] {
					n++
				}
			}
			return n
		}
		before := inBubble()
		return func() int { return inBubble() - before }
	}
	name := fmt.Sprint(labels.Add(1))
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("counter", name)))
	label := fmt.Sprintf("%q:%q", "counter", name)
	return func() int {
		tb.Helper()
		var profile bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
			tb.Fatal(err)
		}
		_, all, _ := strings.Cut(profile.String(), "\n") // the first line is a heading
		n := -1                                          // the test's own
		for stack := range strings.SplitSeq(all, "\n\n") {
			if !strings.Contains(stack, label) {
				continue
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

func stacks(all bool) string {
	for size := 1 << 16; ; size *= 2 {
		text := make([]byte, size)
		if n := runtime.Stack(text, all); n < size {
			return string(text[:n])
		}
	}
}
