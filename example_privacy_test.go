package usersession_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// A user asks which data there are, and then wants them gone.
func ExampleManager_PurgeUser() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	ctx := context.Background()
	user := loggedIn(sessions, "42", firefox)
	loggedIn(sessions, "42", safari)

	n, err := sessions.PurgeUser(ctx, "42")
	fmt.Println(n, err)
	fmt.Println(user.send(meHandler(sessions), "GET /me"))

	// A new user of the same ID inherits nothing.
	loggedIn(sessions, "42", safari)
	list, err := sessions.ListSessions(ctx, "42")
	fmt.Println(len(list), err)
	// Output:
	// 2 <nil>
	// 401 Unauthorized
	// 1 <nil>
}

// Each record is written as it comes, however many there are.
func ExampleManager_ExportUser() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	loggedIn(sessions, "42", firefox, usersession.WithMethod("passkey"))

	out := json.NewEncoder(os.Stdout) // yours is a file, or a response
	for record, err := range sessions.ExportUser(context.Background(), "42") {
		if err != nil {
			panic(err)
		}
		fmt.Println(record.Session.Device(), record.Deadline.After(time.Now()))
		record.Session, record.Deadline = nil, time.Time{} // here for its output, which is not the same twice
		out.Encode(record)
	}
	// Output:
	// Firefox on Linux true
	// {}
}

// The network is kept instead of the address, the name of the browser instead of its
// version, and the janitor takes the former out of the row when the session has ended.
func ExampleNew_privacy() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, &usersession.Options{Privacy: usersession.Privacy{
		IP: usersession.IPTruncated, IPRetention: usersession.UntilEnd, UserAgent: usersession.UserAgentFamily,
	}})
	loggedIn(sessions, "42", firefox, usersession.WithIP(netip.MustParseAddr("2001:db8:7:8:9::1")))

	list, err := sessions.ListSessions(context.Background(), "42")
	if err != nil {
		panic(err)
	}
	fmt.Println(list[0].IP, list[0].UserAgent, list[0].Device())
	// Output:
	// 2001:db8:7:: Firefox/0 (Linux) Firefox on Linux
}
