package backendtest

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// Handlers that panic and clients that hang up.
var interruptionBehaviours = []behaviour{
	{"panic: after a login", panicLogin},
	{"panic: after a renewal", panicRenewal},
	{"panic: after a change", panicChange},
	{"hang-up: before a login", hangUpLogin},
	{"hang-up: during a revocation", hangUpRevoke},
	{"commit: before the first byte, whichever it is", commitFirst},
}

// crash sends a request whose handler calls fn and panics.
func (b *browser) crash(fn func(ctx context.Context)) {
	b.Helper()
	_, err := b.request(b.Context(), func(w http.ResponseWriter, r *http.Request) {
		fn(r.Context())
		panic(http.ErrAbortHandler)
	})
	if err == nil {
		b.Error("a handler that panicked has answered")
	}
}

func panicLogin(t *testing.T, b backend) {
	for _, before := range []string{"", "alice", "bob"} {
		t.Run("over "+before, func(t *testing.T) {
			e := b.start(t)
			laptop := e.browser()
			id := ""
			if before != "" {
				id = laptop.login(before)
			}
			laptop.put("cart", 7)
			token, fresh := laptop.token(), ""
			laptop.crash(func(ctx context.Context) {
				e.ok(e.m.Login(ctx, "alice"))
				fresh = e.m.Token(ctx)
			})
			if laptop.token() != token {
				t.Error("the cookie has changed")
			}
			laptop.wantUser(before)
			if laptop.get("cart") != 7 {
				t.Error("the data are lost")
			}
			e.wantDead(fresh)
			eventually(t, "only the old session is listed", func() bool {
				for _, s := range e.list("alice") {
					if s.ID != id {
						return false
					}
				}
				return true
			})
			e.wantStored(1)
		})
	}
}

func panicRenewal(t *testing.T, b backend) {
	for _, how := range renewals {
		if how.name != "RenewToken" && how.name != "Reauthenticate" {
			continue // that of scs deletes at once
		}
		t.Run(how.name, func(t *testing.T) {
			e := b.start(t)
			laptop := e.browser()
			laptop.login("alice")
			fresh := ""
			laptop.crash(func(ctx context.Context) {
				e.ok(how.renew(ctx, e.m))
				fresh = e.m.Token(ctx)
			})
			laptop.wantUser("alice")
			e.wantDead(fresh)
			e.wantSessions("alice", 1)
			e.wantStored(1)
		})
	}
}

func panicChange(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	laptop.login("alice")
	laptop.put("cart", 1)
	laptop.crash(func(ctx context.Context) { e.m.Put(ctx, "cart", 2) })
	if got := laptop.get("cart"); got != 1 {
		t.Errorf("cart %v, want 1", got)
	}
	laptop.wantUser("alice")
}

// hangUp sends a request, cuts the connection once its handler has begun, and
// has the handler call fn after the server noticed.
func (b *browser) hangUp(fn func(ctx context.Context)) {
	b.Helper()
	ctx, cut := context.WithCancel(b.Context())
	done := make(chan struct{})
	// Whether the client sees the answer that comes too late is up to it.
	b.request(ctx, func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		cut()
		<-r.Context().Done()
		fn(r.Context())
		http.NewResponseController(w).Flush() // the commit
	})
	select {
	case <-done:
	case <-time.After(patience):
		b.Fatal("the handler does not end")
	}
}

func hangUpLogin(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	laptop.hangUp(func(ctx context.Context) {
		if err := e.m.Login(ctx, "alice"); err == nil {
			t.Error("a login that nobody gets the cookie of")
		}
		e.m.Put(ctx, "cart", 7)
	})
	e.wantSessions("alice", 0)
	laptop.login("alice")
	// What is put into a session that is there is whole.
	laptop.hangUp(func(ctx context.Context) { e.m.Put(ctx, "cart", 8) })
	if got := laptop.get("cart"); got != 8 {
		t.Errorf("cart %v, want 8", got)
	}
}

func hangUpRevoke(t *testing.T, b backend) {
	for _, how := range []struct {
		name   string
		revoke func(context.Context, *env, string) error
	}{
		{"RevokeSession", func(ctx context.Context, e *env, id string) error { return e.m.RevokeSession(ctx, "bob", id) }},
		{"RevokeAllSessions", func(ctx context.Context, e *env, id string) error {
			_, err := e.m.RevokeAllSessions(ctx, "bob")
			return err
		}},
		{"RevokeMatching", func(ctx context.Context, e *env, id string) error {
			_, err := e.m.RevokeMatching(ctx, usersession.Filter{UserIDs: []string{"bob"}})
			return err
		}},
	} {
		t.Run(how.name, func(t *testing.T) {
			e := b.start(t)
			admin, bob := e.browser(), e.browser()
			id := bob.login("bob")
			admin.login("admin")
			admin.hangUp(func(ctx context.Context) { e.ok(how.revoke(ctx, e, id)) })
			e.wantDead(bob.token())
			e.wantSessions("bob", 0)
			e.wantStored(1)
			token := admin.token() // the answer may come in time, and clear the cookie
			admin.hangUp(func(ctx context.Context) { e.ok(e.m.Logout(ctx)) })
			e.wantDead(token)
		})
	}
}

func commitFirst(t *testing.T, b backend) {
	for _, c := range []struct {
		name  string
		write func(w http.ResponseWriter)
	}{
		{"Write", func(w http.ResponseWriter) { io.WriteString(w, handlerBody) }},
		{"WriteHeader", func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) }},
		{"Flush", func(w http.ResponseWriter) { w.(http.Flusher).Flush() }},
		{"ResponseController", func(w http.ResponseWriter) { http.NewResponseController(w).Flush() }},
		{"ReadFrom", func(w http.ResponseWriter) {
			r, wr := io.Pipe()
			go func() { io.WriteString(wr, handlerBody); wr.Close() }()
			io.Copy(w, r)
		}},
		{"a 1xx first", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusEarlyHints)
			io.WriteString(w, handlerBody)
		}},
		{"nothing", func(w http.ResponseWriter) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := b.start(t)
			laptop := e.browser()
			laptop.serve(func(w http.ResponseWriter, r *http.Request) {
				e.ok(e.m.Login(r.Context(), "alice"))
				c.write(w)
			})
			laptop.wantUser("alice")
			id := e.list("alice")[0].ID
			a := laptop.serve(func(w http.ResponseWriter, r *http.Request) {
				e.m.Put(r.Context(), "cart", 1)
				e.ok(e.m.RevokeSession(background(), "alice", id))
				c.write(w)
			})
			e.wantRefused(a)
		})
	}
}
