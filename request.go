package usersession

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"sync"
)

// request is what a Manager knows of one request besides scs's session data.
// It may be used from the goroutines of a handler at once. The adapter may call
// it while scs holds its session lock; it never calls scs.
type request struct {
	changing sync.Mutex // held by one Login, Logout or renewal at a time; before mu

	mu       sync.Mutex
	session  any      // scs's session data, once they are loaded
	loaded   *binding // the session the data belongs to; nil: none yet
	staged   *staged  // what the commit is to finish
	renewing renewing // a Login or renewal is between its new token and staging it
	keep     bool     // scs is deleting a key that is gone already
	detached *binding // the loaded session whose key was deleted through scs
	dead     string   // the key of the session that Clear ended; its token is no new one's
	gone     bool     // the loaded session was found to have ended, by somebody else
	started  bool     // the response has begun
	cleared  bool     // Logout: the cookie is to go, whatever the commit does
	other    bool     // somebody else's session: WithSession

	http *http.Request // of which Login takes the client's address; nil: there is none
}

// renewing says how far the change of a token has come.
type renewing int

const (
	notRenewing renewing = iota
	deletingOld          // scs is about to delete the old key, which must stay until the commit
	renewed              // scs has a new token, of which nobody knows yet
)

// staged is a login or a renewal between its call and the commit.
type staged struct {
	login         bool     // else a renewal
	authenticated bool     // Reauthenticate: the authentication time is reset
	detached      bool     // from was deleted through scs, in this request
	binding       *binding // of the new key
	key           string   // the new key, as the index has it
	from          *binding // the session of this browser until now; nil: none
	by            ending   // who replaces it
	meta          string   // of Reauthenticate; "": as it is
}

type requestKey struct{ m *Manager }

// request returns the state of the context's request; nil if it does not come
// from LoadAndSave, Load or WithSession of m, or has another session than the
// request: inside Iterate.
func (m *Manager) request(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{m}).(*request)
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.session != nil && r.session != ctx.Value(m.scsKey) {
		return nil
	}
	return r
}

// do runs fn with the request locked.
func (r *request) do(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn()
}

// A handle stands for a key where scs wants a token: in Iterate and
// WithSession. It holds a secret of this process, so that no client can send
// one, and Find honours it only where the context says so.
const handlePrefix = "~"

func newHandleSecret() string { return handlePrefix + rand.Text() + handlePrefix }

type handleKey struct{ m *Manager }

func (m *Manager) handle(key string) string { return m.handleSecret + key }

func (m *Manager) keyOfHandle(token string) (string, bool) {
	return strings.CutPrefix(token, m.handleSecret)
}

// hiding is a context that hides the session of m, so that another one can be
// loaded into it.
type hiding struct {
	context.Context
	scsKey any
	m      *Manager
}

// hide returns ctx without the session of m.
func (m *Manager) hide(ctx context.Context) context.Context { return hiding{ctx, m.scsKey, m} }

func (h hiding) Value(key any) any {
	if key == h.scsKey || key == (requestKey{h.m}) {
		return nil
	}
	return h.Context.Value(key)
}

// keyProbe finds the context key of an scs manager.
type keyProbe struct {
	context.Context
	key *any
}

func (p keyProbe) Value(key any) any {
	if *p.key == nil {
		*p.key = key
	}
	return nil
}
