package usersession

import (
	"context"
	"fmt"
	"maps"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/token"
)

// SetMeta changes pairs of UserSession.Meta of one live session of a user, such as the
// user's own name for a device. Other pairs stay as they are, and a pair with an empty
// value is taken away. It takes effect at once, whatever becomes of the request.
//
// SetMeta returns ErrSessionNotFound for an unknown ID and for one of somebody else.
// The result must be within the limits of WithMeta. MetaLevel and MetaImpersonator
// cannot be changed, and neither can MetaMethod in a session of Impersonate. Of two
// calls at once neither is lost. A Reauthenticate with metadata, in another request at
// the same time, may take the change back.
func (m *Manager) SetMeta(ctx context.Context, userID, id string, pairs map[string]string) error {
	uid, err := checkUserID(m.index, userID)
	if err != nil {
		return err
	}
	if err := refuseReserved("SetMeta", pairs); err != nil {
		return err
	}
	if !token.ValidID(id) {
		return ErrSessionNotFound
	}
	wctx, cancel := m.finishing(ctx)
	defer cancel()
	found, err := m.index.ChangeMeta(wctx, uid, id, func(row index.Row) (string, error) {
		return changeMeta(row.Meta, pairs)
	})
	if err == nil && !found {
		return ErrSessionNotFound
	}
	if r := m.request(ctx); err == nil && r != nil && m.currentID(ctx) == id {
		r.do(func() {
			if s := r.staged; s != nil && s.meta != "" { // it is written with the commit, over the row's
				s.meta, err = changeMeta(s.meta, pairs)
			}
		})
	}
	return wrap("SetMeta", err)
}

// changeMeta returns metadata, as rows have them, with some pairs changed.
func changeMeta(meta string, pairs map[string]string) (string, error) {
	all := index.MetaOf(meta)
	if _, method := pairs[MetaMethod]; method && all[MetaImpersonator] != "" {
		return "", fmt.Errorf("usersession: the key %q is for Impersonate in this session", MetaMethod)
	}
	maps.Copy(all, pairs)
	maps.DeleteFunc(all, func(_, v string) bool { return v == "" })
	if err := checkMeta("the metadata", all); err != nil {
		return "", err
	}
	return index.MetaJSON(all), nil
}
