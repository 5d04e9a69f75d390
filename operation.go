package usersession

import "errors"

// Operation is a kind of work with I/O, which Options.OnOperation hears of. The values
// are stable names for metrics.
type Operation string

const (
	OperationLoad   Operation = "load"   // the session of a token was looked up
	OperationCommit Operation = "commit" // session data, a login or a new token were saved
	OperationLogin  Operation = "login"  // Login and Impersonate, without the commit that follows
	OperationLogout Operation = "logout" // Logout and Destroy in a request of LoadAndSave
	OperationRevoke Operation = "revoke" // one of the Revoke methods, or a changed password, factor or account
	OperationList   Operation = "list"   // ListSessions
	OperationPrune  Operation = "prune"  // Prune, also in Run
)

// errUnfinished is the error of an operation that has not come to an end.
var errUnfinished = errors.New("usersession: the operation did not return: it panicked, or its goroutine ended")
