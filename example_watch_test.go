package usersession_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/seed-296ca7ab/usersession"
)

// A stream needs no more than its context: it ends when the session does.
func ExampleManager_Watch_stream() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	phone := loggedIn(sessions, "42", safari)

	streaming := make(chan bool)
	stream := sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "data: hello\n\n")
		close(streaming)
		<-r.Context().Done() // or the next message
		if context.Cause(r.Context()) == usersession.ErrSessionEnded {
			fmt.Fprint(w, "event: ended\ndata:\n\n")
		}
	}))
	got := make(chan string)
	go func() { got <- phone.send(stream, "GET /stream") }()
	<-streaming
	sessions.RevokeAllSessions(context.Background(), "42")
	fmt.Println(<-got)
	// Output:
	// 200 data: hello
	//
	// event: ended
	// data:
}

// What outlives its handler is watched by a context of its own.
func ExampleManager_Watch() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	phone := loggedIn(sessions, "42", safari)

	over := make(chan error)
	export := sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, err := sessions.Watch(context.WithoutCancel(r.Context()))
		if err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		go func() {
			<-ctx.Done() // the work
			over <- context.Cause(ctx)
		}()
		w.WriteHeader(http.StatusAccepted)
	}))
	fmt.Println(phone.send(export, "POST /export"))
	sessions.RevokeAllSessions(context.Background(), "42")
	fmt.Println(<-over)
	// Output:
	// 202
	// usersession: session has ended
}
