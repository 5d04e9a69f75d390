// Package decide says what scs means. scs asks a Store to delete and to commit,
// and never says why. A deletion is a logout, half of a new token, or neither.
// Its meaning follows from what has become of the session in this request.
// Every question is a value of a few small parts, so that there is a table of
// all of them.
//
// The package imports nothing of this module. It does no I/O, takes no lock, and
// holds no key, no token and no user ID.
package decide

// Session is what has become of the session of a request.
type Session int

const (
	NoSession  Session = iota // there is none yet
	Present                   // its data are in the Store
	Detached                  // its key was deleted through scs, for a new token or for good
	Lost                      // somebody else has ended it
	Cleared                   // Clear of scs has ended it
	Unreadable                // its data are in the Store, and the codec cannot read them
)

// there reports whether the data of the session are in the Store.
func (s Session) there() bool { return s == Present || s == Unreadable }

// Key is the key that scs names.
type Key int

const (
	OtherKey Key = iota
	OwnKey       // that of the request's session, whatever has become of it
	NewKey       // that of the login or renewal that is staged
)

// Staged is what the commit is to finish.
type Staged int

const (
	NothingStaged Staged = iota
	LoginStaged
	RenewalStaged
)

// Asker is who has scs delete a key.
type Asker int

const (
	Program   Asker = iota // RenewToken or MergeSession of scs, called by the program
	Destroyer              // Destroy of scs, called by the program
	NewToken               // a Login or renewal of this package, by RenewToken of scs
	Forget                 // this package has ended the session, by Destroy of scs
)

// Deletion is the question what to do with a key that scs deletes.
type Deletion struct {
	Asker    Asker
	Session  Session
	User     bool // the session is a user's
	Staged   Staged
	Unstaged bool // scs has a new token that is not staged yet
	Key      Key
}

// Delete is the answer to a Deletion.
type Delete int

const (
	Keep            Delete = iota // nothing is deleted
	KeepOld                       // nothing is deleted, and scs has a new token now
	DeleteOther                   // a key that is not that of the request's session
	EndUser                       // the session that has a row, for good
	DetachUser                    // the request's session, which has a row
	DetachAnonymous               // the request's session, which has none
	DestroyOwn                    // the request's session, which does not come back
)

// Decide answers the question.
func (q Deletion) Decide() Delete {
	if Observe != nil {
		Observe(q)
	}
	switch {
	case q.Asker == Forget:
		return Keep // it is gone already
	case q.Asker == NewToken:
		return KeepOld // the browser has it until the commit
	case q.Staged != NothingStaged && (q.Key == NewKey || q.Key == OwnKey && q.Session.there()):
		// Nothing of the new session is in the Store yet. Whether it gets yet
		// another token or is given up shows at the commit.
		return Keep
	case q.Unstaged && q.Session.there():
		// Destroy from another goroutine of the handler, in the middle of a
		// Login or renewal: it means the session there is.
		return DestroyOwn
	case q.Key != OwnKey || !q.Session.there():
		return DeleteOther
	case q.User && q.Asker == Destroyer:
		return EndUser
	case q.User:
		return DetachUser
	}
	return DetachAnonymous
}

// Identity is whose session the data of a commit say they are.
type Identity int

const (
	Nobodys  Identity = iota
	Own               // that of the request's session
	Anothers          // that of another session
)

// Commit is the question what to do with data that scs commits.
type Commit struct {
	Session    Session
	User       bool // the session is a user's
	Staged     Staged
	StagedUser bool // the staged session, or the one it replaces, is a user's
	Key        Key
	Identity   Identity
}

// Save is the answer to a Commit.
type Save int

const (
	Create            Save = iota // a new anonymous session
	Update                        // the data of the request's session
	RefuseEnded                   // somebody has ended the session
	RefuseCleared                 // Clear has ended the session under this key
	EndLost                       // the program has destroyed the session, which may have another key by now
	EndCleared                    // the identity was cleared away, so the session ends
	RenewDetached                 // the session moves to the key that scs has given it
	CommitLogin                   // the login that is staged
	CommitRenewal                 // the renewal that is staged
	GiveUpStaged                  // the identity was cleared away, so the staged change is given up
	ReplaceUnreadable             // the session ends, and a new anonymous one takes its place
)

