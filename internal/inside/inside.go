// Package inside is how the programs of this repository that operate an index, and the
// helpers for tests, reach the parts of a Manager which are no public API.
//
// The root fills in Of. It must never be needed to serve a request.
package inside

import (
	"context"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/schema"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// Parts are those of a Manager.
type Parts struct {
	Index  *index.Index
	Place  string // of its Store, as rows keep it
	Tables []Tables

	// Created returns when a session of a user began, live or ended, as the primary has
	// it. It reports false if there is no row of it.
	Created func(ctx context.Context, userID, id string) (at time.Time, found bool, err error)

	// Touch is that of the Store.
	Touch func(ctx context.Context, key string, expiry time.Time) (found bool, err error)

	// Reconcile is that of the Manager. If end is false it ends nothing, and counts.
	Reconcile func(ctx context.Context, end bool) (int, error)
}

// Tables are what Migrate makes, and where.
type Tables struct {
	schema.Tables
	DB      *sqldb.DB
	Columns string // a query that fails if a column is not there
}

// Of returns the parts of a *usersession.Manager.
var Of func(manager any) Parts

type progressKey struct{}

// WithProgress returns a context in which Prune and Reconcile tell how many sessions
// they have dealt with, batch by batch.
func WithProgress(ctx context.Context, progress func(sessions int)) context.Context {
	return context.WithValue(ctx, progressKey{}, progress)
}

// Progress tells it.
func Progress(ctx context.Context, sessions int) {
	if progress, ok := ctx.Value(progressKey{}).(func(int)); ok {
		progress(sessions)
	}
}

type interruptibleKey struct{}

// Interruptible returns a context with whose end a revocation of many sessions stops
// after the page that it is at. Somebody waits for it, and is told how many have ended.
// Otherwise it goes on, because a client that hangs up must not stop it.
func Interruptible(ctx context.Context) context.Context {
	return context.WithValue(ctx, interruptibleKey{}, true)
}

// Interrupted returns the error of such a context, once it has ended.
func Interrupted(ctx context.Context) error {
	if ctx.Value(interruptibleKey{}) == nil {
		return nil
	}
	return ctx.Err()
}
