package sessionui

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// DefaultFreshFor is the default of AccountOptions.FreshFor.
const DefaultFreshFor = 5 * time.Minute

// InsecureAnyLogin as AccountOptions.FreshFor lets a login of any age end other
// sessions. Anybody who finds a browser open can then lock the user out
// elsewhere.
const InsecureAnyLogin time.Duration = -1

// AccountOptions configure Account. The zero value of every field is its
// default.
type AccountOptions struct {
	// Prefix is the path the handler is mounted under, "/devices" say, if
	// nothing removes it before. If empty, it has been removed.
	Prefix string

	// FreshFor is how long after a login, or Reauthenticate, the user may end
	// other sessions without proving again who they are (ASVS 5.0, 7.5.2).
	// Ending this one is always allowed. Default: 5 minutes. InsecureAnyLogin
	// turns it off.
	FreshFor time.Duration

	// ReauthenticateURL is the page of the application where users prove again
	// who they are, "/reauth" say. It gets a parameter return_to, a path of
	// this handler. The page reads it with [ReturnTo], calls Reauthenticate,
	// and redirects there. If empty, the user is asked to sign out and in
	// again.
	ReauthenticateURL string

	// SignedOutURL is the path users are sent to after ending this session. It
	// must not lead on to another origin at once, because forms of these pages
	// may lead to this one only. The default is the account page, where
	// Options.OnUnauthenticated of the Manager answers.
	SignedOutURL string

	// IP says how much of addresses is shown: usersession.IPFull, which is the default,
	// IPTruncated or IPOff. What Options.Privacy does not keep is not shown either.
	IP usersession.IPPrivacy

	// Language returns the language of the answer to a request, such as "de" or
	// "de-AT", or "" for the one that Accept-Language asks for. There are "en", "de",
	// "fr", "es", "ja" and "ar". Any other is English. If nil, Accept-Language is
	// asked, and with a Label it is English.
	Language func(r *http.Request) string

	// Label returns a text in the place of that of the pages, or "" for that. See
	// [DefaultLabels] for the keys.
	Label func(r *http.Request, key string) string

	// Locate says in a few words where an address is, such as "near Berlin,
	// Germany", or "" if that is not known. It gets the whole address and is shown
	// whatever IP says. The page waits for it, so it must look into memory only. It is
	// asked once for each address on a page, and no more once all calls have taken
	// a second together. A panic is logged, and the place is left out. It must be safe
	// for concurrent use.
	Locate func(netip.Addr) string

	// Templates has files that replace templates, or style.css, of the same
	// name. If nil, those that are built in are used.
	Templates fs.FS

	// TrustedOrigins are other origins whose pages may send POSTs, such as
	// "https://app.example.com".
	TrustedOrigins []string

	// SynchronizerToken asks for a token in each POST as well. It is the field
	// csrf_token in a form, and the header X-CSRF-Token otherwise. The pages
	// have it. In JSON it is csrf_token of the list.
	SynchronizerToken bool

	// Logger gets what goes wrong. If nil, nothing is logged.
	Logger *slog.Logger
}

// account serves the sessions of the user of the request.
type account struct {
	*ui
	fresh       time.Duration
	reauth, out string
}

// Account returns the page on which users see where they are signed in, and
// sign out. This device comes first, then the others by last seen, then the
// sessions that ended lately. There are at most 100 on a page. If there are more,
// they are in the order of their IDs. The handler answers requests without a user as
// RequireUser does. If opts is nil, every option has its default.
func Account(m *usersession.Manager, opts *AccountOptions) (http.Handler, error) {
	var o AccountOptions
	if opts != nil {
		o = *opts
	}
	u, err := newUI(m, "account", common{
		prefix: o.Prefix, ip: o.IP, label: o.Label, language: o.Language, locate: o.Locate, templates: o.Templates,
		trusted: o.TrustedOrigins, sync: o.SynchronizerToken, logger: o.Logger,
	})
	a := &account{ui: u, fresh: cmp.Or(o.FreshFor, DefaultFreshFor), reauth: o.ReauthenticateURL, out: o.SignedOutURL}
	if o.FreshFor < 0 && o.FreshFor != InsecureAnyLogin {
		err = errors.Join(err, fmt.Errorf("sessionui: FreshFor: is %v; InsecureAnyLogin turns it off", o.FreshFor))
	}
	if o.ReauthenticateURL != "" && !isTarget(o.ReauthenticateURL) {
		err = errors.Join(err, fmt.Errorf("sessionui: ReauthenticateURL: %q is neither a path nor an http URL", o.ReauthenticateURL))
	}
	if o.SignedOutURL != "" && !isLocal(o.SignedOutURL) {
		err = errors.Join(err, fmt.Errorf("sessionui: SignedOutURL: %q is not a path", o.SignedOutURL))
	}
	if err != nil {
		return nil, err
	}
	u.admit = a.admitUser
	u.routes = accountRoutes(a)
	return u.handler(), nil
}

