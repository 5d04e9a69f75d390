package sqldb

import (
	"context"
	"time"
)

// Resting returns a function for work in many steps, so that requests hardly wait for it.
// It rests for as long as the step before took, or until ctx ends.
func Resting(ctx context.Context) (rest func()) {
	began := time.Now()
	return func() {
		Pause(ctx, time.Since(began))
		began = time.Now()
	}
}
