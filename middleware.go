package usersession

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alexedwards/scs/v2"
)

// LoadAndSave is the middleware: it loads the session of the request's cookie
// into the request's context and commits it before the first byte of the
// response, whichever of Write, WriteHeader, Flush, Hijack and ReadFrom comes
// first. Informational responses (1xx) do not count.
//
// A request without a cookie, or with one that cannot be a token, is anonymous
// and costs no I/O; so does a request that does not change its session not write
// it. If the session cannot be loaded or committed, the client gets 503 (see
// scs's ErrorFunc) and nothing of the handler's body; if it was ended
// meanwhile, Options.OnUnauthenticated answers, 401 by default. A handler that
// panics commits nothing.
func (m *Manager) LoadAndSave(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !m.intact() {
			m.opts.Logger.ErrorContext(r.Context(), "usersession: Store, Codec, IdleTimeout or HashTokenInStore of the scs manager was changed after New")
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			return
		}
		if m.request(r.Context()) != nil {
			next.ServeHTTP(w, r) // wrapped twice
			return
		}
		var before http.Header
		if len(w.Header()) > 0 { // else there is nothing to remember
			before = w.Header().Clone()
		}
		addVary(w.Header())
		token, malformed := m.cookie(r)
		// One allocation for what every request needs.
		both := &struct {
			state  request
			writer responseWriter
		}{}
		state, sw := &both.state, &both.writer
		state.cleared, state.http = malformed, r
		ctx, err := m.load(r.Context(), token, state)
		if err != nil {
			if r.Context().Err() == nil { // else the client has gone
				m.emit(r.Context(), Event{Kind: EventStoreFailed, Err: err})
			}
			m.failed(w, r, err)
			return
		}
		sr := r.WithContext(ctx)
		sw.ResponseWriter, sw.m, sw.r, sw.state, sw.token, sw.before = w, m, sr, state, token, before
		panicked := true
		defer func() {
			if panicked {
				sw.abandon()
			}
			if sr.MultipartForm != nil {
				// net/http does this for its own request, which is not the
				// one the handler parsed.
				sr.MultipartForm.RemoveAll()
			}
		}()
		next.ServeHTTP(sw, sr)
		panicked = false
		sw.commit()
	})
}

// cookie returns the token of the request: of several cookies of that name the
// first that can be one. malformed says that there were only others.
func (m *Manager) cookie(r *http.Request) (token string, malformed bool) {
	for _, c := range r.CookiesNamed(m.Cookie.Name) {
		if validToken(c.Value) {
			return c.Value, false
		}
		malformed = true
	}
	return "", malformed
}

func addVary(h http.Header) {
	for _, v := range h.Values("Vary") {
		if v == "Cookie" {
			return
		}
	}
	h.Add("Vary", "Cookie")
}

// RequireUser refuses requests of which nobody is logged in, with
// Options.OnUnauthenticated or 401. What is behind it is not to be cached,
// unless the handler says otherwise (ASVS 5.0, 14.3.2). It belongs inside
// LoadAndSave.
func (m *Manager) RequireUser(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if m.UserID(r.Context()) == "" {
			m.unauthenticated(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// RequireFresh refuses what RequireUser refuses, and requests whose user has not
// proved who they are within maxAge, by Login or Reauthenticate: put it before
// changing a password or a payment (ASVS 5.0, 7.5.3).
func (m *Manager) RequireFresh(maxAge time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return m.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if b := m.binding(r.Context()); time.Since(b.authenticatedAt) > maxAge {
				m.unauthenticated(w, r)
				return
			}
			next.ServeHTTP(w, r)
		}))
	}
}

func (m *Manager) unauthenticated(w http.ResponseWriter, r *http.Request) {
	if m.opts.OnUnauthenticated != nil {
		m.opts.OnUnauthenticated.ServeHTTP(w, r)
		return
	}
	http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
}

// serveError is the ErrorFunc of a manager that has no other: a side is down,
// and what it says is for the log.
func (m *Manager) serveError(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
}

// responseWriter commits the session before the first byte.
type responseWriter struct {
	http.ResponseWriter
	m      *Manager
	r      *http.Request
	state  *request
	token  string      // of the cookie
	before http.Header // of the response, before this middleware; nil if there were none

	once    sync.Once
	err     error // why the commit failed; the response is not the handler's then
	refused atomic.Bool
	ignored http.Header // what the handler sets after that
}

