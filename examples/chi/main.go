// Command chi mounts usersession in a router of github.com/go-chi/chi: look at
// newHandler. Sign in as ada or admin, password demo.
//
//	go run ./examples/chi
package main

import (
	"context"
	"fmt"
	"html/template"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/sessionui"
	_ "modernc.org/sqlite"
)

func main() {
	db := sqlx.MustConnect("sqlite", "file:chi.db?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	h, err := newHandler(context.Background(), db)
	if err != nil {
		log.Fatal(err)
	}
	log.Print("Listening on http://127.0.0.1:8082/login")
	log.Fatal(http.ListenAndServe("127.0.0.1:8082", h))
}

func newHandler(ctx context.Context, db *sqlx.DB) (http.Handler, error) {
	sessions, err := usersession.New(db, &usersession.Options{InsecureCookies: true}) // plain http: development only
	if err != nil {
		return nil, err
	}
	if err := sessions.Migrate(ctx); err != nil {
		return nil, err
	}
	go sessions.Run(ctx) // the janitor

	account, err := sessionui.Account(sessions, &sessionui.AccountOptions{Prefix: "/devices", SignedOutURL: "/login"})
	if err != nil {
		return nil, err
	}
	admin, err := sessionui.Admin(sessions, &sessionui.AdminOptions{
		Prefix:    "/admin/sessions",
		Authorize: func(r *http.Request) bool { return sessions.UserID(r.Context()) == "admin" },
	})
	if err != nil {
		return nil, err
	}

	a := &app{sessions}
	r := chi.NewRouter()
	r.Use(middleware.Recoverer) // outside of LoadAndSave: what panics commits nothing
	r.Use(http.NewCrossOriginProtection().Handler)
	r.Use(sessions.LoadAndSave)
	r.Mount("/devices", account)
	r.Mount("/admin/sessions", admin)
	r.Get("/login", a.showLogin)
	r.Post("/login", a.login)
	r.Group(func(r chi.Router) {
		r.Use(sessions.RequireUser)
		r.Get("/", a.home)
		r.Get("/note", a.note)
		r.Post("/note", a.setNote)
		r.Get("/events", a.events)
	})
	return r, nil
}

type app struct{ sessions *usersession.Manager }

func (a *app) showLogin(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, `<!doctype html><title>Sign in</title><form method="post" action="/login"><input name="user" aria-label="Name"> <input name="password" type="password" aria-label="Password"> <button>Sign in</button></form>`)
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	if r.PostFormValue("password") != "demo" { // here you check the user's own
		http.Error(w, "wrong name or password", http.StatusUnauthorized)
		return
	}
	if err := a.sessions.Login(r.Context(), r.PostFormValue("user")); err != nil {
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

var home = template.Must(template.New("").Parse(`<!doctype html><title>Home</title><h1>Hello, {{.}}</h1><p><a href="/devices/">Your devices</a></p>`))

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	home.Execute(w, a.sessions.UserID(r.Context()))
}

func (a *app) note(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, a.sessions.GetString(r.Context(), "note"))
}

func (a *app) setNote(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1000))
	if err != nil {
		http.Error(w, "too long", http.StatusRequestEntityTooLarge)
		return
	}
	a.sessions.Put(r.Context(), "note", string(text))
}

// events sends the time every second; examples/devices shows how a stream ends
// with its session.
func (a *app) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for r.Context().Err() == nil {
		fmt.Fprintf(w, "data: %s\n\n", time.Now().Format(time.TimeOnly))
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-time.After(time.Second):
		case <-r.Context().Done():
		}
	}
}
