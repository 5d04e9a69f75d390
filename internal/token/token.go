// Package token knows the texts that name a session. They are the token of the
// cookie, the key that Stores have it under, and the public ID. It imports
// nothing of this module. No token and no key is ever logged or put into an
// error here, and nothing here does I/O.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// IDSize is the size of a public ID in bytes, before it is text.
const IDSize = 16

// Encoding is that of scs's tokens, of keys and of IDs. Strict, so that no two
// texts mean the same bytes.
var Encoding = base64.RawURLEncoding.Strict()

// NewID returns the public ID of a new session.
func NewID() string {
	var b [IDSize]byte
	rand.Read(b[:]) // never fails since Go 1.24
	return Encoding.EncodeToString(b[:])
}

// ValidID reports whether id could have come from NewID.
func ValidID(id string) bool { return decodes(id, IDSize) }

// Valid reports whether a token could have been made by scs, from 32 bytes.
func Valid(token string) bool { return decodes(token, 32) }

func decodes(s string, size int) bool {
	if len(s) != Encoding.EncodedLen(size) {
		return false
	}
	var buf [32]byte
	n, err := Encoding.Decode(buf[:], []byte(s))
	return err == nil && n == size
}

// Key returns the store key of a token. It is the hash scs itself would use
// with HashTokenInStore.
func Key(token string) string {
	var in [64]byte // no allocation: tokens are shorter
	sum := sha256.Sum256(append(in[:0], token...))
	var text [43]byte
	Encoding.Encode(text[:], sum[:])
	return string(text[:])
}

// Length is the length of a token and of a key.
const Length = 43

// AdoptedID returns the public ID of the session that another program has made under
// the token of a key. It is the same in every process and at any time, and the key
// cannot be told from it.
func AdoptedID(key string) string {
	sum := sha256.Sum256([]byte("usersession adopted " + key))
	return Encoding.EncodeToString(sum[:IDSize])
}
