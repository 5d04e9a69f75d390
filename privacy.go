package usersession

import (
	"net/netip"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/agent"
)

// IPPrivacy says how much is kept of a client's address. It is one of IPFull,
// IPTruncated and IPOff.
type IPPrivacy string

// UserAgentPrivacy says how much is kept of a User-Agent. It is one of UserAgentFull,
// UserAgentFamily and UserAgentOff.
type UserAgentPrivacy string

// The values of the fields of Privacy.
const (
	IPFull      IPPrivacy = ""          // the address
	IPTruncated IPPrivacy = "truncated" // the network: /24 of IPv4, /48 of IPv6
	IPOff       IPPrivacy = "off"       // nothing

	UserAgentFull   UserAgentPrivacy = ""       // the header, cut to 512 bytes
	UserAgentFamily UserAgentPrivacy = "family" // what UserSession.Device says, without versions and models
	UserAgentOff    UserAgentPrivacy = "off"    // nothing

	// UntilEnd as a retention means that a text is taken out of the row when the session
	// has ended.
	UntilEnd time.Duration = -1
)

// Privacy says how much of a client's address and User-Agent is kept, and for how long.
// It counts for rows and events alike, and for the texts of WithIP and WithUserAgent. The
// zero value keeps them in full, for as long as the row. A change counts for what is
// written from then on.
type Privacy struct {
	IP        IPPrivacy
	UserAgent UserAgentPrivacy

	// IPRetention and UserAgentRetention are how long after the login the text is kept.
	// Then the janitor takes it out of the row, whether the session is live or not. It
	// looks at every row of the index for that, in pages, at most once an hour. So a
	// text may stay for an hour more. UntilEnd is another choice. If 0, the text stays
	// as long as the row, and the janitor looks at nothing. They must be at least 1
	// second.
	IPRetention        time.Duration
	UserAgentRetention time.Duration
}

// check refuses what cannot be meant.
func (p Privacy) check(bad func(field, format string, args ...any)) {
	switch p.IP {
	case IPFull, IPTruncated, IPOff:
	default:
		bad("Privacy.IP", "is %q, which is none of IPFull, IPTruncated, IPOff", p.IP)
	}
	switch p.UserAgent {
	case UserAgentFull, UserAgentFamily, UserAgentOff:
	default:
		bad("Privacy.UserAgent", "is %q, which is none of UserAgentFull, UserAgentFamily, UserAgentOff", p.UserAgent)
	}
	retention := func(name string, d time.Duration) {
		if d != 0 && d != UntilEnd && d < time.Second {
			bad("Privacy."+name, "must be at least 1s, is %v", d)
		}
	}
	retention("IPRetention", p.IPRetention)
	retention("UserAgentRetention", p.UserAgentRetention)
}

// address returns as much of an address as is kept.
func (p Privacy) address(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	switch {
	case !ip.IsValid() || p.IP == IPOff:
		return netip.Addr{}
	case p.IP == IPFull:
		return ip
	}
	bits := 48
	if ip.Is4() {
		bits = 24
	}
	network, _ := ip.Prefix(bits) // which an address of that length has
	return network.Addr()
}

// agent returns as much of a User-Agent as is kept.
func (p Privacy) agent(userAgent string) string {
	switch p.UserAgent {
	case UserAgentOff:
		return ""
	case UserAgentFamily:
		return agent.Family(userAgent)
	}
	return userAgent
}
