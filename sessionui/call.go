package sessionui

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// call is one request. Templates get it, embedded in what they are given: its
// exported fields and methods are for them.
type call struct {
	ui  *ui
	w   http.ResponseWriter
	r   *http.Request
	in  url.Values // the fields of a POST
	now time.Time

	agents map[string]agentView // see agent
	lang   *language            // see language

	places  map[netip.Addr]string // see place
	located time.Duration         // how long that has taken

	Base    string // the way from this page to the mount: "./" or "../"
	Page    string // the name of the template
	Message string // what has been done
	Warning string // what has not
	Refresh int    // seconds until the page is to be loaded again; 0: never
}

func (u *ui) newCall(w http.ResponseWriter, r *http.Request) *call {
	c := &call{ui: u, w: w, r: r, now: now(), Base: "./"}
	if n := strings.Count(r.URL.EscapedPath(), "/"); n > 1 {
		c.Base = strings.Repeat("../", n-1)
	}
	return c
}

// outer returns the request as the application knows it, with the path before
// any prefix was removed: for its own hooks.
func (c *call) outer() *http.Request {
	u, err := url.ParseRequestURI(c.r.RequestURI)
	if err != nil {
		return c.r
	}
	r := c.r.WithContext(c.r.Context())
	r.URL = u
	return r
}

// maxMedia is how long a header with media types may be, in bytes. Anybody can send
// one that is a megabyte long.
const maxMedia = 1 << 10

// wantsJSON reports whether the client would rather have JSON than HTML. One that
// has no preference, or too long a list of them, gets what it sends. It is asked
// when the answer is made, which for most requests is after the caller is admitted.
func (c *call) wantsJSON() bool {
	values := c.r.Header["Accept"]
	total := 0
	for _, v := range values {
		total += len(v) + 1
	}
	if total > maxMedia {
		return isJSON(c.r)
	}
	accept := strings.Join(values, ",")
	j, h := quality(accept, "application/json"), quality(accept, "text/html")
	if j == h {
		return isJSON(c.r)
	}
	return j > h
}

func isJSON(r *http.Request) bool {
	sent := r.Header.Get("Content-Type")
	if len(sent) > maxMedia {
		return false
	}
	t, _, _ := mime.ParseMediaType(sent)
	return t == "application/json"
}

// quality returns how much an Accept header wants a media type, by its most
// specific range.
func quality(accept, want string) float64 {
	major, _, _ := strings.Cut(want, "/")
	best, q := 0, 0.0
	for part := range strings.SplitSeq(accept, ",") {
		t, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		rank := 0
		switch t {
		case want:
			rank = 3
		case major + "/*":
			rank = 2
		case "*/*":
			rank = 1
		}
		if rank > best {
			best, q = rank, 1
			if v, err := strconv.ParseFloat(params["q"], 64); err == nil {
				q = v
			}
		}
	}
	return q
}

// read reads the fields of a POST into c.in, and checks the synchroniser token.
// It answers itself if they are no good.
func (c *call) read() bool {
	body := http.MaxBytesReader(c.w, c.r.Body, maxBody)
	var err error
	if isJSON(c.r) {
		c.in, err = readJSON(json.NewDecoder(body))
	} else {
		c.r.Body = body
		err = c.r.ParseForm()
		c.in = c.r.PostForm
	}
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		c.problem(http.StatusRequestEntityTooLarge, "error.size")
		return false
	case err != nil:
		c.problem(http.StatusBadRequest, "error.input")
		return false
	}
	if c.ui.sync {
		token := c.r.Header.Get("X-CSRF-Token")
		if token == "" {
			token = c.in.Get("csrf_token")
		}
		if !c.validCSRF(token) {
			c.ui.logger.WarnContext(c.r.Context(), "sessionui: refused a form without its token", slog.String("path", originalPath(c.r)))
			c.problem(http.StatusForbidden, "error.csrf")
			return false
		}
	}
	c.in.Del("csrf_token")
	return true
}

// readJSON reads an object of strings, numbers, booleans and lists of strings as
// a form would send it. An empty body is an empty object.
func readJSON(d *json.Decoder) (url.Values, error) {
	d.UseNumber()
	var object map[string]any
	in := url.Values{}
	if err := d.Decode(&object); err != nil {
		var tooBig *http.MaxBytesError
		if err.Error() == "EOF" && !errors.As(err, &tooBig) {
			return in, nil
		}
		return nil, err
	}
	for k, v := range object {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, item := range list {
			switch v := item.(type) {
			case string:
				in.Add(k, v)
			case json.Number:
				in.Add(k, v.String())
			case bool:
				in.Add(k, strconv.FormatBool(v))
			default:
				return nil, errors.New("neither text nor number nor truth")
			}
		}
	}
	return in, nil
}

