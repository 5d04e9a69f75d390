package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
)

// listed is one session of a list.
type listed struct {
	ID    string `json:"id"`
	Label string `json:"label"`
}

// sessions is what the routes need: of the library, and of the control.
type sessions interface {
	LoadAndSave(http.Handler) http.Handler
	login(ctx context.Context, user, label string) error
	who(ctx context.Context) (user string)
	label(ctx context.Context) string
	put(ctx context.Context, value string)
	renew(ctx context.Context, again bool) error
	Logout(ctx context.Context) error
	revoke(ctx context.Context, user, id, label string) error
	RevokeOtherSessions(ctx context.Context) (int, error)
	RevokeAllSessions(ctx context.Context, user string) (int, error)
	list(ctx context.Context, user string) ([]listed, error)
}

// routes serves sessions.
func routes(s sessions, db *sqlx.DB) http.Handler {
	mux := http.NewServeMux()
	// own is a request on the session of its cookie.
	own := func(pattern string, serve func(w http.ResponseWriter, r *http.Request) error) {
		mux.Handle(pattern, s.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user := s.who(r.Context())
			if user == "" && pattern != "POST /login" {
				http.Error(w, "nobody is logged in", http.StatusUnauthorized)
				return
			}
			w.Header().Set("X-User", user)
			if r.FormValue("who") == "" { // what needs the session data
				w.Header().Set("X-Label", s.label(r.Context()))
			}
			hold(r)
			err := serve(w, r)
			sayMemory(w, r)
			answer(w, err)
		})))
	}
	own("POST /login", func(w http.ResponseWriter, r *http.Request) error {
		return s.login(r.Context(), r.FormValue("user"), r.FormValue("label"))
	})
	own("GET /whoami", func(w http.ResponseWriter, r *http.Request) error { return nil })
	own("POST /write", func(w http.ResponseWriter, r *http.Request) error {
		s.put(r.Context(), r.FormValue("value"))
		return nil
	})
	own("POST /renew", func(w http.ResponseWriter, r *http.Request) error {
		return s.renew(r.Context(), r.FormValue("again") != "")
	})
	own("POST /logout", func(w http.ResponseWriter, r *http.Request) error { return s.Logout(r.Context()) })
	own("POST /others", func(w http.ResponseWriter, r *http.Request) error {
		n, err := s.RevokeOtherSessions(r.Context())
		w.Header().Set("X-Count", strconv.Itoa(n))
		return err
	})
	// What follows is admin code: the user is named in the request.
	mux.HandleFunc("POST /revoke", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.revoke(r.Context(), r.FormValue("user"), r.FormValue("id"), r.FormValue("label")))
	})
	mux.HandleFunc("POST /all", func(w http.ResponseWriter, r *http.Request) {
		n, err := s.RevokeAllSessions(r.Context(), r.FormValue("user"))
		w.Header().Set("X-Count", strconv.Itoa(n))
		answer(w, err)
	})
	mux.HandleFunc("GET /list", func(w http.ResponseWriter, r *http.Request) {
		list, err := s.list(r.Context(), r.FormValue("user"))
		if err != nil {
			answer(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(list)
	})
	mux.HandleFunc("POST /hog", func(w http.ResponseWriter, r *http.Request) { hog(db, hold(r)) })
	mux.HandleFunc("POST /step", func(w http.ResponseWriter, r *http.Request) {
		seconds, err := strconv.Atoi(r.FormValue("seconds"))
		if stepClock == nil || err != nil {
			http.Error(w, "this program has no such clock", http.StatusNotImplemented)
			return
		}
		stepClock(seconds)
	})
	var underWay atomic.Int64 // requests, whose client may have gone
	mux.HandleFunc("GET /under-way", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, underWay.Load()-1) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		underWay.Add(1)
		defer underWay.Add(-1)
		mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), loadedKey{}, new(atomic.Bool))))
	})
}

// stepClock sets the wall clock of a program whose package time was built for it.
var stepClock func(seconds int)

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), status(err))
		return
	}
	fmt.Fprintln(w, "done")
}

// hold waits as long as the request says: what makes it a request in flight.
func hold(r *http.Request) time.Duration {
	ms, _ := strconv.Atoi(r.URL.Query().Get("hold"))
	d := time.Duration(ms) * time.Millisecond
	if r.URL.Path != "/hog" {
		time.Sleep(d)
	}
	return d
}

// hog takes every connection of the pool for so long.
func hog(db *sqlx.DB, d time.Duration) {
	var wait sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	for range db.Stats().MaxOpenConnections {
		wait.Go(func() {
			c, err := db.Conn(ctx)
			if err != nil {
				return
			}
			<-ctx.Done()
			c.Close()
		})
	}
	wait.Wait()
}
