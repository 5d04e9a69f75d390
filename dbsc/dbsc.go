package dbsc

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/internal/response"
)

// Path is where a Handler belongs. Browsers register and refresh below it.
const Path = "/.well-known/dbsc/"

const (
	registerPath = Path + "register"
	refreshPath  = Path + "refresh"
)

// DefaultCookieLifetime is that of Options.CookieLifetime.
const DefaultCookieLifetime = 10 * time.Minute

// minCookieLifetime is not shorter, because browsers refresh a cookie some minutes
// before its end, and sign a few times in that time at most.
const minCookieLifetime = 5 * time.Minute

// Options configure a Handler. The zero value of every field is its default.
type Options struct {
	// CookieLifetime is how long a copied cookie is good for. It must be at least 5
	// minutes. Default: 10 minutes.
	CookieLifetime time.Duration

	// Offer says of a request of a logged-in user whether the session may be bound. It
	// is asked after a login or a renewal, and when a page is opened, until the session
	// is bound. It must be safe for concurrent use. Sessions that are bound stay bound.
	// If nil, every session may be.
	Offer func(*http.Request) bool

	// OnUnbound answers what RequireBound refuses of a logged-in user. The default is
	// 403 as plain text.
	OnUnbound http.Handler
}

// Handler registers browsers and refreshes their cookies. It is made by New, and safe
// for concurrent use.
type Handler struct {
	sessions *usersession.Manager
	devices  inside.Devices
	opts     Options
	cookie   http.Cookie // the short one, without its value
}

// New returns the Handler of a Manager, which asks each request of a bound session from
// then on to prove that it comes from the device. Call it before the Manager serves
// requests. If opts is nil, every option has its default. It reports every error at
// once: of opts, of a session cookie that browsers would not bind, and of a Store that
// the Manager does not verify.
func New(sessions *usersession.Manager, opts *Options) (*Handler, error) {
	if sessions == nil {
		return nil, errors.New("dbsc: New: sessions is nil")
	}
	h := &Handler{sessions: sessions, devices: inside.DevicesOf(sessions)}
	if opts != nil {
		h.opts = *opts
	}
	if h.opts.CookieLifetime == 0 {
		h.opts.CookieLifetime = DefaultCookieLifetime
	}
	c := sessions.Cookie
	h.cookie = http.Cookie{Name: c.Name + "-bound", Path: c.Path, Secure: c.Secure, HttpOnly: true, SameSite: c.SameSite}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("dbsc: "+format, args...)) }
	if h.opts.CookieLifetime < minCookieLifetime {
		bad("Options.CookieLifetime: must be at least %v, is %v", minCookieLifetime, h.opts.CookieLifetime)
	}
	if c.Domain != "" {
		bad("New: the session cookie has the Domain %q: a session can be bound on one host only", c.Domain)
	}
	if c.Path != "/" {
		bad("New: the session cookie has the Path %q, and must have /: browsers refresh below %s", c.Path, Path)
	}
	if c.Partitioned {
		bad("New: the session cookie is partitioned, which browsers do not bind")
	}
	if !h.devices.Verified {
		bad("New: the Manager does not read the row of a session on every request, which says whether it is bound: set Options.VerifyEveryRequest")
	}
	if h.devices.Bound {
		bad("New: the Manager has a Handler already")
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	h.devices.Bind(h.prove)
	return h, nil
}

// Protect offers the browser to bind the session, after a login or a renewal and when a
// page is opened, until it is bound. It belongs inside LoadAndSave, around every page. A
// browser that does not answer is in nobody's way. A link from another site, upon which
// browsers do not refresh, is answered by a page that opens itself again. What is not inside Protect is
// protected all the same, once the session is bound. Protect costs a session that is not
// bound one statement, once.
func (h *Handler) Protect(next http.Handler) http.Handler {
	if !h.cookie.Secure {
		return next // browsers do not bind over plain http
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, ok := h.devices.Session(r.Context())
		if ok && s.Withheld && linked(r) {
			comeBack(w)
			return
		}
		if ok && !s.Withheld && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			h.offer(w.Header(), r, s) // a login over it is offered with the next page
			next.ServeHTTP(w, r)
			return
		}
		o := &offering{h: h, r: r}
		o.writer.Init(r.Context(), w, o)
		next.ServeHTTP(&o.writer, r)
		o.writer.Commit()
	})
}

// RequireBound refuses what RequireUser of the Manager refuses, and requests whose
// session is not bound to a device or that do not come from there, with
// Options.OnUnbound or 403. It belongs inside LoadAndSave.
func (h *Handler) RequireBound(next http.Handler) http.Handler {
	return h.sessions.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch s, ok := h.devices.Session(r.Context()); {
		case ok && s.Proved:
			next.ServeHTTP(w, r)
		case h.opts.OnUnbound != nil:
			h.opts.OnUnbound.ServeHTTP(w, r)
		default:
			http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
		}
	}))
}

// offering is a response that may ask the browser for a key.
type offering struct {
	h      *Handler
	r      *http.Request
	writer response.Writer
}

// Commit implements response.Committer. It never fails: whoever cannot be asked for a
// key is served.
func (o *offering) Commit(header http.Header, status int) error {
	if s, ok := o.h.devices.Session(o.r.Context()); ok && status < http.StatusInternalServerError {
		o.h.offer(header, o.r, s)
	}
	return nil
}

// offer offers to bind a session, if it may be bound and is not.
func (h *Handler) offer(header http.Header, r *http.Request, s inside.Session) {
	switch {
	case s.Withheld || s.Device.State != index.Unbound:
		return
	case !s.Fresh && (r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Mode") != "navigate"):
		return
	case h.opts.Offer != nil && !h.opts.Offer(r):
		return
	}
	if secret := h.secretOf(r.Context(), s); secret != "" {
		header.Set("Secure-Session-Registration", `(ES256 RS256);path="`+registerPath+`";challenge="`+registration(secret, s.ID)+`"`)
	}
}

// Refuse implements response.Committer. Commit never fails.
func (o *offering) Refuse(http.ResponseWriter, error) {}

// Abandon implements response.Committer.
func (o *offering) Abandon(http.Header) {}