// CSRF returns a synchroniser token, or "" if none is wanted. It is derived from
// the session's secret, so that nothing needs to be written, and masked, so that
// it is another text on each page (compressed pages must not give it away).
func (c *call) CSRF() string {
	mac := c.csrfMAC()
	if !c.ui.sync || mac == nil {
		return ""
	}
	mask := make([]byte, len(mac))
	rand.Read(mask)
	subtle.XORBytes(mac, mac, mask)
	return base64.RawURLEncoding.EncodeToString(append(mask, mac...))
}

func (c *call) validCSRF(token string) bool {
	b, err := base64.RawURLEncoding.DecodeString(token)
	mac := c.csrfMAC()
	if err != nil || mac == nil || len(b) != 2*len(mac) {
		return false
	}
	got := make([]byte, len(mac))
	subtle.XORBytes(got, b[:len(mac)], b[len(mac):])
	return hmac.Equal(got, mac)
}

// csrfMAC is nil if the request has no session.
func (c *call) csrfMAC() []byte {
	if c.ui.m.UserID(c.r.Context()) == "" {
		return nil
	}
	h := hmac.New(sha256.New, []byte(c.ui.m.Token(c.r.Context())))
	h.Write([]byte("sessionui " + c.ui.name))
	return h.Sum(nil)
}

// redirect sends the browser to a page of this handler. The dot keeps clients
// that resolve ".." badly from losing the slash before a query.
func (c *call) redirect(to string) { c.redirectOut(c.Base + "./" + to) }

// redirectOut sends the browser anywhere. It is not http.Redirect, which knows
// nothing of a prefix that was removed.
func (c *call) redirectOut(to string) {
	c.w.Header().Set("Location", to)
	c.w.WriteHeader(http.StatusSeeOther)
}

// render answers with a page.
func (c *call) render(status int, name string, data any) {
	c.Page = name
	var b bytes.Buffer
	if err := c.ui.pages[name].ExecuteTemplate(&b, "layout.html", data); err != nil {
		c.ui.logger.ErrorContext(c.r.Context(), "sessionui: a template failed", slog.String("template", name), slog.Any("error", err))
		http.Error(c.w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	c.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	c.w.WriteHeader(status)
	c.w.Write(b.Bytes())
}

// answer answers with JSON.
func (c *call) answer(status int, v any) { c.answerAs(status, "application/json", v) }

func (c *call) answerAs(status int, mediaType string, v any) {
	b, err := json.Marshal(v)
	if err != nil { // only types of this package get here
		panic(err)
	}
	c.w.Header().Set("Content-Type", mediaType)
	c.w.WriteHeader(status)
	c.w.Write(append(b, '\n'))
}

// problemJSON is an RFC 9457 problem.
type problemJSON struct {
	Type           string `json:"type"`
	Title          string `json:"title"`
	Status         int    `json:"status"`
	Code           string `json:"code"`
	Reauthenticate string `json:"reauthenticate,omitempty"`
}

// problemPage is what problem.html is given.
type problemPage struct {
	*call
	Status int
	Text   string
	// Reauthenticate is where the user proves who they are; "" if it is not
	// about that, or if the application has no such page.
	Reauthenticate string
	Last           bool // there is nothing to go back to
	// SignOut is the ID of the session to end in order to log in again; "" if
	// that would not help.
	SignOut string
}

// problem answers with what went wrong, which the label of key says.
func (c *call) problem(status int, key string) { c.problemWith(problemPage{Status: status}, key) }

func (c *call) problemWith(p problemPage, key string) {
	p.call, p.Text = c, c.T(key)
	if c.wantsJSON() {
		c.answerAs(p.Status, "application/problem+json", problemJSON{
			Type: "about:blank", Title: p.Text, Status: p.Status,
			Code: strings.TrimPrefix(key, "error."), Reauthenticate: p.Reauthenticate,
		})
		return
	}
	c.render(p.Status, "problem.html", p)
}

// unavailable answers that a side is down; why is for the log.
func (c *call) unavailable(err error) {
	c.ui.logger.ErrorContext(c.r.Context(), "sessionui: sessions cannot be read or ended", slog.Any("error", err))
	c.problem(http.StatusServiceUnavailable, "error.unavailable")
}
