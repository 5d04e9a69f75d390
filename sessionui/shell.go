package sessionui

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

//go:embed templates openapi
var embedded embed.FS

// maxBody bounds what a POST may send.
const maxBody = 64 << 10

// ui is what both handlers are made of.
type ui struct {
	m      *usersession.Manager
	name   string // "account", "admin" or "notme"
	prefix string
	ip     usersession.IPPrivacy
	label  func(r *http.Request, key string) string
	logger *slog.Logger
	sync   bool

	language func(*http.Request) string
	locate   func(netip.Addr) string

	origins *http.CrossOriginProtection
	trusted []string // those that origins trusts
	pages   pages
	css     []byte
	cssName string // style.css with its version
	openapi []byte
	admit   func(c *call) bool // answers itself if it says no; nil: all routes are open
	routes  []route
}

// route is one method of one path. A path without open is behind admit.
type route struct {
	method, path string
	open         bool // for anybody: holds nothing of anybody's
	serve        func(c *call)
}

// common are the options that both handlers have.
type common struct {
	prefix    string
	ip        usersession.IPPrivacy
	label     func(*http.Request, string) string
	language  func(*http.Request) string
	locate    func(netip.Addr) string
	templates fs.FS
	trusted   []string
	sync      bool
	logger    *slog.Logger
}

// newUI checks the common options; it reports every problem at once.
func newUI(m *usersession.Manager, name string, o common) (*ui, error) {
	u := &ui{
		m: m, name: name, prefix: o.prefix, ip: o.ip, label: o.label, logger: o.logger, sync: o.sync,
		language: o.language, locate: o.locate,
		origins: http.NewCrossOriginProtection(), trusted: o.trusted,
	}
	var errs []error
	if m == nil || m.SessionManager == nil {
		errs = append(errs, errors.New("sessionui: the Manager is nil"))
	}
	if p := o.prefix; p != "" && (p[0] != '/' || strings.HasSuffix(p, "/") || path.Clean(p) != p) {
		errs = append(errs, fmt.Errorf("sessionui: Prefix: %q does not begin with a slash, or ends with one", p))
	}
	switch o.ip {
	case usersession.IPFull, usersession.IPTruncated, usersession.IPOff:
	default:
		errs = append(errs, fmt.Errorf("sessionui: IP: is %q, which is none of IPFull, IPTruncated, IPOff", o.ip))
	}
	for _, origin := range o.trusted {
		if err := u.origins.AddTrustedOrigin(origin); err != nil {
			errs = append(errs, fmt.Errorf("sessionui: TrustedOrigins: %w", err))
		}
	}
	if u.logger == nil {
		u.logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if u.pages, err = parsePages(o.templates); err != nil {
		errs = append(errs, err)
	}
	if u.css, err = readEither(o.templates, "style.css"); err != nil {
		errs = append(errs, err)
	}
	sum := sha256.Sum256(u.css)
	u.cssName = "style.css?v=" + base64.RawURLEncoding.EncodeToString(sum[:9])
	if name == "notme" { // for people only
		return u, errors.Join(errs...)
	}
	if u.openapi, err = embedded.ReadFile("openapi/" + name + ".json"); err != nil {
		errs = append(errs, err)
	}
	return u, errors.Join(errs...)
}

// handler ties the routes together. The order of what a request passes is:
// headers, origin, session, admit, form and synchroniser token, handler.
func (u *ui) handler() http.Handler {
	u.routes = append(u.routes, route{"GET", "/style.css", true, u.serveCSS})
	if u.openapi != nil {
		u.routes = append(u.routes, route{"GET", "/openapi.json", u.name == "account", u.serveOpenAPI})
	}
	mux := http.NewServeMux()
	byPath := make(map[string][]route)
	for _, r := range u.routes {
		byPath[r.path] = append(byPath[r.path], r)
	}
	for p, routes := range byPath {
		mux.HandleFunc(p, func(w http.ResponseWriter, r *http.Request) { u.dispatch(w, r, routes) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { u.dispatch(w, r, nil) })

	h := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header())
		switch p := r.URL.Path; {
		case p == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			// The mount itself, without the slash that relative links need.
			to := "./" + path.Base(originalPath(r)) + "/"
			if r.URL.RawQuery != "" {
				to += "?" + r.URL.RawQuery
			}
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusTemporaryRedirect)
		case p == "" || p[0] != '/' || path.Clean(p) != p:
			// ServeMux would redirect to a path without the prefix.
			u.dispatch(w, r, nil)
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	if u.prefix == "" {
		return h
	}
	below := http.StripPrefix(u.prefix, h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, u.prefix) {
			// A handler that is mounted elsewhere than Prefix says, which a plain 404
			// would hide from whoever looks for the fault.
			setHeaders(w.Header())
			http.Error(w, "404 page not found: the Prefix of these pages is "+u.prefix, http.StatusNotFound)
			return
		}
		below.ServeHTTP(w, r)
	})
}

