package signals_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/idp/signals"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// TestRacedEvent applies an event while requests of the session read, write and renew. Once
// Apply has returned, no request that begins then is served, and nothing brings the session
// back. The Store is one that is not verified against the index.
func TestRacedEvent(t *testing.T) {
	m := newManager(t, openDB(t), &usersession.Options{Store: memstore.New()})
	trials := 10
	if depth.Full() {
		trials = 30
	}
	for trial := range trials {
		sid := fmt.Sprint(trial)
		b := login(t, m, "alice", usersession.WithIdP(iss, "a", sid))
		var over atomic.Bool
		var clients sync.WaitGroup
		underWay, once := make(chan struct{}), sync.Once{}
		for i := range 4 {
			own := &browser{Cookie: b.Cookie}
			clients.Go(func() {
				defer once.Do(func() { close(underWay) }) // nobody is to wait for ever
				for n := 0; n < 200; n++ {
					late := over.Load()
					user := ""
					own.Do(m, func(ctx context.Context) {
						if user = m.UserID(ctx); user == "" {
							return
						}
						switch (i + n) % 3 {
						case 0:
							m.Put(ctx, "cart", n)
						case 1:
							if i == 0 { // the others keep the token from before
								m.RenewToken(ctx)
							}
						}
					})
					if user != "" {
						once.Do(func() { close(underWay) })
						if late {
							t.Errorf("trial %d: a request was served that began after the event", trial)
						}
					}
					if late {
						return
					}
				}
			})
		}
		<-underWay
		e := signals.Event{Type: signals.SessionRevoked, Issuer: iss, Time: time.Now(), Subject: signals.Subject{Format: "opaque", ID: sid}}
		n, err := signals.Apply(t.Context(), m, e)
		over.Store(true)
		if n != 1 || err != nil {
			t.Errorf("trial %d: %d ended, %v", trial, n, err)
		}
		clients.Wait()
		if b.User(m) != "" {
			t.Errorf("trial %d: the session is back", trial)
		}
		if n, err := signals.Apply(t.Context(), m, e); n != 0 || err != nil {
			t.Errorf("trial %d, again: %d, %v", trial, n, err)
		}
	}
}
