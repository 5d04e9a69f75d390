package usersession

// ReusePolicy says what happens when a request comes with a token from before the last
// renewal of its session, by RenewToken or Reauthenticate. Either somebody has copied that
// token, and they or the user go on with it, or the browser never saved the new one, because
// the answer was lost for instance. Within a minute of the renewal it may be a request of
// the same page, and nothing happens. So it is with renewals by a replica that has no policy.
// Set one when the last replica of an older release is gone.
type ReusePolicy int

const (
	// ReuseIgnored serves such a request as anonymous, as every policy does, and says
	// nothing.
	ReuseIgnored ReusePolicy = iota
	// ReuseReported reports EventTokenReused.
	ReuseReported
	// ReuseEnds reports it and ends the session, with ReasonTokenReused, so that whoever has
	// a token of it has to log in. A session that is bound to a device is reported only,
	// because a copied token is of no use without the device. A replica without package dbsc
	// takes it for any other, and ends it.
	ReuseEnds
)
