// Package scsstore keeps session data in any store that was written for
// github.com/alexedwards/scs/v2.
//
// The package imports only the standard library, scs, and the packages
// usersession and internal/bounded.
package scsstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"regexp"
	"strconv"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/bounded"
)

var (
	_ usersession.Store     = (*Store)(nil)
	_ usersession.KeyLister = (*Store)(nil)
	_ usersession.Placer    = (*Store)(nil)
)

// Store makes an scs store a [usersession.Store]. It is safe for concurrent use
// if the scs store is.
//
// An scs store can only overwrite, so Update and Touch read a key and then
// write it. They are not atomic, and the Store does not declare them to be. So
// its sessions are checked against the index on every request.
//
// The expiry is kept twice. The scs store is told it with a second more,
// because some stores cut seconds. It also stands in a trailer of 20 bytes
// behind the data. The trailer counts. Update finds there the expiry to keep,
// and nothing is found past it, whatever the scs store does with its own. Find
// returns the data without the trailer. scs's GobCodec ignores bytes behind its
// own, so that a program which goes back to plain scs can read the data.
//
// Find, Update, Touch and Keys do not find data without a trailer, because
// nobody can tell when it expires. Create replaces it and Delete removes it.
// Plain scs writes such data. Options.Adopt of usersession takes it over, by FindAny
// and KeysOfAny.
type Store struct {
	inner  scs.Store
	find   func(ctx context.Context, key string) ([]byte, bool, error)
	commit func(ctx context.Context, key string, data []byte, expiry time.Time) error
	delete func(ctx context.Context, key string) error
	all    func(ctx context.Context) (map[string][]byte, error) // nil if inner cannot
}

// Wrap returns s as a [usersession.Store].
//
// Like scs, the Store calls FindCtx, CommitCtx, DeleteCtx and AllCtx where s
// has them, each for itself. It never calls their plain twins then, which panic
// in some stores. A plain method cannot be interrupted. It is not called once
// the context has ended. If the context ends during the call, nobody waits for
// it, and it goes on in a goroutine of its own.
//
// If s is nil, or a nil pointer, Wrap returns nil. usersession.New refuses that.
func Wrap(s scs.Store) *Store {
	if v := reflect.ValueOf(s); s == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	w := &Store{inner: s}
	w.find = func(ctx context.Context, key string) ([]byte, bool, error) {
		type found struct {
			data []byte
			ok   bool
		}
		f, err := bounded.Call(ctx, func() (f found, err error) {
			f.data, f.ok, err = s.Find(key)
			return f, err
		})
		return f.data, f.ok, err
	}
	if c, ok := s.(interface {
		FindCtx(context.Context, string) ([]byte, bool, error)
	}); ok {
		w.find = c.FindCtx
	}
	w.commit = func(ctx context.Context, key string, data []byte, expiry time.Time) error {
		return wait(ctx, func() error { return s.Commit(key, data, expiry) })
	}
	if c, ok := s.(interface {
		CommitCtx(context.Context, string, []byte, time.Time) error
	}); ok {
		w.commit = c.CommitCtx
	}
	w.delete = func(ctx context.Context, key string) error {
		return wait(ctx, func() error { return s.Delete(key) })
	}
	if c, ok := s.(interface {
		DeleteCtx(context.Context, string) error
	}); ok {
		w.delete = c.DeleteCtx
	}
	switch c := s.(type) {
	case scs.IterableCtxStore:
		w.all = c.AllCtx
	case scs.IterableStore:
		w.all = func(ctx context.Context) (map[string][]byte, error) { return bounded.Call(ctx, c.All) }
	}
	return w
}

// wait calls fn, and waits for it until ctx ends.
func wait(ctx context.Context, fn func() error) error {
	_, err := bounded.Call(ctx, func() (struct{}, error) { return struct{}{}, fn() })
	return err
}

var notInPlace = regexp.MustCompile(`[^A-Za-z0-9_./]`)

// Place names the type of the scs store, with a sum of the texts in it, such as its
// prefix. That is all that can be told of it.
func (s *Store) Place() string {
	name := "scs " + notInPlace.ReplaceAllString(fmt.Sprintf("%T", s.inner), "")
	name = name[:min(len(name), 100)]
	v := reflect.Indirect(reflect.ValueOf(s.inner))
	if v.Kind() != reflect.Struct {
		return name
	}
	texts := ""
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.String && f.Len() > 0 {
			texts += v.Type().Field(i).Name + "=" + strconv.Quote(f.String()) + " "
		}
	}
	if texts == "" {
		return name
	}
	return fmt.Sprintf("%s %.8x", name, sha256.Sum256([]byte(texts)))
}

