package index

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// TestTurns has many callers of few keys. Of those with one key there is one at a
// time, those with another one do not wait, and nothing is left of them.
func TestTurns(t *testing.T) {
	var all turns
	inside := map[string]*int{"a": new(int), "b": new(int)} // each is under its key's turn
	var done sync.WaitGroup
	for key, n := range inside {
		for range 50 {
			done.Go(func() {
				leave, err := all.take(t.Context(), key)
				if err != nil {
					t.Error(err)
					return
				}
				defer leave()
				if *n++; *n != 1 {
					t.Errorf("%d callers of %s at once", *n, key)
				}
				*n--
			})
		}
	}
	done.Wait()

	leave, err := all.take(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if other, err := all.take(t.Context(), "b"); err != nil {
		t.Error("another key waits:", err)
	} else {
		other()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 { // if it were free, chance would decide each time
		if _, err := all.take(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller whose context has ended, and who has to wait: %v", err)
		}
	}
	leave()
	if len(all.of) != 0 {
		t.Errorf("%d keys are left", len(all.of))
	}
}