// errRefused is what a handler gets that writes on after its commit failed.
var errRefused = errors.New("usersession: the response was replaced, because the session could not be committed")

// commit commits once and reports whether the handler's response may go out.
func (w *responseWriter) commit() bool {
	w.once.Do(func() {
		w.state.do(func() { w.state.started = true })
		w.err = errRefused // stands if a Store panics, and somebody recovers
		defer func() {
			if w.err != nil {
				s, _ := w.state.unstage()
				w.m.abort(w.r.Context(), s)
				w.refuse()
			}
		}()
		w.err = w.m.commitResponse(w)
	})
	return w.err == nil
}

// Header returns the headers of the response; of one that was refused, headers
// that nobody gets, trailers included.
func (w *responseWriter) Header() http.Header {
	if w.refused.Load() {
		return w.ignored
	}
	return w.ResponseWriter.Header()
}

// abandon gives up what a handler that panicked has begun.
func (w *responseWriter) abandon() {
	w.once.Do(func() {
		w.err = errRefused
		s, _ := w.state.unstage()
		w.m.abort(w.r.Context(), s)
	})
}

// refuse answers instead of the handler.
func (w *responseWriter) refuse() {
	h := w.ResponseWriter.Header()
	w.ignored = h.Clone()
	w.refused.Store(true)
	clear(h)
	maps.Copy(h, w.before)
	addVary(h)
	h.Set("Cache-Control", "no-store")
	loggedOut := false
	w.state.do(func() { loggedOut = w.state.cleared })
	if loggedOut {
		w.m.writeCookie(w.r.Context(), h, "", time.Time{}, nil)
	}
	if errors.Is(w.err, ErrSessionEnded) {
		w.m.forget(w.r.Context(), w.state) // nobody is logged in any more
		answer(w.ResponseWriter, http.StatusUnauthorized, func(rw http.ResponseWriter) { w.m.unauthenticated(rw, w.r) })
		return
	}
	w.m.emit(w.r.Context(), Event{Kind: EventStoreFailed, Err: w.err})
	w.m.failed(w.ResponseWriter, w.r, w.err)
}

// failed lets the ErrorFunc answer.
func (m *Manager) failed(w http.ResponseWriter, r *http.Request, err error) {
	answer(w, http.StatusServiceUnavailable, func(rw http.ResponseWriter) { m.SessionManager.ErrorFunc(rw, r, err) })
}

// answer sends what write writes, or status if that is nothing: an ErrorFunc
// that only logs must not make a success of a failure.
func answer(w http.ResponseWriter, status int, write func(http.ResponseWriter)) {
	t := &tracker{ResponseWriter: w}
	if write(t); !t.wrote {
		w.WriteHeader(status)
	}
}

// tracker notes whether a response has begun.
type tracker struct {
	http.ResponseWriter
	wrote bool
}

func (t *tracker) WriteHeader(code int) {
	t.wrote = t.wrote || code >= 200
	t.ResponseWriter.WriteHeader(code)
}

func (t *tracker) Write(b []byte) (int, error) {
	t.wrote = true
	return t.ResponseWriter.Write(b)
}

func (t *tracker) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// commitResponse commits the session and sets the cookie, if there is anything
// to commit or to set.
func (m *Manager) commitResponse(w *responseWriter) error {
	ctx, r := w.r.Context(), w.state
	switch m.SessionManager.Status(ctx) {
	case scs.Modified:
		if m.nothingToKeep(ctx, r) {
			break
		}
		token, expiry, err := m.SessionManager.Commit(ctx)
		if errors.Is(err, errCleared) {
			if token, expiry, err = m.commitRest(ctx, r); err == nil && token == "" {
				break
			}
		}
		if err != nil {
			return err
		}
		if b := m.loaded(r); token != w.token || b != nil && b.persist != persistDefault || m.SessionManager.Exists(ctx, rememberKey) {
			m.writeCookie(ctx, w.ResponseWriter.Header(), token, expiry, b)
		}
		return nil
	case scs.Destroyed:
		r.do(func() { r.cleared = true })
	}
	if err := m.giveUpStaged(ctx, r); err != nil {
		return err
	}
	var clear bool
	r.do(func() { clear = r.cleared })
	if clear {
		m.writeCookie(ctx, w.ResponseWriter.Header(), "", time.Time{}, nil)
	}
	return nil
}

