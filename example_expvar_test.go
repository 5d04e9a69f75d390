package usersession_test

import (
	"context"
	"expvar"
	"fmt"

	"github.com/seed-296ca7ab/usersession"
)

// Counters for package expvar, without a further dependency. A page /debug/vars shows
// them. Importing expvar puts that page into http.DefaultServeMux.
func Example_expvar() {
	events := expvar.NewMap("usersession_events")
	sessions := newMigrated(openMemoryDB(), &usersession.Options{
		OnEvent: func(_ context.Context, e usersession.Event) { events.Add(string(e.Kind), int64(e.Count)) },
	})
	expvar.Publish("usersession_stats", expvar.Func(func() any {
		s, err := sessions.Stats(context.Background())
		if err != nil {
			return err.Error()
		}
		return map[string]any{"Active": s.Active, "Users": s.Users, "Overdue": s.Overdue}
	}))

	loggedIn(sessions, "alice", safari)
	fmt.Println(expvar.Get("usersession_events"))
	fmt.Println(expvar.Get("usersession_stats"))
	// Output:
	// {"login": 1}
	// {"Active":1,"Overdue":0,"Users":1}
}
