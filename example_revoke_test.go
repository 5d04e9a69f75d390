package usersession_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-296ca7ab/usersession"
)

// The laptop ends the phone's session. The ID of somebody else's session is not found.
func ExampleManager_RevokeSession() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	laptop, phone := loggedIn(sessions, "42", firefox), loggedIn(sessions, "42", safari)
	stranger := loggedIn(sessions, "7", firefox)

	var id string // the page of the user's sessions has it in a form
	phone.inRequest(sessions, func(ctx context.Context) {
		s, _ := sessions.Current(ctx)
		id = s.ID
	})
	stranger.inRequest(sessions, func(ctx context.Context) {
		err := sessions.RevokeSession(ctx, sessions.UserID(ctx), id)
		fmt.Println(errors.Is(err, usersession.ErrSessionNotFound))
	})
	laptop.inRequest(sessions, func(ctx context.Context) {
		fmt.Println(sessions.RevokeSession(ctx, sessions.UserID(ctx), id))
	})
	fmt.Println(phone.send(meHandler(sessions), "GET /me"))
	fmt.Println(laptop.send(meHandler(sessions), "GET /me"))
	// Output:
	// true
	// <nil>
	// 401 Unauthorized
	// 200 42
}

// After a change of password, the other devices are logged out.
func ExampleManager_RevokeOtherSessions() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	laptop, phone := loggedIn(sessions, "42", firefox), loggedIn(sessions, "42", safari)

	laptop.inRequest(sessions, func(ctx context.Context) {
		n, err := sessions.RevokeOtherSessions(ctx)
		fmt.Println(n, err)
	})
	fmt.Println(phone.send(meHandler(sessions), "GET /me"))
	fmt.Println(laptop.send(meHandler(sessions), "GET /me"))
	// Output:
	// 1 <nil>
	// 401 Unauthorized
	// 200 42
}

// When an account is closed, all its sessions end. This works from any goroutine.
func ExampleManager_RevokeAllSessions() {
	ctx := context.Background()
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	laptop := loggedIn(sessions, "42", firefox)

	n, err := sessions.RevokeAllSessions(ctx, "42") // after the account refuses logins
	if errors.Is(err, usersession.ErrRevocationPending) {
		// The Store is down. Call again, or leave the rest to the janitor.
		n, err = sessions.RevokeAllSessions(ctx, "42")
	}
	fmt.Println(n, err)
	fmt.Println(laptop.send(meHandler(sessions), "GET /me"))
	// Output:
	// 1 <nil>
	// 401 Unauthorized
}
