package explore

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// Every order is tried. With -full each of them is tried again with every fault
// at every step; without, those are that change at most faultSwitches times from
// an operation to another that is not done, which is where faults have been
// found to hide.
var full = flag.Bool("full", false, "try faults in every order, which takes some minutes")

// explorer counts what it has tried.
type explorer struct {
	schedules, faults atomic.Int64
}

// try runs the operations in one schedule in a fresh world and returns what it
// broke.
func (e *explorer) try(w *world, names []string, s *Schedule) []string {
	if err := w.reset(); err != nil {
		return []string{err.Error()}
	}
	var mu sync.Mutex
	var tasks []*task
	w.replacing = 0
	renewals := 0
	for _, n := range names {
		switch n {
		case "login over first": // one that is refused renews the token
			w.replacing++
			renewals++
		case "renew":
			renewals++
		}
	}
	w.twoRenewals = renewals > 1
	for _, n := range names {
		tasks = append(tasks, start(n, func(ctx context.Context) {
			out := operations[n].run(w, ctx)
			mu.Lock()
			defer mu.Unlock()
			if taskOf(ctx).crashed {
				return // a dead process answers nobody
			}
			w.outcomes[n] = out
			if n == "login over first" && s.Fault == NoFault {
				w.replacing--
			}
			if out.cookie.token != "" {
				w.seen = append(w.seen, out.cookie)
			}
		}))
	}
	var broken []string
	s.run(tasks, func() {
		mu.Lock()
		defer mu.Unlock()
		if len(broken) == 0 {
			broken = w.everyStep()
		}
	})
	e.schedules.Add(1)
	return append(broken, w.atEnd(names, s.Fault != NoFault)...)
}

// all tries every order of the operations, and every fault at every step of
// every order. It stops at the first violation.
func (e *explorer) all(t *testing.T, w *world, names []string) {
	report := func(s *Schedule, broken []string) {
		t.Errorf("%v\n%v\n%v", names, broken, s)
	}
	for s := (&Schedule{FaultAt: -1}); s != nil; s = s.next() {
		if broken := e.try(w, names, s); len(broken) > 0 {
			report(s, broken)
			return
		}
		if !*full && s.switches() > faultSwitches {
			continue
		}
		for at := range len(s.width) {
			for _, f := range []Fault{Crash, FailedCall, LostAnswer} {
				fs := &Schedule{Choices: slices.Clone(s.Choices), FaultAt: at, Fault: f}
				e.faults.Add(1)
				if broken := e.try(w, names, fs); len(broken) > 0 {
					report(fs, broken)
					return
				}
			}
		}
	}
}

func openWorld(t *testing.T, atomic bool) *world {
	t.Helper()
	w, err := newWorld("file:"+filepath.Join(t.TempDir(), "index.db")+"?_pragma=busy_timeout(2000)&_pragma=journal_mode(MEMORY)&_pragma=synchronous(OFF)", atomic)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.db.Close() })
	return w
}

// TestPairs tries every pair of operations, each also with itself.
func TestPairs(t *testing.T) {
	names := slices.Sorted(maps.Keys(operations))
	var e explorer
	t.Run("all", func(t *testing.T) {
		for _, atomic := range []bool{true} {
			for i, a := range names {
				for _, b := range names[i:] {
					t.Run(fmt.Sprintf("%s with %s", a, b), func(t *testing.T) {
						t.Parallel()
						e.all(t, openWorld(t, atomic), []string{a, b})
					})
				}
			}
		}
	})
	t.Logf("%d schedules, %d of them with a fault", e.schedules.Load(), e.faults.Load())
}
