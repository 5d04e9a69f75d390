// Package adopt finds and keeps session data where plain scs has them, which is under the
// token or under its hash. It says nothing about whose sessions these are and whether they
// may be served, and it knows no index.
//
// Keys are the hashes of tokens, as everywhere. Where plain scs keeps data under the token
// itself, a context says which token it is. For whoever ends a session and knows the hash
// alone, there is an alias in the Store, which holds the token. The index never does. The
// alias outlives the data, so that the janitor can delete these a second time.
//
// The package may import the packages token and trailer and nothing else of this module.
package adopt

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Inner is a Store of usersession, whose contract says what its methods do.
type Inner interface {
	Find(ctx context.Context, key string) (data []byte, found bool, err error)
	Create(ctx context.Context, key string, data []byte, expiry time.Time) error
	Update(ctx context.Context, key string, data []byte) (found bool, err error)
	Touch(ctx context.Context, key string, expiry time.Time) (found bool, err error)
	Delete(ctx context.Context, keys ...string) error
}

// marker is implemented by a Store that marks its data, and finds no others by Find.
// Create takes the place of others.
type marker interface {
	FindAny(ctx context.Context, key string) (data []byte, found bool, err error)
	KeysOfAny(ctx context.Context) iter.Seq2[string, error]
}

// Store is a Store while plain scs uses the one below it as well. Its updates are not
// atomic. It is safe for concurrent use, and its fields do not change.
type Store struct {
	Inner  Inner
	Exists error // what Create of Inner returns for a key that exists
	Hashed bool  // plain scs hashes its tokens, so that there is one key only
	Rekey  bool  // data move to the hash

	Empty     func(deadline time.Time) ([]byte, error) // returns session data without values
	InnerKeys func(context.Context) iter.Seq2[string, error]
}

// marks returns Inner if it marks its data, else nil.
func (s *Store) marks() marker {
	m, _ := s.Inner.(marker)
	return m
}

// tokenKey is the key of the token in a context.
type tokenKey struct{}

// WithToken returns a context that says which token a key is of. It has the address of
// the token, because a context prints the texts in it.
func WithToken(ctx context.Context, tok string) context.Context {
	return context.WithValue(ctx, tokenKey{}, &tok)
}

const aliasMagic = "\xf5uSalias"

// aliasKey returns the key of the alias of a key.
func aliasKey(key string) string { return token.Key("alias " + key) }

// alias returns the token that stands in data, which plain scs reads as a session
// without values.
func alias(data []byte) (tok string, ok bool) {
	data, ok = bytes.CutSuffix(data, []byte(aliasMagic))
	if n := len(data) - token.Length; ok && n >= 0 && token.Valid(string(data[n:])) {
		return string(data[n:]), true
	}
	return "", false
}

// token returns the token of a key; "" if it is not known.
func (s *Store) token(ctx context.Context, key string) (string, error) {
	if tok, ok := ctx.Value(tokenKey{}).(*string); ok && token.Key(*tok) == key {
		return *tok, nil
	}
	data, _, err := s.Inner.Find(ctx, aliasKey(key))
	tok, _ := alias(data)
	return tok, err
}

// places returns the keys under which the data may be, in the order in which to look.
// Data move from the token to its hash only, and never while they are looked for there
// last.
func (s *Store) places(ctx context.Context, key string) ([]string, error) {
	if s.Hashed {
		return []string{key}, nil
	}
	tok, err := s.token(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case tok == "":
		return []string{key}, nil
	case s.Rekey:
		return []string{key, tok, key}, nil
	}
	return []string{tok, key}, nil
}

// first does something at the places of a key, up to the first where the data are.
func (s *Store) first(ctx context.Context, key string, do func(at string) (found bool, err error)) (bool, error) {
	places, err := s.places(ctx, key)
	for _, at := range places {
		if found, err := do(at); err != nil || found {
			return found, err
		}
	}
	return false, err
}

// Read returns the data under a key of the Store, whoever has written them. It reads
// once, because the mark may be set meanwhile.
func (s *Store) Read(ctx context.Context, at string) (data []byte, found bool, err error) {
	find := s.Inner.Find
	if m := s.marks(); m != nil {
		find = m.FindAny
	}
	data, found, err = find(ctx, at)
	if _, is := alias(data); is || err != nil {
		return nil, false, err
	}
	return data, found, nil
}

// Locate is Find that says under which key the data are.
func (s *Store) Locate(ctx context.Context, key string) (data []byte, at string, found bool, err error) {
	found, err = s.first(ctx, key, func(place string) (bool, error) {
		at = place
		data, found, err = s.Read(ctx, at)
		return found, err
	})
	return data, at, found, err
}

// Find implements Store.
func (s *Store) Find(ctx context.Context, key string) ([]byte, bool, error) {
	data, _, found, err := s.Locate(ctx, key)
	return data, found, err
}

