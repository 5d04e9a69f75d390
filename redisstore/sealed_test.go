package redisstore_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Who can write to Redis puts admin under a token of their own, while the janitor runs,
// which notes sessions as seen behind the requests. With a seal none of their requests is served.
func TestForgedInRedis(t *testing.T) {
	client := newClient(t, testserver.Redis(t))
	for name, c := range map[string]struct {
		configure func(*usersession.Options)
		trusts    bool // the Store, for a second
	}{
		"neither":            {func(*usersession.Options) {}, true},
		"VerifyEveryRequest": {verified, false},
		"Seal": {func(o *usersession.Options) {
			o.Seal = &usersession.Seal{Keys: [][]byte{bytes.Repeat([]byte{1}, 32)}, RefuseUnsealed: true}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			store := newStore(t, client)
			m, _ := newManager(t, store, c.configure)
			ctx, cancel := context.WithCancel(t.Context())
			ran := make(chan error, 1)
			go func() { ran <- m.Run(ctx) }()
			defer func() { cancel(); <-ran }()

			secret := make([]byte, 32)
			rand.Read(secret)
			tok := base64.RawURLEncoding.EncodeToString(secret)
			deadline := time.Now().Add(time.Hour)
			body, err := usersession.BinaryCodec{}.Encode(deadline, nil)
			noError(t, "Encode", err)
			value := trailer.Append(body, &trailer.Binding{Key: token.Key(tok), Deadline: deadline, UserID: "admin", ID: token.NewID(), AuthenticatedAt: time.Now()})
			prefix, _, _ := strings.Cut(strings.TrimPrefix(store.Place(), "redis 0 "), "+")
			noError(t, "SET", client.Set(t.Context(), prefix+token.Key(tok), value, time.Hour).Err())

			n := 0
			for range 90 {
				user, err := served(t.Context(), m, tok)
				noError(t, "Load", err)
				if user != "" {
					n++
				}
			}
			t.Logf("%d of 90 requests are served", n)
			if !c.trusts && n > 0 {
				t.Errorf("%d of 90 requests are served as admin", n)
			}
			if list, err := m.ListSessions(t.Context(), "admin"); len(list) != 0 || err != nil {
				t.Errorf("%d sessions, %v", len(list), err)
			}
		})
	}
}
