package usersession

import (
	"context"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/datatable"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// created is inside.Parts.Created.
func (m *Manager) created(ctx context.Context, userID, id string) (at time.Time, found bool, err error) {
	uid, err := checkUserID(m.index, userID)
	if err != nil {
		return at, false, err
	}
	ctx, cancel := m.reading(ctx)
	defer cancel()
	row, found, err := m.index.ByID(ctx, &trailer.Binding{ID: id, UserID: uid})
	return sessionOf(row, 0, "").CreatedAt, found, err
}

func init() {
	inside.Of = func(manager any) inside.Parts {
		m := manager.(*Manager)
		p := inside.Parts{Index: m.index, Place: string(m.data.name), Reconcile: m.reconcile, Touch: m.data.store.Touch, Created: m.created}
		p.Tables = append(p.Tables, inside.Tables{Tables: m.tables(), DB: m.index.DB(), Columns: index.ColumnsSQL})
		if s, ok := m.data.store.(*SQLStore); ok {
			p.Tables = append(p.Tables, inside.Tables{Tables: s.tables, DB: s.db, Columns: datatable.ColumnsSQL})
		}
		return p
	}
	inside.DevicesOf = func(manager any) inside.Devices {
		m := manager.(*Manager)
		return inside.Devices{
			Bind: m.bindDevices, Session: m.deviceSession, Client: func(ctx context.Context) index.Client { return m.usedBy(m.request(ctx)) }, Index: func() *index.Index { return m.index },
			Verified: m.data.verified(), Bound: m.prove != nil,
		}
	}
}
