package usersession

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// rememberKey is the key under which scs keeps RememberMe.
const rememberKey = "__rememberMe"

// writeCookie sets the cookie, or clears it if token is empty. It is scs's, but
// that a single session may say whether its cookie persists.
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

// siteData are the directives of Clear-Site-Data, without the wildcard, of which
// a browser may make more some day.
var siteData = []string{"cache", "cookies", "storage", "executionContexts", "clientHints", "prefetchCache", "prerenderCache"}

// clearSiteData has the browser forget what Options.ClearSiteData names. Browsers heed
// the header over https only.
func (m *Manager) clearSiteData(h http.Header, r *http.Request, cookies bool) {
	if len(m.opts.ClearSiteData) == 0 || isPlain(r) {
		return
	}
	var quoted []string
	for _, d := range m.opts.ClearSiteData {
		if d != "cookies" || cookies {
			quoted = append(quoted, `"`+d+`"`)
		}
	}
	if len(quoted) > 0 {
		h.Set("Clear-Site-Data", strings.Join(quoted, ", "))
	}
}

// warnPlain logs, once, that a Secure cookie goes out over plain http. Browsers refuse
// it, so that every login leads back to the login page. A proxy that ends TLS says so,
// or its browsers do.
func (m *Manager) warnPlain(ctx context.Context) {
	r := m.request(ctx)
	if r == nil || r.http == nil || !isPlain(r.http) || !m.warnedPlain.CompareAndSwap(false, true) {
		return
	}
	m.opts.Logger.WarnContext(m.hide(ctx), "usersession: a Secure cookie was set on a request over plain http, where browsers refuse it and nobody stays logged in; serve https, or set Options.InsecureCookies for development; a proxy that ends TLS should send X-Forwarded-Proto",
		"cookie", m.sealed.Name)
}

// isPlain reports whether a request came over plain http, for all that it says. Only to
// https and to the machine itself browsers send Sec-Fetch-Site, and take Secure cookies
// from them.
func isPlain(r *http.Request) bool {
	if r.TLS != nil || r.Header.Get("Sec-Fetch-Site") != "" || strings.Contains(strings.ToLower(r.Header.Get("Forwarded")), "proto=https") {
		return false
	}
	for _, name := range []string{"X-Forwarded-Proto", "Origin", "Referer"} {
		if strings.HasPrefix(strings.ToLower(r.Header.Get(name)), "https") {
			return false
		}
	}
	return true
}

// guard decides what leaves the process in the headers of a response: one cookie of
// the session's name at most (RFC 6265, 4.1.1), and none that a shared cache could
// give to somebody else, whatever the handler and those around it have set.
func (m *Manager) guard(h http.Header) {
	addVary(h)
	if !dropCookies(h, m.sealed.Name, 1) {
		return
	}
	for name := range h {
		if c := http.CanonicalHeaderKey(name); isSurrogate(c) || c != name && (c == "Cache-Control" || c == "Expires") {
			delete(h, name)
		}
	}
	if !forbidsSharing(h.Values("Cache-Control")) {
		noStore(h)
	}
}

// noStore keeps a response out of every cache, whatever was said before.
func noStore(h http.Header) {
	for name := range h {
		if c := http.CanonicalHeaderKey(name); isSurrogate(c) || c == "Expires" {
			delete(h, name)
		}
	}
	h.Set("Cache-Control", "no-store")
}

// isSurrogate reports whether a header tells caches in front of the program to do
// otherwise than Cache-Control says (RFC 9213).
func isSurrogate(name string) bool {
	switch name {
	case "Surrogate-Control", "Edge-Control", "X-Accel-Expires":
		return true
	}
	return strings.HasSuffix(name, "-Cache-Control")
}

var quotedText = regexp.MustCompile(`"(\\.|[^"\\])*"`)

// forbidsSharing reports whether Cache-Control keeps the whole response out of shared
// caches. What is said both ways, or about some headers only, does not. A cache may
// take must-understand for leave to store what no-store forbids (RFC 9111, 5.2.2.3).
func forbidsSharing(values []string) (forbids bool) {
	for _, v := range values {
		if v = quotedText.ReplaceAllString(v, ""); strings.Contains(v, `"`) {
			return false
		}
		for directive := range strings.SplitSeq(v, ",") {
			name, _, _ := strings.Cut(strings.ToLower(directive), "=")
			switch strings.TrimSpace(name) {
			case "no-store", "private":
				forbids = forbids || !strings.Contains(directive, "=")
			case "public", "s-maxage", "must-understand":
				return false
			}
		}
	}
	return forbids
}

// dropCookies leaves only the last cookies of a name that a response sets, at most
// keep of them. It reports whether there are any.
func dropCookies(h http.Header, name string, keep int) bool {
	lines := h["Set-Cookie"]
	if len(lines) == 0 {
		return false
	}
	kept := 0
	for i, line := range slices.Backward(lines) {
		if n, _, _ := strings.Cut(line, "="); strings.TrimSpace(n) != name {
			continue
		}
		if kept == keep {
			lines = slices.Delete(lines, i, i+1)
			continue
		}
		kept++
	}
	if h["Set-Cookie"] = lines; len(lines) == 0 {
		h.Del("Set-Cookie")
	}
	return kept > 0
}

// addVary says that the response depends on the cookie, unless the headers say so.
func addVary(h http.Header) {
	for _, v := range h.Values("Vary") {
		for field := range strings.SplitSeq(v, ",") {
			if f := strings.TrimSpace(field); f == "*" || strings.EqualFold(f, "Cookie") {
				return
			}
		}
	}
	h.Add("Vary", "Cookie")
}
