package usersession

// ReusePolicy says what happens when a request comes with a token from before the last
// renewal of its session, by RenewToken or Reauthenticate. The browser of the session has
// had the new one since, so somebody else has copied the old one, or was quicker and has
// the new one. Within a minute of the renewal it may be a request of the same page, and
// nothing happens. So it is with renewals from before the policy was set.
type ReusePolicy int

const (
	// ReuseIgnored serves such a request as anonymous, as every policy does, and says
	// nothing.
	ReuseIgnored ReusePolicy = iota
	// ReuseReported reports EventTokenReused.
	ReuseReported
	// ReuseEnds reports it and ends the session, with ReasonTokenReused, so that both have
	// to log in. A session that is bound to a device is reported only, because a copied
	// token is of no use without the device.
	ReuseEnds
)
