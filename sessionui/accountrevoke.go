package sessionui

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/seed-296ca7ab/usersession"
)

// confirmPage is what confirm.html is given.
type confirmPage struct {
	*call
	One    *sessionView  // the session to end; nil: all of List
	List   []sessionView // the others of the user
	More   bool          // there are others than those
	Action string        // where the form goes
}

// confirmJSON is what a POST to the same path would end.
type confirmJSON struct {
	Sessions []sessionJSON `json:"sessions"`
	More     bool          `json:"more,omitempty"`
	CSRF     string        `json:"csrf_token,omitempty"`
}

// doneJSON says what was ended. Pending says that the Store has not deleted all
// of it yet, so that the call should be repeated.
type doneJSON struct {
	Revoked int  `json:"revoked"`
	Pending bool `json:"pending"`
}

// current returns the session of the request; nil after it has answered itself.
func (a *account) current(c *call) *usersession.UserSession {
	s, err := a.m.Current(c.r.Context())
	switch {
	case err == nil:
		return &s
	case errors.Is(err, usersession.ErrSessionEnded), errors.Is(err, usersession.ErrNoSession):
		a.ended(c)
	default:
		c.unavailable(err)
	}
	return nil
}

// ended answers a request whose own session has ended meanwhile.
func (a *account) ended(c *call) {
	if c.wantsJSON() {
		c.problem(http.StatusUnauthorized, "error.login")
		return
	}
	c.redirect("")
}

// stale asks for a fresh login. A form is not redirected: the page it comes from
// allows forms to this origin only, and the login may be elsewhere.
func (a *account) stale(c *call, current usersession.UserSession) {
	a.logger.InfoContext(c.r.Context(), "sessionui: refused a stale login", slog.String("session", current.ID),
		slog.String("method", c.r.Method), slog.String("path", originalPath(c.r)))
	p := problemPage{Status: http.StatusForbidden, SignOut: current.ID}
	if a.reauth != "" {
		p.SignOut, p.Reauthenticate = "", a.reauthURL(c)
		if c.r.Method != http.MethodPost && !c.wantsJSON() {
			c.redirectOut(p.Reauthenticate)
			return
		}
	}
	c.problemWith(p, "error.stale")
}

// reauthURL is the page where users prove who they are, and come back from to
// the confirmation of what they were about to do.
func (a *account) reauthURL(c *call) string {
	u, err := url.Parse(a.reauth)
	if err != nil { // checked by Account
		panic(err)
	}
	if back := originalPath(c.r); isLocal(back) {
		q := u.Query()
		q.Set("return_to", back)
		u.RawQuery = q.Encode()
	}
	return u.String()
}

// mayEnd returns the session of the request, if it may end that with an ID, or the others
// if id is empty. If it is nil, the request is answered.
func (a *account) mayEnd(c *call, id string) *usersession.UserSession {
	current := a.current(c)
	if current != nil && id != current.ID && !a.isFresh(c, *current) {
		a.stale(c, *current)
		return nil
	}
	return current
}

func (a *account) confirmOne(c *call) {
	id := c.r.PathValue("id")
	current := a.mayEnd(c, id)
	if current == nil {
		return
	}
	a.ask(c, current.UserID, func(v sessionView) {
		c.render(http.StatusOK, "confirm.html", confirmPage{call: c, One: &v, Action: c.Base + "sessions/" + id + "/revoke"})
	})
}

func (a *account) revokeOne(c *call) {
	id := c.r.PathValue("id")
	current := a.mayEnd(c, id)
	if current == nil {
		return
	}
	err := a.m.RevokeSession(c.r.Context(), current.UserID, id)
	switch {
	case errors.Is(err, usersession.ErrSessionNotFound):
		c.problem(http.StatusNotFound, "error.session")
	case err != nil && !errors.Is(err, usersession.ErrRevocationPending):
		c.unavailable(err)
	case id == current.ID && !c.wantsJSON() && err == nil && a.out != "":
		c.redirectOut(a.out)
	default:
		a.done(c, 1, id, err)
	}
}

func (a *account) confirmOthers(c *call) {
	current := a.mayEnd(c, "")
	if current == nil {
		return
	}
	list, err := a.m.ListSessions(c.r.Context(), current.UserID)
	if err != nil {
		c.unavailable(err)
		return
	}
	page := confirmPage{call: c, Action: c.Base + "revoke-others"}
	j := confirmJSON{Sessions: []sessionJSON{}, CSRF: c.CSRF()}
	for _, s := range list {
		if len(page.List) == liveShown && !s.Current {
			page.More, j.More = true, true
			break
		}
		if !s.Current {
			page.List = append(page.List, c.view(s))
			j.Sessions = append(j.Sessions, a.own(c.viewJSON(s)))
		}
	}
	if c.wantsJSON() {
		c.answer(http.StatusOK, j)
		return
	}
	c.render(http.StatusOK, "confirm.html", page)
}

func (a *account) revokeOthers(c *call) {
	current := a.mayEnd(c, "")
	if current == nil {
		return
	}
	n, err := a.m.RevokeOtherSessions(c.r.Context())
	switch {
	case errors.Is(err, usersession.ErrSessionEnded), errors.Is(err, usersession.ErrNoSession):
		a.ended(c)
	case err != nil && !errors.Is(err, usersession.ErrRevocationPending):
		c.unavailable(err)
	default:
		a.done(c, n, "others", err)
	}
}

// done answers a POST that ended n sessions. err is nil or
// ErrRevocationPending.
func (a *account) done(c *call, n int, marker string, err error) {
	status := http.StatusOK
	if err != nil {
		c.ui.logger.WarnContext(c.r.Context(), "sessionui: a revocation is pending", "error", err)
		status, marker = http.StatusAccepted, "pending"
	}
	if c.wantsJSON() {
		c.answer(status, doneJSON{n, err != nil})
		return
	}
	c.redirect("?done=" + marker)
}