// dispatch serves one request to a path that has these routes.
func (u *ui) dispatch(w http.ResponseWriter, r *http.Request, routes []route) {
	c := u.newCall(w, r)
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	i := slices.IndexFunc(routes, func(rt route) bool { return rt.method == method })
	if i >= 0 && routes[i].open {
		routes[i].serve(c)
		return
	}
	if u.admit == nil {
		c.noRoute(routes)
		return
	}
	if err := u.sameOrigin(r); err != nil {
		u.logger.WarnContext(r.Context(), "sessionui: refused a request of another origin", slog.String("path", originalPath(r)), slog.Any("error", err))
		c.problem(http.StatusForbidden, "error.origin")
		return
	}
	u.m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.w, c.r = w, r
		if !u.admit(c) {
			return
		}
		if i < 0 {
			c.noRoute(routes)
			return
		}
		if r.Method == http.MethodPost && !c.read() {
			return
		}
		routes[i].serve(c)
	})).ServeHTTP(w, r)
}

// noRoute answers a request that no route is for.
func (c *call) noRoute(routes []route) {
	if len(routes) == 0 {
		c.problem(http.StatusNotFound, "error.notfound")
		return
	}
	allow := make([]string, len(routes))
	for i, rt := range routes {
		allow[i] = rt.method
	}
	c.w.Header().Set("Allow", strings.Join(allow, ", "))
	c.problem(http.StatusMethodNotAllowed, "error.method")
}

// setHeaders sets what every response has. Referrer-Policy is not no-referrer,
// because browsers then send Origin: null with forms.
func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept, Accept-Language")
}

var (
	errNoOrigin    = errors.New("the request does not say which origin it comes from")
	errPlainOrigin = errors.New("the request comes over TLS, and its origin is not https")
)

// sameOrigin is stricter than http.CrossOriginProtection, which takes a request
// that says nothing for one of a program: here only pages and programs that say
// so may change anything.
func (u *ui) sameOrigin(r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
	if origin == "null" || site == "none" || origin == "" && site == "" {
		return errNoOrigin
	}
	if site == "" && r.TLS != nil && !strings.HasPrefix(origin, "https://") && !slices.Contains(u.trusted, origin) {
		return errPlainOrigin // Check compares hosts
	}
	return u.origins.Check(r)
}

func (u *ui) serveCSS(c *call) {
	c.w.Header().Set("Content-Type", "text/css; charset=utf-8")
	// The name changes with the content.
	c.w.Header().Set("Cache-Control", "private, max-age=86400")
	c.w.Write(u.css)
}

func (u *ui) serveOpenAPI(c *call) {
	c.w.Header().Set("Content-Type", "application/openapi+json;version=3.1")
	c.w.Write(u.openapi)
}

// originalPath is the path as the client sent it, before any StripPrefix.
func originalPath(r *http.Request) string {
	p := r.RequestURI
	if i := strings.IndexAny(p, "?#"); i >= 0 {
		p = p[:i]
	}
	if !strings.HasPrefix(p, "/") {
		return r.URL.EscapedPath() // absolute form, or no server
	}
	return p
}

// ReturnTo returns the return_to parameter of a request, if it is a path of
// this site, and otherwise fallback. The page of
// AccountOptions.ReauthenticateURL calls it, so that nobody can make that page
// send a user elsewhere.
func ReturnTo(r *http.Request, fallback string) string {
	if p := r.FormValue("return_to"); isLocal(p) {
		return p
	}
	return fallback
}

// isLocal reports whether browsers take p for a path of the same site. They
// read \ as /, and drop tabs and line breaks.
func isLocal(p string) bool {
	if !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") {
		return false
	}
	return !strings.ContainsFunc(p, func(r rune) bool { return r == '\\' || r <= ' ' || r == 0x7f })
}

// now is the program's clock.
func now() time.Time { return time.Now().UTC() }
