package usersession_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
)

// A login, a list, and the end of every session of a user.
func Example() {
	// With import _ "modernc.org/sqlite", or another driver.
	db := sqlx.MustConnect("sqlite", "file:example?mode=memory")
	db.SetMaxOpenConns(1) // each connection to a memory database is another database
	defer db.Close()
	ctx := context.Background()

	sessions, err := usersession.New(db, nil)
	if err != nil {
		panic(err)
	}
	if err := sessions.Migrate(ctx); err != nil {
		panic(err)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.Login(r.Context(), "42"); err != nil { // after the password check
			http.Error(w, "login failed", http.StatusServiceUnavailable)
		}
	})
	mux.Handle("GET /me", sessions.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, sessions.UserID(r.Context()))
	})))
	handler := sessions.LoadAndSave(mux)

	login := httptest.NewRecorder()
	handler.ServeHTTP(login, httptest.NewRequest("POST", "/login", nil))
	me := func() int {
		r := httptest.NewRequest("GET", "/me", nil)
		r.AddCookie(login.Result().Cookies()[0])
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Code
	}

	fmt.Println("me:", me())
	list, err := sessions.ListSessions(ctx, "42")
	fmt.Println("sessions:", len(list), err)
	n, err := sessions.RevokeAllSessions(ctx, "42")
	fmt.Println("revoked:", n, err)
	fmt.Println("me:", me())
	// Output:
	// me: 200
	// sessions: 1 <nil>
	// revoked: 1 <nil>
	// me: 401
}
