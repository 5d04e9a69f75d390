package usersession_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// Name only what differs from the defaults. New reports every error in the options
// at once.
func ExampleNew() {
	db := openMemoryDB() // a *sqlx.DB of PostgreSQL, SQLite or MariaDB
	defer db.Close()

	sessions, err := usersession.New(db, &usersession.Options{
		IdleTimeout: 30 * time.Minute,
		Lifetime:    12 * time.Hour,
		MaxSessions: 5,
	})
	fmt.Println(sessions.Lifetime, err)

	_, err = usersession.New(db, &usersession.Options{
		IdleTimeout: 24 * time.Hour,
		Lifetime:    12 * time.Hour,
		MaxSessions: -5,
	})
	fmt.Println(err)
	// Output:
	// 12h0m0s <nil>
	// usersession: Options.IdleTimeout: 24h0m0s is longer than the Lifetime of 12h0m0s
	// usersession: Options.MaxSessions: must not be negative, is -5; NoMaxSessions turns it off
}

// A program that does not use sqlx has a way in from database/sql.
func ExampleNewFromDB() {
	db, err := sql.Open("sqlite", ":memory:") // with import _ "modernc.org/sqlite"
	if err != nil {
		panic(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // each connection to a memory database is another database

	sessions, err := usersession.NewFromDB(db, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(sessions.Migrate(context.Background()))
	// Output: <nil>
}

// Migrate makes the tables that are missing. Every replica may call it when it
// starts. Without it, the errors say that it is missing.
func ExampleManager_Migrate() {
	ctx := context.Background()
	db := openMemoryDB()
	defer db.Close()
	sessions, err := usersession.New(db, nil)
	if err != nil {
		panic(err)
	}

	_, err = sessions.ListSessions(ctx, "42")
	fmt.Println(errors.Is(err, usersession.ErrNotMigrated))

	fmt.Println(sessions.Migrate(ctx))
	fmt.Println(sessions.Migrate(ctx))
	list, err := sessions.ListSessions(ctx, "42")
	fmt.Println(len(list), err)
	// Output:
	// true
	// <nil>
	// <nil>
	// 0 <nil>
}

// A program that has a migration tool takes what Migrate would run as files.
func ExampleManager_Migrations() {
	db := openMemoryDB()
	defer db.Close()
	sessions, err := usersession.New(db, &usersession.Options{
		UserIDType: usersession.UserIDBigint,
		Index:      usersession.IndexOptions{Table: "logins"},
	})
	if err != nil {
		panic(err)
	}

	files, err := sessions.Migrations()
	if err != nil {
		panic(err)
	}
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		fmt.Println(name, strings.Contains(string(text), "-- +goose Up"), err)
	}
	// Output:
	// 00001_logins.sql true <nil>
	// 00002_sessions.sql true <nil>
}

// The middleware reads the cookie of the request and sets that of the response.
func ExampleManager_LoadAndSave() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)

	mux := http.NewServeMux()
	mux.HandleFunc("POST /cart", func(w http.ResponseWriter, r *http.Request) {
		n := sessions.GetInt(r.Context(), "cart") + 1
		sessions.Put(r.Context(), "cart", n)
		fmt.Fprint(w, n)
	})
	handler := sessions.LoadAndSave(mux)

	visitor := &browser{}
	fmt.Println(visitor.send(handler, "POST /cart"))
	fmt.Println(visitor.send(handler, "POST /cart"))
	c := visitor.cookie
	fmt.Println(c.Name, c.Secure, c.HttpOnly, c.SameSite == http.SameSiteLaxMode)
	// Output:
	// 200 1
	// 200 2
	// __Host-session true true true
}

// A program whose requests do not come over net/http loads and commits itself.
func ExampleManager_Load() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)

	ctx, err := sessions.Load(context.Background(), "") // no token yet
	if err != nil {
		panic(err)
	}
	if err := sessions.Login(ctx, "42"); err != nil {
		panic(err)
	}
	token, _, err := sessions.Commit(ctx) // the client keeps the token
	if err != nil {
		panic(err)
	}

	ctx, err = sessions.Load(context.Background(), token)
	fmt.Println(sessions.UserID(ctx), err)
	fmt.Println(sessions.Token(ctx) == token)
	// Output:
	// 42 <nil>
	// true
}

// The wrong wiring. LoadAndSave has to be around every handler that asks for the
// session. Elsewhere Login returns an error, nobody is logged in, and the methods of
// scs panic.
func Example_withoutLoadAndSave() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)

	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(sessions.Login(r.Context(), "42"))
	})
	mux.Handle("GET /me", sessions.RequireUser(http.NotFoundHandler()))
	mux.HandleFunc("GET /cart", func(w http.ResponseWriter, r *http.Request) {
		defer func() { fmt.Println(recover()) }()
		sessions.GetInt(r.Context(), "cart")
	})

	visitor := &browser{}
	visitor.send(mux, "POST /login") // it should be sessions.LoadAndSave(mux)
	fmt.Println(visitor.send(mux, "GET /me"))
	visitor.send(mux, "GET /cart")
	// Output:
	// usersession: no session in context: nobody is logged in, or the handler is not inside LoadAndSave
	// 401 Unauthorized
	// scs: no session data in context
}

// Wrong as well. A login changes the cookie, so it has to come before the first byte
// of the response.
func Example_loginAfterTheBody() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)

	handler := sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "welcome")
		err := sessions.Login(r.Context(), "42")
		fmt.Println(errors.Is(err, usersession.ErrResponseStarted))
	}))

	visitor := &browser{}
	visitor.send(handler, "POST /login")
	fmt.Println("cookie:", visitor.cookie != nil)
	list, err := sessions.ListSessions(context.Background(), "42")
	fmt.Println("sessions:", len(list), err)
	// Output:
	// true
	// cookie: false
	// sessions: 0 <nil>
}

// Wrong as well. New takes the scs manager over, and what is changed in it later
// would be sent or kept without New having looked at it. The log says which field.
func Example_changedAfterNew() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	handler := meHandler(sessions)

	sessions.Cookie.Secure = false // it should be in Options.SCS, or Options.InsecureCookies
	fmt.Println((&browser{}).send(handler, "GET /me"))
	// Output: 500 Internal Server Error
}
