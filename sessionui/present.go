package sessionui

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-296ca7ab/usersession"
)

// shown returns as much of an address as is shown.
func shown(ip netip.Addr, p usersession.IPPrivacy) string {
	if !ip.IsValid() || p == usersession.IPOff {
		return ""
	}
	if p == usersession.IPFull {
		return ip.String()
	}
	bits := 48
	if ip.Is4() {
		bits = 24
	}
	network, _ := ip.Prefix(bits) // bits fit
	return network.String()
}

// sessionView is a session as templates are given it. Its texts are safe to look at:
// no control, bidirectional or invisible characters, and no great length.
type sessionView struct {
	ID        string
	UserID    string // exact, for links and forms
	User      string // to be looked at
	Device    string
	Name      string // that its user has given to the device
	Title     string // the name, or else the device, and who acts there in the place of the user
	Icon      string // phone, tablet, app or laptop
	UserAgent string
	IP        string
	Current   bool
	Bound     bool // to its device

	// Place is where the IP is.
	Place string
	// Where it was last used, and with what if that is another device.
	LastIP, LastPlace, LastUserAgent, LastDevice string

	Created timeView
	Proved  timeView
	Seen    timeView
	Expires timeView
	Ended   timeView
	EndedBy string
	Reason  string
	Meta    []pair
}

type pair struct{ Key, Value string }

// timeView is a time in words, and exactly.
type timeView struct {
	Words, ISO, Exact string
}

// agentView is what a User-Agent says, in words.
type agentView struct {
	name   string // UserSession.Device
	device string // the same, translated
	text   string
	icon   string
}

// agent reads a User-Agent, once for all sessions of a page that have it.
func (c *call) agent(s usersession.UserSession) agentView {
	a, ok := c.agents[s.UserAgent]
	if !ok {
		a = agentView{name: clean(s.Device(), 60), text: clean(s.UserAgent, 300)}
		a.device = c.device(a.name)
		a.icon = icon(s.UserAgent)
		if c.agents == nil {
			c.agents = make(map[string]agentView)
		}
		c.agents[s.UserAgent] = a
	}
	return a
}

// icon returns what a client is drawn as. Browsers begin as Mozilla, and one on Android
// that is not mobile is on a tablet. What is no browser is an app.
func icon(userAgent string) string {
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(userAgent, w) })
	}
	switch {
	case userAgent != "" && !has("Mozilla/", "Opera/"):
		return "app"
	case has("iPad", "Tablet") || has("Android") && !has("Mobile"):
		return "tablet"
	case has("Mobile", "iPhone", "Opera Mini"):
		return "phone"
	}
	return "laptop"
}

// view makes a session presentable.
func (c *call) view(s usersession.UserSession) sessionView {
	agent := c.agent(s)
	v := sessionView{
		ID: s.ID, UserID: s.UserID, User: mark(s.UserID, 64), Current: s.Current, Bound: s.Bound,
		Device: c.actingOn(s, agent.device), UserAgent: agent.text, Icon: agent.icon, IP: shown(s.IP, c.ui.ip), Place: c.place(s.IP),
		Name: nameOf(s), Title: c.title(s),
		Created: c.time(s.CreatedAt), Proved: c.time(s.AuthenticatedAt),
		Seen: c.time(s.LastSeenAt), Expires: c.time(s.ExpiresAt), Ended: c.time(s.EndedAt),
	}
	last := c.agent(usersession.UserSession{UserAgent: s.LastUserAgent})
	v.LastIP, v.LastPlace, v.LastUserAgent = shown(s.LastIP, c.ui.ip), c.place(s.LastIP), last.text
	if last.name != agent.name {
		v.LastDevice = last.device
	}
	if s.Current && s.EndedAt.IsZero() {
		v.Seen.Words = c.T("time.active")
	}
	return v
}

// title returns what a session is called.
func (c *call) title(s usersession.UserSession) string {
	return c.actingOn(s, cmp.Or(nameOf(s), c.agent(s).device))
}

// actingOn adds to a device who acts there in the place of the user, if somebody does.
func (c *call) actingOn(s usersession.UserSession, device string) string {
	if by := actorOf(s.Meta); by != "" {
		return c.T("device.other", "actor", by, "device", device)
	}
	return device
}

// actorOf returns who acts in a session in the place of its user, by its metadata. It is
// "" for nobody only.
func actorOf(meta map[string]string) string { return mark(meta[usersession.MetaImpersonator], 64) }

