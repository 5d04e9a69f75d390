// Package trailer writes and reads the binding of a session, which stands behind
// the bytes of the codec in its data. It may import the package token and nothing
// else of this module. Bytes that nobody here has written never become a binding,
// and nothing here changes the data it is given.
package trailer

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/token"
)

// Binding says which session some data belongs to. It is immutable. Code that
// wants another one makes another one.
type Binding struct {
	Key             string    // the store key the data is committed under, or "" until it is
	Deadline        time.Time // absolute end of the session
	UserID          string    // "" for an anonymous session
	ID              string    // public ID, or "" for an anonymous session
	AuthenticatedAt time.Time
	Persist         Persistence
	Idle            time.Duration // its own idle timeout, or 0
	Level           byte          // of the authentication, or 0
	LevelAt         time.Time     // when that level was reached, or the zero time if Level is 0
	Actor           string        // who is logged in as the user, or "" if that is the user, in at most 255 bytes
}

// Impersonated reports whether somebody else than the user acts in the session.
func (b *Binding) Impersonated() bool { return b != nil && b.Actor != "" }

// By returns who acts in the session, or "" in an anonymous one.
func (b *Binding) By() string {
	switch {
	case b == nil:
		return ""
	case b.Actor != "":
		return b.Actor
	}
	return b.UserID
}

// Authenticated reports whether b is a binding to a user.
func (b *Binding) Authenticated() bool { return b != nil && b.UserID != "" }

// String keeps keys and user IDs out of what a program prints.
func (b *Binding) String() string { return "session" }

// GoString does the same for %#v.
func (b *Binding) GoString() string { return "session" }

// EndingBy returns b with a deadline that is not later than the given one.
func (b *Binding) EndingBy(deadline time.Time) *Binding {
	nb := *b
	if deadline.Before(nb.Deadline) {
		nb.Deadline = deadline
	}
	return &nb
}

// Persistence says whether the cookie of a session outlives the browser.
type Persistence byte

// The values of Persistence are stored, so they must not change.
const (
	PersistDefault Persistence = iota // as the cookie of the scs manager
	PersistAlways
	PersistNever
)

// The trailer stands behind the bytes of the codec:
//
//	codec's bytes | version 1 | persistence 1 | key 32 | deadline 8 |
//	[ authenticated 8 | ID 16 | user ID, the rest ] | length of all that 2 | magic 4
//
// Version 2 is that of a user's session with an idle timeout of its own, which stands
// before the user ID in 8 bytes of microseconds. A version with the bit sealedBit says
// that the codec's bytes are sealed.
//
// Version 3 is that of a user's session with a level or an actor. It has there the idle
// timeout in 8 bytes, the level in 1, its time in 8, and the actor behind its length
// in 1 byte.
//
// It is not before them, because gob ignores bytes that follow. So plain scs
// can read the data after a roll back. Times are microseconds since 1970, big
// endian.
const (
	version       = 1
	idleVersion   = 2
	sealedBit     = 0x20
	idleSize      = 8
	stepVersion   = 3
	stepSize      = idleSize + 1 + 8 + 1
	magic         = "\xf5uS\x01"
	endSize       = 2 + len(magic)
	keyAt         = 2
	anonymousSize = 2 + sha256.Size + 8
	userAt        = anonymousSize + 8 + token.IDSize

	// Room is what a codec leaves free for the trailer of most sessions.
	Room = userAt + 40 + endSize
)

// Marked reports whether data end as a trailer does, also one that another version of
// this package has written.
func Marked(data []byte) bool {
	return len(data) >= endSize && string(data[len(data)-len(magic):]) == magic
}

