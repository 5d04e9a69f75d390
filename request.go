package usersession

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/decide"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
	"github.com/seed-296ca7ab/usersession/internal/watch"
)

// request is what a Manager knows of one request besides scs's session data.
// It may be used from the goroutines of a handler at once. The adapter may call
// it while scs holds its session lock; it never calls scs.
type request struct {
	changing sync.Mutex // held by one Login, Logout or renewal at a time; before mu

	passive bool          // it does not count as use: Options.NoTouch
	other   bool          // somebody else's session: InSession
	http    *http.Request // of which Login takes the client's address; nil: there is none
	began   time.Time     // with a monotonic clock
	watched watch.Context // of the handler; zero: the request came without a user's session

	mu         sync.Mutex
	fences     map[string]string   // the last fence that this request has raised, by user
	checking   bool                // a check of WithRecheck is under way
	session    any                 // scs's session data, once they are loaded
	remembered *trailer.Binding    // of a session that is served from memory, until its data are loaded
	memory     interface{ skip() } // its context, also later
	standing   decide.Session      // what has become of own
	others     []string            // keys of further sessions that Logout ends
	renewing   []*trailer.Binding  // sessions that other requests may be renewing, from a key that came
	own        *trailer.Binding    // the session that the data belong to; nil: none yet
	refused    []string            // keys of the tokens that came, if none of them has a session
	device     index.Device        // how the session of the cookie is bound, if package dbsc asks
	proved     bool                // the request comes from the device
	withheld   *trailer.Binding    // the session of the cookie, if the request is not served it
	reused     *index.Row          // the session of a token that came, from before a renewal
	staged     *staged             // what the commit is to finish; nil: nothing
	unstaged   bool                // a Login or renewal is between its new token and staging it
	started    bool                // the response has begun
	saves      int                 // how often scs has asked to save the data
	loggedOut  bool                // the cookie is to go, whatever the commit does
}

// staged is a login or a renewal between its call and the commit.
type staged struct {
	login         bool             // else a renewal
	authenticated bool             // Reauthenticate: the authentication time is reset
	detached      bool             // from was deleted through scs, in this request
	binding       *trailer.Binding // of the new key
	key           string           // the new key, as the index has it
	from          *trailer.Binding // the session of this browser until now; nil: none
	actor         string           // who logs in
	checked       index.Checked    // when the credentials of a login were checked
	meta          string           // of Reauthenticate; "": as it is
}

// present returns the session whose data are in the Store; nil if there is none. The
// caller has locked r.
func (r *request) present() *trailer.Binding {
	if r.standing == decide.Present {
		return r.own
	}
	return nil
}

// loaded is present for callers that have not locked r.
func (r *request) loaded() (b *trailer.Binding) {
	r.do(func() { b = r.present() })
	return b
}

// origin returns the session that this browser came with, also if its key was deleted
// through scs or somebody else has ended it; nil if there is none. The caller has
// locked r.
func (r *request) origin() *trailer.Binding {
	if r.standing == decide.Cleared {
		return nil
	}
	return r.own
}

// isUnreadable reports whether the codec cannot read the data of the session, of which
// only the trailer is known then. The caller has not locked r.
func (r *request) isUnreadable() (yes bool) {
	r.do(func() { yes = r.standing == decide.Unreadable })
	return yes
}

// has makes b the session of the request.
func (r *request) has(b *trailer.Binding) { r.standing, r.own = decide.Present, b }

// detach notes that the session's key was deleted through scs. It was there before, or
// somebody else has ended the session.
func (r *request) detach(there bool) {
	if r.standing = decide.Detached; !there {
		r.standing = decide.Lost
	}
}

// lost returns an error if the client has gone, or has been told that it took too
// long. Without LoadAndSave that is said by ctx, of the call.
func (r *request) lost(ctx context.Context) error {
	if r.http != nil {
		ctx = r.http.Context()
	}
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errLost, context.Cause(ctx))
}

// forget makes the request one without a session.
func (r *request) forget() {
	r.standing, r.own, r.staged, r.unstaged = decide.NoSession, nil, nil, false
}

// key says which key it is.
func (r *request) key(key string) decide.Key {
	switch {
	case r.staged != nil && key == r.staged.key:
		return decide.NewKey
	case r.own != nil && key == r.own.Key:
		return decide.OwnKey
	}
	return decide.OtherKey
}