// Create makes the alias first, so that whatever ends a session finds its data.
func (s *Store) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	if s.Hashed || s.Rekey {
		return s.Inner.Create(ctx, key, data, expiry)
	}
	tok, err := s.token(ctx, key)
	if err != nil {
		return err
	}
	if tok == "" {
		return errors.New("usersession: the token of a new session is not known") // cannot be: a commit says it
	}
	if err := s.createAlias(ctx, key, tok, expiry); err != nil {
		return err
	}
	return s.Inner.Create(ctx, tok, data, expiry)
}

// Alias makes the alias of a session that is adopted, if plain scs has its data under the
// token of the context.
func (s *Store) Alias(ctx context.Context, key string, expiry time.Time) error {
	tok, ok := ctx.Value(tokenKey{}).(*string)
	if !ok || s.Hashed || s.Rekey {
		return nil
	}
	return s.createAlias(ctx, key, *tok, expiry)
}

func (s *Store) createAlias(ctx context.Context, key, tok string, expiry time.Time) error {
	data, err := s.Empty(expiry)
	if err != nil {
		return err
	}
	err = s.Inner.Create(ctx, aliasKey(key), slices.Concat(data, []byte(tok), []byte(aliasMagic)), expiry)
	if errors.Is(err, s.Exists) {
		return nil
	}
	return err
}

// Update implements Store.
func (s *Store) Update(ctx context.Context, key string, data []byte) (bool, error) {
	return s.first(ctx, key, func(at string) (bool, error) { return s.updateAt(ctx, at, data) })
}

func (s *Store) updateAt(ctx context.Context, at string, data []byte) (bool, error) {
	found, err := s.Inner.Update(ctx, at, data)
	m := s.marks()
	if found || err != nil || m == nil {
		return found, err
	}
	if _, found, err = m.FindAny(ctx, at); err != nil || !found {
		return false, err
	}
	_, b := trailer.Split(data)
	if err = s.Inner.Create(ctx, at, data, b.Deadline); errors.Is(err, s.Exists) { // marked meanwhile
		return s.Inner.Update(ctx, at, data)
	}
	return err == nil, err
}

// Touch implements Store.
func (s *Store) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	return s.first(ctx, key, func(at string) (bool, error) { return s.Inner.Touch(ctx, at, expiry) })
}

// Keep lets data of plain scs live until their deadline. A Store that marks its data
// has to write them for that.
func (s *Store) Keep(ctx context.Context, b *trailer.Binding, data []byte) error {
	found, err := s.Touch(ctx, b.Key, b.Deadline)
	if found || err != nil || s.marks() == nil {
		return err
	}
	_, at, found, err := s.Locate(ctx, b.Key)
	if err != nil || !found {
		return err
	}
	if err = s.Inner.Create(ctx, at, data, b.Deadline); errors.Is(err, s.Exists) { // marked meanwhile
		return nil
	}
	return err
}

// Delete deletes the token first, from which data may still move to the hash.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	if s.Hashed {
		return s.Inner.Delete(ctx, keys...)
	}
	var toks []string
	var errs []error
	for _, key := range keys {
		tok, err := s.token(ctx, key)
		if errs = append(errs, err); tok != "" {
			toks = append(toks, tok)
		}
	}
	return errors.Join(append(errs, s.Inner.Delete(ctx, slices.Concat(toks, keys)...))...)
}

// Moves reports whether the data of b, which are under a key of the Store, are to move.
func (s *Store) Moves(at string, b *trailer.Binding) bool { return s.Rekey && at != b.Key }

// Settle moves data from the token to the hash, and returns what is there then. Of
// several at once, one creates them.
func (s *Store) Settle(ctx context.Context, key, tok string, b *trailer.Binding, data []byte) ([]byte, error) {
	err := s.Inner.Create(ctx, key, data, b.Deadline)
	switch {
	case errors.Is(err, s.Exists):
		there, found, err := s.Inner.Find(ctx, key)
		if err != nil || !found {
			return nil, err
		}
		data = there
	case err != nil:
		return nil, err
	default:
		// A replica without Rekey may have written them since they were read.
		since, found, err := s.Read(ctx, tok)
		if err != nil {
			return nil, err
		}
		if _, is := trailer.Split(since); found && is != nil && !bytes.Equal(since, data) {
			if _, err := s.Inner.Update(ctx, key, since); err != nil {
				return nil, err
			}
			data = since
		}
	}
	return data, s.Inner.Delete(ctx, tok)
}

// All yields every key of the Store, whoever has written its data.
func (s *Store) All(ctx context.Context) iter.Seq2[string, error] {
	if m := s.marks(); m != nil {
		return m.KeysOfAny(ctx)
	}
	return s.InnerKeys(ctx)
}

// Keys yields the hashes of the sessions.
func (s *Store) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for at, err := range s.All(ctx) {
			var data []byte
			found := false
			if err == nil {
				data, found, err = s.Read(ctx, at)
			}
			if err != nil {
				yield("", err)
				return
			}
			key := at
			if _, b := trailer.Split(data); !s.Hashed && (b == nil || b.Key != at) {
				key = token.Key(at)
			}
			if found && !yield(key, nil) {
				return
			}
		}
	}
}
