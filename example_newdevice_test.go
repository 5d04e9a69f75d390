package usersession_test

import (
	"context"
	"fmt"

	"github.com/seed-296ca7ab/usersession"
)

// A mail to the user about a login on a device that they have not used before. Put it
// into a queue, because OnEvent should return soon.
func ExampleOptions_newDevice() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, &usersession.Options{
		NoticeNewDevices: true,
		OnEvent: func(_ context.Context, e usersession.Event) {
			if e.Kind == usersession.EventNewDevice {
				fmt.Printf("mail to %s: a new sign-in with %s\n", e.UserID, usersession.UserSession{UserAgent: e.UserAgent}.Device())
			}
		},
	})
	loggedIn(sessions, "alice", firefox) // the first login is of no new device
	loggedIn(sessions, "alice", firefox)
	loggedIn(sessions, "alice", safari)
	// Output:
	// mail to alice: a new sign-in with Safari on iPhone
}
