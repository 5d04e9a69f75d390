package manager_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// faultyChannel is a Channel with a fault.
type faultyChannel struct{}

func (faultyChannel) Publish(context.Context, []string) error         { panic("publish") }
func (faultyChannel) Subscribe(context.Context, func([]string)) error { panic("subscribe") }

// A fault of the program's Channel ends no process, and streams end by the poll.
func TestStreamEndsThoughTheChannelPanics(t *testing.T) {
	inWatching(t, &usersession.Options{Watch: usersession.WatchOptions{Channel: faultyChannel{}}}, func(w *watching) {
		defer w.stream(mwLogin(t, w.handler, "bob"))()
		time.Sleep(time.Minute) // sleep: the clock of a bubble
		if _, err := w.there.RevokeAllSessions(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		if err := <-w.over; !errors.Is(err, usersession.ErrSessionEnded) {
			t.Errorf("the stream ends with %v", err)
		}
		time.Sleep(3 * time.Minute) // sleep: the clock of a bubble, until the subscription is given up
	})
}
