package explore

import (
	"bytes"
	"strings"

	"github.com/seed-296ca7ab/usersession/internal/seal"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// forger is who can read and write the Store, and has no key of the seal.
var forger = browser{token: strings.Repeat("F", 42) + "A"}

var (
	sealKey     = bytes.Repeat([]byte{1}, seal.KeySize)
	sealRing, _ = seal.NewRing([][]byte{sealKey})
)

// opened returns the bytes under a key as the codec wrote them.
func (w *world) opened(key string) []byte {
	value := w.store.data[key].data
	sealed, tail, ok := trailer.SplitSealed(value)
	if !ok {
		return value
	}
	body, _ := sealRing.Open(sealed, append([]byte("usersession sealed value 1\x00.user_sessions"), tail...), 0)
	return body
}
