package backendtest

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// A handler that answers 500 has failed, and nothing that it did is kept.
var onErrorBehaviours = []behaviour{
	{"on error: nothing is committed", onErrorNothing},
	{"on error: with KeepOnError it is", onErrorKept},
	{"on error: an ending stands", onErrorEnded},
}

// fail sends a request whose handler calls fn and answers with a status.
func (b *browser) fail(status int, fn func(ctx context.Context)) answer {
	b.Helper()
	return b.serve(func(w http.ResponseWriter, r *http.Request) {
		fn(r.Context())
		w.WriteHeader(status)
		io.WriteString(w, handlerBody)
	})
}

func onErrorNothing(t *testing.T, b backend) {
	var events recorder
	e := b.start(t, func(o *usersession.Options) { o.OnEvent = events.add })
	stored := e.stored()
	for status, keeps := range map[int]bool{200: true, 302: true, 404: true, 422: true, 500: false, 503: false, 599: false} {
		laptop := e.browser()
		a := laptop.fail(status, func(ctx context.Context) { e.ok(e.m.Login(ctx, "alice")) })
		if a.status != status || a.body != handlerBody && status != 302 {
			t.Errorf("%d: answered %d %q", status, a.status, a.body)
		}
		refused := len(events.of(usersession.EventLoginRefused))
		if !keeps {
			if laptop.token() != "" || refused != 1 {
				t.Errorf("%d: token %q, %d refused logins", status, laptop.token(), refused)
			}
			laptop.wantUser("")
			e.wantSessions("alice", 0)
			if n := e.stored(); n != stored {
				t.Errorf("%d: %d keys, want %d", status, n, stored)
			}
			continue
		}
		laptop.wantUser("alice")
		e.wantSessions("alice", 1)
		n, err := e.m.RevokeAllSessions(t.Context(), "alice")
		if n != 1 || err != nil || refused != 0 {
			t.Errorf("%d: %d ended, %v, %d refused", status, n, err, refused)
		}
	}

	// The session that is there stays as it was, under its token.
	laptop := e.browser()
	id := laptop.login("alice", usersession.WithMeta(map[string]string{"a": "1"}))
	laptop.put("cart", "one")
	token := laptop.token()
	for name, act := range map[string]func(ctx context.Context){
		"Put":              func(ctx context.Context) { e.m.Put(ctx, "cart", "two") },
		"Clear":            func(ctx context.Context) { e.m.Clear(ctx) },
		"RenewToken":       func(ctx context.Context) { e.ok(e.m.RenewToken(ctx)) },
		"Login":            func(ctx context.Context) { e.ok(e.m.Login(ctx, "alice")) },
		"Login of another": func(ctx context.Context) { e.ok(e.m.Login(ctx, "bob")) },
		"Reauthenticate": func(ctx context.Context) {
			e.ok(e.m.Reauthenticate(ctx, usersession.WithMeta(map[string]string{"a": "2"})))
		},
	} {
		laptop.fail(500, act)
		if laptop.token() != token {
			t.Errorf("%s: another token", name)
		}
		laptop.wantUser("alice")
		if cart := laptop.get("cart"); cart != "one" {
			t.Errorf("%s: the cart is %v", name, cart)
		}
		if list := e.list("alice"); len(list) != 1 || list[0].ID != id || list[0].Meta["a"] != "1" {
			t.Errorf("%s: the list is %+v", name, list)
		}
		e.wantSessions("bob", 0)
	}
}

func onErrorKept(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.KeepOnError = true })
	laptop := e.browser()
	laptop.fail(500, func(ctx context.Context) { e.ok(e.m.Login(ctx, "alice")) })
	laptop.wantUser("alice")
	laptop.fail(503, func(ctx context.Context) { e.m.Put(ctx, "cart", "two") })
	if cart := laptop.get("cart"); cart != "two" {
		t.Errorf("the cart is %v", cart)
	}
}

func onErrorEnded(t *testing.T, b backend) {
	e := b.start(t)
	for name, act := range map[string]func(ctx context.Context){
		"Logout":      func(ctx context.Context) { e.ok(e.m.Logout(ctx)) },
		"Destroy":     func(ctx context.Context) { e.ok(e.m.Destroy(ctx)) },
		"scs Destroy": func(ctx context.Context) { e.ok(e.m.SessionManager.Destroy(ctx)) },
		"Put, Logout, Put": func(ctx context.Context) {
			e.m.Put(ctx, "a", 1)
			e.ok(e.m.Logout(ctx))
			e.m.Put(ctx, "a", 2)
		},
		"Login and Logout": func(ctx context.Context) {
			e.ok(e.m.Login(ctx, "alice"))
			e.ok(e.m.Logout(ctx))
		},
		"revocation": func(ctx context.Context) {
			_, err := e.m.RevokeAllSessions(ctx, "alice")
			e.ok(err)
		},
	} {
		laptop := e.browser()
		laptop.login("alice")
		token := laptop.token()
		laptop.fail(500, act)
		if laptop.token() != "" {
			t.Errorf("%s: the browser has a cookie", name)
		}
		e.wantDead(token)
		e.wantSessions("alice", 0)
		e.wantStored(0)
	}
}