// Decide answers the question.
func (q Commit) Decide() Save {
	if Observe != nil {
		Observe(q)
	}
	switch {
	case q.Session == Lost && q.User && q.Identity == Nobodys:
		return EndLost
	case q.Session == Lost:
		return RefuseEnded
	case q.Session == Cleared && q.Key == OwnKey:
		return RefuseCleared
	case q.Session == Unreadable && q.Staged != LoginStaged && q.Identity == Nobodys:
		return ReplaceUnreadable // the browser gets another token, so this one is not to outlive it
	case q.Session == Unreadable && q.Staged != LoginStaged:
		return RefuseEnded
	case q.Staged != NothingStaged && q.StagedUser && q.Identity == Nobodys:
		return GiveUpStaged
	case q.Staged == LoginStaged:
		return CommitLogin
	case q.Staged == RenewalStaged:
		return CommitRenewal
	case q.Session == Present && q.Key == OwnKey && q.User && q.Identity == Nobodys:
		return EndCleared
	case q.Session == Present && q.Key == OwnKey:
		return Update
	case q.Session == Detached && q.Identity == Own:
		return RenewDetached
	case q.Identity != Nobodys:
		return RefuseEnded // data of a user need a row, and this is not the way to one
	}
	return Create
}

// Row is what the index says of data that are committed by hand.
type Row int

const (
	NoRow     Row = iota
	Here          // it is under the key of the commit
	Elsewhere     // it is live, or was detached, under another key
	Over          // it has ended
)

// ByHand is the question what to do with data whose loading nobody has seen.
// The program calls Load and Commit of scs itself. The index must tell what the
// request would know.
type ByHand struct {
	Moved    bool // the data say that they belong to another key, or to none
	User     bool // the data say that they are a user's
	Row      Row  // of that user's session, or of the key if they are nobody's. Unknown if not Moved
	Detached bool // this caller has deleted the key of the row through scs
}

// Decide answers the question.
func (q ByHand) Decide() Save {
	if Observe != nil {
		Observe(q)
	}
	switch {
	case !q.Moved, q.User && q.Row == Here:
		return Update
	case q.User && q.Row == Elsewhere && q.Detached:
		return RenewDetached
	case q.User:
		return RefuseEnded
	case q.Row != NoRow:
		return EndCleared
	}
	return Create
}

// Data is what a handler has made of the session data.
type Data int

const (
	Unchanged Data = iota
	Changed        // or a login or a renewal is staged
	Destroyed
)

// Response is the question what to do with a session when the response begins.
type Response struct {
	Data   Data
	Failed bool // the response says that the handler has failed, and the program keeps nothing then
}

// Finish is the answer to a Response.
type Finish int

const (
	Leave      Finish = iota // there is nothing to commit
	CommitData               // the session is committed
	End                      // the session has been destroyed
	GiveUp                   // the changes, the login and the renewal are given up
)

// Decide answers the question.
func (q Response) Decide() Finish {
	if Observe != nil {
		Observe(q)
	}
	switch {
	case q.Data == Destroyed:
		return End // which nothing takes back
	case q.Data == Unchanged:
		return Leave
	case q.Failed:
		return GiveUp
	}
	return CommitData
}

// Use is what the loading of a session is for.
type Use int

const (
	InUse   Use = iota // a request of the session's browser
	Passive            // a request of it that does not count as use
	Peek               // somebody else looks
)

// Loading is the question whether a session that is loaded is noted as seen.
type Loading struct {
	Use     Use
	User    bool // the session is a user's
	RowRead bool // its row was read with it
	Idle    bool // the Store's expiry carries the idle timeout
}

// Seen is the answer to a Loading.
type Seen int

const (
	NotSeen      Seen = iota // it is served and left as it is
	TouchByRow               // it is touched, if its row says that this is due
	TouchWhenDue             // it is touched, if this process has not done so for long
	LookWhenDue              // its row is read, if this process has not done so for long
)

// Decide answers the question. A user's session whose row is not read with it shows
// with its touch whether it has ended. A request that does not touch looks, because the
// others may all be like it.
func (q Loading) Decide() Seen {
	if Observe != nil {
		Observe(q)
	}
	switch {
	case q.Use == Peek:
		return NotSeen
	case q.RowRead && q.Use == InUse:
		return TouchByRow
	case q.RowRead:
		return NotSeen
	case q.User && q.Use == Passive:
		return LookWhenDue
	case q.Use == InUse && (q.User || q.Idle):
		return TouchWhenDue
	}
	return NotSeen
}

// Observe, if it is not nil, is told each question, which is a Deletion, a Commit, a
// ByHand, a Response or a Loading. It is for tests, which set it before they ask
// anything.
var Observe func(question any)
