// Command testing is a small program, whose tests show how to test sessions with the
// package usersessiontest.
package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	_ "modernc.org/sqlite"
)

// newManager returns the Manager that the program and its tests use.
func newManager(ctx context.Context, db *sqlx.DB) (*usersession.Manager, error) {
	sessions, err := usersession.New(db, &usersession.Options{IdleTimeout: 30 * time.Minute})
	if err != nil {
		return nil, err
	}
	return sessions, sessions.Migrate(ctx)
}

// newHandler returns the pages.
func newHandler(sessions *usersession.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("password") != "demo" {
			http.Error(w, "wrong password", http.StatusForbidden)
			return
		}
		if err := sessions.Login(r.Context(), r.FormValue("user")); err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		}
	})
	mux.Handle("GET /inbox", sessions.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "the inbox of "+sessions.UserID(r.Context()))
	})))
	mux.Handle("GET /payments", sessions.RequireFresh(10*time.Minute)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "the payments of "+sessions.UserID(r.Context()))
	})))
	return sessions.LoadAndSave(mux)
}

func main() {
	db := sqlx.MustConnect("sqlite", "file:sessions.db?_pragma=busy_timeout(5000)")
	sessions, err := newManager(context.Background(), db)
	if err != nil {
		log.Fatal(err)
	}
	go sessions.Run(context.Background())
	log.Fatal(http.ListenAndServeTLS("127.0.0.1:8443", "cert.pem", "key.pem", newHandler(sessions)))
}
