package usersession

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession/internal/adopt"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/internal/lease"
	"github.com/seed-296ca7ab/usersession/internal/leftover"
	"github.com/seed-296ca7ab/usersession/internal/seal"
	"github.com/seed-296ca7ab/usersession/internal/touch"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
	"github.com/seed-296ca7ab/usersession/internal/watch"
)

// reservedKey is the key of the scs values under which a session's binding
// travels between Decode and Encode. It is never stored as a value.
const reservedKey = "__usersession"

// unreadable is there in the place of the binding of a session whose data the codec
// cannot read.
type unreadable struct{}

// Manager is an scs manager that knows which user each session belongs to. It
// is made by New and safe for concurrent use.
//
// Manager has every method of scs.SessionManager for session data, such as Put,
// Get and Pop. Clear differs: on a logged-in session it ends the session. No
// field of the scs manager may be changed after New, except for ErrorFunc,
// which must not be nil. LoadAndSave answers 500 if another field was changed.
type Manager struct {
	*scs.SessionManager

	opts      Options
	index     *index.Index
	lists     *index.Index // the index, or that of Options.Index.ReadReplica
	data      dataPlace
	adopting  *adopt.Store // its Store; nil without Options.Adopt
	seal      *seal.Box    // nil without Options.Seal
	touches   *touch.Log
	looks     *touch.Log    // the keys of sessions whose row was read instead of touched
	reuses    *touch.Log    // the IDs of sessions of which EventTokenReused told
	leftovers leftover.Keys // whose data could not be deleted yet
	strangers *touch.Log    // the keys of sessions of other programs on the Store
	queue     *touch.Queue[index.Client]

	prove func(r *http.Request, sessionID, secret string) inside.Proof // of package dbsc; nil without

	detachedByHand handLog
	warnedPlain    atomic.Bool // about a Secure cookie over plain http
	proofs         sync.Map    // what RequireFresh and RequireLevel ask for, for Policy
	guardCount     atomic.Int32
	blanked        atomic.Int64 // when every row was looked at last, in microseconds
	unseen         sync.Map     // places of which no session was seen: when that was asked
	watches        *watch.Set   // the sessions whose end somebody waits for
	leases         *lease.Memory

	id      *identity
	scsKey  any               // the context key of the scs manager
	adapter scs.Store         // what New put into the scs manager
	sealed  scs.SessionCookie // the Cookie of the scs manager, as it must stay
}

// Format implements fmt.Formatter. It prints none of what a Manager holds, such as the
// store keys of sessions that wait to be touched.
func (m *Manager) Format(f fmt.State, _ rune) { io.WriteString(f, "usersession.Manager") }

// UserID returns the user who is logged in, or "" if nobody is or the context
// has no session. It costs no I/O.
func (m *Manager) UserID(ctx context.Context) string {
	if b := m.binding(ctx); b != nil {
		return b.UserID
	}
	return ""
}

// remembers reports whether sessions are served from memory at all. Those that are bound
// to devices are proved in each request.
func (m *Manager) remembers() bool {
	return m.opts.ReadLease > 0 && !m.opts.VerifyEveryRequest && m.prove == nil
}

// Token is Token of scs. It returns "" inside Iterate and InSession, where the
// token is not known.
func (m *Manager) Token(ctx context.Context) string {
	token := m.SessionManager.Token(ctx)
	if _, ok := m.id.keyOfHandle(token); ok {
		return ""
	}
	return token
}

// Keys returns the keys of the session data, sorted. It is Keys of scs without
// the key under which this package keeps its own value.
func (m *Manager) Keys(ctx context.Context) []string {
	keys := m.SessionManager.Keys(ctx)
	kept := keys[:0]
	for _, k := range keys {
		if k != reservedKey {
			kept = append(kept, k)
		}
	}
	return kept
}

// data are those of a session, to be compared.
type data struct {
	token    string
	deadline time.Time
	values   map[string]any
}

// changed returns the data of the context's session; nil if nobody has changed them.
func (m *Manager) changed(ctx context.Context) *data {
	if m.SessionManager.Status(ctx) != scs.Modified {
		return nil
	}
	d := &data{token: m.Token(ctx), deadline: m.Deadline(ctx), values: make(map[string]any)}
	for _, k := range m.Keys(ctx) {
		d.values[k] = m.Get(ctx, k)
	}
	return d
}

