// Package usersession lists and revokes any user's sessions, on any store.
// Revoked stays revoked.
//
// A net/http program keeps its sessions in its SQL database, in Redis, in memory,
// or in any store written for github.com/alexedwards/scs. One small table in
// its default SQL database knows the user of each session. So "your devices",
// "log out everywhere" and an admin's "end this user's sessions now" are one
// call each:
//
//	sessions, err := usersession.New(db, nil) // index and session data in db
//	err = sessions.Migrate(ctx) // safe at each start: it makes only what is missing
//	go sessions.Run(ctx) // the janitor
//	http.ListenAndServe(addr, sessions.LoadAndSave(mux))
//
//	sessions.Login(ctx, "42")                     // in the login handler, after the password check
//	sessions.Put(ctx, "cart", 3)                  // every scs method is there
//	list, err := sessions.ListSessions(ctx, "42") // admin code, any goroutine
//	n, err := sessions.PasswordChanged(ctx, "42") // ends their other sessions
//
// # Words
//
// The token is the secret in the cookie. The key is its SHA-256, under which
// the [Store] holds the session's data. The ID is the public name of a session,
// safe in URLs and logs. A [UserSession] is a row of the index. Revoking ends
// any session from outside. Logout ends the request's own.
//
// # What is promised
//
// Once Logout or a Revoke method has returned nil, no request that starts later
// is served by that session, on any replica, and no request in flight brings it
// back. The sessions of a Store whose updates are not atomic ([AtomicUpdater]) are
// checked against the index on each request.
package usersession
