package usersession_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-296ca7ab/usersession"
)

// The laptop has logged in through the identity provider, and the phone has not. The user
// signs out there. The package idp/oidclogout does this when the provider tells it.
func ExampleWithIdP() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	idp := usersession.IdP{Issuer: "https://idp.example/", Subject: "248289761001", Session: "08a5019c"}
	login := usersession.WithIdP(idp.Issuer, idp.Subject, idp.Session)
	laptop, phone := loggedIn(sessions, "42", firefox, login), loggedIn(sessions, "42", safari)

	new(browser).inRequest(sessions, func(ctx context.Context) { // a login that is a moment too late
		n, err := sessions.RevokeMatching(context.Background(), usersession.Filter{IdP: idp})
		fmt.Println(n, err)
		err = sessions.Login(ctx, "42", login)
		fmt.Println(errors.Is(err, usersession.ErrRevokedMeanwhile))
	})
	fmt.Println(laptop.send(meHandler(sessions), "GET /me"))
	fmt.Println(phone.send(meHandler(sessions), "GET /me"))
	// Output:
	// 1 <nil>
	// true
	// 401 Unauthorized
	// 200 42
}
