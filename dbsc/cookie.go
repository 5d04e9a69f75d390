package dbsc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/inside"
)

// The short cookie is the second at which it ends, and a sum of that and of the ID of
// the session under the secret of its row. It is checked without I/O. The ID stays the
// same while the token is renewed: a cookie that a renewal in another tab made useless
// would shut the browser out until it refreshes.

// sum authenticates texts for one purpose. It is HMAC-SHA256 of a secret that is no
// longer than a block. Every read of a bound session asks for it, and package hmac
// allocates.
func sum(secret, purpose, id, text string) [sha256.Size]byte {
	var inner [2 * sha256.BlockSize]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner[:sha256.BlockSize], secret)
	copy(outer[:sha256.BlockSize], secret)
	for i := range sha256.BlockSize {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	said := append(append(append(append(append(append(inner[:sha256.BlockSize], "dbsc "...), purpose...), 0), id...), 0), text...)
	mac := sha256.Sum256(said)
	return sha256.Sum256(append(outer[:sha256.BlockSize], mac[:]...))
}

// registration is the challenge with which a key is registered. A key is registered
// once, so it may stay the same until then.
func registration(secret, id string) string {
	mac := sum(secret, "registration", id, "")
	return encoding.EncodeToString(mac[:])
}

// newSecret returns a secret of a row, or a challenge.
func newSecret() string { return rand.Text() }

// setCookie sets a short cookie. Its attributes must be those of the instructions, or
// the browser refreshes for ever.
func (h *Handler) setCookie(header http.Header, id, secret string) {
	c := h.cookie
	end := strconv.FormatInt(inside.Now().Add(h.opts.CookieLifetime).Unix(), 10)
	mac := sum(secret, "cookie", id, end)
	c.Value = end + "." + encoding.EncodeToString(mac[:])
	c.MaxAge = int(h.opts.CookieLifetime.Seconds())
	header.Add("Set-Cookie", c.String())
}

// good reports whether a short cookie is one of the session and has not ended. When the
// browser thinks that it ends is nothing to go by.
func good(value, id, secret string) bool {
	end, mac, ok := strings.Cut(value, ".")
	var sent [sha256.Size]byte
	if !ok || secret == "" || len(mac) != encoding.EncodedLen(len(sent)) {
		return false
	}
	if n, err := encoding.Decode(sent[:], []byte(mac)); err != nil || n != len(sent) {
		return false
	}
	if want := sum(secret, "cookie", id, end); !hmac.Equal(sent[:], want[:]) {
		return false
	}
	second, err := strconv.ParseInt(end, 10, 64)
	return err == nil && inside.Now().Unix() < second
}

// prove says what a request proves. A header Secure-Session-Skipped, with which a
// browser says why it has not refreshed, proves nothing: anybody can send it.
func (h *Handler) prove(r *http.Request, id, secret string) inside.Proof {
	for _, line := range r.Header["Cookie"] { // http.Request.Cookies parses all of them
		for pair := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			if name == h.cookie.Name && good(value, id, secret) {
				return inside.Proved
			}
		}
	}
	if r.URL.Path == refreshPath {
		return inside.Proving
	}
	return inside.Unproved
}

// secretOf returns the secret of the row of a session that may be bound, and gives it
// one if it has none. It returns "" if that fails, or the session is bound by now.
func (h *Handler) secretOf(ctx context.Context, s inside.Session) string {
	if s.Device.Secret != "" {
		return s.Device.Secret
	}
	ctx, cancel := h.within(ctx)
	defer cancel()
	secret := newSecret()
	ok, err := h.devices.Index().OfferDevice(ctx, s.Binding, secret)
	if ok {
		return secret
	}
	if err != nil {
		return ""
	}
	row, _, err := h.devices.Index().DeviceByID(ctx, s.Binding)
	if err != nil || row.Key != "" {
		return ""
	}
	return row.Secret
}

// patience bounds a statement.
const patience = 5 * time.Second

// within returns a context for the statements of a request. A browser that hangs up
// must not cut them in half.
func (h *Handler) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), patience)
}
