package backendtest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

var loginBehaviours = []behaviour{
	{"login: anonymous data are kept, the anonymous token is dead", loginKeepsCart},
	{"login: another user's data are cleared", loginClears},
	{"login: the former session of the browser is replaced", loginReplaces},
	{"login: twice in one request", loginTwice},
	{"login: then a renewal in the same request", loginRenewal},
	{"login: a token the client chose is never used", loginFixation},
	{"login: bad user IDs change nothing", loginBadIDs},
	{"login: bad options change nothing", loginBadOptions},
	{"login: the response has started", loginStarted},
	{"login: the cookie", loginCookie},
	{"login: then logout in the same request", loginLogout},
	{"require user, require fresh", requireUser},
}

func loginKeepsCart(t *testing.T, b backend) {
	e := b.start(t)
	visitor := e.browser()
	visitor.put("cart", 7)
	anonymous := visitor.token()
	visitor.login("alice")
	if got := visitor.get("cart"); got != 7 {
		t.Errorf("cart %v, want 7", got)
	}
	if visitor.token() == anonymous {
		t.Error("the token is the old one")
	}
	if got := e.thief(anonymous).get("cart"); got != nil {
		t.Errorf("the anonymous token still gives %v", got)
	}
	e.wantDead(anonymous)
	e.wantStored(1)
}

func loginClears(t *testing.T, b backend) {
	e := b.start(t)
	shared := e.browser()
	shared.login("alice")
	shared.put("secret", "alice's")
	shared.do(func(ctx context.Context) {
		e.ok(e.m.Login(ctx, "bob"))
		if e.m.Exists(ctx, "secret") {
			t.Error("alice's data in the request of bob's login")
		}
	})
	if got := shared.get("secret"); got != nil {
		t.Errorf("bob sees %v", got)
	}
	shared.wantUser("bob")
	shared.put("note", "bob's")
	shared.login("bob")
	if got := shared.get("note"); got != "bob's" {
		t.Errorf("the same user's data: %v, want them kept", got)
	}
}

func loginReplaces(t *testing.T, b backend) {
	for _, user := range []string{"alice", "bob"} {
		t.Run("by "+user, func(t *testing.T) {
			e := b.start(t)
			laptop := e.browser()
			first := laptop.login("alice")
			token := laptop.token()
			second := laptop.login(user)
			if first == second {
				t.Error("the new session has the ID of the old one")
			}
			laptop.wantUser(user)
			e.wantDead(token)
			if list := e.list(user); len(list) != 1 || list[0].ID != second {
				t.Errorf("sessions %v, want the new one", list)
			}
			e.wantReason(first, usersession.ReasonReplaced)
			e.wantStored(1)
		})
	}
}

func loginTwice(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	laptop.put("cart", 7)
	laptop.do(func(ctx context.Context) {
		e.ok(e.m.Login(ctx, "bob"))
		e.ok(e.m.Login(ctx, "alice"))
	})
	laptop.wantUser("alice")
	e.wantSessions("alice", 1)
	e.wantSessions("bob", 0)
	e.wantStored(1)
}

func loginRenewal(t *testing.T, b backend) {
	for _, how := range renewals {
		t.Run(how.name, func(t *testing.T) {
			e := b.start(t)
			for _, before := range []string{"", "alice", "bob"} {
				laptop := e.browser()
				if before != "" {
					laptop.login(before)
				}
				former, first := laptop.token(), ""
				laptop.put("cart", 7)
				e.wantOK(laptop.do(func(ctx context.Context) {
					e.ok(e.m.Login(ctx, "carol"))
					first = e.m.Token(ctx)
					e.ok(how.renew(ctx, e.m))
				}))
				laptop.wantUser("carol")
				e.wantDead(first)
				if former != "" {
					e.wantDead(former)
					e.wantSessions(before, 0)
				}
				e.wantSessions("carol", 1)
				e.wantStored(1)
				laptop.do(func(ctx context.Context) { e.ok(e.m.Logout(ctx)) })
			}
		})
	}
}

