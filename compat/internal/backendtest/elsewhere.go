package backendtest

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// The token elsewhere than in the cookie.
var bearerBehaviours = []behaviour{
	{"bearer: login, data, renewal and every ending", bearerLife},
	{"bearer: no cookie is read, set or cleared", bearerCookies},
}

// bearing finds the token of the clients whose User-Agent begins with "api/", behind
// that: what they send in Authorization is not the tests' to choose.
func bearing(o *usersession.Options) {
	o.Token = func(r *http.Request) (string, bool) { return strings.CutPrefix(r.UserAgent(), "api/") }
}

// api is a client that has its token in a variable.
type api struct{ *browser }

func (e *env) api(token string) *api {
	a := &api{e.browser()}
	a.userAgent = "api/" + token
	return a
}

// do sends a request whose handler calls fn and answers with the token, which the
// client sends from then on.
func (a *api) do(fn func(ctx context.Context)) answer {
	a.Helper()
	got := a.serve(func(w http.ResponseWriter, r *http.Request) {
		fn(r.Context())
		io.WriteString(w, a.m.Token(r.Context()))
	})
	if c := got.header.Values("Set-Cookie"); len(c) > 0 {
		a.Errorf("the answer sets a cookie: %q", c)
	}
	if got.status == http.StatusOK {
		a.userAgent = "api/" + got.body
	}
	return got
}

func (a *api) user() (user string) {
	a.Helper()
	a.do(func(ctx context.Context) { user = a.m.UserID(ctx) })
	return user
}

func (a *api) token() string { return strings.TrimPrefix(a.userAgent, "api/") }

func bearerLife(t *testing.T, b backend) {
	e := b.start(t, bearing)
	client := e.api("")
	login := func() (token string) {
		client.do(func(ctx context.Context) { e.ok(e.m.Login(ctx, "alice")) })
		return client.token()
	}
	want := func(what, token, user string) {
		t.Helper()
		if got := e.api(token).user(); got != user {
			t.Errorf("%s: served as %q, want %q", what, got, user)
		}
	}
	client.do(func(ctx context.Context) {
		e.m.Put(ctx, "cart", 1)
		_, _, err := e.m.Commit(ctx) // which makes the token of a visitor
		e.ok(err)
	})
	visitor := client.token()
	first := login()
	want("login", first, "alice")
	want("the token before it", visitor, "")
	client.do(func(ctx context.Context) {
		if e.m.Get(ctx, "cart") != 1 {
			t.Error("the visitor's data are gone")
		}
		e.m.Put(ctx, "cart", 2)
	})
	if client.token() != first {
		t.Error("a change of data gives another token")
	}
	client.do(func(ctx context.Context) { e.ok(e.m.RenewToken(ctx)) })
	want("renewed", client.token(), "alice")
	want("the token before the renewal", first, "")
	e.wantSessions("alice", 1)

	_, err := e.m.RevokeAllSessions(t.Context(), "alice")
	e.ok(err)
	for what, end := range map[string]func(){
		"revoked":     func() { e.ok(e.m.RevokeSession(t.Context(), "alice", e.list("alice")[0].ID)) },
		"logout":      func() { client.do(func(ctx context.Context) { e.ok(e.m.Logout(ctx)) }) },
		"scs Destroy": func() { client.do(func(ctx context.Context) { e.ok(e.m.SessionManager.Destroy(ctx)) }) },
	} {
		client = e.api("")
		token := login()
		end()
		want(what, token, "")
		e.wantSessions("alice", 0)
	}
	for _, token := range []string{"", "junk", keyOf(first)} {
		want("no token", token, "")
	}

	// In flight, as with a cookie.
	client = e.api("")
	login()
	f := client.begin(func(ctx context.Context) { e.m.Put(ctx, "cart", 3) })
	_, err = e.m.RevokeAllSessions(t.Context(), "alice")
	e.ok(err)
	e.wantRefused(f.finish())
}

func bearerCookies(t *testing.T, b backend) {
	e := b.start(t, bearing)
	laptop := e.browser()
	laptop.login("alice")
	client := e.api("")
	client.do(func(ctx context.Context) { e.ok(e.m.Login(ctx, "bob")) })

	// Both come, and the cookie does not count.
	client.jar = laptop.jar
	if got := client.user(); got != "bob" {
		t.Errorf("served as %q, want bob", got)
	}
	client.do(func(ctx context.Context) { e.ok(e.m.Logout(ctx)) })
	e.wantSessions("bob", 0)
	client.userAgent = "api/junk"
	if got := client.user(); got != "" {
		t.Errorf("served as %q, want nobody", got)
	}
	laptop.wantUser("alice")

	// A token of the one kind is one of the other: it is who bears it.
	if got := e.api(laptop.token()).user(); got != "alice" {
		t.Errorf("served as %q, want alice", got)
	}
}
