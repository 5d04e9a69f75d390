package usersession

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/place"
)

// Store resolves session keys to session data.
//
// A key is the base64url form of a SHA-256 sum: 43 characters from
// [A-Za-z0-9_-], never the token itself. Data is opaque and may hold any bytes.
// A Store must be safe for concurrent use, must not keep or change the data
// slices it is given, and must return slices the caller may change. Every
// method honours ctx: with a cancelled ctx it returns an error, and it returns
// no later than its backend allows once ctx has ended.
//
// The context of a commit must not be asked for its session, because scs holds
// the lock of that session meanwhile.
//
// An error means that the outcome is unknown; "there is no such key" is never
// an error. The contract is checked by the package storetest.
type Store interface {
	// Find returns the data of a key. A key that is missing or whose expiry
	// has passed is not found: found is false and err is nil.
	Find(ctx context.Context, key string) (data []byte, found bool, err error)

	// Create stores the data of a new key until expiry. If the key exists it
	// returns ErrKeyExists and changes nothing. Only a Store without atomic
	// updates may overwrite the data, where its backend cannot tell. An expiry
	// that is not in the future stores nothing that Find would return.
	Create(ctx context.Context, key string, data []byte, expiry time.Time) error

	// Update replaces the data of a key that exists; its expiry stays as it
	// is. A key that is missing or expired is not found, and Update never
	// brings it back.
	Update(ctx context.Context, key string, data []byte) (found bool, err error)

	// Touch moves the expiry of a key that exists; its data stays as it is. A
	// key that is missing or expired is not found, and Touch never brings it
	// back.
	Touch(ctx context.Context, key string, expiry time.Time) (found bool, err error)

	// Delete removes keys. Missing keys and an empty list are no-ops.
	Delete(ctx context.Context, keys ...string) error
}

// AtomicUpdater is implemented by a Store that can declare its Update and Touch
// atomic: one indivisible step of the backend that finds the key and changes
// it, so that a Delete that has returned is never undone by an Update or Touch
// in flight.
//
// The sessions of a Store that does not declare it are checked against the
// index on every request.
type AtomicUpdater interface {
	// AtomicUpdates reports whether Update and Touch are atomic.
	AtomicUpdates() bool
}

// updatesAtomically reports whether s declares its Update and Touch atomic.
func updatesAtomically(s Store) bool {
	a, ok := s.(AtomicUpdater)
	return ok && a.AtomicUpdates()
}

// Placer is implemented by a Store that can say where it keeps its data, in at most
// 200 letters, digits, spaces and characters of "_.,:/#+-". The index keeps that with
// each session. Then a program with another Store on the same index cannot take the
// data of a session for deleted.
//
// Two Stores with the same data say the same, in every process. Two Stores with
// different data say different things where they can. A server may have several
// addresses, so its address comes last, behind a "+". Of two places that differ only
// in that, the Store that is asked to delete data is first asked whether it has them.
// A part from "#" on names data that end
// with their process, and no other Store has the same. [Manager.Reconcile] says when
// data of that kind are taken for lost. A Store that does not say is known by its type.
type Placer interface {
	// Place returns the same text each time, and does no I/O.
	Place() string
}

// placeOf returns the place of s, which is its type if it does not say.
func placeOf(s Store) place.Name {
	if p, ok := s.(Placer); ok {
		return place.Name(p.Place())
	}
	return place.OfType(s)
}

// KeyLister is implemented by a Store that can iterate its keys.
type KeyLister interface {
	// Keys yields every key that has not expired, in no particular order. Keys
	// created or deleted meanwhile may be missing or present. A key may come
	// more than once, because backends with a cursor cannot prevent it. Keys
	// stops after the first error.
	Keys(ctx context.Context) iter.Seq2[string, error]
}

// keysOfStore yields the keys of s that have not expired. If s is not a KeyLister
// it yields one error that wraps errors.ErrUnsupported.
func keysOfStore(ctx context.Context, s Store) iter.Seq2[string, error] {
	if l, ok := s.(KeyLister); ok {
		return l.Keys(ctx)
	}
	return func(yield func(string, error) bool) {
		yield("", &unsupportedError{what: "iterate its keys"})
	}
}

// ExpiryFinder is implemented by a Store that can tell when data expire.
// [Manager.ReconcileStore] compares that with the index.
type ExpiryFinder interface {
	// FindExpiry is Find that returns the expiry as well. It is the zero time for
	// data that never expire. Otherwise it may be off by what the clocks of backend
	// and program differ in.
	FindExpiry(ctx context.Context, key string) (data []byte, expiry time.Time, found bool, err error)
}

// Pruner is implemented by a Store whose backend does not drop expired keys by
// itself. [Manager.Prune] calls it.
type Pruner interface {
	// Prune deletes data whose expiry has passed and returns how many keys it
	// deleted.
	Prune(ctx context.Context) (int, error)
}

// pruneStore deletes the expired data of s, if s wants to be asked for it.
func pruneStore(ctx context.Context, s Store) (int, error) {
	if p, ok := s.(Pruner); ok {
		return p.Prune(ctx)
	}
	return 0, nil
}

// unsupportedError says what a Store cannot do.
type unsupportedError struct{ what string }

func (e *unsupportedError) Error() string { return "usersession: the store cannot " + e.what }
func (e *unsupportedError) Unwrap() error { return errors.ErrUnsupported }