// giveUpStaged ends a login that Destroy or Clear of scs has taken back: there is
// nothing to commit.
func (m *Manager) giveUpStaged(ctx context.Context, r *request) error {
	s, from := r.unstage()
	if s == nil {
		return nil
	}
	m.abort(ctx, s)
	if from == nil {
		return nil
	}
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	return m.endOwn(ctx, from, ending{ReasonLogout, s.by.actor})
}

// nothingToKeep reports whether a commit would make a session with nothing in
// it: that of a visitor whose login was refused, say.
func (m *Manager) nothingToKeep(ctx context.Context, r *request) bool {
	// Not the Keys of m: the identity is something.
	if len(m.SessionManager.Keys(ctx)) > 0 {
		return false
	}
	nothing := false
	r.do(func() { nothing = r.loaded == nil && (r.staged == nil || r.staged.from == nil) })
	return nothing
}

// commitRest makes a new anonymous session of what was put after Clear; no
// session and no token if that is nothing.
func (m *Manager) commitRest(ctx context.Context, r *request) (string, time.Time, error) {
	rest := make(map[string]any)
	for _, k := range m.Keys(ctx) {
		rest[k] = m.SessionManager.Get(ctx, k)
	}
	m.forget(ctx, r)
	if len(rest) == 0 {
		return "", time.Time{}, nil
	}
	for k, v := range rest {
		m.SessionManager.Put(ctx, k, v)
	}
	return m.SessionManager.Commit(ctx)
}

func (m *Manager) loaded(r *request) (b *binding) {
	r.do(func() { b = r.loaded })
	return b
}

// writeCookie sets the cookie, or clears it if token is empty. It is scs's, but
// that a single session may say whether its cookie persists.
func (m *Manager) writeCookie(ctx context.Context, h http.Header, token string, expiry time.Time, b *binding) {
	s := m.SessionManager
	c := &http.Cookie{
		Name: s.Cookie.Name, Value: token, Path: s.Cookie.Path, Domain: s.Cookie.Domain,
		Secure: s.Cookie.Secure, HttpOnly: s.Cookie.HttpOnly, SameSite: s.Cookie.SameSite, Partitioned: s.Cookie.Partitioned,
	}
	persist := s.Cookie.Persist || s.GetBool(ctx, rememberKey)
	if b != nil && b.persist != persistDefault {
		persist = b.persist == persistAlways
	}
	switch {
	case token == "":
		c.Expires, c.MaxAge = time.Unix(1, 0), -1
	case persist:
		c.Expires = time.Unix(expiry.Unix()+1, 0) // rounded up, as scs does
		c.MaxAge = int(time.Until(expiry).Seconds() + 1)
	}
	h.Add("Set-Cookie", c.String())
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
}

func (w *responseWriter) WriteHeader(code int) {
	if code >= 100 && code < 200 && code != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(code)
		return
	}
	if w.commit() {
		w.ResponseWriter.WriteHeader(code)
	}
}

func (w *responseWriter) Write(b []byte) (int, error) {
	if !w.commit() {
		return 0, errRefused
	}
	return w.ResponseWriter.Write(b)
}

// ReadFrom lets io.Copy reach the connection's own, which may use sendfile.
func (w *responseWriter) ReadFrom(src io.Reader) (int64, error) {
	if !w.commit() {
		return 0, errRefused
	}
	return io.Copy(w.ResponseWriter, src)
}

// FlushError is what http.ResponseController calls.
func (w *responseWriter) FlushError() error {
	if !w.commit() {
		return errRefused
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher for handlers that assert it.
func (w *responseWriter) Flush() { w.FlushError() }

// Hijack commits first: afterwards there is no response to put a cookie on. What
// was to be set is in Header for the handler that writes its own.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.commit() {
		return nil, nil, errRefused
	}
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// CloseNotify implements the deprecated http.CloseNotifier, which gin takes every
// response for.
func (w *responseWriter) CloseNotify() <-chan bool {
	gone := make(chan bool, 1)
	context.AfterFunc(w.r.Context(), func() { gone <- true })
	return gone
}

// Unwrap lets http.ResponseController reach the connection's deadlines.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
