package usersession

import "errors"

// The errors a caller may want to tell apart. Each is returned wrapped or bare;
// test with errors.Is. Errors of the SQL driver and of the Store stay reachable
// with errors.As. No error text holds a token, a key or a user ID.
var (
	// ErrSessionNotFound is returned by Session, WithSession and RevokeSession
	// when the user has no live session with that ID. A session of somebody
	// else and a session that never existed give the same answer.
	ErrSessionNotFound = errors.New("usersession: session not found")

	// ErrNoSession is returned by methods that act on the request's own
	// session when there is none: by Current, Reauthenticate and
	// RevokeOtherSessions when nobody is logged in, and by Login when the
	// context does not come from LoadAndSave or Load of this Manager.
	ErrNoSession = errors.New("usersession: no session in context")

	// ErrNoUserID is returned when a user ID is empty.
	ErrNoUserID = errors.New("usersession: user ID is empty")

	// ErrBadUserID is returned when a user ID cannot be one: longer than 255
	// bytes, holding a NUL, not valid UTF-8, or not a number or UUID where
	// Options.UserIDType asks for one.
	ErrBadUserID = errors.New("usersession: user ID is not valid")

	// ErrUnknownUser is returned by Login when Options.UsersTable is set and
	// has no such user.
	ErrUnknownUser = errors.New("usersession: no such user in UsersTable")

	// ErrTooManySessions is returned by Login when the user has
	// Options.MaxSessions live sessions and Options.OnLimit is Reject.
	ErrTooManySessions = errors.New("usersession: too many sessions")

	// ErrSessionEnded is returned when the session of the request was ended
	// meanwhile: by whatever would change it, and by the commit of its data,
	// which LoadAndSave answers with 401.
	ErrSessionEnded = errors.New("usersession: session has ended")

	// ErrResponseStarted is returned by Login, Reauthenticate and RenewToken
	// when the response has begun, so that no cookie can be sent. The
	// browser's session is what it was.
	ErrResponseStarted = errors.New("usersession: response already started")

	// ErrRevocationPending is returned by Logout and by every Revoke method
	// when the sessions are ended in the index but their data could not be
	// deleted from the Store. The same call again retries the deletion, and so
	// does the janitor (Run). Until then a Store that is not verified on every
	// request may still serve them.
	ErrRevocationPending = errors.New("usersession: revocation is pending: the store could not delete the session data")

	// ErrKeyExists is returned by Store.Create for a key that exists.
	ErrKeyExists = errors.New("usersession: key exists")

	// ErrEmptyFilter is returned by RevokeMatching and RevokeMatchingTx for a
	// Filter that selects nothing in particular. Filter{Everyone: true} says
	// that everyone is meant.
	ErrEmptyFilter = errors.New("usersession: empty filter; set Everyone to revoke every session")

	// ErrNotMigrated is returned when the tables are missing or lack a column.
	ErrNotMigrated = errors.New("usersession: the tables are missing or incomplete: run Manager.Migrate")

	// ErrOtherSession is returned by Login, Reauthenticate and RenewToken
	// inside WithSession: only a request of its own browser can be given a
	// new token.
	ErrOtherSession = errors.New("usersession: not allowed on another session")
)
