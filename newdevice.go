package usersession

import (
	"context"
	"net/netip"
	"slices"

	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// maxKnown is how many ended sessions of a user a login is compared with.
const maxKnown = 100

// noticeDevice reports the login of b if it resembles none of the user's sessions.
func (m *Manager) noticeDevice(ctx context.Context, b *trailer.Binding) {
	if !m.opts.NoticeNewDevices || b.Impersonated() {
		return
	}
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	rows, err := m.index.ListByUser(ctx, b.UserID)
	if err == nil {
		ended, eerr := m.index.ListEnded(ctx, b.UserID, maxKnown)
		rows, err = append(rows, ended...), eerr
	}
	var login UserSession
	var known []UserSession
	for _, r := range rows {
		switch s := sessionOf(r, m.opts.IdleTimeout, ""); {
		case s.ID == b.ID:
			login = s
		case s.vouches():
			known = append(known, s)
		}
	}
	if err == nil && (len(known) == 0 || slices.ContainsFunc(known, login.resembles)) {
		return
	}
	m.emit(ctx, Event{Kind: EventNewDevice, SessionID: b.ID, UserID: b.UserID, Err: err})
}

// vouches reports whether a session is one that nobody has complained about. A thief
// whose session was revoked must not be known by it.
func (s UserSession) vouches() bool {
	switch s.Reason {
	case "", ReasonLogout, ReasonReplaced, ReasonEvicted, ReasonExpired:
		return true
	}
	return false
}

// resembles reports whether a login may be that of the user of a known session: the
// same kind of browser, from the same network. What is not known of one of them is no
// difference.
func (s UserSession) resembles(known UserSession) bool {
	used := known
	used.UserAgent = known.LastUserAgent
	return (s.Device() == known.Device() || s.Device() == used.Device()) &&
		(isNear(s.IP, known.IP) || isNear(s.IP, known.LastIP))
}

// isNear reports whether two addresses are of one provider, more or less: 16 bits of
// IPv4, and 32 of IPv6.
func isNear(a, b netip.Addr) bool {
	if !a.IsValid() || !b.IsValid() {
		return true
	}
	bits := 32
	if a.Is4() {
		bits = 16
	}
	p, err := a.Prefix(bits)
	return err == nil && p.Contains(b)
}
