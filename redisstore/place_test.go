package redisstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/redisstore"
)

// A program on another Redis cannot delete the data of a session, whatever its prefix,
// and one that calls the same Redis by another address can.
func TestRevocationFromAnotherRedis(t *testing.T) {
	addr := testserver.Redis(t)
	store := newStore(t, newClient(t, addr))
	app, db := newManager(t, store)
	prefix, _, _ := strings.Cut(strings.TrimPrefix(store.Place(), "redis 0 "), "+")
	tool := func(addr string) *usersession.Manager {
		m, err := usersession.New(db, &usersession.Options{Store: mustNew(t, newClient(t, addr), &redisstore.Options{Prefix: prefix})})
		noError(t, "New", err)
		return m
	}
	same, another := tool(strings.Replace(addr, "127.0.0.1", "localhost", 1)), tool(startServer(t).addr)
	for name, revoke := range map[string]func(m *usersession.Manager, token string) error{
		"RevokeSession": func(m *usersession.Manager, _ string) error {
			list, err := m.ListSessions(t.Context(), "alice")
			noError(t, "ListSessions", err)
			return m.RevokeSession(t.Context(), "alice", list[0].ID)
		},
		"RevokeAllSessions": func(m *usersession.Manager, _ string) error {
			_, err := m.RevokeAllSessions(t.Context(), "alice")
			return err
		},
		"RevokeMatching": func(m *usersession.Manager, _ string) error {
			_, err := m.RevokeMatching(t.Context(), usersession.Filter{Everyone: true})
			return err
		},
		"Logout": func(m *usersession.Manager, token string) error {
			ctx, err := m.Load(t.Context(), token)
			noError(t, "Load", err)
			return m.Logout(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := login(t.Context(), app, "alice")
			noError(t, "login", err)
			if err := revoke(another, token); !errors.Is(err, usersession.ErrRevocationPending) {
				t.Errorf("from another Redis: %v, want ErrRevocationPending", err)
			}
			_, err = app.Prune(t.Context())
			noError(t, "Prune", err)
			wantNobody(t, app, token)

			token, err = login(t.Context(), app, "alice")
			noError(t, "login", err)
			noError(t, "by another address", revoke(same, token))
			wantNobody(t, app, token)
		})
	}
	t.Run("a cookie at another Redis ends nothing", func(t *testing.T) {
		token, err := login(t.Context(), app, "bob")
		noError(t, "login", err)
		wantNobody(t, another, token)
		n, err := another.Reconcile(t.Context())
		if user, _ := served(t.Context(), app, token); n != 0 || err != nil || user != "bob" {
			t.Errorf("%d ended, %v, and the user is %q", n, err, user)
		}
	})
}

func wantNobody(t *testing.T, m *usersession.Manager, token string) {
	t.Helper()
	if user, err := served(context.Background(), m, token); user != "" || err != nil {
		t.Errorf("served as %q, %v", user, err)
	}
}

func TestPlace(t *testing.T) {
	place := func(c redis.UniversalClient) string { return mustNew(t, c, nil).Place() }
	plain := redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true}
	one := place(redis.NewClient(&plain))
	if !strings.HasPrefix(one, "redis 0 usersession:+") || strings.Contains(one, "127.0.0.1") {
		t.Errorf("%q", one)
	}
	if place(redis.NewClient(with(plain, func(o *redis.Options) { o.Addr = "127.0.0.1:2" }))) == one {
		t.Error("two servers are one place")
	}
	sentinel := place(redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "main", SentinelAddrs: []string{"127.0.0.1:1"}, ContextTimeoutEnabled: true}))
	if sentinel != "redis 0 usersession:" {
		t.Errorf("behind Sentinel: %q", sentinel)
	}
	ab, ba := newClusterClient(t, []string{"a:1", "b:1"}, nil), newClusterClient(t, []string{"b:1", "a:1"}, nil)
	if place(ab) != place(ba) || place(ab) == sentinel {
		t.Errorf("a Cluster: %q, %q", place(ab), place(ba))
	}
}
