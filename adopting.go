package usersession

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

// adopting is the Store of a Manager with Options.Adopt. It finds and keeps data where
// plain scs has them. Its keys are the hashes of tokens, as everywhere. Where plain scs
// keeps data under the token itself, a context says which token it is. For whoever
// ends a session and knows the hash alone, there is an alias in the Store, which holds
// the token. The index never does. The alias outlives the data, so that the janitor
// can delete these a second time.
type adopting struct {
	inner  Store
	marks  marker // inner, if it marks its data
	hashed bool   // plain scs hashes its tokens, so that there is one key only
	rekey  bool

	empty func(deadline time.Time) ([]byte, error) // session data without values
}

// marker is implemented by a Store that marks its data, and finds no others by Find.
// Create takes the place of others.
type marker interface {
	FindAny(ctx context.Context, key string) (data []byte, found bool, err error)
	KeysOfAny(ctx context.Context) iter.Seq2[string, error]
}

// tokenKey is the key of the token in a context.
type tokenKey struct{}

// withToken puts the address of the token into a context, which prints the texts in it.
func withToken(ctx context.Context, tok string) context.Context {
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
func (s *adopting) token(ctx context.Context, key string) (string, error) {
	if tok, ok := ctx.Value(tokenKey{}).(*string); ok && token.Key(*tok) == key {
		return *tok, nil
	}
	data, _, err := s.inner.Find(ctx, aliasKey(key))
	tok, _ := alias(data)
	return tok, err
}

// places returns the keys under which the data may be, in the order in which to look.
// Data move from the token to its hash only, and never while they are looked for there
// last.
func (s *adopting) places(ctx context.Context, key string) ([]string, error) {
	if s.hashed {
		return []string{key}, nil
	}
	tok, err := s.token(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case tok == "":
		return []string{key}, nil
	case s.rekey:
		return []string{key, tok, key}, nil
	}
	return []string{tok, key}, nil
}

// read returns the data under a key of the Store, whoever has written them. It reads
// once, because the mark may be set meanwhile.
func (s *adopting) read(ctx context.Context, at string) (data []byte, found bool, err error) {
	find := s.inner.Find
	if s.marks != nil {
		find = s.marks.FindAny
	}
	data, found, err = find(ctx, at)
	if _, is := alias(data); is || err != nil {
		return nil, false, err
	}
	return data, found, nil
}

// locate is Find that says under which key the data are.
func (s *adopting) locate(ctx context.Context, key string) (data []byte, at string, found bool, err error) {
	places, err := s.places(ctx, key)
	for _, at := range places {
		if data, found, err := s.read(ctx, at); err != nil || found {
			return data, at, found, err
		}
	}
	return nil, "", false, err
}

func (s *adopting) Find(ctx context.Context, key string) ([]byte, bool, error) {
	data, _, found, err := s.locate(ctx, key)
	return data, found, err
}

// Create makes the alias first, so that whatever ends a session finds its data.
func (s *adopting) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	if s.hashed || s.rekey {
		return s.inner.Create(ctx, key, data, expiry)
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
	return s.inner.Create(ctx, tok, data, expiry)
}

func (s *adopting) createAlias(ctx context.Context, key, tok string, expiry time.Time) error {
	data, err := s.empty(expiry)
	if err != nil {
		return err
	}
	err = s.inner.Create(ctx, aliasKey(key), slices.Concat(data, []byte(tok), []byte(aliasMagic)), expiry)
	if errors.Is(err, ErrKeyExists) {
		return nil
	}
	return err
}

func (s *adopting) Update(ctx context.Context, key string, data []byte) (bool, error) {
	places, err := s.places(ctx, key)
	for _, at := range places {
		if found, err := s.updateAt(ctx, at, data); err != nil || found {
			return found, err
		}
	}
	return false, err
}

func (s *adopting) updateAt(ctx context.Context, at string, data []byte) (bool, error) {
	found, err := s.inner.Update(ctx, at, data)
	if found || err != nil || s.marks == nil {
		return found, err
	}
	if _, found, err = s.marks.FindAny(ctx, at); err != nil || !found {
		return false, err
	}
	_, b := trailer.Split(data)
	if err = s.inner.Create(ctx, at, data, b.Deadline); errors.Is(err, ErrKeyExists) { // marked meanwhile
		return s.inner.Update(ctx, at, data)
	}
	return err == nil, err
}

func (s *adopting) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	places, err := s.places(ctx, key)
	for _, at := range places {
		if found, err := s.inner.Touch(ctx, at, expiry); err != nil || found {
			return found, err
		}
	}
	return false, err
}

