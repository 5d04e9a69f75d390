package sessionui

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/internal/seal"
)

// DefaultLinkLifetime is that of NotMeOptions.LinkLifetime.
const DefaultLinkLifetime = 7 * 24 * time.Hour

// NotMeOptions configure NotMe. The zero value of every field but URL and Keys is its
// default.
type NotMeOptions struct {
	// URL is where the handler is mounted, as the readers of mails reach it, such as
	// "https://example.com/not-me". It is required, and links are good there only.
	URL string

	// Keys are 32 random bytes each, the newest first, and at least one. The first one
	// makes links, and all of them are good, so a key is replaced by putting another one
	// before it, and taken away after LinkLifetime. The replicas of a program have the
	// same. They are not kept, and may be overwritten after NotMe.
	Keys [][]byte

	// LinkLifetime is how long a link is good, however often it is used. Default: 7 days.
	// A link that is used again ends what the user has begun since, too, because whoever
	// knows the password may have signed in again.
	LinkLifetime time.Duration

	// PasswordURL is the page on which users change a password that others know. The page
	// leads there after the sessions have ended. If empty, it only says that it should be
	// changed.
	PasswordURL string

	// Language, Label, Templates and Logger are those of AccountOptions.
	Language  func(r *http.Request) string
	Label     func(r *http.Request, key string) string
	Templates fs.FS
	Logger    *slog.Logger
}

// Format implements fmt.Formatter. It hides the keys.
func (o NotMeOptions) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{URL: %q, Keys: %d hidden}", o.URL, len(o.Keys))
}

// NotMeHandler is the page behind a link in a mail, with which a user says that a login
// was somebody else's. It is made by NotMe, and safe for concurrent use.
type NotMeHandler struct {
	ui       *ui
	handler  http.Handler
	url      string
	password string
	ring     *seal.Ring
	bound    []byte // what links are bound to
	created  func(ctx context.Context, userID, id string) (at time.Time, found bool, err error)
	lifetime time.Duration
}

// NotMe returns the handler of links with which users end a session that is not theirs,
// and whatever came from it. GET asks and changes nothing, because programs that look at
// mails follow links. POST ends it, also if the client hangs up. The handler answers
// people, not programs. It needs no session, and loads none. It reports every wrong option
// at once.
func NotMe(m *usersession.Manager, opts *NotMeOptions) (*NotMeHandler, error) {
	var o NotMeOptions
	if opts != nil {
		o = *opts
	}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("sessionui: NotMeOptions."+format, args...))
	}
	at, err := url.Parse(o.URL)
	if err != nil || at.Hostname() == "" || at.Scheme != "https" && at.Scheme != "http" || at.RawQuery != "" || at.Fragment != "" || at.Path != "" && (path.Clean(at.Path) != at.Path || at.Path == "/") {
		bad("URL: %q is not an http URL without a query, a slash at its end and dots in its path", o.URL)
		at = &url.URL{}
	}
	if len(o.Keys) == 0 {
		bad("Keys: is empty: it needs a key of %d bytes", seal.KeySize)
	}
	for i, k := range o.Keys {
		if len(k) != seal.KeySize || bytes.Equal(k, make([]byte, seal.KeySize)) {
			bad("Keys: key %d of %d is not %d random bytes", i+1, len(o.Keys), seal.KeySize)
		}
	}
	if o.LinkLifetime < 0 {
		bad("LinkLifetime: must not be negative, is %v", o.LinkLifetime)
	}
	if o.LinkLifetime == 0 {
		o.LinkLifetime = DefaultLinkLifetime
	}
	if o.PasswordURL != "" && !isTarget(o.PasswordURL) {
		bad("PasswordURL: %q is neither a path nor an http URL", o.PasswordURL)
	}
	u, err := newUI(m, "notme", common{prefix: at.Path, label: o.Label, language: o.Language, templates: o.Templates, logger: o.Logger})
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	h := &NotMeHandler{ui: u, url: o.URL, password: o.PasswordURL, lifetime: o.LinkLifetime}
	if h.ring, err = seal.NewRing(o.Keys); err != nil {
		return nil, fmt.Errorf("sessionui: NotMeOptions.Keys: %w", err)
	}
	parts := inside.Of(m)
	h.created = parts.Created
	index := parts.Tables[0]
	h.bound = fmt.Appendf(nil, "usersession not me 1\x00%s\x00%s\x00%s", index.Schema, index.Index, o.URL)
	u.routes = []route{{"GET", "/{$}", true, h.ask}, {"POST", "/{$}", true, h.end}}
	h.handler = u.handler()
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *NotMeHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.handler.ServeHTTP(w, r) }

