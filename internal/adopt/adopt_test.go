package adopt

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

var errExists = errors.New("exists")

// inner is the Store below. Package memstore cannot be it, because it imports what is
// before the walls.
type inner map[string]string

func (s inner) Find(_ context.Context, key string) ([]byte, bool, error) {
	data, ok := s[key]
	return []byte(data), ok, nil
}

func (s inner) Create(_ context.Context, key string, data []byte, _ time.Time) error {
	if _, ok := s[key]; ok {
		return errExists
	}
	s[key] = string(data)
	return nil
}

func (s inner) Update(_ context.Context, key string, data []byte) (bool, error) {
	_, ok := s[key]
	if ok {
		s[key] = string(data)
	}
	return ok, nil
}

func (s inner) Touch(_ context.Context, key string, _ time.Time) (bool, error) {
	_, ok := s[key]
	return ok, nil
}

func (s inner) Delete(_ context.Context, keys ...string) error {
	for _, key := range keys {
		delete(s, key)
	}
	return nil
}

func (s inner) keys(context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for key := range s {
			if !yield(key, nil) {
				return
			}
		}
	}
}

func open(hashed, rekey bool) (*Store, inner) {
	in := inner{}
	return &Store{
		Inner: in, Exists: errExists, Hashed: hashed, Rekey: rekey, InnerKeys: in.keys,
		Empty: func(time.Time) ([]byte, error) { return []byte("empty"), nil },
	}, in
}

const tok = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

var (
	key      = token.Key(tok)
	deadline = time.Now().Add(time.Hour)
	written  = trailer.Append([]byte("cart"), &trailer.Binding{Key: key, Deadline: deadline})
)

// Whoever knows the hash alone finds the data that plain scs has under the token.
func TestAlias(t *testing.T) {
	s, in := open(false, false)
	if err := s.Create(t.Context(), key, written, deadline); err == nil || len(in) != 0 {
		t.Fatalf("without the token: %v, %d keys", err, len(in))
	}
	if err := s.Create(WithToken(t.Context(), tok), key, written, deadline); err != nil {
		t.Fatal(err)
	}
	if in[tok] != string(written) || len(in) != 2 {
		t.Fatalf("the Store has %q", in)
	}
	if stands := in[aliasKey(key)]; stands != "empty"+tok+aliasMagic {
		t.Errorf("the alias is %q", stands)
	}
	if data, at, found, err := s.Locate(t.Context(), key); string(data) != string(written) || at != tok || !found || err != nil {
		t.Errorf("by the hash there is %q under %q, %v, %v", data, at, found, err)
	}
	if _, found, err := s.Read(t.Context(), aliasKey(key)); found || err != nil {
		t.Errorf("the alias is read as data: %v, %v", found, err)
	}
	if keys := all(t, s); !slices.Equal(keys, []string{key}) {
		t.Errorf("the keys are %q", keys)
	}
	if found, err := s.Update(t.Context(), key, []byte("new")); !found || err != nil || in[tok] != "new" {
		t.Errorf("an update: %v, %v, %q", found, err, in[tok])
	}
	if found, err := s.Touch(t.Context(), key, deadline); !found || err != nil {
		t.Errorf("a touch: %v, %v", found, err)
	}
	for range 2 { // the janitor does it again
		in[key] = "of a replica with Rekey"
		if err := s.Delete(t.Context(), key); err != nil || len(in) != 1 || in[aliasKey(key)] == "" {
			t.Errorf("after the end: %v, the Store has %q", err, in)
		}
		in[tok] = "plain scs brings it back"
	}
}

// One that is adopted gets an alias, but where its hash is the key or becomes it.
func TestAliasOfAdopted(t *testing.T) {
	for _, c := range []struct{ hashed, rekey, alias bool }{{false, false, true}, {true, false, false}, {false, true, false}} {
		s, in := open(c.hashed, c.rekey)
		for range 2 {
			if err := s.Alias(WithToken(t.Context(), tok), key, deadline); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Alias(t.Context(), "other", deadline); err != nil || (len(in) == 1) != c.alias {
			t.Errorf("%+v: %v, the Store has %q", c, err, in)
		}
	}
}

func TestHashed(t *testing.T) {
	s, in := open(true, false)
	ctx := WithToken(t.Context(), tok)
	if err := s.Create(ctx, key, written, deadline); err != nil || len(in) != 1 || in[key] == "" {
		t.Fatalf("%v, the Store has %q", err, in)
	}
	if keys := all(t, s); !slices.Equal(keys, []string{key}) {
		t.Errorf("the keys are %q", keys)
	}
	if err := s.Delete(ctx, key); err != nil || len(in) != 0 {
		t.Errorf("%v, the Store has %q", err, in)
	}
}

// Of several that move data to the hash one creates them, and none undoes what another
// one has written.
func TestSettle(t *testing.T) {
	b := &trailer.Binding{Key: key, Deadline: deadline}
	newer := trailer.Append([]byte("newer"), b)
	for _, c := range []struct {
		name          string
		tok, key      string // what the Store has
		data, settled string
	}{
		{"first", string(written), "", string(written), string(written)},
		{"second", "", string(newer), string(written), string(newer)},
		{"written since it was read", string(newer), "", string(written), string(newer)},
		{"plain scs has written since", "plain", "", string(written), string(written)},
	} {
		s, in := open(false, true)
		for at, data := range map[string]string{tok: c.tok, key: c.key} {
			if data != "" {
				in[at] = data
			}
		}
		if !s.Moves(tok, b) || s.Moves(key, b) {
			t.Errorf("%s: the wrong data move", c.name)
		}
		data, err := s.Settle(t.Context(), key, tok, b, []byte(c.data))
		if err != nil || string(data) != c.settled || in[key] != c.settled || len(in) != 1 {
			t.Errorf("%s: %q, %v, the Store has %q", c.name, data, err, in)
		}
	}
}

func all(t *testing.T, s *Store) (keys []string) {
	t.Helper()
	for key, err := range s.Keys(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// FuzzAlias: what stands in an alias can be a token, and data of a session are none.
func FuzzAlias(f *testing.F) {
	f.Add(slices.Concat([]byte("empty"), []byte(tok), []byte(aliasMagic)))
	f.Add([]byte(aliasMagic))
	f.Add(written)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, ok := alias(data)
		if ok != token.Valid(got) || ok && !bytes.HasSuffix(data, []byte(got+aliasMagic)) {
			t.Fatalf("%q, %v", got, ok)
		}
		if _, b := trailer.Split(data); ok && b != nil {
			t.Fatal("it is an alias and the data of a session")
		}
	})
}
