package redisstore_test

import (
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// Whatever stands under the key of a session, Logout ends that.
func TestLogoutOfWhatNobodyCanRead(t *testing.T) {
	client := newClient(t, testserver.Redis(t))
	for name, write := range map[string]func(name string) error{
		"a list": func(name string) error {
			return client.Do(t.Context(), "EVAL", "redis.call('DEL', KEYS[1]) return redis.call('RPUSH', KEYS[1], 'x')", 1, name).Err()
		},
		"a hash": func(name string) error {
			return client.Do(t.Context(), "EVAL", "redis.call('DEL', KEYS[1]) return redis.call('HSET', KEYS[1], 'x', 'y')", 1, name).Err()
		},
		"nothing":     func(name string) error { return client.Set(t.Context(), name, "", 0).Err() },
		"cut":         func(name string) error { return client.SetRange(t.Context(), name, 0, "xxxxxxxx").Err() },
		"a few bytes": func(name string) error { return client.Set(t.Context(), name, "xyz", 0).Err() },
	} {
		t.Run(name, func(t *testing.T) {
			store := newStore(t, client)
			m, _ := newManager(t, store)
			token, err := login(t.Context(), m, "alice")
			noError(t, "Login", err)
			prefix, _, _ := strings.Cut(strings.TrimPrefix(store.Place(), "redis 0 "), "+")
			noError(t, "write", write(prefix+allKeys(t, store)[0]))
			ctx, err := m.Load(t.Context(), token)
			noError(t, "Load", err)
			if user := m.UserID(ctx); user != "" {
				t.Fatalf("%s is logged in", user)
			}
			noError(t, "Logout", m.Logout(ctx))
			if list, err := m.ListSessions(t.Context(), "alice"); len(list) != 0 || err != nil {
				t.Errorf("%d sessions, %v", len(list), err)
			}
			if left := allKeys(t, store); len(left) != 0 {
				t.Errorf("%d keys are left", len(left))
			}
		})
	}
}
