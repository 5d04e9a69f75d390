// Command quickstart is a login, a page "your sessions" and a page for admins, in
// one file, to read and to try out. It is for development: it speaks plain http. ADDR
// says where (127.0.0.1:8080), and DATABASE_URL where the sessions are:
// sqlite:sessions.db, or postgres://…
package main

import (
	"cmp"
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"
	"github.com/seed-296ca7ab/usersession"
	_ "modernc.org/sqlite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Error("quickstart", "error", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, and then lets the requests in flight finish.
func run(ctx context.Context) error {
	db, err := openDB(ctx, cmp.Or(os.Getenv("DATABASE_URL"), "sqlite:sessions.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	s, err := newServer(ctx, db)
	if err != nil {
		return err
	}
	go s.sessions.Run(ctx) // the janitor
	web := &http.Server{
		Addr: cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"), Handler: s.routes(),
		ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second, IdleTimeout: time.Minute,
	}
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() { stopped <- web.Shutdown(context.Background()) })
	slog.Warn("for development only: plain http, demo passwords, admin/admin for /admin/users/alice/sessions")
	slog.Info("log in as alice or bob, password demo", "url", "http://"+web.Addr)
	if err := web.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return <-stopped
}

func openDB(ctx context.Context, databaseURL string) (*sqlx.DB, error) {
	if file, ok := strings.CutPrefix(databaseURL, "sqlite:"); ok {
		return sqlx.ConnectContext(ctx, "sqlite", strings.TrimPrefix(file, "//")+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	}
	return sqlx.ConnectContext(ctx, "postgres", databaseURL)
}

type server struct {
	sessions *usersession.Manager
	users    map[string]password // yours are in a table
}

func newServer(ctx context.Context, db *sqlx.DB) (s *server, err error) {
	s = &server{users: map[string]password{"alice": newPassword("demo", 600_000), "bob": newPassword("demo", 600_000)}}
	s.sessions, err = usersession.New(db, &usersession.Options{
		InsecureCookies:   true, // plain http: development only
		Logger:            slog.Default(),
		OnEvent:           logEvent,
		OnUnauthenticated: handle(always(refuse(http.StatusUnauthorized, "nobody is logged in"))),
	})
	if err != nil {
		return nil, err
	}
	return s, s.sessions.Migrate(ctx) // safe at each start: it makes only what is missing
}

func (s *server) routes() http.Handler {
	user := func(h handler) http.Handler { return s.sessions.RequireUser(handle(h)) }
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.RedirectHandler("/sessions", http.StatusSeeOther))
	mux.Handle("GET /login", handle(always(answer{page: object{"Login": true}})))
	mux.Handle("POST /login", handle(s.login))
	mux.Handle("POST /logout", handle(s.logout))
	mux.Handle("GET /me", user(s.me))
	mux.Handle("GET /sessions", user(s.list))
	mux.Handle("POST /sessions/{id}/revoke", user(s.revoke))
	mux.Handle("POST /sessions/revoke-others", user(s.revokeOthers))
	mux.Handle("POST /count", user(s.count))
	mux.Handle("GET /admin/users/{user}/sessions", requireAdmin(handle(s.adminList)))
	mux.Handle("POST /admin/users/{user}/revoke", requireAdmin(handle(s.adminRevoke)))

	// The cookie is SameSite=Lax: it does not go with what other sites post. This
	// refuses such posts as a whole, a login as somebody else among them.
	return http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(s.sessions.LoadAndSave(mux), 64<<10))
}

func (s *server) login(r *http.Request) (answer, error) {
	user := r.PostFormValue("user")
	if !s.checkPassword(user, r.PostFormValue("password")) {
		return refuse(http.StatusUnauthorized, "wrong user or password"), nil
	}
	// The session is that user's now. Its new token goes out with the response.
	err := s.sessions.Login(r.Context(), user, usersession.WithMethod("password"))
	return answer{json: object{"user": user}, next: "/sessions"}, err
}

func (s *server) logout(r *http.Request) (answer, error) {
	return answer{next: "/login"}, s.sessions.Logout(r.Context())
}

func (s *server) me(r *http.Request) (answer, error) {
	current, err := s.sessions.Current(r.Context())
	return answer{json: object{"user": current.UserID, "session": current}}, err
}

func (s *server) list(r *http.Request) (answer, error) {
	user := s.sessions.UserID(r.Context())
	list, err := s.sessions.ListSessions(r.Context(), user)
	return answer{json: list, page: object{"User": user, "Sessions": list}}, err
}

func (s *server) revoke(r *http.Request) (answer, error) {
	// The user is part of the question, so there is no owner check to forget.
	err := s.sessions.RevokeSession(r.Context(), s.sessions.UserID(r.Context()), r.PathValue("id"))
	return answer{next: "/sessions"}, err
}

func (s *server) revokeOthers(r *http.Request) (answer, error) {
	n, err := s.sessions.RevokeOtherSessions(r.Context())
	return answer{json: object{"revoked": n}, next: "/sessions"}, err
}

// count is a request that takes its time. If its session is revoked meanwhile,
// there is nothing to do here: the session is saved before the first byte of the
// response, that fails, and LoadAndSave answers 401 instead.
func (s *server) count(r *http.Request) (answer, error) {
	wait, _ := time.ParseDuration(r.FormValue("wait")) // what is none is 0
	n := s.sessions.GetInt(r.Context(), "count") + 1
	<-time.After(min(wait, 5*time.Second))
	s.sessions.Put(r.Context(), "count", n)
	return answer{json: object{"count": n}}, nil
}

// requireAdmin is for development only: a real program knows its admins.
func requireAdmin(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte("admin:admin"))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, pass, _ := r.BasicAuth()
		got := sha256.Sum256([]byte(name + ":" + pass)) // so that lengths do not show
		w.Header().Set("Cache-Control", "no-store")
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="development only: admin/admin"`)
			refuse(http.StatusUnauthorized, "for admins only").write(w, r)
			return
		}
		// The actor stands in the ended sessions and in the events.
		next.ServeHTTP(w, r.WithContext(usersession.ContextWithActor(r.Context(), "admin")))
	})
}

func (s *server) adminList(r *http.Request) (answer, error) {
	user := r.PathValue("user")
	list, err := s.sessions.ListSessions(r.Context(), user)
	return answer{json: list, page: object{"User": user, "Sessions": list, "Admin": true}}, err
}

func (s *server) adminRevoke(r *http.Request) (answer, error) {
	n, err := s.sessions.RevokeAllSessions(r.Context(), r.PathValue("user"))
	return answer{json: object{"revoked": n}, next: "/admin/users/" + url.PathEscape(r.PathValue("user")) + "/sessions"}, err
}

// logEvent says what happens to sessions, as it happens.
func logEvent(ctx context.Context, e usersession.Event) {
	log := slog.With("user", e.UserID, "session", e.SessionID)
	if e.Kind == usersession.EventEnded {
		log = log.With("why", e.Reason, "by", e.Actor)
	}
	log.Info("session " + string(e.Kind))
}

// The rest is passwords, answers and HTML.

type password struct {
	salt, hash []byte
	iterations int
}

func newPassword(plain string, iterations int) password {
	p := password{salt: []byte(rand.Text()), iterations: iterations}
	p.hash = p.stretch(plain)
	return p
}

func (p password) stretch(plain string) []byte {
	key, err := pbkdf2.Key(sha256.New, plain, p.salt, p.iterations, 32)
	if err != nil {
		panic(err) // one of these numbers is wrong
	}
	return key
}

// checkPassword takes as long for an unknown name, so that the time does not tell.
// A real program also limits how often one may try.
func (s *server) checkPassword(name, plain string) bool {
	p, known := s.users[name]
	if !known {
		p = s.users["alice"]
	}
	return subtle.ConstantTimeCompare(p.stretch(plain), p.hash) == 1 && known
}

type object map[string]any

// answer is what a handler has to say: to browsers the page, or the way to the
// next one; json to who asks for it, and where there is no page.
type answer struct {
	page   object
	next   string
	json   any // nil: 204
	status int // 0: 200
}

func refuse(status int, why string) answer {
	return answer{status: status, json: object{"error": why}, page: object{"Error": why, "Login": status == http.StatusUnauthorized}}
}

type handler func(*http.Request) (answer, error)

func always(a answer) handler { return func(*http.Request) (answer, error) { return a, nil } }

func handle(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := h(r)
		switch { // with an error, what the handler had to say does not count
		case err == nil:
		case errors.Is(err, usersession.ErrNoSession), errors.Is(err, usersession.ErrSessionEnded):
			a = refuse(http.StatusUnauthorized, "nobody is logged in")
		case errors.Is(err, usersession.ErrSessionNotFound), errors.Is(err, usersession.ErrBadUserID):
			a = refuse(http.StatusNotFound, "not found")
		default:
			slog.Error("request failed", "path", r.URL.Path, "error", err)
			a = refuse(http.StatusServiceUnavailable, "try again later")
		}
		a.write(w, r)
	})
}

func (a answer) write(w http.ResponseWriter, r *http.Request) {
	wantsJSON := strings.Contains(r.Header.Get("Accept"), "application/json")
	switch {
	case a.next != "" && !wantsJSON:
		http.Redirect(w, r, a.next, http.StatusSeeOther)
	case a.page != nil && !wantsJSON:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		w.WriteHeader(cmp.Or(a.status, http.StatusOK))
		pages.Execute(w, a.page)
	case a.json == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(cmp.Or(a.status, http.StatusOK))
		json.NewEncoder(w).Encode(a.json)
	}
}

// A User-Agent is what some client claims. html/template escapes it.
var pages = template.Must(template.New("").Parse(`<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>usersession</title>
<style>body { font: 1rem/1.6 sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem } th, td { text-align: left; padding-right: 1rem } form { display: inline }</style>
{{with .Error}}<p role="alert">{{.}}</p>{{end}}
{{if .Login}}<h1>Log in</h1><p>Users alice and bob, password demo.</p><form method="post" action="/login"><label>User <input name="user" autocomplete="username" required autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required></label> <button>Log in</button></form>
{{end}}{{if .User}}<h1>{{if .Admin}}Sessions of {{.User}}{{else}}Your sessions{{end}}</h1>
<p>{{if .Admin}}For development only: admin/admin.{{else}}You are logged in as {{.User}}.{{end}}</p>
<table><tr><th>Device<th>IP<th>Created<th>Last seen<th>
{{range .Sessions}}<tr><td title="{{.UserAgent}}">{{.Device}}<td>{{.IP}}<td>{{.CreatedAt.Local.Format "2 Jan 15:04:05"}}
<td>{{.LastSeenAt.Local.Format "2 Jan 15:04:05"}}
<td>{{if not $.Admin}}<form method="post" action="/sessions/{{.ID}}/revoke"><button>Log out</button></form>{{end}} {{if .Current}}this device{{end}}
{{else}}<tr><td>none{{end}}</table>{{if .Admin}}<form method="post" action="/admin/users/{{.User}}/revoke"><button>End all of them</button></form>
{{else}}<form method="post" action="/sessions/revoke-others"><button>Log out everywhere else</button></form>
<form method="post" action="/count?wait=5s"><button>Count, in five seconds</button></form>
<form method="post" action="/logout"><button>Log out here</button></form>{{end}}{{end}}
`))
