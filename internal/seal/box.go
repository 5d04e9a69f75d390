package seal

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// A sealed value is
//
//	sealed bytes of the codec | trailer
//
// The trailer is not secret, so that whose session it is can be told without the keys.
// It is authenticated: it is associated data of the seal, with the name of the index.
// As the trailer has the key, user and deadline, the value is no other session's.

var (
	errNotSealed = errors.New("usersession: Options.Seal.RefuseUnsealed: the session data are not sealed")
	errNoSeal    = errors.New("usersession: Options.Seal: the session data are sealed, and it is nil")
	errNotOpened = errors.New("usersession: Options.Seal: the session data are forged, were changed or moved, or are sealed with another name or a key that is not in Keys")
)

// Box seals the values of one index. The nil Box seals nothing, and opens what is not
// sealed.
type Box struct {
	ring   *Ring
	name   string // of the index
	refuse bool   // what is not sealed
}

// NewBox returns a Box with keys that Wrong finds nothing wrong with.
func NewBox(keys [][]byte, name string, refuse bool) (*Box, error) {
	ring, err := NewRing(keys)
	if err != nil {
		return nil, err
	}
	return &Box{ring, name, refuse}, nil
}

// Wrong says what is wrong with some keys.
func Wrong(keys [][]byte) (list []string) {
	if len(keys) == 0 {
		list = append(list, fmt.Sprintf("is empty: it needs a key of %d bytes", KeySize))
	}
	for i, k := range keys {
		switch {
		case len(k) != KeySize:
			list = append(list, fmt.Sprintf("key %d of %d has %d bytes, must have %d", i+1, len(keys), len(k), KeySize))
		case bytes.Equal(k, make([]byte, KeySize)):
			list = append(list, fmt.Sprintf("key %d of %d is all zeros", i+1, len(keys)))
		}
		for j, other := range keys[:i] {
			if bytes.Equal(k, other) {
				list = append(list, fmt.Sprintf("keys %d and %d of %d are the same", j+1, i+1, len(keys)))
			}
		}
	}
	return list
}

// associated returns the associated data of a value. The label and the end of the
// trailer leave one reading of it.
func (s *Box) associated(tail []byte) []byte {
	const label = "usersession sealed value 1\x00"
	a := make([]byte, 0, len(label)+len(s.name)+len(tail))
	return append(append(append(a, label...), s.name...), tail...)
}

// Value returns the value that goes to the Store, of the codec's bytes and a binding.
func (s *Box) Value(body []byte, b *trailer.Binding) []byte {
	if s == nil {
		return trailer.Append(body, b)
	}
	tail := trailer.Sealed(b)
	return append(s.ring.Seal(body, s.associated(tail), len(tail)), tail...)
}

// Open returns the codec's bytes with the trailer of b, of a value from the Store. An
// error means that the value may not be served, whatever it says.
func (s *Box) Open(value []byte, b *trailer.Binding) ([]byte, error) {
	sealed, tail, ok := trailer.SplitSealed(value)
	switch {
	case s == nil && ok:
		return nil, errNoSeal
	case !ok && s != nil && s.refuse:
		return nil, errNotSealed
	case !ok:
		return value, nil
	}
	body, ok := s.ring.Open(sealed, s.associated(tail), trailer.Room)
	if !ok {
		return nil, errNotOpened
	}
	return trailer.Append(body, b), nil
}
