package manager_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

type traceKey struct{}

// TestOperations wants each operation to be told once, with when it began and how it
// ended, in a context that has the caller's values and no session.
func TestOperations(t *testing.T) {
	var told []string
	var m *usersession.Manager
	broken := errors.New("broken")
	store := mwNewStore()
	m = mwNew(t, &usersession.Options{Store: store, OnOperation: func(ctx context.Context, op usersession.Operation, began time.Time, err error) {
		if d := time.Since(began); d < 0 || d > time.Minute {
			t.Errorf("%s began %v ago", op, d)
		}
		if user := m.UserID(ctx); user != "" {
			t.Errorf("%s: the context has the session of %q", op, user)
		}
		text := fmt.Sprint(op, " ", ctx.Value(traceKey{}))
		if err != nil {
			text += " " + err.Error()
		}
		told = append(told, text)
	}})
	ctx := context.WithValue(t.Context(), traceKey{}, "trace")
	h := func(fn func(ctx context.Context)) http.Handler {
		return m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fn(r.Context()) }))
	}
	token := ""
	for _, c := range []struct {
		name string
		act  func()
		want []string
	}{
		{"no cookie", func() { mwGetContext(ctx, h(func(context.Context) {}), "/", "") }, nil},
		{"login", func() {
			token = mwToken(mwGetContext(ctx, h(func(ctx context.Context) { m.Login(ctx, "u") }), "/", ""))
		}, []string{"login trace", "commit trace"}},
		{"no user", func() { mwGetContext(ctx, h(func(ctx context.Context) { m.Login(ctx, "") }), "/", "") },
			[]string{"login trace usersession: user ID is empty"}},
		{"read", func() { mwGetContext(ctx, h(func(context.Context) {}), "/", token) }, []string{"load trace"}},
		{"change", func() { mwGetContext(ctx, h(func(ctx context.Context) { m.Put(ctx, "k", "v") }), "/", token) },
			[]string{"load trace", "commit trace"}},
		{"list", func() { m.ListSessions(ctx, "u") }, []string{"list trace"}},
		{"the store is down", func() {
			store.before = func(string, string) error { return broken }
			mwGetContext(ctx, h(func(context.Context) {}), "/", token)
			store.before = nil
		}, []string{"load trace broken"}},
		{"not found", func() { m.RevokeSession(ctx, "u", "x") }, []string{"revoke trace usersession: session not found"}},
		{"other sessions", func() { mwGetContext(ctx, h(func(ctx context.Context) { m.RevokeOtherSessions(ctx) }), "/", token) },
			[]string{"load trace", "revoke trace"}},
		{"logout", func() { mwGetContext(ctx, h(func(ctx context.Context) { m.Logout(ctx) }), "/", token) },
			[]string{"load trace", "logout trace"}},
		{"all", func() { m.RevokeAllSessions(ctx, "u") }, []string{"revoke trace"}},
		{"a changed password", func() { m.PasswordChanged(ctx, "u") }, []string{"revoke trace"}},
		{"a filter", func() { m.RevokeMatching(ctx, usersession.Filter{Everyone: true}) }, []string{"revoke trace"}},
		{"the janitor", func() { m.Prune(ctx) }, []string{"prune trace"}},
	} {
		told = nil
		c.act()
		if !slices.Equal(told, c.want) {
			t.Errorf("%s: %q, want %q", c.name, told, c.want)
		}
	}
}

// TestUnfinishedOperations: an operation that panics is no success, nor is one whose
// goroutine ends, as t.FailNow has it. A hook that panics changes nothing.
func TestUnfinishedOperations(t *testing.T) {
	var told []string
	var log strings.Builder
	hook := func(op usersession.Operation, err error) { told = append(told, fmt.Sprint(op, ": ", err)) }
	store := mwNewStore()
	m := mwNew(t, &usersession.Options{
		Store: store, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		OnOperation: func(_ context.Context, op usersession.Operation, _ time.Time, err error) { hook(op, err) },
	})
	h := mwRoutes(m, nil)
	token := mwLogin(t, h, "u")
	login := func(ctx context.Context, end func()) {
		m.Login(ctx, "u", usersession.WithRecheck(func(context.Context) error { end(); return nil }))
	}
	stop := func(op string, end func()) {
		store.before = func(what, _ string) error {
			if what == op {
				end()
			}
			return nil
		}
	}
	for how, end := range map[string]func(){"panic": func() { panic("check") }, "Goexit": runtime.Goexit} {
		for _, c := range []struct {
			op  string
			act func(ctx context.Context)
		}{
			{"login", func(ctx context.Context) { login(ctx, end) }},
			{"load", func(context.Context) { stop("find", end); m.Load(context.WithoutCancel(t.Context()), token) }},
			{"logout", func(ctx context.Context) { stop("delete", end); m.Logout(ctx) }},
			{"revoke", func(ctx context.Context) { stop("delete", end); m.RevokeAllSessions(ctx, "u") }},
		} {
			token = mwLogin(t, h, "u")
			done := make(chan any)
			go func() {
				ended := any("Goexit")
				defer func() {
					if p := recover(); p != nil {
						ended = "panic"
					}
					done <- ended
				}()
				mwGet(m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					told = nil
					c.act(r.Context())
				})), "/", token)
				ended = "nothing"
			}()
			if ended := <-done; ended != how {
				t.Errorf("%s: it ended by %v, want %s", c.op, ended, how)
			}
			store.before = nil
			if want := c.op + ": usersession: the operation did not return: it panicked, or its goroutine ended"; len(told) == 0 || told[0] != want {
				t.Errorf("%s: %q, want %q", how, told, want)
			}
		}
	}
	hook = func(usersession.Operation, error) { panic("hook") }
	mwWantUser(t, m, h, mwLogin(t, h, "u"), "u")
	if !strings.Contains(log.String(), "OnOperation panicked") || !strings.Contains(log.String(), "event=login") {
		t.Errorf("the log is %s", &log)
	}
}
