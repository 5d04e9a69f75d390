package usersession

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// The errors a caller may want to tell apart. Each is returned wrapped or bare,
// so test with errors.Is. Errors of the SQL driver and of the Store stay
// reachable with errors.As. No error text holds a token, a key or a user ID.
var (
	// ErrSessionNotFound is returned by Session, InSession and RevokeSession
	// when the user has no live session with that ID. A session of somebody
	// else and a session that never existed give the same answer.
	ErrSessionNotFound = errors.New("usersession: session not found")

	// ErrNoSession is returned by methods that act on the request's own session
	// when there is none. Current, Reauthenticate and RevokeOtherSessions
	// return it when nobody is logged in. Login returns it when the context
	// does not come from LoadAndSave or Load of this Manager.
	ErrNoSession = errors.New("usersession: no session in context: nobody is logged in, or the handler is not inside LoadAndSave")

	// ErrNoUserID is returned when a user ID is empty.
	ErrNoUserID = errors.New("usersession: user ID is empty")

	// ErrBadUserID is returned when a user ID is longer than 255 bytes, holds a
	// NUL or is not valid UTF-8. It is also returned when the ID is not a
	// number or UUID where Options.UserIDType asks for one.
	ErrBadUserID = errors.New("usersession: user ID is not valid")

	// ErrUnknownUser is returned by Login when Options.UsersTable is set and
	// has no such user.
	ErrUnknownUser = sqldb.ErrUnknownUser

	// ErrTooManySessions is returned by Login when the user has
	// Options.MaxSessions live sessions and Options.OnLimit is LimitReject.
	ErrTooManySessions = errors.New("usersession: too many sessions")

	// ErrRevokedMeanwhile is returned by Login when all sessions of the user were
	// revoked after the credentials had been checked, as by a change of the
	// password or a sign-out at the identity provider. Let the user log in again.
	ErrRevokedMeanwhile = errors.New("usersession: the user's sessions were revoked after the credentials were checked")

	// ErrAccountDisabled is returned by Login after AccountDisabled.
	ErrAccountDisabled = errors.New("usersession: the account is disabled")

	// ErrInRecheck is returned by Login, Logout, Reauthenticate and RenewToken inside a
	// check of WithRecheck, and to other goroutines of the request meanwhile.
	ErrInRecheck = errors.New("usersession: the request is in a check of WithRecheck")

	// ErrSessionEnded is returned when the session of the request has ended
	// meanwhile. It is returned by Current and by methods that would change the
	// session. The commit of its data returns it, too, which LoadAndSave
	// answers with 401.
	ErrSessionEnded = errors.New("usersession: session has ended")

	// ErrResponseStarted is returned by Login, Reauthenticate and RenewToken
	// when the response has begun, so that no cookie can be sent. The browser
	// keeps its session as it was.
	ErrResponseStarted = errors.New("usersession: response already started")

	// ErrRevocationPending is returned by Logout and by every Revoke method
	// when the sessions are ended in the index but their data could not be
	// deleted from the Store. The same call again retries the deletion, and so
	// does the janitor (Run). Until then a Store that is not verified on every
	// request may still serve them.
	//
	// It is also returned if a process with Options.ReadLease could not be told. Until
	// its lease is over it may serve them from memory. The same call again tells it.
	//
	// It is also returned if the data are in another Store than Options.Store, for
	// example in another Redis prefix. The janitor of a program that has that Store
	// then deletes them. Login, RenewToken and new data go on if they replace such
	// a session, and EventRevocationPending says so.
	ErrRevocationPending = errors.New("usersession: revocation is pending: the sessions have ended in the index, and not yet everywhere")

	// ErrNotCommitted is returned by Revocation.Finish before the commit of the
	// transaction, and after its rollback. No session has ended.
	ErrNotCommitted = errors.New("usersession: the transaction has not committed: no session has ended")

	// ErrOtherUser is returned by Reauthenticate and Login when WithUserID names another
	// user than that of the session or the login.
	ErrOtherUser = errors.New("usersession: the credentials are those of another user")

	// ErrImpersonated is returned in a session of Impersonate by what is for the user
	// alone.
	ErrImpersonated = errors.New("usersession: not allowed in an impersonated session")

	// ErrKeyExists is returned by Store.Create for a key that exists.
	ErrKeyExists = errors.New("usersession: key exists")

	// ErrEmptyFilter is returned by RevokeMatching and RevokeMatchingTx for a
	// Filter that selects nothing in particular. To mean everyone, set
	// Filter.Everyone.
	ErrEmptyFilter = errors.New("usersession: empty filter; set Everyone to revoke every session")

	// ErrNotMigrated is returned when the tables are missing, lack a column, or have
	// one of another type than the Options say.
	ErrNotMigrated = sqldb.ErrNotMigrated

	// ErrOtherSession is returned by Login, Reauthenticate and RenewToken
	// inside InSession. Only a request of the session's own browser can be
	// given a new token.
	ErrOtherSession = errors.New("usersession: not allowed on another session")
)

// checkUserID returns the one canonical form of a user ID.
func checkUserID(x *index.Index, id string) (string, error) {
	if id == "" {
		return "", ErrNoUserID
	}
	id, wrong := x.UserID(id)
	if wrong != "" {
		return "", fmt.Errorf("%w: %s", ErrBadUserID, wrong)
	}
	return id, nil
}

// wrap names the method in errors that come from below, once.
func wrap(method string, err error) error {
	switch err {
	case nil, ErrSessionNotFound, ErrSessionEnded, ErrNoSession, ErrNoUserID, ErrEmptyFilter, ErrNotCommitted:
		return err
	}
	return &opError{method, err}
}

// opError says which method failed.
type opError struct {
	method string
	err    error
}

func (e *opError) Error() string {
	return "usersession: " + e.method + ": " + strings.TrimPrefix(e.err.Error(), "usersession: ")
}

func (e *opError) Unwrap() error { return e.err }

var errNoAdopt = errors.New("usersession: Options.Adopt is not set")

// errElsewhere is why a revocation is pending though the Store has done its part.
var errElsewhere = errors.New("usersession: Options.Store: the session data are in another Store, of another program on this index")

// errUntold stands beside ErrRevocationPending where the Store has done its part.
var errUntold = errors.New("usersession: Options.ReadLease: a process that may have the sessions in memory could not be told")

// errPanicked is why a Channel is tried again.
var errPanicked = errors.New("usersession: Options.Watch.Channel panicked")

// errWithheld is what Logout returns of a session that the request was not served.
var errWithheld = fmt.Errorf("%w: that of the cookie is bound to a device, from which the request does not come; it has not ended", ErrNoSession)

// errSpared is what Logout returns if the session of another cookie has not ended.
var errSpared = errors.New("that of another cookie is bound to a device, from which the request does not come; it has not ended")

// errFailed is why a login is given up though nobody has refused it.
var errFailed = errors.New("usersession: the handler answered with a status of 500 or more (see Options.KeepOnError)")

// errLost is why a commit gives nothing new a life: nobody would get its token.
var errLost = errors.New("usersession: the request ended before its session was committed")
