package usersession_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// A user changes their password. Their other devices are logged out, and so is
// whoever is about to log in with the old one.
func ExampleManager_PasswordChanged() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	ctx := context.Background()

	loggedIn(sessions, "42", "Firefox")
	laptop := loggedIn(sessions, "42", "Chrome")
	thief := &browser{}
	thief.inRequest(sessions, func(thiefs context.Context) {
		// The thief's request has checked the old password.
		laptop.inRequest(sessions, func(ctx context.Context) {
			fmt.Println(sessions.PasswordChanged(ctx, "42"))
		})
		fmt.Println(sessions.Login(thiefs, "42"))
	})
	list, err := sessions.ListSessions(ctx, "42")
	fmt.Println(len(list), err)
	// Output:
	// 1 <nil>
	// usersession: Login: the user's sessions were revoked after the credentials were checked
	// 1 <nil>
}

// A factor that is removed counts as a change, too.
func ExampleManager_FactorChanged() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)

	loggedIn(sessions, "42", "Firefox")
	laptop := loggedIn(sessions, "42", "Chrome")
	laptop.inRequest(sessions, func(ctx context.Context) {
		fmt.Println(sessions.FactorChanged(ctx, "42"))
	})
	// Output:
	// 1 <nil>
}

// An administrator disables an account, and enables it again.
func ExampleManager_AccountDisabled() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	ctx := context.Background()
	login := func() (err error) {
		(&browser{}).inRequest(sessions, func(ctx context.Context) { err = sessions.Login(ctx, "42") })
		return err
	}

	fmt.Println(login())
	fmt.Println(sessions.AccountDisabled(ctx, "42"))
	fmt.Println(errors.Is(login(), usersession.ErrAccountDisabled))
	fmt.Println(sessions.AccountEnabled(ctx, "42"))
	fmt.Println(login())
	// Output:
	// <nil>
	// 1 <nil>
	// true
	// <nil>
	// <nil>
}

// In a login in two steps the second request says when the first one has checked the
// password.
func ExampleWithCheckedAt() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)

	mux := http.NewServeMux()
	mux.HandleFunc("POST /password", func(w http.ResponseWriter, r *http.Request) {
		// Check the password first. Then:
		sessions.Put(r.Context(), "password checked", time.Now())
	})
	mux.HandleFunc("POST /code", func(w http.ResponseWriter, r *http.Request) {
		// Check the code first. Then:
		at := sessions.PopTime(r.Context(), "password checked")
		if err := sessions.Login(r.Context(), "42", usersession.WithCheckedAt(at)); err != nil {
			http.Error(w, "begin again", http.StatusUnauthorized)
		}
	})
	handler := sessions.LoadAndSave(mux)

	visitor := &browser{}
	visitor.send(handler, "POST /password")
	if _, err := sessions.PasswordChanged(context.Background(), "42"); err != nil {
		panic(err)
	}
	fmt.Println(visitor.send(handler, "POST /code"))
	visitor.send(handler, "POST /password")
	fmt.Println(visitor.send(handler, "POST /code"))
	// Output:
	// 401 begin again
	// 200
}
