package backendtest

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// Where a session was last used: what is written with a touch.
var lastUsedBehaviours = []behaviour{
	{"last used: with a touch in the request", lastUsedInRequest},
	{"last used: with the touches of many", lastUsedOfMany},
	{"last used: what a login leaves out stays out", lastUsedLeftOut},
}

var atHome, elsewhere = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::7")

// lastUsed has clients at home with firefox, and elsewhere with every other one.
func (b backend) lastUsed() backend {
	b.configure = append(slices.Clone(b.configure), func(o *usersession.Options) {
		polling(o)
		o.ClientIP = func(r *http.Request) netip.Addr {
			if r.UserAgent() == firefox {
				return atHome
			}
			return elsewhere
		}
	})
	return b
}

// wantUsed wants to know where a session was used last, and that the login stays what
// it was.
func (e *env) wantUsed(what, id string, ip netip.Addr, userAgent string) {
	e.Helper()
	s, err := e.m.Session(e.Context(), "alice", id)
	if err != nil || s.IP != atHome || s.UserAgent != firefox || s.LastIP != ip || s.LastUserAgent != userAgent {
		e.Errorf("%s: login from %v by %q, used from %v by %q, %v; want %v and %q", what, s.IP, s.UserAgent, s.LastIP, s.LastUserAgent, err, ip, userAgent)
	}
}

func lastUsedInRequest(t *testing.T, b backend) {
	e := b.lastUsed().start(t)
	laptop := e.browser()
	id := laptop.login("alice")
	e.wantUsed("after the login", id, atHome, firefox)
	uses := func(userAgent string) {
		pass(t, 5*time.Millisecond)
		laptop.userAgent = userAgent
		laptop.wantUser("alice")
	}
	uses("thief/1.0")
	e.wantUsed("by a thief", id, elsewhere, "thief/1.0")
	uses("poller")
	e.wantUsed("by a request that does not count", id, elsewhere, "thief/1.0")
	uses(hardText)
	e.wantUsed("letters", id, elsewhere, hardText)
	uses(strings.Repeat("ä", 400))
	e.wantUsed("too long", id, elsewhere, strings.Repeat("ä", 256))
	uses("")
	e.wantUsed("without a User-Agent", id, elsewhere, "")
	uses(firefox)
	e.wantUsed("at home again", id, atHome, firefox)

	// A stream, and a token that is renewed by a request that does not count.
	laptop.userAgent = "stream"
	laptop.serve(func(w http.ResponseWriter, r *http.Request) { e.ok(e.m.Touch(r.Context())) })
	e.wantUsed("by a stream", id, elsewhere, "stream")
	laptop.userAgent = firefox
	laptop.do(func(ctx context.Context) { e.ok(e.m.RenewToken(ctx)) })
	e.wantUsed("a renewal", id, atHome, firefox)

	// By hand there is no request that anything is known of.
	uses("thief/1.0")
	pass(t, 5*time.Millisecond)
	before := e.seenAt("alice", id)
	ctx, err := e.m.Load(t.Context(), laptop.token())
	e.ok(err)
	if e.m.UserID(ctx) != "alice" || !e.seenAt("alice", id).After(before) {
		t.Error("not loaded, or not touched")
	}
	e.wantUsed("by hand", id, elsewhere, "thief/1.0")
	e.ok(e.m.RevokeSession(t.Context(), "alice", id))
	if ended, err := e.m.ListEndedSessions(t.Context(), "alice", 1); err != nil || len(ended) != 1 || ended[0].LastUserAgent != "thief/1.0" || ended[0].LastIP != elsewhere {
		t.Errorf("ended: %+v, %v", ended, err)
	}
}

// hardText has letters of many encodings, and what means something in JSON and SQL.
const hardText = "A“b\u2028\\u2028 \"'\\ é€😀 %_?$1 {}[] @now"

func lastUsedOfMany(t *testing.T, b backend) {
	e, _ := b.lastUsed().startRunning(t, 20*time.Millisecond)
	texts := []string{firefox, "thief/1.0", hardText, "", "\\", strings.Repeat("€", 200)}
	browsers := make(map[string]*browser)
	for _, text := range texts {
		browser := e.browser()
		id := browser.login("alice")
		browser.userAgent, browsers[id] = text, browser
	}
	hand := e.browser() // its session is loaded by hand, and nothing is known
	handID := hand.login("alice")
	for range 2 { // once from NULL, once from what is there
		before := make(map[string]time.Time)
		for id := range browsers {
			before[id] = e.seenAt("alice", id)
		}
		eventually(t, "the touches", func() bool {
			all := true
			for id, browser := range browsers {
				browser.wantUser("alice")
				all = all && e.seenAt("alice", id).After(before[id])
			}
			_, err := e.m.Load(t.Context(), hand.token())
			e.ok(err)
			return all
		})
		for id, browser := range browsers {
			ip := elsewhere
			if browser.userAgent == firefox {
				ip = atHome
			}
			e.wantUsed("of many", id, ip, usersessionClip(browser.userAgent))
		}
		e.wantUsed("of many, by hand", handID, atHome, firefox)
	}
}

// usersessionClip cuts a text of letters of three bytes.
func usersessionClip(s string) string {
	if len(s) > 512 {
		return s[:510]
	}
	return s
}

func lastUsedLeftOut(t *testing.T, b backend) {
	e, _ := b.lastUsed().startRunning(t, 20*time.Millisecond)
	for _, stops := range []bool{false, true} {
		if stops {
			e = b.lastUsed().start(t)
		}
		laptop := e.browser()
		id := laptop.login("alice", usersession.WithUserAgent(""), usersession.WithIP(netip.Addr{}))
		laptop.userAgent = "thief/1.0"
		before := e.seenAt("alice", id)
		eventually(t, "a touch", func() bool {
			laptop.wantUser("alice")
			return e.seenAt("alice", id).After(before)
		})
		if s := e.list("alice")[0]; s.LastIP.IsValid() || s.LastUserAgent != "" {
			t.Errorf("used from %v by %q; a login that says nothing wants nothing noted", s.LastIP, s.LastUserAgent)
		}
	}
}
