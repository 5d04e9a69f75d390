package backendtest

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

var setMetaBehaviours = []behaviour{
	{"set meta: pairs of a live session", setMeta},
	{"set meta: ten at once", setMetaAtOnce},
	{"set meta: in one request with what else changes the row", setMetaStaged},
}

func setMeta(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	id := laptop.login("alice", usersession.WithMeta(map[string]string{"a": "1", "b": "2"}))
	want := func(what string, pairs map[string]string) {
		t.Helper()
		if s, err := e.m.Session(t.Context(), "alice", id); err != nil || !maps.Equal(s.Meta, pairs) {
			t.Errorf("%s: %v, %v; want %v", what, s.Meta, err, pairs)
		}
	}
	set := func(pairs map[string]string) error { return e.m.SetMeta(t.Context(), "alice", id, pairs) }
	e.ok(set(map[string]string{"name": "📱 \"my\" 'phone' \\", "b": ""}))
	want("changed", map[string]string{"a": "1", "name": "📱 \"my\" 'phone' \\"})
	if n, err := e.m.CountMatching(t.Context(), usersession.Filter{Meta: map[string]string{"name": "📱 \"my\" 'phone' \\"}}, 0); n != 1 || err != nil {
		t.Errorf("a filter finds %d, %v", n, err)
	}
	e.ok(set(nil))
	for what, pairs := range map[string]map[string]string{
		"too long": {"x": strings.Repeat("x", 4096)}, "no key": {"": "x"}, "no text": {"x": "\xff"}, "a NUL": {"x": "\x00"},
	} {
		if err := set(pairs); err == nil || strings.Count(err.Error(), "SetMeta") != 1 {
			t.Errorf("%s: %v", what, err)
		}
	}
	want("refused", map[string]string{"a": "1", "name": "📱 \"my\" 'phone' \\"})
	e.ok(set(map[string]string{"a": "", "name": ""}))
	want("emptied", map[string]string{})

	e.want(e.m.SetMeta(t.Context(), "bob", id, nil), usersession.ErrSessionNotFound)
	e.want(e.m.SetMeta(t.Context(), "alice", "x", nil), usersession.ErrSessionNotFound)
	e.want(e.m.SetMeta(t.Context(), "", id, nil), usersession.ErrNoUserID)
	e.ok(e.m.RevokeSession(t.Context(), "alice", id))
	e.want(set(map[string]string{"name": "x"}), usersession.ErrSessionNotFound)
}

func setMetaAtOnce(t *testing.T, b backend) {
	e := b.start(t)
	id := e.browser().login("alice")
	var done sync.WaitGroup
	for i := range 10 {
		done.Go(func() { e.ok(e.m.SetMeta(t.Context(), "alice", id, map[string]string{fmt.Sprint(i): "x"})) })
	}
	done.Wait()
	if s, err := e.m.Session(t.Context(), "alice", id); err != nil || len(s.Meta) != 10 {
		t.Errorf("%d pairs, %v; want all 10", len(s.Meta), err)
	}
}

func setMetaStaged(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	name := func(ctx context.Context, name string) {
		s, err := e.m.Current(ctx)
		e.ok(err)
		e.ok(e.m.SetMeta(ctx, "alice", s.ID, map[string]string{"name": name}))
	}
	want := func(what string, pairs map[string]string) {
		t.Helper()
		if got := e.list("alice")[0].Meta; !maps.Equal(got, pairs) {
			t.Errorf("%s: %v, want %v", what, got, pairs)
		}
	}
	laptop.do(func(ctx context.Context) {
		e.ok(e.m.Login(ctx, "alice", usersession.WithMethod("password")))
		name(ctx, "one")
	})
	want("login", map[string]string{"name": "one", usersession.MetaMethod: "password"})
	laptop.do(func(ctx context.Context) {
		e.ok(e.m.Reauthenticate(ctx, usersession.WithMethod("passkey")))
		name(ctx, "two")
	})
	want("Reauthenticate first", map[string]string{"name": "two", usersession.MetaMethod: "passkey"})
	laptop.do(func(ctx context.Context) {
		name(ctx, "three")
		e.ok(e.m.Reauthenticate(ctx, usersession.WithMethod("password")))
	})
	want("Reauthenticate last", map[string]string{"name": "three", usersession.MetaMethod: "password"})
	laptop.do(func(ctx context.Context) {
		name(ctx, "four")
		e.ok(e.m.RenewToken(ctx))
	})
	want("RenewToken", map[string]string{"name": "four", usersession.MetaMethod: "password"})
	laptop.wantUser("alice")
}