func loginFixation(t *testing.T, b backend) {
	e := b.start(t)
	var raw [32]byte
	rand.Read(raw[:])
	chosen := base64.RawURLEncoding.EncodeToString(raw[:])
	victim := e.thief(chosen)
	victim.login("alice")
	if victim.token() == chosen {
		t.Error("the client's token is in use")
	}
	e.wantDead(chosen)

	visitor := e.thief(chosen)
	visitor.put("cart", 1)
	if visitor.token() == chosen {
		t.Error("the client's token is in use for an anonymous session")
	}
}

func loginBadIDs(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	laptop.login("alice")
	laptop.put("cart", 7)
	for _, c := range []struct {
		name, id string
		err      error
	}{
		{"empty", "", usersession.ErrNoUserID},
		{"10 KiB", strings.Repeat("x", 10<<10), usersession.ErrBadUserID},
		{"256 bytes", strings.Repeat("x", 256), usersession.ErrBadUserID},
		{"NUL", "al\x00ice", usersession.ErrBadUserID},
		{"not UTF-8", "al\xffice", usersession.ErrBadUserID},
	} {
		e.wantOK(laptop.do(func(ctx context.Context) {
			err := e.m.Login(ctx, c.id)
			e.want(err, c.err)
			if c.id != "" && err != nil && strings.Contains(err.Error(), c.id) {
				t.Errorf("%s: the error has the user ID in it", c.name)
			}
			_, err = e.m.ListSessions(ctx, c.id)
			e.want(err, c.err)
			e.want(e.m.RevokeSession(ctx, c.id, "x"), c.err)
			_, err = e.m.RevokeAllSessions(ctx, c.id)
			e.want(err, c.err)
			if c.id != "" {
				_, err = e.m.RevokeMatching(ctx, usersession.Filter{UserIDs: []string{c.id}})
				e.want(err, c.err)
			}
		}))
	}
	laptop.wantUser("alice")
	if laptop.get("cart") != 7 {
		t.Error("the data have changed")
	}
	long := strings.Repeat("é", 127)
	laptop.login(long)
	laptop.wantUser(long)
	e.wantSessions(long, 1)
}

func loginBadOptions(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	many := map[string]string{}
	for range 33 {
		many[rand.Text()] = ""
	}
	for name, opt := range map[string]usersession.LoginOption{
		"short lifetime": usersession.WithLifetime(time.Millisecond),
		"negative":       usersession.WithLifetime(-time.Hour),
		"33 pairs":       usersession.WithMeta(many),
		"5000 bytes":     usersession.WithMeta(map[string]string{"k": strings.Repeat("x", 5000)}),
		"NUL":            usersession.WithMeta(map[string]string{"k": "\x00"}),
		"not UTF-8":      usersession.WithMeta(map[string]string{"\xff": ""}),
		"empty key":      usersession.WithMeta(map[string]string{"": "x"}),
	} {
		laptop.do(func(ctx context.Context) {
			if err := e.m.Login(ctx, "alice", opt); err == nil {
				t.Errorf("%s: no error", name)
			}
		})
	}
	laptop.wantUser("")
	e.wantSessions("alice", 0)
}

func loginStarted(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone := e.browser(), e.browser()
	phone.login("alice")
	for _, d := range []*browser{laptop, phone} {
		token := d.token()
		d.serve(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "it begins")
			e.want(e.m.Login(r.Context(), "bob"), usersession.ErrResponseStarted)
			e.want(e.m.RenewToken(r.Context()), usersession.ErrResponseStarted)
			e.want(e.m.Reauthenticate(r.Context()), usersession.ErrResponseStarted)
		})
		if d.token() != token {
			t.Error("the cookie has changed")
		}
	}
	laptop.wantUser("")
	phone.wantUser("alice")
	e.wantSessions("alice", 1)
	e.wantSessions("bob", 0)
	// A logout ends the session even so.
	phone.serve(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "it begins")
		e.ok(e.m.Logout(r.Context()))
	})
	e.wantDead(phone.token())
	e.wantSessions("alice", 0)
}