func (r *request) stage() decide.Staged {
	switch {
	case r.staged == nil:
		return decide.NothingStaged
	case r.staged.login:
		return decide.LoginStaged
	}
	return decide.RenewalStaged
}

// onDelete says what to do with a key that scs deletes. The caller has locked r.
func (r *request) onDelete(key string, asker decide.Asker) decide.Delete {
	return decide.Deletion{
		Asker: asker, Session: r.standing, User: r.own.Authenticated(),
		Staged: r.stage(), Unstaged: r.unstaged, Key: r.key(key),
	}.Decide()
}

// onCommit says what to do with data that scs commits under a key and that say they
// are those of b. The caller has locked r.
func (r *request) onCommit(key string, b *trailer.Binding) decide.Save {
	q := decide.Commit{Session: r.standing, User: r.own.Authenticated(), Staged: r.stage(), Key: r.key(key)}
	if s := r.staged; s != nil {
		q.StagedUser = s.binding.Authenticated() || s.from.Authenticated()
	}
	switch {
	case !b.Authenticated():
		q.Identity = decide.Nobodys
	case q.User && b.ID == r.own.ID:
		q.Identity = decide.Own
	default:
		q.Identity = decide.Anothers
	}
	return q.Decide()
}

// do runs fn with the request locked.
func (r *request) do(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn()
}

// former returns what was staged in this request, and the session it began with.
func (r *request) former() (former *staged, from *trailer.Binding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.staged != nil {
		return r.staged, r.staged.from
	}
	return nil, r.origin()
}

// move returns the renewal of the session of b, for as far as the request knows it.
// The caller has locked r.
func (r *request) move(b *trailer.Binding) *staged {
	s := &staged{from: r.present()}
	if r.standing == decide.Unreadable {
		s.from = r.own
	}
	if s.from == nil && b.Authenticated() { // RenewToken of scs came first
		s.from, s.detached = r.origin(), true
	}
	return s
}

// unstage takes back what was staged; nil if that is nothing. The caller has locked
// r.
func (r *request) unstage() *staged {
	s := r.staged
	r.staged = nil
	return s
}

// identity tells the contexts and handles of one Manager from another's. A key of a
// context that holds a pointer costs no allocation to look up.
type identity struct{ secret string }

func newIdentity() *identity { return &identity{"~" + rand.Text() + "~"} }

// The keys of the contexts of a Manager.
type (
	requestKey struct{ of *identity } // of a *request
	handleKey  struct{ of *identity } // of the handle that Find honours
	askerKey   struct{ of *identity } // of the decide.Asker that has scs delete a key
)

// handle returns what stands for a key where scs wants a token: in Iterate and
// InSession. It holds a secret of this process, so that no client can send one,
// and Find honours it only where the context says so.
func (id *identity) handle(key string) string { return id.secret + key }

// allows reports whether a context is one for this handle.
func (id *identity) allows(ctx context.Context, handle string) bool {
	h, _ := ctx.Value(handleKey{id}).(*string)
	return h != nil && *h == handle
}

func (id *identity) keyOfHandle(token string) (key string, ok bool) {
	return strings.CutPrefix(token, id.secret)
}

// hiding is a context that hides the session of m, so that another one can be
// loaded into it.
type hiding struct {
	context.Context
	scsKey any
	of     *identity
}

func (h hiding) Value(key any) any {
	if key == h.scsKey || key == (requestKey{h.of}) {
		return nil
	}
	return h.Context.Value(key)
}

// loginGrace is how long a login lives that is never committed.
const loginGrace = 5 * time.Minute

// handLog remembers which sessions, loaded and changed by hand without a
// request of ours, were detached by whom: scs's own session data tell one
// caller from another. What is not committed within the grace of a login is
// forgotten, and the janitor ends it.
type handLog struct {
	mu sync.Mutex
	at map[handDetach]time.Time
}

// handDetach is one caller and the key it deleted.
type handDetach struct {
	session any
	key     string
}

func (l *handLog) note(d handDetach) {
	if d.session == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at == nil {
		l.at = make(map[handDetach]time.Time)
	}
	for s, at := range l.at {
		if time.Since(at) > loginGrace {
			delete(l.at, s)
		}
	}
	l.at[d] = time.Now()
}

func (l *handLog) take(d handDetach) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.at[d]
	delete(l.at, d)
	return ok
}
