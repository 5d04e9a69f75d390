package usersession_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// A user sees where they are logged in. Current marks the session that asks.
func ExampleManager_ListSessions() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	laptop := loggedIn(sessions, "42", firefox)
	loggedIn(sessions, "7", safari)

	laptop.inRequest(sessions, func(ctx context.Context) {
		list, err := sessions.ListSessions(ctx, sessions.UserID(ctx))
		if err != nil {
			panic(err) // an index that cannot be read is an error, never an empty list
		}
		for _, s := range list {
			fmt.Println(s.UserID, s.Device(), s.IP, s.Current)
		}
	})
	// Output: 42 Firefox on Linux 192.0.2.1 true
}

// One session by its ID, which may stand in a URL. It is found for its own user only.
func ExampleManager_Session() {
	ctx := context.Background()
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	loggedIn(sessions, "42", firefox)
	list, err := sessions.ListSessions(ctx, "42")
	if err != nil {
		panic(err)
	}

	s, err := sessions.Session(ctx, "42", list[0].ID)
	fmt.Println(s.Device(), err)
	_, err = sessions.Session(ctx, "7", list[0].ID)
	fmt.Println(errors.Is(err, usersession.ErrSessionNotFound))
	// Output:
	// Firefox on Linux <nil>
	// true
}

// What ended lately, and why. Retention keeps the rows longer than the sessions would
// have lived.
func ExampleManager_ListEndedSessions() {
	ctx := context.Background()
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, &usersession.Options{Retention: 90 * 24 * time.Hour})
	loggedIn(sessions, "42", firefox)
	admin := usersession.ContextWithActor(ctx, "admin 1")
	if _, err := sessions.RevokeAllSessions(admin, "42"); err != nil {
		panic(err)
	}

	ended, err := sessions.ListEndedSessions(ctx, "42", 10)
	if err != nil {
		panic(err)
	}
	for _, s := range ended {
		fmt.Println(s.Device(), s.Reason, s.EndedBy, !s.EndedAt.IsZero())
	}
	// Output: Firefox on Linux revoked admin 1 true
}

// A session as JSON, for an API. It holds nothing secret.
func ExampleUserSession_MarshalJSON() {
	s := usersession.UserSession{
		ID:              "AAAAAAAAAAAAAAAAAAAAAA",
		UserID:          "42",
		CreatedAt:       time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		AuthenticatedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		LastSeenAt:      time.Date(2026, 3, 1, 12, 5, 0, 0, time.UTC),
		ExpiresAt:       time.Date(2026, 3, 1, 13, 5, 0, 0, time.UTC),
		UserAgent:       "curl/8.5.0",
		LastIP:          netip.MustParseAddr("192.0.2.7"),
		LastUserAgent:   "curl/8.5.0",
		Meta:            map[string]string{usersession.MetaMethod: "passkey"},
	}
	text, err := json.MarshalIndent(s, "", "  ")
	fmt.Println(string(text), err)

	var back usersession.UserSession
	fmt.Println(json.Unmarshal(text, &back), back.LastSeenAt.Equal(s.LastSeenAt))
	// Output:
	// {
	//   "id": "AAAAAAAAAAAAAAAAAAAAAA",
	//   "user_id": "42",
	//   "created_at": "2026-03-01T12:00:00Z",
	//   "authenticated_at": "2026-03-01T12:00:00Z",
	//   "last_seen_at": "2026-03-01T12:05:00Z",
	//   "expires_at": "2026-03-01T13:05:00Z",
	//   "ip": "",
	//   "user_agent": "curl/8.5.0",
	//   "last_ip": "192.0.2.7",
	//   "last_user_agent": "curl/8.5.0",
	//   "device": "curl",
	//   "meta": {
	//     "auth_method": "passkey"
	//   },
	//   "current": false
	// } <nil>
	// <nil> true
}

// A login page says why somebody is logged out. Nobody is told who else is not.
func ExampleManager_Ended() {
	ctx := context.Background()
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	laptop := loggedIn(sessions, "42", firefox)
	ctx = usersession.ContextWithReason(ctx, "password changed")
	if _, err := sessions.RevokeAllSessions(ctx, "42"); err != nil {
		panic(err)
	}

	laptop.inRequest(sessions, func(ctx context.Context) {
		if s, ok := sessions.Ended(ctx); ok {
			fmt.Println("You are logged out:", s.Reason)
		}
	})
	// Output: You are logged out: password changed
}

// A stream is use of its session, as long as somebody listens, and ends with it.
func ExampleManager_Touch() {
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	laptop := loggedIn(sessions, "42", firefox)

	laptop.inRequest(sessions, func(ctx context.Context) {
		for range 3 { // every minute, say
			if err := sessions.Touch(ctx); errors.Is(err, usersession.ErrSessionEnded) {
				fmt.Println("the stream ends")
				return
			}
			fmt.Println("news")
			if _, err := sessions.RevokeAllSessions(context.Background(), "42"); err != nil {
				panic(err)
			}
		}
	})
	// Output:
	// news
	// the stream ends
}

// The user gives a device a name of their own, which lists show from then on.
func ExampleManager_SetMeta() {
	ctx := context.Background()
	db := openMemoryDB()
	defer db.Close()
	sessions := newMigrated(db, nil)
	loggedIn(sessions, "42", firefox, usersession.WithMethod("passkey"))
	list, err := sessions.ListSessions(ctx, "42")
	if err != nil {
		panic(err)
	}

	err = sessions.SetMeta(ctx, "42", list[0].ID, map[string]string{"name": "the old laptop"})
	s, _ := sessions.Session(ctx, "42", list[0].ID)
	fmt.Println(s.Meta["name"], s.Meta[usersession.MetaMethod], err)
	// Output: the old laptop passkey <nil>
}