// Find returns a copy of the data of a key.
func (s *Store) Find(ctx context.Context, key string) ([]byte, bool, error) {
	data, _, found, err := s.read(ctx, key)
	if err != nil || !found {
		return nil, false, err
	}
	return append([]byte{}, data...), true, nil
}

// Create stores the data of a new key until expiry. It first looks for the key,
// and returns [usersession.ErrKeyExists] if it exists. Two calls at the same
// time may both succeed, and the later one counts. An expiry that is not in the
// future stores nothing.
func (s *Store) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	_, _, found, err := s.read(ctx, key)
	if err != nil {
		return err
	}
	if found {
		return usersession.ErrKeyExists
	}
	return s.write(ctx, key, data, expiry)
}

// Update replaces the data of a key that exists and keeps its expiry. It is not
// atomic.
func (s *Store) Update(ctx context.Context, key string, data []byte) (bool, error) {
	_, expiry, found, err := s.read(ctx, key)
	if err == nil && found {
		err = s.write(ctx, key, data, expiry)
	}
	return found && err == nil, err
}

// Touch moves the expiry of a key that exists and keeps its data. It is not
// atomic. An expiry that is not in the future deletes the key.
func (s *Store) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	data, _, found, err := s.read(ctx, key)
	if err == nil && found {
		err = s.write(ctx, key, data, expiry)
	}
	return found && err == nil, err
}

// Delete removes keys one by one. It tries all of them, even if one cannot be
// removed.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var errs []error
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		if err := s.delete(ctx, key); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Keys yields every key that has not expired. The scs store reads all data of
// all keys for that, at once. If it cannot, Keys yields one error that wraps
// [errors.ErrUnsupported].
func (s *Store) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if s.all == nil {
			yield("", fmt.Errorf("scsstore: %T cannot iterate its keys: %w", s.inner, errors.ErrUnsupported))
			return
		}
		if err := ctx.Err(); err != nil {
			yield("", err)
			return
		}
		all, err := s.all(ctx)
		if err != nil {
			yield("", err)
			return
		}
		for key, stored := range all {
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			if _, expiry, ok := splitTrailer(stored); !ok || !expiry.After(time.Now()) {
				// It has expired, or the scs store returns memory that it has
				// used for something else since, as that for Badger does.
				if _, _, found, err := s.read(ctx, key); err != nil {
					yield("", err)
					return
				} else if !found {
					continue
				}
			}
			if !yield(key, nil) {
				return
			}
		}
	}
}

// FindAny is Find that also finds data without a trailer, which plain scs has written.
// Options.Adopt of usersession reads those.
func (s *Store) FindAny(ctx context.Context, key string) (data []byte, found bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	stored, found, err := s.find(ctx, key)
	if err != nil || !found {
		return nil, false, err
	}
	data, expiry, own := splitTrailer(stored)
	if !own {
		data = stored
	} else if !expiry.After(time.Now()) {
		return nil, false, nil
	}
	return append([]byte{}, data...), true, nil
}

// KeysOfAny yields the keys of the scs store, whoever has written their data. It reads
// all data at once, as Keys does.
func (s *Store) KeysOfAny(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if s.all == nil {
			yield("", fmt.Errorf("scsstore: %T cannot iterate its keys: %w", s.inner, errors.ErrUnsupported))
			return
		}
		all, err := s.all(ctx)
		if err != nil {
			yield("", err)
			return
		}
		for key := range all {
			if !yield(key, nil) {
				return
			}
		}
	}
}

// read returns the data of a key, which the scs store may still own, and its
// expiry.
func (s *Store) read(ctx context.Context, key string) (data []byte, expiry time.Time, found bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, time.Time{}, false, err
	}
	stored, found, err := s.find(ctx, key)
	if err != nil || !found {
		return nil, time.Time{}, false, err
	}
	data, expiry, found = splitTrailer(stored)
	if !found || !expiry.After(time.Now()) {
		return nil, time.Time{}, false, nil
	}
	return data, expiry, true, nil
}

// rounding is how much longer than until its expiry an scs store is told to keep
// data, because some count whole seconds and cut the rest. The trailer counts.
const rounding = time.Second

// write stores data until expiry, or deletes the key if expiry has passed. Some
// scs stores take an expiry that has passed for none at all and would keep the
// data for ever.
func (s *Store) write(ctx context.Context, key string, data []byte, expiry time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if expiry.After(time.Now()) {
		if err := s.commit(ctx, key, withTrailer(data, expiry), expiry.Add(rounding)); err != nil {
			return err
		}
		if expiry.After(time.Now()) {
			return nil
		}
		// It has passed meanwhile, perhaps before the scs store looked.
	}
	return s.delete(ctx, key)
}
