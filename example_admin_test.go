package usersession_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/seed-296ca7ab/usersession"
)

// Sessions of all users, a page at a time. The last ID of a page leads to the next one.
func ExampleManager_ListMatching() {
	ctx := context.Background()
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	for _, userID := range []string{"1", "2", "3", "4", "5"} {
		loggedIn(sessions, userID, firefox)
	}

	page := usersession.Page{Limit: 2}
	for more := true; more; {
		n := 0
		for s, err := range sessions.ListMatching(ctx, usersession.Filter{UserAgent: "firefox"}, page) {
			if err != nil {
				panic(err)
			}
			page.After, n = s.ID, n+1
		}
		fmt.Println("sessions on this page:", n)
		more = n == page.Limit
	}
	// Output:
	// sessions on this page: 2
	// sessions on this page: 2
	// sessions on this page: 1
}

// The database counts. A limit keeps it from counting millions.
func ExampleManager_CountMatching() {
	ctx := context.Background()
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	for _, userID := range []string{"1", "2", "3"} {
		loggedIn(sessions, userID, safari)
	}

	fmt.Println(sessions.CountMatching(ctx, usersession.Filter{UserAgent: "iPhone"}, 0))
	fmt.Println(sessions.CountMatching(ctx, usersession.Filter{UserAgent: "iPhone"}, 2)) // 2 means "2 or more"
	// Output:
	// 3 <nil>
	// 2 <nil>
}

// An operator ends every session that came from a network, and says why.
func ExampleManager_RevokeMatching() {
	ctx := context.Background()
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	loggedIn(sessions, "42", firefox, usersession.WithIP(netip.MustParseAddr("203.0.113.9")))
	loggedIn(sessions, "7", firefox, usersession.WithIP(netip.MustParseAddr("198.51.100.1")))

	ctx = usersession.ContextWithReason(ctx, "phishing")
	ctx = usersession.ContextWithActor(ctx, "admin 1")
	n, err := sessions.RevokeMatching(ctx, usersession.Filter{IP: netip.MustParsePrefix("203.0.113.0/24")})
	fmt.Println(n, err)

	for s, err := range sessions.ListMatching(ctx, usersession.Filter{Ended: true}, usersession.Page{}) {
		fmt.Println(s.UserID, s.Reason, s.EndedBy, err)
	}

	_, err = sessions.RevokeMatching(ctx, usersession.Filter{}) // everyone's? Everyone has to say so
	fmt.Println(errors.Is(err, usersession.ErrEmptyFilter))
	// Output:
	// 1 <nil>
	// 42 phishing admin 1 <nil>
	// true
}

// "New password, and the other devices out, or neither" in one transaction of the
// application.
func ExampleManager_RevokeMatchingTx() {
	db := openMemoryDB()
	defer db.Close()
	db.MustExec("CREATE TABLE users (id text PRIMARY KEY, password text)")
	sessions := newMigrated(db, nil)
	laptop, phone := loggedIn(sessions, "42", firefox), loggedIn(sessions, "42", safari)

	changePassword := func(ctx context.Context, userID, hash string) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, "UPDATE users SET password = ? WHERE id = ?", hash, userID); err != nil {
			return err
		}
		others := usersession.Filter{UserIDs: []string{userID}, ExceptCurrent: true}
		revocation, err := sessions.RevokeMatchingTx(ctx, tx, others)
		if err != nil {
			return err
		}
		fmt.Println("to end:", revocation.Count())
		if err := tx.Commit(); err != nil {
			return err
		}
		return revocation.Finish(ctx) // the janitor does it if this is never called
	}

	laptop.inRequest(sessions, func(ctx context.Context) {
		fmt.Println(changePassword(ctx, sessions.UserID(ctx), "…"))
	})
	fmt.Println(phone.send(meHandler(sessions), "GET /me"))
	fmt.Println(laptop.send(meHandler(sessions), "GET /me"))
	// Output:
	// to end: 1
	// <nil>
	// 401 Unauthorized
	// 200 42
}

