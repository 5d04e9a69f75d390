package backendtest

import (
	"context"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

var reuseBehaviours = []behaviour{
	{"token reuse: after each kind of renewal", reuseAfterRenewal},
}

func reuseAfterRenewal(t *testing.T, b backend) {
	for _, how := range renewals {
		events := &recorder{}
		e := b.lastUsed().start(t, func(o *usersession.Options) { o.OnEvent, o.TokenReuse = events.add, usersession.ReuseEnds })
		laptop := e.browser()
		id := laptop.login("alice")
		old := laptop.token()
		e.wantOK(laptop.do(func(ctx context.Context) { e.ok(how.renew(ctx, e.m)) }))
		events.take()
		thief := e.thief(old)
		thief.userAgent = "curl"
		thief.wantUser("")
		laptop.wantUser("alice")
		if got := events.of(usersession.EventTokenReused); len(got) > 0 {
			t.Errorf("%s: at once: %v", how.name, got)
		}
		e.shift(id, "renewed_at", -2*time.Minute)
		thief.wantUser("")
		got := events.of(usersession.EventTokenReused)
		if len(got) != 1 || got[0].SessionID != id || got[0].UserID != "alice" || got[0].Err != nil || got[0].IP != elsewhere || got[0].LastIP != atHome || got[0].LastUserAgent != firefox {
			t.Errorf("%s: two minutes later: %+v", how.name, got)
		}
		laptop.wantUser("")
		e.wantReason(id, usersession.ReasonTokenReused)
		e.wantStored(0)
		thief.wantUser("")
		if got := events.of(usersession.EventTokenReused); len(got) > 0 {
			t.Errorf("%s: of an ended session: %v", how.name, got)
		}
	}
}
