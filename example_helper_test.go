package usersession_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
)

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	safari  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"
)

// openMemoryDB returns an empty database in memory.
func openMemoryDB() *sqlx.DB {
	db := sqlx.MustConnect("sqlite", ":memory:")
	db.SetMaxOpenConns(1) // each connection to a memory database is another database
	return db
}

// newMigrated returns what New returns, with the tables that Migrate makes.
func newMigrated(db *sqlx.DB, opts *usersession.Options) *usersession.Manager {
	sessions, err := usersession.New(db, opts)
	if err != nil {
		panic(err)
	}
	if err := sessions.Migrate(context.Background()); err != nil {
		panic(err)
	}
	return sessions
}

// A browser sends requests to a handler and keeps the cookie it gets.
type browser struct {
	userAgent string
	cookie    *http.Cookie
}

// send sends a request, "GET /me" for instance, and returns status and body.
func (b *browser) send(h http.Handler, request string) string {
	method, path, _ := strings.Cut(request, " ")
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("User-Agent", b.userAgent)
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		b.cookie = c
	}
	return strings.TrimSpace(fmt.Sprint(w.Code, " ", w.Body))
}

// inRequest calls fn in a request of the browser, with a context of its session.
func (b *browser) inRequest(sessions *usersession.Manager, fn func(ctx context.Context)) {
	b.send(sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fn(r.Context()) })), "POST /")
}

// loggedIn returns a browser in which a user has logged in.
func loggedIn(sessions *usersession.Manager, userID, userAgent string, opts ...usersession.LoginOption) *browser {
	b := &browser{userAgent: userAgent}
	b.inRequest(sessions, func(ctx context.Context) {
		if err := sessions.Login(ctx, userID, opts...); err != nil {
			panic(err)
		}
	})
	return b
}

// meHandler returns a handler that says who is logged in.
func meHandler(sessions *usersession.Manager) http.Handler {
	return sessions.LoadAndSave(sessions.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, sessions.UserID(r.Context()))
	})))
}
