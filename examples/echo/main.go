// Command echo mounts usersession in a router of github.com/labstack/echo: look at
// newHandler. Sign in as ada or admin, password demo.
//
//	go run ./examples/echo
package main

import (
	"context"
	"fmt"
	"html/template"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/labstack/echo/v4"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/sessionui"
	_ "modernc.org/sqlite"
)

func main() {
	db := sqlx.MustConnect("sqlite", "file:echo.db?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	h, err := newHandler(context.Background(), db)
	if err != nil {
		log.Fatal(err)
	}
	log.Print("Listening on http://127.0.0.1:8084/login")
	log.Fatal(http.ListenAndServe("127.0.0.1:8084", h))
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
	r := echo.New()
	r.Renderer = renderer{}
	r.Use(echo.WrapMiddleware(http.NewCrossOriginProtection().Handler))
	r.Use(echo.WrapMiddleware(sessions.LoadAndSave))
	r.Any("/devices*", echo.WrapHandler(account))
	r.Any("/admin/sessions*", echo.WrapHandler(admin))
	r.GET("/login", func(c echo.Context) error { return c.Render(http.StatusOK, "login", nil) })
	r.POST("/login", a.login)
	user := r.Group("", echo.WrapMiddleware(sessions.RequireUser))
	user.GET("/", a.home)
	user.GET("/note", a.note)
	user.POST("/note", a.setNote)
	user.GET("/events", a.events)
	return r, nil
}

var pages = template.Must(template.New("").Parse(`
{{define "login"}}<!doctype html><title>Sign in</title><form method="post" action="/login"><input name="user" aria-label="Name"> <input name="password" type="password" aria-label="Password"> <button>Sign in</button></form>{{end}}
{{define "home"}}<!doctype html><title>Home</title><h1>Hello, {{.}}</h1><p><a href="/devices/">Your devices</a></p>{{end}}`))

type renderer struct{}

func (renderer) Render(w io.Writer, name string, data any, _ echo.Context) error {
	return pages.ExecuteTemplate(w, name, data)
}

type app struct{ sessions *usersession.Manager }

func (a *app) login(c echo.Context) error {
	if c.Request().PostFormValue("password") != "demo" { // here you check the user's own
		return c.String(http.StatusUnauthorized, "wrong name or password")
	}
	if err := a.sessions.Login(c.Request().Context(), c.Request().PostFormValue("user")); err != nil {
		return c.String(http.StatusServiceUnavailable, "try again later")
	}
	return c.Redirect(http.StatusSeeOther, "/")
}

func (a *app) home(c echo.Context) error {
	return c.Render(http.StatusOK, "home", a.sessions.UserID(c.Request().Context()))
}

func (a *app) note(c echo.Context) error {
	return c.String(http.StatusOK, a.sessions.GetString(c.Request().Context(), "note"))
}

func (a *app) setNote(c echo.Context) error {
	text, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, 1000))
	if err != nil {
		return c.String(http.StatusRequestEntityTooLarge, "too long")
	}
	a.sessions.Put(c.Request().Context(), "note", string(text))
	return c.NoContent(http.StatusOK)
}

// events sends the time every second; examples/devices shows how a stream ends
// with its session.
func (a *app) events(c echo.Context) error {
	c.Response().Header().Set(echo.HeaderContentType, "text/event-stream")
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if _, err := fmt.Fprintf(c.Response(), "data: %s\n\n", time.Now().Format(time.TimeOnly)); err != nil {
			return err
		}
		c.Response().Flush()
		select {
		case <-tick.C:
		case <-c.Request().Context().Done():
			return nil
		}
	}
}
