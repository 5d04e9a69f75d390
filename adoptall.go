package usersession

import (
	"context"

	"github.com/seed-296ca7ab/usersession/internal/adopt"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// AdoptAll adopts the sessions of plain scs that are in the Store, as their next
// request would. From then on, ListSessions and the Revoke methods know of them. With
// Adopt.Rekey it also moves the data to hashed keys.
//
// It may run beside requests, in several processes at once, and again. What it has done
// before costs a read for each session. If ctx ends, or the Store or the index fails,
// AdoptAll returns the error and the result so far, and the next call goes on. After
// every 100 keys it rests for as long as they took, so that requests hardly wait for it.
//
// The Store must be able to iterate its keys. Otherwise the error wraps
// errors.ErrUnsupported, and requests adopt sessions one by one. Without Options.Adopt
// it returns an error, and does nothing.
func (m *Manager) AdoptAll(ctx context.Context) (AdoptResult, error) {
	var res AdoptResult
	if m.adopting == nil {
		return res, wrap("AdoptAll", errNoAdopt)
	}
	progress := m.opts.Adopt.Progress
	if progress == nil {
		progress = func(AdoptResult) {}
	}
	n, rest := 0, sqldb.Resting(ctx)
	for at, err := range m.adopting.All(ctx) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = m.adoptAt(ctx, at, &res)
		}
		if err != nil {
			return res, wrap("AdoptAll", err)
		}
		if n++; n%index.PruneSize == 0 {
			progress(res)
			rest()
		}
	}
	progress(res)
	return res, nil
}

// adoptAt adopts what is under one key of the Store.
func (m *Manager) adoptAt(ctx context.Context, at string, res *AdoptResult) error {
	ctx, cancel := m.finishing(ctx)
	defer cancel()
	body, found, err := m.adopting.Read(ctx, at)
	if err != nil || !found {
		return err // it is an alias, or gone
	}
	key := at
	_, b := trailer.Split(body)
	switch {
	case b != nil && b.Key == at:
		res.Before++
		return nil
	case b == nil && !token.Valid(at) || b != nil && b.Key != token.Key(at):
		res.Unreadable++
		return nil
	case !m.adopting.Hashed:
		key = token.Key(at)
	}
	ctx = adopt.WithToken(ctx, at)
	data, how := body, adoptedBefore
	if b == nil {
		if data, b, how, err = m.adopt(ctx, key, body, false); err == nil && how == adoptedNow {
			err = m.keepOld(ctx, b, how, data)
		}
		if err != nil {
			return err
		}
	}
	moved := b != nil && m.adopting.Moves(at, b)
	if moved {
		if _, err := m.settle(ctx, b, at, data); err != nil {
			return err
		}
	}
	if b != nil && !moved {
		res.Left++
	}
	switch how {
	case adoptedNow:
		res.Adopted++
	case adoptedBefore:
		res.Before++
	case adoptedAnonymous:
		res.Anonymous++
	case adoptedOver:
		res.Ended++
	case adoptedNot:
		res.Unreadable++
	}
	return nil
}
