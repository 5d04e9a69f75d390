package redisstore_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/redisstore"
)

// BenchmarkScripts compares the commands of the Store with scripts that do the
// same on the server. Its figures are in testdata/scripts.txt.
func BenchmarkScripts(b *testing.B) {
	client := redis.NewClient(&redis.Options{Addr: testserver.Redis(b), ContextTimeoutEnabled: true})
	b.Cleanup(func() { _ = client.Close() })
	prefix := "bench:" + newKey() + ":"
	store, err := redisstore.New(client, &redisstore.Options{Prefix: prefix})
	if err != nil {
		b.Fatal(err)
	}
	update := redis.NewScript(`return redis.call('SET', KEYS[1], ARGV[1], 'XX', 'KEEPTTL')`)
	touch := redis.NewScript(`return redis.call('PEXPIRE', KEYS[1], ARGV[1])`)
	ctx, key, data := b.Context(), newKey(), make([]byte, 240)
	if err := store.Create(ctx, key, data, later()); err != nil {
		b.Fatal(err)
	}
	for _, bm := range []struct {
		name string
		call func() error
	}{
		{"update/command", func() error { _, err := store.Update(ctx, key, data); return err }},
		{"update/script", func() error { return update.Run(ctx, client, []string{prefix + key}, data).Err() }},
		{"touch/command", func() error { _, err := store.Touch(ctx, key, later()); return err }},
		{"touch/script", func() error {
			return touch.Run(ctx, client, []string{prefix + key}, time.Hour.Milliseconds()).Err()
		}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			for b.Loop() {
				if err := bm.call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
