package system

import (
	"fmt"
	"math/rand/v2"
	"net/url"
)

// outage is what each kind of request is answered while a side is down: the
// failure-mode table of docs/guarantees.md.
type outage struct {
	request  string
	sql      string // SQL down, a store that is not verified
	verified string // SQL down, a verified store
	store    string // the store down
	both     string // SQL down where it is the store, too
}

// A "!" behind a status says that the answer clears the cookie, a "+" that it
// sets one.
var outages = []outage{
	{"no cookie", "401", "401", "401", "401"}, // served: the program asks for a login
	{"read", "200", "503", "503", "503"},
	{"write", "200", "503", "503", "503"},
	{"login", "503", "503", "503", "503"},
	{"RenewToken", "503", "503", "503", "503"},
	{"Reauthenticate", "503", "503", "503", "503"},
	{"ListSessions", "503", "503", "200", "503"},
	{"Logout", "503!", "503", "503", "503"},
	{"RevokeSession", "503", "503", "202", "503"},
	{"RevokeOtherSessions", "503", "503", "503", "503"},
	{"RevokeAllSessions", "503", "503", "202", "503"},
}

// ask sends one kind of request, for a user with two sessions, and returns the
// status with what becomes of the cookie.
func (c *clients) ask(request string, u *user, rng *rand.Rand) string {
	s := u.sessions[0]
	token := s.tokens[0]
	form := url.Values{"user": {u.id}, "id": {u.sessions[1].id}, "label": {"new"}}
	var r reply
	switch request {
	case "no cookie":
		r = c.do(rng, 0, "GET", "/whoami", form, "", 0)
	case "read":
		r = c.do(rng, 0, "GET", "/whoami", form, token, 0)
	case "write":
		form.Set("value", "x")
		r = c.do(rng, 0, "POST", "/write", form, token, 0)
	case "login":
		r = c.do(rng, 0, "POST", "/login", form, "", 0)
	case "RenewToken":
		r = c.do(rng, 0, "POST", "/renew", form, token, 0)
	case "Reauthenticate":
		form.Set("again", "yes")
		r = c.do(rng, 0, "POST", "/renew", form, token, 0)
	case "ListSessions":
		r = c.do(rng, 0, "GET", "/list", form, "", 0)
	case "Logout":
		r = c.do(rng, 0, "POST", "/logout", form, token, 0)
	case "RevokeSession":
		r = c.do(rng, 0, "POST", "/revoke", form, "", 0)
	case "RevokeOtherSessions":
		r = c.do(rng, 0, "POST", "/others", form, token, 0)
	case "RevokeAllSessions":
		r = c.do(rng, 0, "POST", "/all", form, "", 0)
	}
	status := fmt.Sprint(r.status)
	switch r.cookie {
	case "":
	case "cleared":
		status += "!"
	default:
		status += "+"
	}
	return status
}

// askAll asks everything while the link of a replica to one side is down, and
// returns the answers by request.
func (c *clients) askAll(down *link, rng *rand.Rand) map[string]string {
	users := make(map[string]*user)
	for _, row := range outages {
		u := c.newUser()
		users[row.request] = u
		for len(u.sessions) < 2 {
			c.login(u, rng, 0)
		}
		c.list(u, rng, 0)
	}
	down.proxy.Stop()
	defer func() {
		if err := down.proxy.Start(); err != nil {
			c.w.t.Errorf("the link does not come back: %v", err)
		}
	}()
	answers := make(map[string]string)
	for _, row := range outages {
		answers[row.request] = c.ask(row.request, users[row.request], rng)
	}
	return answers
}
