package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// stream sends the time every second, as server-sent events, until its session ends.
// Nothing can take a response back that has begun, but its context ends with the session.
func (a *app) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	client := http.NewResponseController(w)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		fmt.Fprintf(w, "data: %s\n\n", time.Now().UTC().Format(time.TimeOnly))
		if err := client.Flush(); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			if errors.Is(context.Cause(r.Context()), usersession.ErrSessionEnded) {
				fmt.Fprint(w, "event: ended\ndata:\n\n") // the page goes to the login
			}
			return
		case <-a.stopping:
			return
		}
	}
}
