package usersession

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/alexedwards/scs/v2"
)

// reservedKey is the key of the scs values under which a session's binding
// travels between Decode and Encode. It is never stored as a value.
const reservedKey = "__usersession"

// rememberKey is the key under which scs keeps RememberMe.
const rememberKey = "__rememberMe"

// binding says which session some data belongs to. It is immutable: whoever
// wants another one makes another one.
type binding struct {
	key             string    // the store key the data is committed under; "" until it is
	deadline        time.Time // absolute end of the session
	userID          string    // "" for an anonymous session
	id              string    // public ID; "" for an anonymous session
	authenticatedAt time.Time
	persist         persistence
}

// authenticated reports whether b is a binding to a user.
func (b *binding) authenticated() bool { return b != nil && b.userID != "" }

// String keeps keys and user IDs out of what a program prints.
func (b *binding) String() string { return "session" }

// GoString does the same for %#v.
func (b *binding) GoString() string { return "session" }

// persistence is what WithPersistentCookie asked for.
type persistence byte

const (
	persistDefault persistence = iota
	persistAlways
	persistNever
)

// The trailer stands behind the bytes of the codec:
//
//	codec's bytes | version 1 | persistence 1 | key 32 | deadline 8 |
//	[ authenticated 8 | ID 16 | user ID, the rest ] | length of all that 2 | magic 4
//
// Behind, not before: gob ignores what follows, so that plain scs can read the
// data after a roll back. Times are microseconds since 1970, big endian.
const (
	trailerVersion   = 1
	trailerMagic     = "\xf5uS\x01"
	trailerEnd       = 2 + len(trailerMagic)
	trailerKeyAt     = 2
	trailerAnonymous = 2 + sha256.Size + 8
	trailerUserAt    = trailerAnonymous + 8 + idSize
	idSize           = 16

	// trailerRoom is what a codec leaves free for the trailer of most sessions.
	trailerRoom = trailerUserAt + 40 + trailerEnd
)

// tokenEncoding is that of scs's tokens, of keys and of IDs. Strict, so that no
// two texts mean the same bytes.
var tokenEncoding = base64.RawURLEncoding.Strict()

// newID returns the public ID of a new session.
func newID() string {
	var b [idSize]byte
	rand.Read(b[:]) // never fails since Go 1.24
	return tokenEncoding.EncodeToString(b[:])
}

// validID reports whether id could have come from newID.
func validID(id string) bool { return decodes(id, idSize) }

// validToken reports whether a token could have been made by scs: 32 bytes.
func validToken(token string) bool { return decodes(token, 32) }

func decodes(s string, size int) bool {
	if len(s) != tokenEncoding.EncodedLen(size) {
		return false
	}
	var buf [32]byte
	n, err := tokenEncoding.Decode(buf[:], []byte(s))
	return err == nil && n == size
}

// keyOf returns the store key of a token. It is the hash scs itself would use
// with HashTokenInStore.
func keyOf(token string) string {
	var in [64]byte // no allocation: tokens are shorter
	sum := sha256.Sum256(append(in[:0], token...))
	var text [43]byte
	tokenEncoding.Encode(text[:], sum[:])
	return string(text[:])
}

// appendTrailer appends the trailer of b to data.
func appendTrailer(data []byte, b *binding) []byte {
	start := len(data)
	data = append(data, trailerVersion, byte(b.persist))
	var key [sha256.Size]byte
	tokenEncoding.Decode(key[:], []byte(b.key)) // an empty key stays zero
	data = append(data, key[:]...)
	data = binary.BigEndian.AppendUint64(data, uint64(b.deadline.UnixMicro()))
	if b.authenticated() {
		data = binary.BigEndian.AppendUint64(data, uint64(b.authenticatedAt.UnixMicro()))
		var id [idSize]byte
		tokenEncoding.Decode(id[:], []byte(b.id))
		data = append(data, id[:]...)
		data = append(data, b.userID...)
	}
	data = binary.BigEndian.AppendUint16(data, uint16(len(data)-start))
	return append(data, trailerMagic...)
}

// splitTrailer returns the codec's bytes and the binding behind them; a nil
// binding if there is none that can be read.
func splitTrailer(data []byte) ([]byte, *binding) {
	end := len(data) - trailerEnd
	if end < 0 || string(data[end+2:]) != trailerMagic {
		return data, nil
	}
	size := int(binary.BigEndian.Uint16(data[end:]))
	start := end - size
	if start < 0 || size != trailerAnonymous && size <= trailerUserAt {
		return data, nil
	}
	t := data[start:end]
	if t[0] != trailerVersion || persistence(t[1]) > persistNever {
		return data, nil
	}
	b := &binding{persist: persistence(t[1])}
	b.deadline = time.UnixMicro(int64(binary.BigEndian.Uint64(t[trailerKeyAt+sha256.Size:]))).UTC()
	// One string for all three: every request comes by here.
	const keyText, idText = 43, 22
	text := make([]byte, keyText, keyText+idText+256)
	key := t[trailerKeyAt : trailerKeyAt+sha256.Size]
	tokenEncoding.Encode(text, key)
	if size > trailerAnonymous {
		b.authenticatedAt = time.UnixMicro(int64(binary.BigEndian.Uint64(t[trailerAnonymous:]))).UTC()
		text = tokenEncoding.AppendEncode(text, t[trailerAnonymous+8:trailerUserAt])
		text = append(text, t[trailerUserAt:]...)
	}
	all := string(text)
	if [sha256.Size]byte(key) != [sha256.Size]byte{} {
		b.key = all[:keyText]
	}
	if size > trailerAnonymous {
		b.id, b.userID = all[keyText:keyText+idText], all[keyText+idText:]
	}
	return data[:start:start], b
}

// codec wraps the codec of the scs manager: the binding travels with the values
// inside the process, and as the trailer outside.
type codec struct{ inner scs.Codec }

func (c codec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	// scs holds the session's lock meanwhile, so taking the value out and
	// putting it back is seen by nobody.
	v, reserved := values[reservedKey]
	if reserved {
		delete(values, reservedKey)
		defer func() { values[reservedKey] = v }()
	}
	data, err := c.inner.Encode(deadline, values)
	if err != nil {
		return nil, err
	}
	b, ok := v.(*binding)
	if !ok {
		b = &binding{deadline: deadline}
	}
	if _, ours := c.inner.(BinaryCodec); !ours {
		data = data[:len(data):len(data)] // the codec may have kept its slice
	}
	return appendTrailer(data, b), nil
}

func (c codec) Decode(data []byte) (time.Time, map[string]any, error) {
	data, b := splitTrailer(data)
	deadline, values, err := c.inner.Decode(data)
	if err != nil {
		return time.Time{}, nil, err
	}
	if values == nil {
		values = make(map[string]any)
	}
	delete(values, reservedKey)
	if b != nil {
		if b.key != "" { // else it is data without an owner: of MergeSession
			values[reservedKey] = b
		}
		if b.deadline.Before(deadline) {
			deadline = b.deadline
		}
	}
	return deadline, values, nil
}
