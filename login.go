package usersession

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// A LoginOption says more about one login.
type LoginOption func(*loginOptions)

type loginOptions struct {
	meta      map[string]string
	ip        *netip.Addr
	userAgent *string
	lifetime  *time.Duration
	persist   persistence
}

// WithMeta notes pairs in UserSession.Meta, which lists show and Filter.Meta
// finds: at most 32 pairs and 4096 bytes, UTF-8 without NUL.
func WithMeta(pairs map[string]string) LoginOption {
	return func(o *loginOptions) {
		if o.meta == nil {
			o.meta = make(map[string]string)
		}
		maps.Copy(o.meta, pairs)
	}
}

// MetaMethod is the key under which WithMethod notes how the user logged in.
const MetaMethod = "auth_method"

// WithMethod notes how the user proved who they are, "password" or "passkey"
// say, in UserSession.Meta under MetaMethod.
func WithMethod(method string) LoginOption {
	return WithMeta(map[string]string{MetaMethod: method})
}

// WithIP notes another address of the client than that of Options.ClientIP.
// Reauthenticate ignores it.
func WithIP(ip netip.Addr) LoginOption {
	return func(o *loginOptions) { o.ip = &ip }
}

// WithUserAgent notes another User-Agent than that of the request, cut to 512
// bytes. Reauthenticate ignores it.
func WithUserAgent(userAgent string) LoginOption {
	return func(o *loginOptions) { o.userAgent = &userAgent }
}

// WithLifetime gives this one session another lifetime than Options.Lifetime,
// for "remember me". The idle timeout still counts. At least 1 second; less is an
// error of the login.
func WithLifetime(d time.Duration) LoginOption {
	return func(o *loginOptions) { o.lifetime = &d }
}

// WithPersistentCookie says whether the cookie of this session outlives the
// browser's window. The default is that of the scs Cookie.Persist.
func WithPersistentCookie(persistent bool) LoginOption {
	return func(o *loginOptions) {
		o.persist = persistNever
		if persistent {
			o.persist = persistAlways
		}
	}
}

func newLoginOptions(opts []LoginOption) (loginOptions, error) {
	var o loginOptions
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.lifetime != nil && *o.lifetime < time.Second {
		return o, fmt.Errorf("usersession: WithLifetime: must be at least 1s, is %v", *o.lifetime)
	}
	return o, checkMeta(o.meta)
}

func checkMeta(meta map[string]string) error {
	size := 0
	for k, v := range meta {
		size += len(k) + len(v)
		for _, text := range []string{k, v} {
			if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
				return errors.New("usersession: WithMeta: not UTF-8 text without NUL")
			}
		}
		if k == "" {
			return errors.New("usersession: WithMeta: empty key")
		}
	}
	if len(meta) > 32 || size > 4096 {
		return fmt.Errorf("usersession: WithMeta: %d pairs of %d bytes, at most 32 of 4096", len(meta), size)
	}
	return nil
}

func metaJSON(meta map[string]string) string {
	if len(meta) == 0 {
		return "{}"
	}
	b, _ := json.Marshal(meta) // a map of strings always marshals
	return string(b)
}

// loginGrace is how long a login lives that is never committed.
const loginGrace = 5 * time.Minute

