package usersession

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-296ca7ab/usersession/internal/decide"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// A LoginOption is a setting of one login.
type LoginOption func(*loginOptions)

type loginOptions struct {
	meta      map[string]string
	ip        *netip.Addr
	userAgent *string
	lifetime  *time.Duration
	persist   trailer.Persistence
}

// WithMeta notes pairs in UserSession.Meta. Lists show them, and Filter.Meta
// finds them. The login fails if there are more than 32 pairs or 4096 bytes in
// all, if a text is not UTF-8 or holds a NUL, or if a key is empty.
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
// for "remember me". The idle timeout still counts. The login fails if d is
// less than 1 second.
func WithLifetime(d time.Duration) LoginOption {
	return func(o *loginOptions) { o.lifetime = &d }
}

// WithPersistentCookie says whether the cookie of this session outlives the
// browser's window. The default is Cookie.Persist of the scs manager.
func WithPersistentCookie(persistent bool) LoginOption {
	return func(o *loginOptions) {
		o.persist = trailer.PersistNever
		if persistent {
			o.persist = trailer.PersistAlways
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

// Login makes the session of the context one of userID, under a new token
// (ASVS 5.0, 7.2.4). Call it in the login handler once the user has proved who
// they are, before the response begins. Anonymous data of the session are kept.
// The data of another user are cleared. A session that was logged in already
// ends with ReasonReplaced.
//
// The login is in the index at once, and takes effect with the response. A
// handler that panics leaves the browser's session as it was, and so does a
// request that has ended before the response begins.
//
// Login returns ErrNoUserID, ErrBadUserID, ErrTooManySessions, ErrUnknownUser,
// ErrResponseStarted, ErrOtherSession inside InSession, ErrNoSession without
// LoadAndSave, or the error of an option, of a request that has ended, or of a
// database or Store that is down. On error the browser keeps its session,
// possibly under a new token.
func (m *Manager) Login(ctx context.Context, userID string, opts ...LoginOption) error {
	uid, err := checkUserID(m.index, userID)
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
	if err := r.lost(); err != nil { // it would make room, and not be committed
		m.emit(ctx, Event{Kind: EventLoginRefused, UserID: uid, Err: err})
		return err
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	actor := explicitActor(ctx)
	if actor == "" {
		actor = uid
	}

	former, from := r.former()
	key, err := m.newToken(ctx, r)
	if err != nil {
		return wrap("Login", err)
	}
	lifetime := m.opts.Lifetime
	if o.lifetime != nil {
		lifetime = *o.lifetime
	}
	b := &trailer.Binding{
		UserID: uid, ID: token.NewID(), Persist: o.persist,
		AuthenticatedAt: now(), Deadline: now().Add(lifetime),
	}
	if err := m.enter(ctx, r, b, key, lifetime, o, replacedBy(uid, former, from), actor); err != nil {
		// The token is a new one and cannot be turned back. What was this
		// browser's session stays it.
		r.do(func() {
			if r.standing == decide.Unreadable {
				return // it stays where it is, for no commit can move its data
			}
			r.unstaged = false
			if r.staged != nil {
				return // a login or renewal before, which the commit moves
			}
			kept := from
			if kept == nil {
				kept = &trailer.Binding{Deadline: now().Add(m.opts.Lifetime)}
			}
			r.staged = r.move(kept)
			r.staged.binding, r.staged.key = kept, key
		})
		m.emit(ctx, Event{Kind: EventLoginRefused, UserID: uid, Err: err})
		return wrap("Login", err)
	}
	if cur := m.binding(ctx); cur.Authenticated() && cur.UserID != uid {
		for _, k := range m.Keys(ctx) {
			m.SessionManager.Remove(ctx, k)
		}
	}
	m.SessionManager.Put(ctx, reservedKey, b)
	m.SessionManager.SetDeadline(ctx, b.Deadline)
	next := &staged{login: true, binding: b, key: key, from: from, actor: actor}
	r.do(func() {
		if err = nil; r.started {
			err = ErrResponseStarted // by another goroutine of the handler
		} else {
			r.staged, r.unstaged = next, false
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
func replacedBy(userID string, former *staged, from *trailer.Binding) []string {
	var ids []string
	if from.Authenticated() && from.UserID == userID {
		ids = append(ids, from.ID)
	}
	if former != nil && former.login && former.binding.UserID == userID {
		ids = append(ids, former.binding.ID)
	}
	return ids
}

// enter writes the row of a login, and makes room for it. A client that hangs up
// does not stop it.
func (m *Manager) enter(ctx context.Context, r *request, b *trailer.Binding, key string, lifetime time.Duration, o loginOptions, replaces []string, actor string) error {
	row := index.Login{
		ID: b.ID, UserID: b.UserID, Key: key, Grace: min(loginGrace, lifetime),
		Meta: index.MetaJSON(o.meta),
	}
	ip, userAgent := m.client(r)
	row.IP, row.UserAgent = addressText(ip), userAgent
	if m.opts.IdleTimeout > 0 {
		row.Grace = min(row.Grace, m.opts.IdleTimeout)
	}
	if o.ip != nil {
		row.IP = addressText(*o.ip)
	}
	if o.userAgent != nil {
		row.UserAgent = index.Clip(*o.userAgent, 512)
	}
	for {
		if more, err := m.enterPage(ctx, b, row, replaces, actor); !more {
			return err
		}
	}
}

// enterPage writes the row of a login if there is room. Otherwise it ends what is
// in the way, and reports whether that was a page and the next is due. Somebody who
// had any number of sessions, before there was a limit, can log in all the same.
func (m *Manager) enterPage(ctx context.Context, b *trailer.Binding, row index.Login, replaces []string, actor string) (more bool, err error) {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	by := index.Ending{Reason: ReasonEvicted, Actor: actor}
	evicted, entry, err := m.index.Enter(ctx, row, replaces, by)
	if err == nil && entry == index.Full {
		if err = m.makeRoom(ctx, b.UserID); err == nil {
			evicted, entry, err = m.index.Enter(ctx, row, replaces, by)
		}
	}
	if err != nil {
		return false, err
	}
	if entry == index.Full {
		return false, ErrTooManySessions
	}
	if _, err := m.deleteEnded(ctx, evicted, by); err != nil && !errors.Is(err, errElsewhere) {
		if entry == index.Entered {
			m.abort(ctx, &staged{login: true, binding: b, actor: actor})
		}
		return false, err
	}
	return entry == index.Evicting, nil
}

// newToken gives the context's session a new token, without a word to the
// Store, and returns its key.
func (m *Manager) newToken(ctx context.Context, r *request) (string, error) {
	if err := m.SessionManager.RenewToken(context.WithValue(ctx, askerKey{m.id}, decide.NewToken)); err != nil {
		r.do(func() { r.unstaged = false })
		return "", err
	}
	r.do(func() { r.unstaged = true })
	return token.Key(m.SessionManager.Token(ctx)), nil
}
