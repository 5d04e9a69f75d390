package usersession

import (
	"context"
	"net/http"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// bindDevices has the Manager read with each row how its session is bound to a device,
// and serve one that is only to requests that prove says come from there.
func (m *Manager) bindDevices(prove func(r *http.Request, sessionID, secret string) inside.Proof) {
	m.prove = prove
	lists := m.lists
	m.index = m.index.WithDevices()
	if m.lists = m.index; lists != nil && m.opts.Index.ReadReplica != nil {
		m.lists = lists.WithDevices()
	}
}

// onDevice reports whether the request of ctx may be served the session of b. It ends
// nothing if not, because somebody else may have the cookie.
func (m *Manager) onDevice(ctx context.Context, b *trailer.Binding, d index.Device) bool {
	r, _ := ctx.Value(requestKey{m.id}).(*request)
	proof := inside.Unproved
	if r != nil && r.http != nil && d.State != index.Unbound {
		proof = m.prove(r.http, b.ID, d.Secret)
	}
	served := proof == inside.Proved || d.State != index.Bound
	if r != nil {
		r.do(func() {
			if r.session != nil {
				return // it is merged into the one of the request
			}
			r.device, r.proved = d, proof == inside.Proved
			if r.withheld = nil; !served {
				r.withheld = b
			}
		})
	}
	if !served && proof != inside.Proving {
		m.emitOf(ctx, EventUnbound, b, nil)
	}
	return served
}

// leaveToEnd returns an error if the session of a cookie that came beside another one is
// bound to a device, and the request does not come from there. The cookie alone is no
// leave to end it.
func (m *Manager) leaveToEnd(ctx context.Context, r *request, key string) error {
	if m.prove == nil {
		return nil
	}
	row, found, err := m.index.LiveRowByKey(ctx, key)
	if err != nil || !found || row.Bound == 0 || !row.UserID.Valid {
		return err
	}
	b := &trailer.Binding{ID: row.ID, UserID: row.UserID.String, Key: key}
	live, err := m.index.LiveByKey(ctx, b)
	if err == nil && live.Device.State == index.Bound && (r.http == nil || m.prove(r.http, b.ID, live.Device.Secret) != inside.Proved) {
		err = errSpared
	}
	return err
}

// deviceSession returns the session of a request for package dbsc.
func (m *Manager) deviceSession(ctx context.Context) (s inside.Session, ok bool) {
	r := m.request(ctx)
	if r == nil || r.other {
		return s, false
	}
	r.do(func() {
		s = inside.Session{Binding: r.present(), Device: r.device, Proved: r.proved, Passive: r.passive}
		switch {
		case r.staged != nil && r.staged.login:
			s = inside.Session{Binding: r.staged.binding, Fresh: true}
		case r.staged != nil:
			s.Binding, s.Fresh = r.staged.binding, true
		case s.Binding == nil && r.withheld != nil:
			s.Binding, s.Withheld = r.withheld, true
		}
	})
	return s, s.Binding.Authenticated()
}
