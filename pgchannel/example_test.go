package pgchannel_test

import (
	"context"
	"net/http"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/pgchannel"
)

// A program with several replicas. A stream ends soon after its session has ended,
// whichever replica serves it.
func Example() {
	dsn := "postgres://app@localhost/app?sslmode=verify-full&connect_timeout=5"
	db, err := sqlx.Connect("postgres", dsn)
	if err != nil {
		panic(err)
	}
	defer db.Close()
	channel, err := pgchannel.New(db.DB, dsn)
	if err != nil {
		panic(err)
	}
	sessions, err := usersession.New(db, &usersession.Options{
		Watch: usersession.WatchOptions{Channel: channel},
	})
	if err != nil {
		panic(err)
	}
	if err := sessions.Migrate(context.Background()); err != nil {
		panic(err)
	}
	stream := func(w http.ResponseWriter, r *http.Request) {
		ctx, err := sessions.Watch(r.Context())
		if err != nil {
			http.Error(w, "no stream", http.StatusServiceUnavailable)
			return
		}
		<-ctx.Done() // or whatever the stream sends until then
	}
	http.ListenAndServe("localhost:8080", sessions.LoadAndSave(http.HandlerFunc(stream)))
}