func loginCookie(t *testing.T, b backend) {
	e := b.start(t)
	cookie := func(opts ...usersession.LoginOption) *http.Cookie {
		a := e.browser().do(func(ctx context.Context) { e.ok(e.m.Login(ctx, "alice", opts...)) })
		r := http.Response{Header: a.header}
		if len(r.Cookies()) != 1 {
			t.Fatalf("%d cookies, want 1", len(r.Cookies()))
		}
		if got := a.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control %q with a cookie", got)
		}
		if got := a.header.Values("Vary"); len(got) != 1 || got[0] != "Cookie" {
			t.Errorf("Vary %q", got)
		}
		return r.Cookies()[0]
	}
	c := cookie()
	if c.Name != "__Host-session" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
		t.Errorf("cookie %v", c)
	}
	if c.MaxAge != 0 || !c.Expires.IsZero() {
		t.Errorf("the default cookie outlives the window: %v", c)
	}
	if c := cookie(usersession.WithPersistentCookie(true), usersession.WithLifetime(time.Hour)); c.MaxAge < 3500 || c.MaxAge > 3601 {
		t.Errorf("a persistent cookie of one hour: %v", c)
	}
	if c := cookie(usersession.WithPersistentCookie(false)); c.MaxAge != 0 {
		t.Errorf("a cookie asked not to persist: %v", c)
	}
}

func loginLogout(t *testing.T, b backend) {
	for _, d := range []struct {
		name   string
		logout func(context.Context, *usersession.Manager) error
	}{
		{"Logout", func(ctx context.Context, m *usersession.Manager) error { return m.Logout(ctx) }},
		{"scs Destroy", func(ctx context.Context, m *usersession.Manager) error { return m.SessionManager.Destroy(ctx) }},
		{"Clear", func(ctx context.Context, m *usersession.Manager) error { return m.Clear(ctx) }},
	} {
		t.Run(d.name, func(t *testing.T) {
			e := b.start(t)
			for _, before := range []string{"", "alice"} {
				laptop := e.browser()
				if before != "" {
					laptop.login(before)
				}
				former, fresh := laptop.token(), ""
				laptop.do(func(ctx context.Context) {
					e.ok(e.m.Login(ctx, "bob"))
					fresh = e.m.Token(ctx)
					e.ok(d.logout(ctx, e.m))
				})
				laptop.wantUser("")
				e.wantDead(fresh)
				if former != "" {
					e.wantDead(former)
				}
				e.wantSessions("alice", 0)
				e.wantSessions("bob", 0)
			}
		})
	}
}

func requireUser(t *testing.T, b backend) {
	e := b.start(t)
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, handlerBody) })
	user := e.m.RequireUser(inner).ServeHTTP
	fresh := e.m.RequireFresh(time.Hour)(inner).ServeHTTP
	laptop := e.browser()
	for _, h := range []http.HandlerFunc{user, fresh} {
		e.wantRefused(laptop.serve(h))
	}
	id := laptop.login("alice")
	for _, h := range []http.HandlerFunc{user, fresh} {
		a := laptop.serve(h)
		e.wantOK(a)
		if got := a.header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control %q", got)
		}
	}
	stale := e.m.RequireFresh(time.Nanosecond)(inner).ServeHTTP
	e.wantRefused(laptop.serve(stale))
	// Nobody is asked to log in, a user to prove again that it is they.
	const insufficient = `Session error="insufficient_user_authentication", max_age="0"`
	if got := laptop.serve(stale).header.Get("WWW-Authenticate"); got != insufficient {
		t.Errorf("a stale login: WWW-Authenticate %q", got)
	}
	if got := e.browser().serve(stale).header.Get("WWW-Authenticate"); got != "" {
		t.Errorf("nobody: WWW-Authenticate %q", got)
	}
	e.ok(e.m.RevokeSession(t.Context(), "alice", id))
	e.wantRefused(laptop.serve(user))
}