func accountRoutes(a *account) []route {
	return []route{
		{"GET", "/{$}", false, a.list},
		{"GET", "/sessions/{id}/revoke", false, a.confirmOne},
		{"POST", "/sessions/{id}/revoke", false, a.revokeOne},
		{"GET", "/sessions/{id}/name", false, a.askName},
		{"POST", "/sessions/{id}/name", false, a.rename},
		{"GET", "/revoke-others", false, a.confirmOthers},
		{"POST", "/revoke-others", false, a.revokeOthers},
	}
}

// isTarget reports whether an application may name s as a place to go to.
func isTarget(s string) bool {
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	return isLocal(s) || (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}

func (a *account) admitUser(c *call) bool {
	if a.m.UserID(c.r.Context()) != "" {
		return true
	}
	if c.wantsJSON() {
		c.problem(http.StatusUnauthorized, "error.login")
		return false
	}
	// The application's own answer, which redirects to its login page perhaps.
	a.m.RequireUser(http.NotFoundHandler()).ServeHTTP(c.w, c.outer())
	return false
}

// accountPage is what account.html is given.
type accountPage struct {
	*call
	This   []sessionView // the session of the request; none for an instant of a login
	Others []sessionView
	Ended  []sessionView
	Fresh  bool   // the buttons act; otherwise they lead to the login first
	Next   string // what the next page is after; "" if this is the last
	Later  bool   // this is not the first page
}

// accountJSON is the list.
type accountJSON struct {
	Sessions []sessionJSON `json:"sessions"`
	Ended    []sessionJSON `json:"ended"`
	Fresh    bool          `json:"fresh"`
	Next     string        `json:"next,omitempty"`
	CSRF     string        `json:"csrf_token,omitempty"`
}

func (a *account) list(c *call) {
	ctx, uid := c.r.Context(), a.m.UserID(c.r.Context())
	after := c.r.URL.Query().Get(fieldAfter)
	if after != "" && !isID(after) {
		c.problem(http.StatusBadRequest, "error.page")
		return
	}
	live, next, err := a.page(ctx, uid, after)
	if err != nil {
		c.unavailable(err)
		return
	}
	ended, err := a.m.ListEndedSessions(ctx, uid, recentShown)
	if err != nil {
		c.unavailable(err)
		return
	}
	fresh := len(live) > 0 && live[0].Current && a.isFresh(c, live[0])
	if c.wantsJSON() {
		j := accountJSON{Sessions: []sessionJSON{}, Ended: []sessionJSON{}, Fresh: fresh, Next: next, CSRF: c.CSRF()}
		for _, s := range live {
			j.Sessions = append(j.Sessions, a.own(c.viewJSON(s)))
		}
		for _, s := range ended {
			j.Ended = append(j.Ended, a.own(c.viewJSON(s)))
		}
		c.answer(http.StatusOK, j)
		return
	}
	page := accountPage{call: c, Fresh: fresh, Next: next, Later: after != ""}
	for _, s := range live {
		if s.Current {
			page.This = append(page.This, c.view(s))
		} else {
			page.Others = append(page.Others, c.view(s))
		}
	}
	for _, s := range ended {
		v := c.view(s)
		v.Reason = c.reason(s)
		page.Ended = append(page.Ended, v)
	}
	if after == "" { // of one page it cannot be told that there are no others
		a.message(c, live, ended)
	}
	c.render(http.StatusOK, "account.html", page)
}

// message says what the POST before this page did. Only what is true is said, so
// that a link cannot make the page say anything.
func (a *account) message(c *call, live, ended []usersession.UserSession) {
	switch done := c.r.URL.Query().Get("done"); done {
	case "":
	case "pending":
		c.Warning = c.T("account.done.pending")
	case "others":
		if len(live) == 1 && live[0].Current {
			c.Message = c.T("account.done.others")
		}
	default:
		for _, s := range ended {
			if s.ID == done {
				c.Message = c.T("account.done.one", "device", c.title(s))
			}
		}
	}
}

// own leaves out of a session what is not for its user.
func (a *account) own(j sessionJSON) sessionJSON {
	if j.EndedBy != "" {
		if by := j.EndedBy; by == j.UserID {
			j.EndedBy = "you"
		} else {
			j.EndedBy = "other"
			if _, known := labels["reason."+j.Reason]; !known {
				j.Reason = usersession.ReasonRevoked
			}
		}
	}
	j.Name, j.ImpersonatedBy = clean(j.Meta[MetaName], maxName), actorOf(j.Meta)
	j.UserID, j.Meta = "", nil
	return j
}

// reason says to its user why a session ended. What others wrote for the log
// stays there.
func (c *call) reason(s usersession.UserSession) string {
	byOther := s.EndedBy != "" && s.EndedBy != s.UserID
	switch _, known := labels["reason."+s.Reason]; {
	case byOther && (s.Reason == usersession.ReasonRevoked || !known):
		return c.T("reason.other")
	case known:
		return c.T("reason." + s.Reason)
	}
	return clean(s.Reason, 200)
}

func (a *account) isFresh(c *call, current usersession.UserSession) bool {
	return current.Impersonator() == "" && (a.fresh == InsecureAnyLogin || c.now.Sub(current.AuthenticatedAt) <= a.fresh)
}
