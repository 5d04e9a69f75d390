package sessionui

import (
	"errors"
	"net/http"

	"github.com/seed-296ca7ab/usersession"
)

// MetaName is the key in UserSession.Meta of the name that a user has given to a
// device, on the page of Account or by a SetMeta of the program.
const MetaName = "device_name"

// maxName is how many characters a name has at most.
const maxName = 60

// renamePage is what rename.html is given.
type renamePage struct {
	*call
	Session sessionView
	Max     int // characters of a name
}

// nameOf returns the name that the user has given to a device.
func nameOf(s usersession.UserSession) string { return clean(s.Meta[MetaName], maxName) }

func (a *account) askName(c *call) {
	a.ask(c, a.m.UserID(c.r.Context()), func(v sessionView) {
		c.render(http.StatusOK, "rename.html", renamePage{c, v, maxName})
	})
}

// ask shows the session that the path names before something is done with it: as JSON,
// or on a page.
func (a *account) ask(c *call, userID string, page func(sessionView)) {
	s, err := a.m.Session(c.r.Context(), userID, c.r.PathValue("id"))
	switch {
	case errors.Is(err, usersession.ErrSessionNotFound):
		c.problem(http.StatusNotFound, "error.session")
	case err != nil:
		c.unavailable(err)
	case c.wantsJSON():
		c.answer(http.StatusOK, confirmJSON{Sessions: []sessionJSON{a.own(c.viewJSON(s))}, CSRF: c.CSRF()})
	default:
		page(c.view(s))
	}
}

// rename sets the name of a device. It asks for no fresh login: the name stands
// beside what the device is, and hides nothing.
func (a *account) rename(c *call) {
	name, id := clean(c.in.Get("name"), maxName), c.r.PathValue("id")
	err := a.m.SetMeta(c.r.Context(), a.m.UserID(c.r.Context()), id, map[string]string{MetaName: name})
	switch {
	case errors.Is(err, usersession.ErrSessionNotFound):
		c.problem(http.StatusNotFound, "error.session")
	case err != nil:
		c.unavailable(err)
	case c.wantsJSON():
		c.answer(http.StatusOK, nameJSON{name})
	default:
		c.redirect("")
	}
}

// nameJSON is a name as it was kept.
type nameJSON struct {
	Name string `json:"name"`
}