// device translates a Device, above all one that says nothing.
func (c *call) device(d string) string {
	letters := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) {
			return r
		}
		return -1
	}, d)
	if len(letters) < 2 || d == (usersession.UserSession{}).Device() {
		return c.T("device.unknown")
	}
	if name, system, ok := strings.Cut(d, " on "); ok {
		return c.T("device.on", "browser", name, "system", system)
	}
	return d
}

// time says when t is: in relative words while it is near, as a date otherwise.
func (c *call) time(t time.Time) timeView {
	if t.IsZero() {
		return timeView{}
	}
	t = t.UTC()
	v := timeView{ISO: t.Format(time.RFC3339), Exact: t.Format("2006-01-02 15:04:05 UTC")}
	d, key := c.now.Sub(t), "time.ago."
	if d < -30*time.Second {
		d, key = -d+30*time.Second, "time.in."
	}
	switch {
	case d < time.Minute && key == "time.ago.":
		v.Words = c.T("time.now")
	case d < time.Hour:
		v.Words = c.N(key+"minutes", max(1, int(d/time.Minute)))
	case d < 24*time.Hour:
		v.Words = c.N(key+"hours", int(d/time.Hour))
	case d < 30*24*time.Hour:
		v.Words = c.N(key+"days", int(d/(24*time.Hour)))
	default:
		v.Words = c.T("time.date", "date", t.Format(c.language().date))
	}
	return v
}

// clean makes a text that a stranger wrote harmless to look at: what cannot be
// seen, or changes how other characters are seen, is left out.
func clean(s string, limit int) string { return tidy(s, limit, "") }

// mark is clean for names, where leaving out would make two of them look like
// one: what cannot be seen is seen as U+FFFD.
func mark(s string, limit int) string { return tidy(s, limit, "\uFFFD") }

func tidy(s string, limit int, instead string) string {
	var b strings.Builder
	n, marks, space := 0, 0, false
	for _, r := range s {
		if unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r) {
			marks++
		} else {
			marks = 0
		}
		out := string(r)
		switch {
		case instead == "" && unicode.IsSpace(r):
			space = n > 0
			continue
		case r == utf8.RuneError || marks > 2, r != ' ' && !unicode.IsPrint(r):
			out = instead
		}
		if out == "" {
			continue
		}
		if n++; n > limit {
			b.WriteString("…")
			break
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteString(out)
	}
	return b.String()
}

// sessionJSON is a session in the JSON of this package: that of
// usersession.UserSession, but for ip and last_ip, which are as much as may be shown, and for
// what an account page leaves out.
type sessionJSON struct {
	ID              string            `json:"id"`
	UserID          string            `json:"user_id,omitempty"`
	CreatedAt       time.Time         `json:"created_at"`
	AuthenticatedAt time.Time         `json:"authenticated_at"`
	LastSeenAt      time.Time         `json:"last_seen_at"`
	ExpiresAt       time.Time         `json:"expires_at"`
	IP              string            `json:"ip"`
	UserAgent       string            `json:"user_agent"`
	LastIP          string            `json:"last_ip"`
	LastUserAgent   string            `json:"last_user_agent"`
	Device          string            `json:"device"`
	Name            string            `json:"name,omitempty"`            // on an account page
	ImpersonatedBy  string            `json:"impersonated_by,omitempty"` // on an account page
	Meta            map[string]string `json:"meta,omitzero"`
	Current         bool              `json:"current"`
	Bound           bool              `json:"bound,omitempty"`
	EndedAt         time.Time         `json:"ended_at,omitzero"`
	EndedBy         string            `json:"ended_by,omitempty"`
	Reason          string            `json:"reason,omitempty"`
}

func (c *call) viewJSON(s usersession.UserSession) sessionJSON {
	return sessionJSON{
		ID: s.ID, UserID: s.UserID, CreatedAt: s.CreatedAt, AuthenticatedAt: s.AuthenticatedAt,
		LastSeenAt: s.LastSeenAt, ExpiresAt: s.ExpiresAt, IP: shown(s.IP, c.ui.ip),
		UserAgent: s.UserAgent, LastIP: shown(s.LastIP, c.ui.ip), LastUserAgent: s.LastUserAgent, Device: c.agent(s).name, Meta: s.Meta, Current: s.Current, Bound: s.Bound,
		EndedAt: s.EndedAt, EndedBy: s.EndedBy, Reason: s.Reason,
	}
}