// unloaded returns the session of a request that is served from memory, as long as its
// data are not loaded; nil if it is not.
func (r *request) unloaded() (b *trailer.Binding) {
	if r != nil {
		r.do(func() { b = r.remembered })
	}
	return b
}

// binding returns whose session the context's is; nil if there is none.
func (m *Manager) binding(ctx context.Context) *trailer.Binding {
	r, _ := ctx.Value(requestKey{m.id}).(*request)
	if b := r.unloaded(); b != nil {
		return b
	}
	if ctx.Value(m.scsKey) == nil {
		return nil
	}
	b, _ := m.SessionManager.Get(ctx, reservedKey).(*trailer.Binding)
	return b
}

// currentID returns the public ID of the context's session; "" if nobody is
// logged in.
func (m *Manager) currentID(ctx context.Context) string {
	if b := m.binding(ctx); b.Authenticated() {
		return b.ID
	}
	return ""
}

// actor returns who acts in ctx. Inside the adapter, where scs must not be asked
// for the user, use explicitActor.
func (m *Manager) actor(ctx context.Context) string {
	if a := explicitActor(ctx); a != "" {
		return a
	}
	return m.binding(ctx).By()
}

// request returns the state of the context's request; nil if it does not come
// from LoadAndSave, Load or InSession of m, or has another session than the
// request: inside Iterate.
func (m *Manager) request(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{m.id}).(*request)
	if r == nil {
		return nil
	}
	var session any
	r.do(func() { session = r.session })
	if session != nil && session != ctx.Value(m.scsKey) { // which may load it, and locks r then
		return nil
	}
	return r
}

// change returns the request of the context, for the caller alone to change its token,
// and leave, with which it says that it has.
func (m *Manager) change(ctx context.Context) (r *request, leave func(), err error) {
	r = m.request(ctx)
	if r == nil || ctx.Value(m.scsKey) == nil {
		return nil, nil, ErrNoSession
	}
	if r.other {
		return nil, nil, ErrOtherSession
	}
	if r.hasStarted() {
		return nil, nil, ErrResponseStarted
	}
	leave, err = r.change()
	return r, leave, err
}

// change waits until nobody else changes the token or ends the session, or returns an
// error if that may be the caller itself. leave must be called then.
func (r *request) change() (leave func(), err error) {
	r.do(func() {
		if r.checking {
			err = ErrInRecheck
		}
	})
	if err != nil {
		return nil, err
	}
	r.changing.Lock()
	return r.changing.Unlock, nil
}

func (r *request) hasStarted() (started bool) {
	r.do(func() { started = r.started })
	return started
}

// hide returns ctx without the session of m.
func (m *Manager) hide(ctx context.Context) context.Context { return hiding{ctx, m.scsKey, m.id} }

// client returns the address and the User-Agent of a request, as far as it has them and
// Options.Privacy keeps them.
func (m *Manager) client(r *request) (ip netip.Addr, userAgent string) {
	if r == nil || r.http == nil {
		return ip, ""
	}
	p := m.opts.Privacy
	return p.address(m.opts.ClientIP(r.http)), p.agent(index.Clip(r.http.UserAgent(), 512))
}

// usedBy returns the client of a request as a row keeps it. It is not known where a
// session was loaded by hand.
func (m *Manager) usedBy(r *request) index.Client {
	if r == nil || r.http == nil {
		return index.Client{}
	}
	ip, userAgent := m.rowClient(m.client(r))
	return index.Client{Known: true, IP: ip, UserAgent: userAgent}
}

// rowClient returns an address and a User-Agent as rows keep them. All that a row
// tells of a client goes through it.
func (m *Manager) rowClient(ip netip.Addr, userAgent string) (ipText, userAgentText string) {
	if ip = ip.Unmap().WithZone(""); ip.IsValid() {
		ipText = ip.String()
	}
	return ipText, index.Clip(userAgent, 512)
}

// now is the program's clock, as fine as what is stored.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