// A change in somebody else's session data, from outside of their requests.
func ExampleManager_InSession() {
	ctx := context.Background()
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	laptop := loggedIn(sessions, "42", firefox)

	list, err := sessions.ListSessions(ctx, "42")
	if err != nil {
		panic(err)
	}
	for _, s := range list {
		err := sessions.InSession(ctx, s.UserID, s.ID, func(ctx context.Context) error {
			sessions.Put(ctx, "banner", "Your plan ends tomorrow.")
			return nil
		})
		fmt.Println(err)
	}
	laptop.inRequest(sessions, func(ctx context.Context) {
		fmt.Println(sessions.PopString(ctx, "banner"))
	})
	// Output:
	// <nil>
	// Your plan ends tomorrow.
}

// OnEvent is the audit log. An event has public names only, never a token or a key.
func ExampleEvent() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, &usersession.Options{
		OnEvent: func(ctx context.Context, e usersession.Event) {
			fmt.Printf("%s user=%q reason=%q actor=%q\n", e.Kind, e.UserID, e.Reason, e.Actor)
		},
	})

	loggedIn(sessions, "42", firefox)
	ctx := usersession.ContextWithActor(context.Background(), "admin 1")
	if _, err := sessions.RevokeAllSessions(ctx, "42"); err != nil {
		panic(err)
	}
	// Output:
	// login user="42" reason="" actor=""
	// ended user="42" reason="revoked" actor="admin 1"
}

// One pass of the janitor, for a program that calls it from a job of its own. Most
// programs have Run instead.
func ExampleManager_Prune() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	loggedIn(sessions, "42", firefox)

	result, err := sessions.Prune(context.Background())
	fmt.Printf("%+v %v\n", result, err)
	// Output: {Expired:0 UserDeleted:0 Redeleted:0 Pruned:0 StorePruned:0 Blanked:0} <nil>
}

// Run is the janitor. Wait for it before the program ends: it writes what requests
// have left to it.
func ExampleManager_Run() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)

	ctx, stop := context.WithCancel(context.Background()) // signal.NotifyContext in a program
	done := make(chan error)
	go func() { done <- sessions.Run(ctx) }()

	// Serve, and shut down when the signal comes.
	stop()
	fmt.Println(<-done)
	// Output: <nil>
}

// After the data of the sessions were lost, nobody is logged in any more.
func ExampleManager_Reconcile() {
	ctx := context.Background()
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	loggedIn(sessions, "42", firefox)

	db.MustExec("DELETE FROM sessions") // somebody has emptied the table of the Store
	fmt.Println(sessions.CountMatching(ctx, usersession.Filter{}, 0))
	fmt.Println(sessions.Reconcile(ctx))
	fmt.Println(sessions.CountMatching(ctx, usersession.Filter{}, 0))
	// Output:
	// 1 <nil>
	// 1 <nil>
	// 0 <nil>
}

// After the index was restored from a backup, some sessions have no row.
func ExampleManager_ReconcileStore() {
	ctx := context.Background()
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	loggedIn(sessions, "42", firefox)

	db.MustExec("DELETE FROM user_sessions") // what the backup did not have
	found, err := sessions.ReconcileStore(ctx, usersession.ReconcileOptions{DryRun: true})
	fmt.Println(found.Keys, found.Rowless, len(found.RowlessIDs), err)
	// Output: 1 1 1 <nil>
}

// Who is logged in now, and in how many browsers.
func ExampleManager_ListUsers() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	loggedIn(sessions, "42", firefox)
	loggedIn(sessions, "42", safari)
	loggedIn(sessions, "7", safari)

	for u, err := range sessions.ListUsers(context.Background(), usersession.Filter{}, usersession.Page{}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(u.UserID, u.Sessions)
	}
	// Output:
	// 42 2
	// 7 1
}

// A dashboard counts the sessions, and alerts if the janitor does not keep up.
func ExampleManager_Stats() {
	ctx := context.Background()
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	loggedIn(sessions, "42", firefox)
	loggedIn(sessions, "42", safari)
	loggedIn(sessions, "7", firefox)

	stats, err := sessions.Stats(ctx)
	fmt.Println(stats.Active, stats.Users, stats.MaxPerUser, stats.Overdue, err)
	// Output:
	// 3 2 2 0 <nil>
}
