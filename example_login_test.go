package usersession_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// Login belongs in the login handler, after the check of the password.
func ExampleManager_Login() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)

	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		// Check the password first. Then:
		if err := sessions.Login(r.Context(), "42"); err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
		http.Redirect(w, r, "/me", http.StatusSeeOther)
	})
	mux.Handle("GET /me", sessions.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, sessions.UserID(r.Context()))
	})))
	handler := sessions.LoadAndSave(mux)

	visitor := &browser{}
	fmt.Println(visitor.send(handler, "GET /me"))
	fmt.Println(visitor.send(handler, "POST /login"))
	fmt.Println(visitor.send(handler, "GET /me"))
	// Output:
	// 401 Unauthorized
	// 303
	// 200 42
}

// The password changes while the login handler computes. The second look, once the
// login is in the index, sees it.
func ExampleWithRecheck() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)

	hash := "old" // yours is in a table
	errChanged := errors.New("the password has changed")
	handler := sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known := hash
		hash = "new" // by somebody else, while this handler checks the password
		err := sessions.Login(r.Context(), "42", usersession.WithRecheck(func(ctx context.Context) error {
			if hash != known {
				return errChanged
			}
			return nil
		}))
		if errors.Is(err, errChanged) {
			http.Error(w, "wrong password", http.StatusUnauthorized)
		}
	}))

	fmt.Println((&browser{}).send(handler, "POST /login"))
	list, err := sessions.ListSessions(context.Background(), "42")
	fmt.Println(len(list), err)
	// Output:
	// 401 wrong password
	// 0 <nil>
}

// "Remember me" gives one session a longer life, an idle timeout that is as long, and
// a cookie that outlives the browser's window.
func ExampleManager_Login_rememberMe() {
	db := openMemoryDB()
	defer db.Close()
	const days = 24 * time.Hour
	sessions := newMigrated(db, nil)

	handler := sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var opts []usersession.LoginOption
		if r.FormValue("remember") != "" {
			opts = append(opts, usersession.WithLifetime(30*days), usersession.WithIdleTimeout(30*days), usersession.WithPersistentCookie(true))
		}
		if err := sessions.Login(r.Context(), "42", opts...); err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		}
	}))

	for _, request := range []string{"POST /login", "POST /login?remember=on"} {
		b := &browser{}
		b.send(handler, request)
		b.inRequest(sessions, func(ctx context.Context) {
			s, err := sessions.Current(ctx)
			fmt.Println(s.ExpiresAt.Sub(s.CreatedAt).Round(time.Hour), err)
		})
		fmt.Println("persistent cookie:", b.cookie.MaxAge > 0)
	}
	// Output:
	// 1h0m0s <nil>
	// persistent cookie: false
	// 720h0m0s <nil>
	// persistent cookie: true
}

// A login notes more about itself, which lists show and a Filter finds.
func ExampleManager_Login_noted() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	ctx, err := sessions.Load(context.Background(), "")
	if err != nil {
		panic(err)
	}

	err = sessions.Login(ctx, "42",
		usersession.WithMethod("passkey"),
		usersession.WithMeta(map[string]string{"app": "kiosk"}),
		usersession.WithIP(netip.MustParseAddr("203.0.113.9")), // else from Options.ClientIP
		usersession.WithUserAgent("Kiosk/2.1"),                 // else that of the request
	)
	fmt.Println(err)
	if _, _, err := sessions.Commit(ctx); err != nil {
		panic(err)
	}

	s, err := sessions.Current(ctx)
	fmt.Println(s.Meta[usersession.MetaMethod], s.Meta["app"], s.IP, s.UserAgent, err)
	// Output:
	// <nil>
	// passkey kiosk 203.0.113.9 Kiosk/2.1 <nil>
}

// MaxSessions limits the sessions of one user. By default the oldest one ends. Here
// the new login is refused.
func ExampleLimitPolicy() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, &usersession.Options{
		MaxSessions: 1,
		OnLimit:     usersession.LimitReject,
	})
	loggedIn(sessions, "42", firefox)

	phone := &browser{userAgent: safari}
	phone.inRequest(sessions, func(ctx context.Context) {
		err := sessions.Login(ctx, "42")
		fmt.Println(errors.Is(err, usersession.ErrTooManySessions))
	})
	// Output: true
}

