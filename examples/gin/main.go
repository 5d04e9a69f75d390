// Command gin mounts usersession in a router of github.com/gin-gonic/gin: look at
// newHandler. Sign in as ada or admin, password demo.
//
//	go run ./examples/gin
package main

import (
	"context"
	"html/template"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/sessionui"
	_ "modernc.org/sqlite"
)

func main() {
	db := sqlx.MustConnect("sqlite", "file:gin.db?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	h, err := newHandler(context.Background(), db)
	if err != nil {
		log.Fatal(err)
	}
	log.Print("Listening on http://127.0.0.1:8083/login")
	log.Fatal(http.ListenAndServe("127.0.0.1:8083", h))
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
	r := gin.New()
	r.SetHTMLTemplate(pages)
	r.Any("/devices/*path", gin.WrapH(account))
	r.Any("/admin/sessions/*path", gin.WrapH(admin))
	r.GET("/login", func(c *gin.Context) { c.HTML(http.StatusOK, "login", nil) })
	r.POST("/login", a.login)
	user := r.Group("/", wrap(sessions.RequireUser))
	user.GET("/", a.home)
	user.GET("/note", a.note)
	user.POST("/note", a.setNote)
	user.GET("/events", a.events)
	// Around the engine, so that gin's own writer writes through it. gin.Recovery
	// would be inside: a handler that panics could commit what it has changed.
	return http.NewCrossOriginProtection().Handler(sessions.LoadAndSave(r)), nil
}

// wrap makes a gin.HandlerFunc of a middleware that only lets requests pass or
// answers them itself, such as RequireUser and RequireFresh.
func wrap(middleware func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed = true })).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}

var pages = template.Must(template.New("").Parse(`
{{define "login"}}<!doctype html><title>Sign in</title><form method="post" action="/login"><input name="user" aria-label="Name"> <input name="password" type="password" aria-label="Password"> <button>Sign in</button></form>{{end}}
{{define "home"}}<!doctype html><title>Home</title><h1>Hello, {{.}}</h1><p><a href="/devices/">Your devices</a></p>{{end}}`))

type app struct{ sessions *usersession.Manager }

func (a *app) login(c *gin.Context) {
	if c.PostForm("password") != "demo" { // here you check the user's own
		c.String(http.StatusUnauthorized, "wrong name or password")
		return
	}
	if err := a.sessions.Login(c.Request.Context(), c.PostForm("user")); err != nil {
		c.String(http.StatusServiceUnavailable, "try again later")
		return
	}
	c.Redirect(http.StatusSeeOther, "/")
}

func (a *app) home(c *gin.Context) {
	c.HTML(http.StatusOK, "home", a.sessions.UserID(c.Request.Context()))
}

func (a *app) note(c *gin.Context) {
	c.String(http.StatusOK, "%s", a.sessions.GetString(c.Request.Context(), "note"))
}

func (a *app) setNote(c *gin.Context) {
	text, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, 1000))
	if err != nil {
		c.String(http.StatusRequestEntityTooLarge, "too long")
		return
	}
	a.sessions.Put(c.Request.Context(), "note", string(text))
}

// events sends the time every second; examples/devices shows how a stream ends
// with its session.
func (a *app) events(c *gin.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	first := true
	c.Stream(func(io.Writer) bool { // flushes after each call
		if !first {
			select {
			case <-tick.C:
			case <-c.Request.Context().Done():
				return false
			}
		}
		first = false
		c.SSEvent("", time.Now().Format(time.TimeOnly))
		return true
	})
}
