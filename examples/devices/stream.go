package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// stream sends the time every second, as server-sent events, until its session
// ends. Nothing can take a response back that has begun, so a stream has to ask
// for itself: Current reads one row of the index by its primary key.
func (a *app) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	client := http.NewResponseController(w)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		_, err := a.sessions.Current(r.Context())
		switch {
		case errors.Is(err, usersession.ErrSessionEnded):
			// The page goes to the login.
			fmt.Fprint(w, "event: ended\ndata:\n\n")
			return
		case err != nil:
			// Not known: no more is sent, and the browser comes again, as
			// anybody's request.
			return
		}
		fmt.Fprintf(w, "data: %s\n\n", time.Now().UTC().Format(time.TimeOnly))
		if err := client.Flush(); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-a.stopping:
			return
		}
	}
}
