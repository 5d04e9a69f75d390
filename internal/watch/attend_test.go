package watch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever attends has a subscription although nothing is watched, and for no longer.
func TestAttend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		subscribed, calls := 0, 0
		fail := make(chan struct{})
		s := New(Config{
			Subscribe: func(ctx context.Context, heard func([]string)) error {
				subscribed++
				calls++
				defer func() { subscribed-- }()
				heard(nil)
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-fail:
					return errors.New("cut off")
				}
			},
			Failed:   func(string, error) {},
			Interval: time.Second, Timeout: time.Second,
		})
		want := func(when string, n, made int) {
			t.Helper()
			if synctest.Wait(); subscribed != n || calls != made {
				t.Errorf("%s: %d subscriptions of %d, want %d of %d", when, subscribed, calls, n, made)
			}
		}
		want("with nothing", 0, 0)
		one := s.Attend()
		two := s.Attend()
		want("attended", 1, 1)
		time.Sleep(3 * Linger) // sleep: the clock of a bubble
		want("later", 1, 1)
		fail <- struct{}{}
		time.Sleep(2 * time.Second) // sleep: the clock of a bubble
		want("cut off", 1, 2)
		one()
		want("attended by one", 1, 2)
		w := s.Add(Session{ID: "a"}, func() {})
		s.Found(w, time.Now(), time.Hour)
		two()
		want("watched", 1, 2)
		s.Remove(w)
		time.Sleep(2 * Linger) // sleep: the clock of a bubble
		want("with nothing again", 0, 2)
	})
}
