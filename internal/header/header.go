// Package header says what the headers of a response may be, and what those of a request
// tell of its way. A response sets one cookie of the session's name at most, and none
// that a cache could give to somebody else, whatever the handler and those around it
// have set.
//
// The package imports nothing of this module, and knows no session.
package header

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Guard leaves one cookie of a name at most (RFC 6265, 4.1.1), and says that the response
// depends on the cookie. If it is set, no shared cache may keep the response.
func Guard(h http.Header, cookie string) {
	VaryByCookie(h)
	if !LastCookies(h, cookie, 1) {
		return
	}
	for name := range h {
		if c := http.CanonicalHeaderKey(name); isSurrogate(c) || c != name && (c == "Cache-Control" || c == "Expires") {
			delete(h, name)
		}
	}
	if !forbidsSharing(h.Values("Cache-Control")) {
		NoStore(h)
	}
}

// NoStore keeps a response out of every cache, whatever was said before.
func NoStore(h http.Header) {
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

// ows is the white space around what a header lists (RFC 9110, 5.6.3). To a cache, any
// other is part of a name.
const ows = " \t"

var quotedText = regexp.MustCompile(`"(\\.|[^"\\])*"`)

// forbidsSharing reports whether Cache-Control keeps the whole response out of shared
// caches. What is said both ways, or about some headers only, does not. A cache may
// take must-understand for leave to store what no-store forbids (RFC 9111, 5.2.2.3).
func forbidsSharing(values []string) (forbids bool) {
	for _, v := range values {
		// What stands there for it is no directive, and makes none of what is around it.
		if v = quotedText.ReplaceAllString(v, "_"); strings.Contains(v, `"`) {
			return false
		}
		for directive := range strings.SplitSeq(v, ",") {
			name, _, _ := strings.Cut(strings.ToLower(directive), "=")
			switch strings.Trim(name, ows) {
			case "no-store", "private":
				forbids = forbids || !strings.Contains(directive, "=")
			case "public", "s-maxage", "must-understand":
				return false
			}
		}
	}
	return forbids
}

// LastCookies leaves only the last cookies of a name that a response sets, at most
// keep of them. It reports whether there are any.
func LastCookies(h http.Header, name string, keep int) bool {
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

// VaryByCookie says that the response depends on the cookie, unless the headers say so.
func VaryByCookie(h http.Header) {
	for _, v := range h.Values("Vary") {
		for field := range strings.SplitSeq(v, ",") {
			if f := strings.Trim(field, ows); f == "*" || strings.EqualFold(f, "Cookie") {
				return
			}
		}
	}
	h.Add("Vary", "Cookie")
}

// SiteData are the directives of Clear-Site-Data, without the wildcard, of which
// a browser may make more some day.
var SiteData = []string{"cache", "cookies", "storage", "executionContexts", "clientHints", "prefetchCache", "prerenderCache"}

// ClearSiteData has the browser forget what the directives say. Without cookies it keeps
// those. Browsers heed the header over https only.
func ClearSiteData(h http.Header, r *http.Request, directives []string, cookies bool) {
	var quoted []string
	for _, d := range directives {
		if d != "cookies" || cookies {
			quoted = append(quoted, `"`+d+`"`)
		}
	}
	if len(quoted) > 0 && !IsPlain(r) {
		h.Set("Clear-Site-Data", strings.Join(quoted, ", "))
	}
}

// IsPlain reports whether a request came over plain http, for all that it says. Only to
// https and to the machine itself browsers send Sec-Fetch-Site, and take Secure cookies
// from them.
func IsPlain(r *http.Request) bool {
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
