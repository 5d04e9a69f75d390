package usersession

import (
	"context"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// renew moves a session to another key: noted in the index, created in the
// Store, swapped in the index, and only then is the old one deleted. A request
// in flight on the old key finds nothing to update.
func (m *Manager) renew(ctx context.Context, from *trailer.Binding, key string, body []byte, to *trailer.Binding, how index.Renewal) (*trailer.Binding, error) {
	nb := *to
	nb.Key = key
	if nb.Authenticated() && (!from.Authenticated() || from.ID != nb.ID) {
		// Another goroutine of the handler ended the session meanwhile. Data
		// of a user need a row, and this is not the way to one.
		return nil, m.endedMeanwhile(ctx, &nb)
	}
	if !from.Authenticated() {
		return &nb, m.renewAnonymous(ctx, from, key, body, &nb)
	}
	ok, err := m.index.RenewBegin(ctx, &nb, from.Key, how)
	if err == nil && !ok {
		ok, err = m.takeOver(ctx, &nb, from.Key, how)
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, m.endedMeanwhile(ctx, &nb)
	}
	if err := m.create(ctx, key, body, &nb); err != nil {
		m.discard(ctx, key) // the outcome of a failed Create is unknown
		return nil, err
	}
	ok, unleased, err := m.index.RenewSwap(ctx, &nb, from.Key, how)
	if err != nil {
		// Perhaps it was done and only the answer is lost. The browser keeps
		// the old token, so the row has to keep it too.
		m.renewBack(ctx, from, key)
		m.discard(ctx, key)
		return nil, err
	}
	if !ok {
		m.discard(ctx, key)
		return nil, m.endedMeanwhile(ctx, &nb)
	}
	// A token from before the renewal must not stay good, so if that cannot be seen to,
	// there is no renewal: the browser keeps the one it has.
	if err = m.dropEverywhere(ctx, unleased, nb.ID); err == nil {
		fctx, cancel := m.finishing(ctx) // the wait may have used up the time
		defer cancel()
		if m.data.verified() {
			m.discard(fctx, from.Key) // the row speaks on every request
		} else {
			err = m.data.store.Delete(fctx, from.Key)
		}
	}
	if err != nil {
		m.renewBack(ctx, from, key)
		m.discard(ctx, key)
		return nil, err
	}
	return &nb, nil
}

// renewBack gives the row its old key back. The time of what failed may be used
// up, so it has its own.
func (m *Manager) renewBack(ctx context.Context, from *trailer.Binding, key string) {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	if err := m.index.RenewBack(ctx, from, key); err != nil {
		m.opts.Logger.WarnContext(m.hide(ctx), "usersession: a renewal that failed could not be undone; the session ends within minutes", "error", err)
	}
}

// takeOver begins a renewal of a session that another one has begun to renew. Of
// two at once the later wins: the row forgets the former's key first, so that it
// cannot be swapped in any more, and then its data go. One that died in the
// middle leaves nothing behind.
func (m *Manager) takeOver(ctx context.Context, nb *trailer.Binding, from string, how index.Renewal) (bool, error) {
	row, found, err := m.index.ByID(ctx, nb)
	if err != nil || !found {
		return false, err
	}
	abandoned, renewing := row.RenewingTo()
	if !renewing || row.SessionKey != from || row.EndedAt != 0 || row.Reason != how.Reason {
		return false, nil
	}
	ok, err := m.index.RenewTakeOver(ctx, nb, from, abandoned)
	if err != nil || !ok {
		return false, err
	}
	return true, m.leftovers.Delete(ctx, m.data.store.Delete, abandoned)
}

// renewAnonymous moves a session without a row to another key.
func (m *Manager) renewAnonymous(ctx context.Context, from *trailer.Binding, key string, body []byte, nb *trailer.Binding) error {
	if from == nil || from.Key == "" {
		return m.create(ctx, key, body, nb)
	}
	// Only a conditional update can tell whether a login in another tab has
	// ended it, in which case this response must not set a cookie.
	if err := m.update(ctx, from.Key, body, from, from); err != nil {
		return err
	}
	if err := m.create(ctx, key, body, nb); err != nil {
		m.discard(ctx, key)
		return err
	}
	m.discard(ctx, from.Key)
	return nil
}
