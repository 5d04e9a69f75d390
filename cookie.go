package usersession

import (
	"context"
	"net/http"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/header"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// rememberKey is the key under which scs keeps RememberMe.
const rememberKey = "__rememberMe"

// writeCookie sets the cookie, or clears it if token is empty. It is scs's, but
// that a single session may say whether its cookie persists. The defaults of its
// attributes are in defaults.go.
func (m *Manager) writeCookie(ctx context.Context, h http.Header, token string, expiry time.Time, b *trailer.Binding) {
	s := m.SessionManager
	c := &http.Cookie{
		Name: s.Cookie.Name, Value: token, Path: s.Cookie.Path, Domain: s.Cookie.Domain,
		Secure: s.Cookie.Secure, HttpOnly: s.Cookie.HttpOnly, SameSite: s.Cookie.SameSite, Partitioned: s.Cookie.Partitioned,
	}
	persist := s.Cookie.Persist || s.GetBool(ctx, rememberKey)
	if b != nil && b.Persist != trailer.PersistDefault {
		persist = b.Persist == trailer.PersistAlways
	}
	switch {
	case token == "":
		c.Expires, c.MaxAge = time.Unix(1, 0), -1
	case persist:
		c.Expires = time.Unix(expiry.Unix()+1, 0) // rounded up, as scs does
		c.MaxAge = int(time.Until(expiry).Seconds() + 1)
	}
	h.Add("Set-Cookie", c.String())
	if token != "" && c.Secure {
		m.warnPlain(ctx)
	}
}

// warnPlain logs, once, that a Secure cookie goes out over plain http. Browsers refuse
// it, so that every login leads back to the login page. A proxy that ends TLS says so,
// or its browsers do.
func (m *Manager) warnPlain(ctx context.Context) {
	r := m.request(ctx)
	if r == nil || r.http == nil || !header.IsPlain(r.http) || !m.warnedPlain.CompareAndSwap(false, true) {
		return
	}
	m.opts.Logger.WarnContext(m.hide(ctx), "usersession: a Secure cookie was set on a request over plain http, where browsers refuse it and nobody stays logged in; serve https, or set Options.InsecureCookies for development; a proxy that ends TLS should send X-Forwarded-Proto",
		"cookie", m.sealed.Name)
}

// guard decides what leaves the process in the headers of a response.
func (m *Manager) guard(h http.Header) { header.Guard(h, m.sealed.Name) }