// Link returns the link for a mail about an event of a session, such as EventNewDevice.
// It is "" if the event has no user or no session. It costs no I/O, so Options.OnEvent
// may call it. The link shows neither the user nor the session. Whoever has it can end
// the sessions that it is about, and nothing else.
func (h *NotMeHandler) Link(e usersession.Event) string {
	if e.UserID == "" || !isID(e.SessionID) {
		return ""
	}
	if e.Time.IsZero() {
		e.Time = now()
	}
	said := binary.BigEndian.AppendUint64(nil, uint64(now().Add(h.lifetime).Unix()))
	said = binary.BigEndian.AppendUint64(said, uint64(e.Time.UnixMicro()))
	said = append(append(said, e.SessionID...), e.UserID...)
	return h.url + "/?link=" + base64.RawURLEncoding.EncodeToString(h.ring.Seal(said, h.bound, 0))
}

// idLength is how long the ID of a session is.
const idLength = 22

// maxLink is more than a link of ours can have, in bytes.
const maxLink = 1 << 10

// linked is what a link says.
type linked struct {
	userID, sessionID string
	at                time.Time // of the event
}

// open returns what a link says; false if it is no link of this handler, or its time is
// over.
func (h *NotMeHandler) open(link string) (l linked, ok bool) {
	if len(link) > maxLink {
		return l, false
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(link)
	said, ok := h.ring.Open(sealed, h.bound, 0)
	if err != nil || !ok || len(said) < 16+idLength || now().Unix() >= int64(binary.BigEndian.Uint64(said)) {
		return l, false
	}
	l.at = time.UnixMicro(int64(binary.BigEndian.Uint64(said[8:]))).UTC()
	l.sessionID, l.userID = string(said[16:16+idLength]), string(said[16+idLength:])
	return l, true
}

// notMePage is what notme.html is given.
type notMePage struct {
	*call
	Link     string // what the form sends back
	Done     bool   // the sessions have ended
	Password string // where the password is changed; "" if that is not known
}

// ask is the page before anything is done. It looks nothing up, so it is the same
// whatever has become of the session.
func (h *NotMeHandler) ask(c *call) {
	link := c.r.URL.Query().Get("link")
	if _, ok := h.open(link); !ok {
		h.refuse(c)
		return
	}
	c.render(http.StatusOK, "notme.html", notMePage{call: c, Link: link})
}

func (h *NotMeHandler) refuse(c *call) {
	h.ui.logger.InfoContext(c.r.Context(), "sessionui: refused a link that is not good", slog.String("path", originalPath(c.r)))
	c.problemWith(problemPage{Status: http.StatusNotFound, Last: true}, "error.link")
}

func (h *NotMeHandler) end(c *call) {
	if !c.read() {
		return
	}
	l, ok := h.open(c.in.Get("link"))
	if !ok {
		h.refuse(c)
		return
	}
	// Whoever closes the page once it is sent means it all the same.
	ctx := usersession.ContextWithActor(context.WithoutCancel(c.r.Context()), l.userID)
	ctx = usersession.ContextWithReason(ctx, usersession.ReasonNotMe)
	since, err := h.began(ctx, l)
	n := 0
	if err == nil {
		n, err = h.ui.m.RevokeMatching(ctx, usersession.Filter{UserIDs: []string{l.userID}, CreatedAfter: since})
	}
	status := http.StatusOK
	switch {
	case errors.Is(err, usersession.ErrRevocationPending):
		h.ui.logger.WarnContext(ctx, "sessionui: a revocation is pending", "error", err)
		status, c.Warning = http.StatusAccepted, c.T("account.done.pending")
	case err != nil:
		c.unavailable(err)
		return
	}
	h.ui.logger.InfoContext(ctx, "sessionui: a user says that a login was not theirs", slog.String("session", l.sessionID), slog.Int("ended", n))
	c.render(status, "notme.html", notMePage{call: c, Done: err == nil, Link: c.in.Get("link"), Password: h.password})
}

// margin is how long before its event a session may have begun whose row is gone. A
// login lives no longer that is not committed.
const margin = 5 * time.Minute

// began returns a time just before the session began. It ends with whatever the same
// user began later, because whoever had it may have logged in again from it. It does not ask a
// replica, which may not have the row yet.
func (h *NotMeHandler) began(ctx context.Context, l linked) (time.Time, error) {
	at, found, err := h.created(ctx, l.userID, l.sessionID)
	if err != nil || found {
		return at.Add(-time.Microsecond), err
	}
	return l.at.Add(-margin), nil
}
