package dbsc_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/dbsc"
)

// newSessions returns a Manager with its tables in a database in memory.
func newSessions() (*usersession.Manager, *sqlx.DB) {
	db := sqlx.MustConnect("sqlite", ":memory:")
	db.SetMaxOpenConns(1) // each connection to a memory database is another database
	sessions, err := usersession.New(db, nil)
	if err != nil {
		panic(err)
	}
	if err := sessions.Migrate(context.Background()); err != nil {
		panic(err)
	}
	return sessions, db
}

// The answer to a login offers the browser to bind the session. One that does not know
// the header ignores it.
func ExampleNew() {
	sessions, db := newSessions()
	defer db.Close()
	devices, err := dbsc.New(sessions, nil)
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle(dbsc.Path, devices)
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.Login(r.Context(), "alice"); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	})
	app := sessions.LoadAndSave(devices.Protect(mux))

	w := httptest.NewRecorder()
	app.ServeHTTP(w, httptest.NewRequest("POST", "/login", nil))
	offer, _, _ := strings.Cut(w.Header().Get("Secure-Session-Registration"), ";challenge=")
	fmt.Println(offer)
	// Output:
	// (ES256 RS256);path="/.well-known/dbsc/register"
}

// A route that takes money asks for a session that is bound.
func ExampleHandler_RequireBound() {
	sessions, db := newSessions()
	defer db.Close()
	devices, err := dbsc.New(sessions, nil)
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.Login(r.Context(), "alice"); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
		}
	})
	mux.Handle("POST /transfer", devices.RequireBound(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "done")
	})))
	app := sessions.LoadAndSave(devices.Protect(mux))

	login := httptest.NewRecorder()
	app.ServeHTTP(login, httptest.NewRequest("POST", "/login", nil))
	r := httptest.NewRequest("POST", "/transfer", nil)
	r.AddCookie(login.Result().Cookies()[0])
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	// Output:
	// 403 Forbidden
}
