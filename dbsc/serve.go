package dbsc

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/inside"
)

// ServeHTTP registers the key of a browser, and refreshes its cookie. It belongs inside
// LoadAndSave, at Path.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	switch {
	case r.URL.Path != registerPath && r.URL.Path != refreshPath:
		http.NotFound(w, r)
	case r.Method != http.MethodPost:
		header.Set("Allow", http.MethodPost)
		answer(w, http.StatusMethodNotAllowed)
	case foreign(r):
		answer(w, http.StatusForbidden)
	case r.URL.Path == registerPath:
		h.register(w, r)
	default:
		h.refresh(w, r)
	}
}

// foreign reports whether a page of another origin has sent a request, or a frame. How
// long the answer takes would tell it who is logged in here.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "document", "iframe", "frame", "embed", "object", "fencedframe":
		return true
	}
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	if site != "" || origin == "" { // a proxy may change the host
		return site != "" && site != "same-origin" && site != "none"
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host != r.Host
}

// linked reports whether a page of another site leads here.
func linked(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" &&
		(site == "cross-site" || site == "same-site")
}

// comeBack has the browser ask again from a page of this site. It does so once, because
// that request says that it comes from here.
func comeBack(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Refresh", "0")
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	io.WriteString(w, "<!DOCTYPE html><title>…</title>")
}

func answer(w http.ResponseWriter, status int) { http.Error(w, http.StatusText(status), status) }

// register binds the session to the key that the browser has made.
func (h *Handler) register(w http.ResponseWriter, r *http.Request) {
	s, ok := h.devices.Session(r.Context())
	if !ok {
		answer(w, http.StatusUnauthorized)
		return
	}
	p, err := parse(r.Header.Get("Secure-Session-Response"))
	if err == nil {
		err = p.verify(p.jwk)
	}
	secret := s.Device.Secret
	if err != nil || s.Withheld || secret == "" || p.JTI != registration(secret, s.ID) {
		answer(w, http.StatusForbidden)
		return
	}
	ok, err = h.bind(r.Context(), s, p.jwk, secret)
	switch {
	case err != nil:
		answer(w, http.StatusServiceUnavailable)
	case !ok:
		answer(w, http.StatusForbidden)
	default:
		h.setCookie(w.Header(), s.ID, secret)
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(h.instructions(s.ID))
	}
}

// bind binds a session, once. A browser that asks again with the same key has lost the
// answer, as long as it is that soon.
func (h *Handler) bind(ctx context.Context, s inside.Session, key, secret string) (bool, error) {
	ctx, cancel := h.within(ctx)
	defer cancel()
	if ok, err := h.devices.Index().BindDevice(ctx, s.Binding, key, newSecret(), secret); ok || err != nil {
		return ok, err
	}
	row, found, err := h.devices.Index().DeviceByID(ctx, s.Binding)
	return found && row.Key == key && s.Device.State != index.Bound, err
}

// refresh gives the browser another short cookie for a challenge that it has signed. It
// answers 401 if the session has ended, upon which the browser forgets it, and 403 to
// whatever else it does not like, upon which it tries again.
func (h *Handler) refresh(w http.ResponseWriter, r *http.Request) {
	s, ok := h.devices.Session(r.Context())
	if !ok || text(r.Header.Get("Sec-Secure-Session-Id")) != s.ID {
		answer(w, http.StatusUnauthorized)
		return
	}
	ctx, cancel := h.within(r.Context())
	defer cancel()
	row, found, err := h.devices.Index().DeviceByID(ctx, s.Binding)
	if err != nil {
		answer(w, http.StatusServiceUnavailable)
		return
	}
	if !found || row.Key == "" {
		answer(w, http.StatusUnauthorized)
		return
	}
	p, err := parse(r.Header.Get("Secure-Session-Response"))
	if err != nil || p.verify(row.Key) != nil {
		challenge(w.Header(), s.ID, row.Challenge)
		answer(w, http.StatusForbidden)
		return
	}
	next := newSecret()
	ok, err = h.devices.Index().RefreshDevice(ctx, s.Binding, row.Key, p.JTI, next, !s.Passive, h.devices.Client(r.Context()))
	if err == nil && !ok {
		row, found, err = h.devices.Index().DeviceByID(ctx, s.Binding)
	}
	switch {
	case err != nil:
		answer(w, http.StatusServiceUnavailable)
	case !found || row.Key == "":
		answer(w, http.StatusUnauthorized)
	case !ok:
		challenge(w.Header(), s.ID, row.Challenge)
		answer(w, http.StatusForbidden)
	default:
		h.setCookie(w.Header(), s.ID, row.Secret)
		challenge(w.Header(), s.ID, next)
	}
}

// challenge has the browser sign one, now or the next time.
func challenge(header http.Header, id, text string) {
	header.Set("Secure-Session-Challenge", `"`+text+`";id="`+id+`"`)
}

// text returns the text of a structured field (RFC 9651), or "". The specification wants
// a string, and Chromium sends a token.
func text(field string) string {
	field = strings.TrimSpace(field)
	s, quoted := strings.CutPrefix(field, `"`)
	if !quoted {
		s, _, _ = strings.Cut(field, ";")
		return strings.TrimSpace(s)
	}
	s, _, closed := strings.Cut(s, `"`)
	if !closed || strings.Contains(s, `\`) {
		return ""
	}
	return s
}

// instructions are what the browser keeps of a session.
func (h *Handler) instructions(id string) any {
	bare := h.cookie
	bare.Value = "x"
	_, attributes, _ := strings.Cut(bare.String(), "; ")
	type credential struct {
		Type       string `json:"type"`
		Name       string `json:"name"`
		Attributes string `json:"attributes"`
	}
	type scope struct {
		IncludeSite bool `json:"include_site"`
	}
	return struct {
		ID          string       `json:"session_identifier"`
		RefreshURL  string       `json:"refresh_url"`
		Scope       scope        `json:"scope"`
		Credentials []credential `json:"credentials"`
	}{id, refreshPath, scope{}, []credential{{"cookie", h.cookie.Name, attributes}}}
}
