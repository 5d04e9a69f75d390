// Command live has a dashboard, which is a stream of server-sent events, and a chat over
// a WebSocket. Both close in the moment in which their session ends, and say why. Sign in
// as ada, bob or admin, password demo, and end sessions on the admin's page.
//
//	go run ./examples/live
//	go run ./examples/live -database postgres://…
package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/pgchannel"
	"github.com/seed-296ca7ab/usersession/sessionui"
	_ "modernc.org/sqlite"
)

//go:embed pages
var pages embed.FS

func main() {
	addr := flag.String("addr", "127.0.0.1:8087", "where to listen")
	database := flag.String("database", "live.db", "an SQLite file, or the postgres:// URL of a PostgreSQL database")
	flag.Parse()
	h, err := newHandler(context.Background(), *database)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("Listening on http://%s", *addr)
	log.Fatal(http.ListenAndServe(*addr, h))
}

type app struct {
	sessions *usersession.Manager
	room     room
}

func newHandler(ctx context.Context, database string) (http.Handler, error) {
	opts := &usersession.Options{InsecureCookies: true} // plain http: development only
	driver, dsn := "sqlite", "file:"+database+"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)"
	if strings.HasPrefix(database, "postgres:") {
		driver, dsn = "postgres", database
	}
	db, err := sqlx.Connect(driver, dsn)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { db.Close() })
	if driver == "postgres" { // other replicas learn at once what has ended here
		if opts.Watch.Channel, err = pgchannel.New(db.DB, dsn); err != nil {
			return nil, err
		}
	}
	a := &app{}
	if a.sessions, err = usersession.New(db, opts); err != nil {
		return nil, err
	}
	if err := a.sessions.Migrate(ctx); err != nil {
		return nil, err
	}
	go a.sessions.Run(ctx) // the janitor
	admin, err := sessionui.Admin(a.sessions, &sessionui.AdminOptions{
		Prefix:    "/admin/sessions",
		Authorize: func(r *http.Request) bool { return a.sessions.UserID(r.Context()) == "admin" },
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/admin/sessions/", admin)
	mux.Handle("GET /stream", a.sessions.RequireUser(http.HandlerFunc(a.stream)))
	mux.Handle("GET /chat", a.sessions.RequireUser(http.HandlerFunc(a.chat)))
	mux.HandleFunc("GET /why", a.why)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("GET /{$}", page("live.html"))
	mux.HandleFunc("GET /login", page("login.html"))
	mux.HandleFunc("GET /live.js", page("live.js"))
	return http.NewCrossOriginProtection().Handler(a.sessions.LoadAndSave(mux)), nil
}

func page(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'")
		http.ServeFileFS(w, r, pages, "pages/"+name)
	}
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

// why says to a browser whose session has ended what has ended it.
func (a *app) why(w http.ResponseWriter, r *http.Request) {
	s, _ := a.sessions.Ended(r.Context())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(map[string]string{"reason": s.Reason})
}

// stream sends who is in the chat, until the session ends or the client goes.
func (a *app) stream(w http.ResponseWriter, r *http.Request) {
	ctx, user := r.Context(), a.sessions.UserID(r.Context())
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		fmt.Fprintf(w, "data: Hello %s, %d in the chat, %s UTC\n\n", user, a.room.size(), time.Now().UTC().Format(time.TimeOnly))
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), usersession.ErrSessionEnded) {
				fmt.Fprint(w, "event: ended\ndata:\n\n") // the page asks why
			}
			return
		}
	}
}

// sessionEnded is the status of a WebSocket that is closed with its session. Those from
// 4000 on are for applications.
const sessionEnded websocket.StatusCode = 4001

// chat passes on what is said, until the session ends or the client goes.
func (a *app) chat(w http.ResponseWriter, r *http.Request) {
	ctx, user := r.Context(), a.sessions.UserID(r.Context())
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it has answered
	}
	defer conn.CloseNow()
	said, leave := a.room.enter()
	defer leave()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for { // not by ctx, whose end would close the connection without a word
			_, text, err := conn.Read(context.WithoutCancel(ctx))
			if err != nil || ctx.Err() != nil {
				return
			}
			a.room.say(user + ": " + string(text))
		}
	}()
	for {
		select {
		case text := <-said:
			if conn.Write(ctx, websocket.MessageText, []byte(text)) != nil && ctx.Err() == nil {
				return
			}
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), usersession.ErrSessionEnded) {
				conn.Close(sessionEnded, "your session has ended")
			}
			return
		case <-gone:
			return
		}
	}
}

// room is where what is said is heard.
type room struct {
	mu   sync.Mutex
	here map[chan string]bool
}

func (r *room) enter() (said <-chan string, leave func()) {
	c := make(chan string, 16)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.here == nil {
		r.here = make(map[chan string]bool)
	}
	r.here[c] = true
	return c, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.here, c)
	}
}

func (r *room) say(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.here {
		select {
		case c <- text:
		default: // who does not listen misses it
		}
	}
}

func (r *room) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.here)
}
