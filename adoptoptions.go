package usersession

// Adopt takes over the live sessions of a program that used plain scs with the same
// cookie and the same store, without logging anybody out. docs/adopting.md has the
// steps. Set it as [Options.Adopt] in the deployment that replaces plain scs.
//
// While it is set, old and new replicas may serve the same sessions side by side, and
// a roll-back to plain scs logs nobody out: the data of each session, also of a new
// one, stay under the key that plain scs uses. That is the token, or its hash if
// HashTokenInStore of [Options.SCS] is set. Every session of a user is checked
// against the index on each request, because plain scs brings back what was deleted.
type Adopt struct {
	// UserID returns the user of a session that plain scs has written, or "" if
	// nobody is logged in. The values are those that the Codec of Options.SCS has
	// decoded. The user is the one that Login is given for such a session. UserID is
	// called from many goroutines at once, must not change the values, and must not
	// panic where one is missing. Required.
	UserID func(values map[string]any) string

	// Rekey moves the sessions to hashed keys, when they are used and in
	// [Manager.AdoptAll]. New sessions begin there. Set it once plain scs runs
	// nowhere and will not come back. A roll-back then needs HashTokenInStore. It
	// has no effect where HashTokenInStore is set already.
	Rekey bool

	// Progress is called by AdoptAll after every 100 keys and at the end, with the
	// result so far. If nil, it is not called.
	Progress func(AdoptResult)
}

// AdoptResult says what AdoptAll has found in the Store.
type AdoptResult struct {
	Adopted    int // sessions of a user that are listed since this call
	Before     int // sessions that this package has written or listed before
	Anonymous  int // sessions of plain scs without a user, which need no row
	Ended      int // sessions that were over, and that plain scs had written once more; their data are deleted
	Unreadable int // data that the codec cannot read, or whose user cannot have a session; they are left alone
	Left       int // of Adopted, Before and Anonymous, how many at most would be lost without Options.Adopt
}