// Login makes the session of the context one of userID, under a new token
// (ASVS 5.0, 7.2.4). Call it in the login handler once the user has proved who
// they are, before the response begins. Anonymous data of the session are kept;
// those of another user are cleared. A session that was logged in already ends
// ("replaced").
//
// The login is in the index from here on, and takes effect with the response: a
// handler that panics leaves the browser's session as it was. It returns
// ErrNoUserID or ErrBadUserID, ErrTooManySessions, ErrUnknownUser,
// ErrResponseStarted, ErrNoSession without LoadAndSave, or the error of a side
// that is down; the browser's session is then what it was, if under a new token.
func (m *Manager) Login(ctx context.Context, userID string, opts ...LoginOption) error {
	uid, err := m.index.d.userID(userID)
	if err != nil {
		return err
	}
	o, err := newLoginOptions(opts)
	if err != nil {
		return err
	}
	r, err := m.changing(ctx)
	if err != nil {
		return err
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	actor := explicitActor(ctx)
	if actor == "" {
		actor = uid
	}

	former, from := r.former()
	key, err := m.newToken(ctx, r)
	if err != nil {
		return m.wrap("Login", err)
	}
	lifetime := m.opts.Lifetime
	if o.lifetime != nil {
		lifetime = *o.lifetime
	}
	b := &binding{
		userID: uid, id: newID(), persist: o.persist,
		authenticatedAt: now(), deadline: now().Add(lifetime),
	}
	if err := m.enter(wctx, r, b, key, lifetime, o, replacedBy(uid, former, from), actor); err != nil {
		// The token is a new one and cannot be turned back. What was this
		// browser's session stays it.
		r.do(func() {
			r.renewing = notRenewing
			if r.staged != nil {
				return // a login or renewal before, which the commit moves
			}
			kept := from
			if kept == nil {
				kept = &binding{deadline: now().Add(m.opts.Lifetime)}
			}
			r.staged = &staged{binding: kept, key: key, from: from}
		})
		m.emit(ctx, Event{Kind: EventLoginRefused, UserID: uid, Err: err})
		return m.wrap("Login", err)
	}
	if cur := m.binding(ctx); cur.authenticated() && cur.userID != uid {
		for _, k := range m.Keys(ctx) {
			m.SessionManager.Remove(ctx, k)
		}
	}
	m.SessionManager.Put(ctx, reservedKey, b)
	m.SessionManager.SetDeadline(ctx, b.deadline)
	next := &staged{login: true, binding: b, key: key, from: from, by: ending{ReasonReplaced, actor}}
	r.do(func() {
		if err = nil; r.started {
			err = ErrResponseStarted // by another goroutine of the handler
		} else {
			r.staged, r.renewing = next, notRenewing
		}
	})
	if err != nil {
		m.SessionManager.Remove(ctx, reservedKey)
		m.abort(ctx, next)
		return err
	}
	m.abort(ctx, former)
	return nil
}

// addressText returns an address as the index keeps it; "" if it is not known.
func addressText(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.Unmap().WithZone("").String()
}

// replacedBy returns the IDs of the user's sessions that a login takes the place
// of, and that do not count against MaxSessions.
func replacedBy(userID string, former *staged, from *binding) []string {
	var ids []string
	if from.authenticated() && from.userID == userID {
		ids = append(ids, from.id)
	}
	if former != nil && former.login && former.binding.userID == userID {
		ids = append(ids, former.binding.id)
	}
	return ids
}

// enter writes the row of a login, and makes room for it.
func (m *Manager) enter(ctx context.Context, r *request, b *binding, key string, lifetime time.Duration, o loginOptions, replaces []string, actor string) error {
	row := loginRow{
		id: b.id, userID: b.userID, key: key, grace: min(loginGrace, lifetime),
		meta: metaJSON(o.meta),
	}
	if r.http != nil {
		row.ip, row.userAgent = addressText(m.opts.ClientIP(r.http)), clip(r.http.UserAgent(), 512)
	}
	if m.opts.IdleTimeout > 0 {
		row.grace = min(row.grace, m.opts.IdleTimeout)
	}
	if o.ip != nil {
		row.ip = addressText(*o.ip)
	}
	if o.userAgent != nil {
		row.userAgent = clip(*o.userAgent, 512)
	}
	if m.opts.MaxSessions == 0 {
		return m.index.insert(ctx, nil, row)
	}
	by := ending{ReasonEvicted, actor}
	evicted, err := m.index.insertCapped(ctx, row, m.opts.MaxSessions, m.opts.OnLimit, replaces, by)
	if err != nil {
		return err
	}
	if _, err := m.deleteEnded(ctx, evicted, by); err != nil {
		m.abort(ctx, &staged{login: true, binding: b, by: by})
		return err
	}
	return nil
}

// changing returns the request of the context if its token can be changed.
func (m *Manager) changing(ctx context.Context) (*request, error) {
	r := m.request(ctx)
	if r == nil || ctx.Value(m.scsKey) == nil {
		return nil, ErrNoSession
	}
	if r.other {
		return nil, ErrOtherSession
	}
	var err error
	r.do(func() {
		if r.started {
			err = ErrResponseStarted
		}
	})
	return r, err
}

// former returns what was staged in this request, and the session it began with.
func (r *request) former() (former *staged, from *binding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.staged != nil:
		return r.staged, r.staged.from
	case r.loaded == nil:
		return nil, r.detached // RenewToken of scs came first
	}
	return nil, r.loaded
}

// unstage is former, and takes back what was staged.
func (r *request) unstage() (former *staged, from *binding) {
	former, from = r.former()
	r.do(func() { r.staged = nil })
	return former, from
}

