package usersession

import (
	"context"
	"net/netip"

	"github.com/seed-296ca7ab/usersession/internal/index"
)

// tellReuse deals with a token of the request that is from before a renewal. A browser
// that has the new one as well, after a change of the cookie's Path for instance, sends
// both. Whoever sends it again and again fills no log with it.
func (m *Manager) tellReuse(ctx context.Context, r *request) {
	var row *index.Row
	r.do(func() {
		if row = r.reused; row != nil && r.own != nil && r.own.ID == row.ID {
			row = nil
		}
		r.reused = nil
	})
	if row == nil || !row.UserID.Valid { // whose user is gone, and which is served to nobody
		return
	}
	e := Event{Kind: EventTokenReused, SessionID: row.ID, UserID: row.UserID.String, Actor: bindingOf(*row, row.SessionKey).Actor, LastUserAgent: row.LastUserAgent}
	e.LastIP, _ = netip.ParseAddr(row.LastIP)
	due := m.reuses.Due(row.ID)
	if m.opts.TokenReuse == ReuseEnds && row.Bound == 0 {
		wctx, cancel := m.finishing(ctx)
		defer cancel()
		by, n := index.Ending{Reason: ReasonTokenReused}, 0
		rows, err := m.index.EndOne(wctx, row.UserID.String, row.ID, by)
		if e.Err = err; err == nil {
			n, e.Err = m.deleteEnded(wctx, rows, by)
		}
		if due = due || n > 0; n > 0 && e.Err == nil {
			e.Reason = by.Reason
		}
	}
	if due {
		m.emit(ctx, e)
	}
}