// keep lets data of plain scs live until their deadline. A Store that marks its data
// has to write them for that.
func (s *adopting) keep(ctx context.Context, b *trailer.Binding, data []byte) error {
	found, err := s.Touch(ctx, b.Key, b.Deadline)
	if found || err != nil || s.marks == nil {
		return err
	}
	_, at, found, err := s.locate(ctx, b.Key)
	if err != nil || !found {
		return err
	}
	if err = s.inner.Create(ctx, at, data, b.Deadline); errors.Is(err, ErrKeyExists) { // marked meanwhile
		return nil
	}
	return err
}

// Delete deletes the token first, from which data may still move to the hash.
func (s *adopting) Delete(ctx context.Context, keys ...string) error {
	if s.hashed {
		return s.inner.Delete(ctx, keys...)
	}
	var toks []string
	var errs []error
	for _, key := range keys {
		tok, err := s.token(ctx, key)
		if errs = append(errs, err); tok != "" {
			toks = append(toks, tok)
		}
	}
	return errors.Join(append(errs, s.inner.Delete(ctx, slices.Concat(toks, keys)...))...)
}

// moves reports whether the data of b, which are under a key of the Store, are to move.
func (s *adopting) moves(at string, b *trailer.Binding) bool { return s.rekey && at != b.Key }

// settle moves data from the token to the hash, and returns what is there then. Of
// several at once, one creates them.
func (s *adopting) settle(ctx context.Context, key, tok string, b *trailer.Binding, data []byte) ([]byte, error) {
	err := s.inner.Create(ctx, key, data, b.Deadline)
	switch {
	case errors.Is(err, ErrKeyExists):
		there, found, err := s.inner.Find(ctx, key)
		if err != nil || !found {
			return nil, err
		}
		data = there
	case err != nil:
		return nil, err
	default:
		// A replica without Rekey may have written them since they were read.
		since, found, err := s.read(ctx, tok)
		if err != nil {
			return nil, err
		}
		if _, is := trailer.Split(since); found && is != nil && !bytes.Equal(since, data) {
			if _, err := s.inner.Update(ctx, key, since); err != nil {
				return nil, err
			}
			data = since
		}
	}
	return data, s.inner.Delete(ctx, tok)
}

// all yields every key of the Store, whoever has written its data.
func (s *adopting) all(ctx context.Context) iter.Seq2[string, error] {
	if s.marks != nil {
		return s.marks.KeysOfAny(ctx)
	}
	return keysOfStore(ctx, s.inner)
}

// Keys yields the hashes of the sessions.
func (s *adopting) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for at, err := range s.all(ctx) {
			var data []byte
			found := false
			if err == nil {
				data, found, err = s.read(ctx, at)
			}
			if err != nil {
				yield("", err)
				return
			}
			key := at
			if _, b := trailer.Split(data); !s.hashed && (b == nil || b.Key != at) {
				key = token.Key(at)
			}
			if found && !yield(key, nil) {
				return
			}
		}
	}
}

func (s *adopting) Place() string { return placeOf(s.inner) }

func (s *adopting) Prune(ctx context.Context) (int, error) { return pruneStore(ctx, s.inner) }

func (s *adopting) Migrate(ctx context.Context) error {
	if m, ok := s.inner.(interface{ Migrate(context.Context) error }); ok {
		return m.Migrate(ctx)
	}
	return nil
}
