package usersession

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/header"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// LoadAndSave is the middleware. It loads the session of the request's cookie
// into the request's context. It commits the session before the first byte of
// the response, whichever of Write, WriteHeader, Flush, Hijack and ReadFrom
// comes first. Informational responses (1xx) do not count.
//
// A request without a cookie, or with one that cannot be a token, is anonymous
// and costs no I/O. A request that does not change its session writes nothing. If
// the session cannot be loaded or committed, the client gets 503 (see scs's
// ErrorFunc) and nothing of the handler's body. If the session has ended
// meanwhile, Options.OnUnauthenticated answers, 401 by default. A handler that
// panics, or answers with a status of 500 or more, commits nothing (see
// Options.KeepOnError).
//
// The context of a request with a user's session ends when that session ends,
// whichever replica ends it, and context.Cause then returns ErrSessionEnded. A body of
// more than 64 KiB is not read on. A renewal ends nothing, and a request that ends its own
// session goes on. See [Manager.Watch].
//
// A response has at most one cookie of the session's name. If a handler sets one
// as well, by WriteSessionCookie for instance, the one that LoadAndSave sets takes
// its place.
func (m *Manager) LoadAndSave(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if field := m.changedField(); field != "" {
			m.miswired(w, r, field+" of the scs manager was changed after New")
			return
		}
		if m.request(r.Context()) != nil {
			next.ServeHTTP(w, r) // wrapped twice
			return
		}
		if r.Context().Value(m.scsKey) != nil {
			// Whoever loaded it would commit it, too, and send its cookie after ours.
			m.miswired(w, r, "the session was loaded by the embedded scs manager, outside LoadAndSave")
			return
		}
		x := &exchange{m: m}
		var tokens []string
		tokens, x.came, x.bare = m.cookies(r, x.tokens[:0])
		x.writer.Init(r.Context(), w, x)
		header.VaryByCookie(w.Header())
		x.state.passive = m.opts.NoTouch != nil && m.opts.NoTouch(r)
		x.state.loggedOut, x.state.http, x.state.began = x.came && len(tokens) == 0, r, time.Now()
		ctx, err := m.loadOrRemember(x, r, tokens)
		if err != nil {
			if r.Context().Err() == nil { // else the client has gone
				m.emit(r.Context(), Event{Kind: EventStoreFailed, Err: err})
			}
			m.failed(w, r, err)
			return
		}
		if x.state.isUnreadable() {
			// scs passes over Clear of a session without values.
			m.SessionManager.Put(ctx, reservedKey, unreadable{})
		}
		sr := m.watched(ctx, r, &x.state)
		x.r = sr
		panicked := true
		defer func() {
			x.state.watched.Release()
			if sr.MultipartForm != nil {
				// net/http does this for its own request, which is not the
				// one the handler parsed.
				sr.MultipartForm.RemoveAll()
			}
		}()
		defer func() {
			if panicked && x.dataFailed() {
				recover()
			} else if panicked {
				x.writer.Abandon()
			}
		}()
		next.ServeHTTP(&x.writer, sr)
		panicked = false
		x.over = true
		if x.writer.Commit() {
			x.reportDropped()
		}
	})
}

// reportDropped reports what the handler has changed behind the commit, unless it has
// committed once more by itself.
func (x *exchange) reportDropped() {
	ctx, saves := x.r.Context(), 0
	x.state.do(func() { saves = x.state.saves })
	if !x.began || saves != x.saves {
		return
	}
	if now := x.changed(); now == nil || reflect.DeepEqual(now, x.data) {
		return
	}
	e := Event{Kind: EventDropped, Err: fmt.Errorf("session data were changed after the response had begun, and are not saved (route %q)", x.r.Pattern)}
	if b := x.state.loaded(); b != nil {
		e.SessionID, e.UserID, e.Actor = b.ID, b.UserID, b.Actor
	}
	x.m.emit(ctx, e)
}

// changedField names a field of the scs manager that was changed and must not be;
// "" if there is none.
func (m *Manager) changedField() string {
	s := m.SessionManager
	c, ok := s.Codec.(codec)
	switch {
	case s.Store != m.adapter:
		return "Store"
	case !ok || c.inner == nil:
		return "Codec"
	case s.Lifetime != m.opts.Lifetime:
		return "Lifetime"
	case s.IdleTimeout != 0:
		return "IdleTimeout"
	case s.HashTokenInStore:
		return "HashTokenInStore"
	case s.ErrorFunc == nil:
		return "ErrorFunc"
	case s.Cookie != m.sealed:
		is, was := reflect.ValueOf(s.Cookie), reflect.ValueOf(m.sealed)
		for i := range is.NumField() {
			if !is.Field(i).Equal(was.Field(i)) {
				return "Cookie." + is.Type().Field(i).Name
			}
		}
	}
	return ""
}

// miswired answers a request that cannot be served before the program is
// mended.
func (m *Manager) miswired(w http.ResponseWriter, r *http.Request, why string) {
	m.opts.Logger.ErrorContext(m.hide(r.Context()), "usersession: "+why)
	http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
}

// maxCookies is how many cookies of the session's name are looked up. A browser has
// several after a change of Path or Domain, and sends those first that it had first.
const maxCookies = 8