// Append appends the trailer of b to data.
func Append(data []byte, b *Binding) []byte {
	start := len(data)
	v := byte(version)
	if b.Authenticated() && b.Idle != 0 {
		v = idleVersion
	}
	if b.Authenticated() && (b.Level != 0 || b.Actor != "") {
		v = stepVersion
	}
	data = append(data, v, byte(b.Persist))
	var key [sha256.Size]byte
	token.Encoding.Decode(key[:], []byte(b.Key)) // an empty key stays zero
	data = append(data, key[:]...)
	data = binary.BigEndian.AppendUint64(data, uint64(b.Deadline.UnixMicro()))
	if b.Authenticated() {
		data = binary.BigEndian.AppendUint64(data, uint64(b.AuthenticatedAt.UnixMicro()))
		var id [token.IDSize]byte
		token.Encoding.Decode(id[:], []byte(b.ID))
		data = append(data, id[:]...)
		if v != version {
			data = binary.BigEndian.AppendUint64(data, uint64(b.Idle.Microseconds()))
		}
		if v == stepVersion {
			at := int64(0)
			if b.Level != 0 {
				at = b.LevelAt.UnixMicro()
			}
			data = binary.BigEndian.AppendUint64(append(data, b.Level), uint64(at))
			data = append(append(data, byte(len(b.Actor))), b.Actor...)
		}
		data = append(data, b.UserID...)
	}
	data = binary.BigEndian.AppendUint16(data, uint16(len(data)-start))
	return append(data, magic...)
}

// Sealed returns the trailer of b as it stands behind bytes that are sealed.
func Sealed(b *Binding) []byte {
	t := Append(make([]byte, 0, Room), b)
	t[0] |= sealedBit
	return t
}

// SplitSealed returns sealed bytes and the trailer behind them, of data whose trailer
// Split can read. It reports false if that says that they are not sealed. It costs
// nothing, because every request comes by here.
func SplitSealed(data []byte) (sealed, trailer []byte, ok bool) {
	start, _, ok := bounds(data)
	if !ok || data[start]&sealedBit == 0 {
		return nil, nil, false
	}
	return data[:start:start], data[start:], true
}

// bounds returns where the trailer begins, and its size without its end. It reports
// false if there is none.
func bounds(data []byte) (start, size int, ok bool) {
	end := len(data) - endSize
	if end < 0 || string(data[end+2:]) != magic {
		return 0, 0, false
	}
	size = int(binary.BigEndian.Uint16(data[end:]))
	start = end - size
	return start, size, start >= 0 && (size == anonymousSize || size > userAt)
}

// Split returns the codec's bytes, which may be sealed, and the binding behind them.
// The binding is nil if there is none that can be read.
func Split(data []byte) ([]byte, *Binding) {
	start, size, ok := bounds(data)
	if !ok {
		return data, nil
	}
	t, user := data[start:start+size], userAt
	v := t[0] &^ sealedBit
	switch v {
	case version:
	case idleVersion:
		user += idleSize
	case stepVersion:
		if user += stepSize; size > user {
			user += int(t[user-1])
		}
	default:
		return data, nil
	}
	if v != version && size <= user || Persistence(t[1]) > PersistNever {
		return data, nil
	}
	b := &Binding{Persist: Persistence(t[1])}
	if v != version {
		micros := binary.BigEndian.Uint64(t[userAt:])
		if micros == 0 && v == idleVersion || micros > math.MaxInt64/uint64(time.Microsecond) {
			return data, nil // nobody has written that
		}
		b.Idle = time.Duration(micros) * time.Microsecond
	}
	if v == stepVersion {
		at := userAt + idleSize
		reached := int64(binary.BigEndian.Uint64(t[at+1:]))
		b.Level, b.Actor = t[at], string(t[userAt+stepSize:user])
		if b.Level == 0 && (reached != 0 || b.Actor == "") {
			return data, nil // nobody has written that either
		}
		if b.Level != 0 {
			b.LevelAt = time.UnixMicro(reached).UTC()
		}
	}
	b.Deadline = time.UnixMicro(int64(binary.BigEndian.Uint64(t[keyAt+sha256.Size:]))).UTC()
	// One string for all three: every request comes by here.
	const keyText, idText = 43, 22
	text := make([]byte, keyText, keyText+idText+256)
	key := t[keyAt : keyAt+sha256.Size]
	token.Encoding.Encode(text, key)
	if size > anonymousSize {
		b.AuthenticatedAt = time.UnixMicro(int64(binary.BigEndian.Uint64(t[anonymousSize:]))).UTC()
		text = token.Encoding.AppendEncode(text, t[anonymousSize+8:userAt])
		text = append(text, t[user:]...)
	}
	all := string(text)
	if [sha256.Size]byte(key) != [sha256.Size]byte{} {
		b.Key = all[:keyText]
	}
	if size > anonymousSize {
		b.ID, b.UserID = all[keyText:keyText+idText], all[keyText+idText:]
	}
	return data[:start:start], b
}