// Logout ends the session of the request.
func ExampleManager_Logout() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	laptop := loggedIn(sessions, "42", firefox)
	stolen := *laptop // the same cookie in another browser

	handler := sessions.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.Logout(r.Context()); err != nil {
			// The browser is logged out, but its session may still be accepted.
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		}
	}))
	fmt.Println(laptop.send(handler, "POST /logout"))
	fmt.Println(laptop.send(meHandler(sessions), "GET /me"))
	fmt.Println(stolen.send(meHandler(sessions), "GET /me"))
	// Output:
	// 200
	// 401 Unauthorized
	// 401 Unauthorized
}

// A user who has proved again who they are has a fresh session, under a new token.
func ExampleManager_Reauthenticate() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	laptop := loggedIn(sessions, "42", firefox, usersession.WithMethod("password"))
	stolen := *laptop // the same cookie in another browser

	var before, after usersession.UserSession
	laptop.inRequest(sessions, func(ctx context.Context) {
		before, _ = sessions.Current(ctx)
		fmt.Println(sessions.Reauthenticate(ctx, usersession.WithMethod("passkey"))) // after the check
	})
	laptop.inRequest(sessions, func(ctx context.Context) {
		after, _ = sessions.Current(ctx)
	})
	fmt.Println("the same session:", before.ID == after.ID)
	fmt.Println("method:", after.Meta[usersession.MetaMethod])
	fmt.Println("the old token:", stolen.send(meHandler(sessions), "GET /me"))
	// Output:
	// <nil>
	// the same session: true
	// method: passkey
	// the old token: 401 Unauthorized
}

// What only somebody may do who has just proved who they are stands behind
// RequireFresh.
func ExampleManager_RequireFresh() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	done := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "done") })

	mux := http.NewServeMux()
	mux.Handle("POST /password", sessions.RequireFresh(5*time.Minute)(done))
	mux.Handle("POST /payment", sessions.RequireFresh(time.Nanosecond)(done)) // shorter than anybody is
	handler := sessions.LoadAndSave(mux)

	visitor, laptop := &browser{}, loggedIn(sessions, "42", firefox)
	fmt.Println(visitor.send(handler, "POST /password"))
	fmt.Println(laptop.send(handler, "POST /password"))
	fmt.Println(laptop.send(handler, "POST /payment"))
	// Output:
	// 401 Unauthorized
	// 200 done
	// 401 a fresh login is needed
}

// RequireUser keeps out who is not logged in. OnUnauthenticated answers them.
func ExampleManager_RequireUser() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, &usersession.Options{
		OnUnauthenticated: http.RedirectHandler("/login", http.StatusSeeOther),
	})
	handler := sessions.LoadAndSave(sessions.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello ", sessions.UserID(r.Context()))
	})))

	fmt.Println((&browser{}).send(handler, "HEAD /"))
	fmt.Println(loggedIn(sessions, "42", firefox).send(handler, "GET /"))
	// Output:
	// 303
	// 200 hello 42
}

// UserID costs no I/O and says who is logged in. Current reads the row of the
// session.
func ExampleManager_Current() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)

	(&browser{}).inRequest(sessions, func(ctx context.Context) {
		_, err := sessions.Current(ctx)
		fmt.Printf("%q %v\n", sessions.UserID(ctx), errors.Is(err, usersession.ErrNoSession))
	})
	loggedIn(sessions, "42", firefox).inRequest(sessions, func(ctx context.Context) {
		s, err := sessions.Current(ctx)
		fmt.Printf("%q %s %v\n", sessions.UserID(ctx), s.Device(), err)
	})
	// Output:
	// "" true
	// "42" Firefox on Linux <nil>
}

// RenewToken changes the token when what the session may do changes. Session and
// data stay.
func ExampleManager_RenewToken() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	laptop := loggedIn(sessions, "42", firefox)
	stolen := *laptop // the same cookie in another browser

	laptop.inRequest(sessions, func(ctx context.Context) {
		sessions.Put(ctx, "role", "admin")
		fmt.Println(sessions.RenewToken(ctx))
	})
	laptop.inRequest(sessions, func(ctx context.Context) {
		fmt.Println(sessions.GetString(ctx, "role"), sessions.Keys(ctx))
	})
	fmt.Println(stolen.send(meHandler(sessions), "GET /me"))
	// Output:
	// <nil>
	// admin [role]
	// 401 Unauthorized
}