// cookies returns the tokens of the request: the first of those cookies of that name
// that can be one, or that of Options.Token. came says that there were cookies of that
// name. bare says that the request has to do without any. room is where tokens may be.
func (m *Manager) cookies(r *http.Request, room []string) (tokens []string, came, bare bool) {
	tokens = room
	if m.opts.Token != nil {
		if tok, ok := m.opts.Token(r); ok {
			if token.Valid(tok) {
				tokens = append(tokens, tok)
			}
			return tokens, false, true
		}
	}
	for _, c := range r.CookiesNamed(m.Cookie.Name) {
		came = true
		if token.Valid(c.Value) && len(tokens) < maxCookies && !slices.Contains(tokens, c.Value) {
			tokens = append(tokens, c.Value)
		}
	}
	return tokens, came, false
}

// loadOrRemember loads the session of the request, or takes it from memory.
func (m *Manager) loadOrRemember(x *exchange, r *http.Request, tokens []string) (context.Context, error) {
	if c := m.fromMemory(x, r, tokens); c != nil {
		x.memory = c
		return c, nil
	}
	ctx, err := m.loadFirst(x, r, tokens)
	if err == nil {
		m.remember(ctx, x, tokens)
	}
	return ctx, err
}

// loadFirst loads the session of the first token that has one: a dead cookie must not
// hide a live one, nor one whose data cannot be read or are in another Store. Of the
// latter the first counts if there is no other. The other tokens are ended with the
// session.
func (m *Manager) loadFirst(x *exchange, r *http.Request, tokens []string) (ctx context.Context, err error) {
	if len(tokens) == 0 {
		return m.load(r.Context(), "", &x.state)
	}
	load := func(tok string) error {
		x.token = tok
		x.state.do(func() { x.state.session = nil }) // of the token before
		ctx, err = m.load(r.Context(), tok, &x.state)
		return err
	}
	second := ""
	for _, tok := range tokens {
		if err := load(tok); err != nil {
			return nil, err
		}
		if x.state.loaded() != nil {
			second = ""
			break
		}
		if second == "" && x.state.isUnreadable() {
			second = tok
		}
	}
	if second != "" && second != x.token {
		x.state.do(x.state.forget) // the last one that cannot be read
		if err := load(second); err != nil {
			return nil, err
		}
	}
	m.tellReuse(ctx, &x.state)
	if len(tokens) > 1 {
		for _, tok := range tokens {
			x.state.alsoEnds(token.Key(tok))
		}
	}
	return ctx, nil
}

// RequireUser refuses requests without a logged-in user, with
// Options.OnUnauthenticated or 401. It sets Cache-Control to no-store, unless
// the handler says otherwise (ASVS 5.0, 14.3.2). RequireUser belongs inside
// LoadAndSave.
func (m *Manager) RequireUser(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header.NoStore(w.Header())
		if m.UserID(r.Context()) == "" {
			m.unauthenticated(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// RequireFresh refuses what RequireUser refuses, and requests whose user has not
// proved who they are within maxAge, by Login or Reauthenticate. Put it before
// a change of password or a payment (ASVS 5.0, 7.5.3). Options.OnStaleLogin
// answers the latter. Whoever is not the user, after Impersonate, gets 403. If maxAge
// is 0 or less, nobody has proved that lately enough, and every request is refused.
func (m *Manager) RequireFresh(maxAge time.Duration) func(http.Handler) http.Handler {
	return m.require(StepUp{MaxAge: maxAge}, func(b *trailer.Binding) bool { return time.Since(b.AuthenticatedAt) <= maxAge })
}

// RequireLevel refuses what RequireUser refuses, and requests whose session has not
// reached the level, by WithLevel at Login or Reauthenticate, or has reached it longer
// ago than maxAge. If maxAge is 0, it may be of any age. Options.OnStaleLogin answers
// the latter, and StepUpOf tells it what is needed. Whoever is not the user, after
// Impersonate, gets 403. It costs no I/O. It panics if the level is none of AAL1, AAL2
// and AAL3, or maxAge is negative.
func (m *Manager) RequireLevel(level Level, maxAge time.Duration) func(http.Handler) http.Handler {
	if !level.known() || maxAge < 0 {
		panic(fmt.Sprintf("usersession: RequireLevel: want one of AAL1, AAL2, AAL3 and an age that is not negative, got %v and %v", level, maxAge))
	}
	return m.require(StepUp{Level: level, MaxAge: maxAge}, func(b *trailer.Binding) bool {
		return Level(b.Level) >= level && (maxAge == 0 || time.Since(b.LevelAt) <= maxAge)
	})
}

// require refuses requests whose session lacks a proof.
func (m *Manager) require(need StepUp, proved func(*trailer.Binding) bool) func(http.Handler) http.Handler {
	m.guards(need)
	return func(next http.Handler) http.Handler {
		return m.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch b := m.binding(r.Context()); {
			case b.Impersonated():
				m.refuseImpersonated(w, r, b)
			case !proved(b):
				m.refuseStale(w, r, b, need)
			default:
				next.ServeHTTP(w, r)
			}
		}))
	}
}