// newToken gives the context's session a new token, without a word to the
// Store, and returns its key.
func (m *Manager) newToken(ctx context.Context, r *request) (string, error) {
	r.do(func() { r.renewing = deletingOld })
	if err := m.SessionManager.RenewToken(ctx); err != nil {
		r.do(func() { r.renewing = notRenewing })
		return "", err
	}
	r.do(func() { r.renewing = renewed })
	return keyOf(m.SessionManager.Token(ctx)), nil
}

// Reauthenticate notes that the user of the session has proved again who they
// are (ASVS 5.0, 7.5.3): the token is renewed, the authentication time is now,
// and the lifetime starts again. Call it before the response begins; it takes
// effect with the response. Of the options, metadata are added to those of the
// login, and a lifetime or cookie replaces the session's own. It returns
// ErrNoSession if nobody is logged in, ErrResponseStarted, or ErrSessionEnded.
func (m *Manager) Reauthenticate(ctx context.Context, opts ...LoginOption) error {
	o, err := newLoginOptions(opts)
	if err != nil {
		return err
	}
	r, err := m.changing(ctx)
	if err != nil {
		return err
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	b := m.binding(ctx)
	if !b.authenticated() {
		return ErrNoSession
	}
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	row, err := m.index.liveByID(wctx, b.userID, b.id)
	if errors.Is(err, ErrSessionNotFound) {
		return ErrSessionEnded
	}
	if err != nil {
		return m.wrap("Reauthenticate", err)
	}
	meta := ""
	if len(o.meta) > 0 {
		all := row.session(0, "").Meta
		maps.Copy(all, o.meta)
		if err := checkMeta(all); err != nil {
			return err
		}
		meta = metaJSON(all)
	}
	nb := *b
	lifetime := b.deadline.Sub(b.authenticatedAt)
	if o.lifetime != nil {
		lifetime = *o.lifetime
	}
	nb.authenticatedAt = now()
	nb.deadline = nb.authenticatedAt.Add(lifetime)
	if o.persist != persistDefault {
		nb.persist = o.persist
	}
	if s, _ := r.former(); s != nil && s.login && meta != "" {
		// The row is that of the login, which will not be renewed but committed.
		if err := m.index.setMeta(wctx, b, meta); err != nil {
			return m.wrap("Reauthenticate", err)
		}
	}
	return m.stageRenewal(ctx, r, &nb, true, meta)
}

// RenewToken is RenewToken of scs: call it when what the session may do changes
// (ASVS 5.0, 7.2.4). The session keeps its ID and its lifetime; the old token is
// dead once the response has begun, also for a request that is in flight on it.
// It returns ErrResponseStarted if the response has begun.
func (m *Manager) RenewToken(ctx context.Context) error {
	if m.request(ctx) == nil {
		return m.SessionManager.RenewToken(ctx)
	}
	r, err := m.changing(ctx)
	if err != nil {
		return err
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	b := m.binding(ctx)
	if b == nil {
		b = &binding{deadline: now().Add(m.opts.Lifetime)}
	}
	return m.stageRenewal(ctx, r, b, false, "")
}

// stageRenewal gives the session a new token that the commit will make good.
func (m *Manager) stageRenewal(ctx context.Context, r *request, b *binding, authenticated bool, meta string) error {
	key, err := m.newToken(ctx, r)
	if err != nil {
		return m.wrap("RenewToken", err)
	}
	if b.authenticated() {
		if m.currentID(ctx) != b.id {
			// Destroy from another goroutine of the handler, just before the
			// new token.
			wctx, cancel := m.finishing(ctx)
			defer cancel()
			err := m.endOwn(wctx, m.loaded(r), ending{ReasonLogout, b.userID})
			m.forget(ctx, r)
			return errors.Join(ErrSessionEnded, err)
		}
		m.SessionManager.Put(ctx, reservedKey, b)
	}
	m.SessionManager.SetDeadline(ctx, b.deadline)
	r.do(func() {
		r.renewing = notRenewing
		if r.started {
			err = ErrResponseStarted // by another goroutine of the handler
			return
		}
		if r.staged == nil {
			r.staged = &staged{from: r.loaded}
			if r.loaded == nil && b.authenticated() { // RenewToken of scs came first
				r.staged.from, r.staged.detached = r.detached, true
			}
		}
		r.staged.binding = b
		if !r.staged.login { // a login that is not committed yet is moved to the new key then
			r.staged.key = key
			r.staged.authenticated = r.staged.authenticated || authenticated
			if meta != "" {
				r.staged.meta = meta
			}
		}
	})
	return err
}
