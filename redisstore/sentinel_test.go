package redisstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/seed-296ca7ab/usersession"

	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// TestSentinel runs on a primary with a replica, watched by one Sentinel.
func TestSentinel(t *testing.T) {
	depth.OnlyFull(t)
	primary := startServer(t)
	replica := startServer(t, "--replicaof", "127.0.0.1 "+primary.port())
	eventually(t, "the replica follows", func(ctx context.Context) error {
		info, err := newClient(t, replica.addr).Info(ctx, "replication").Result()
		if err == nil && !strings.Contains(info, "master_link_status:up") {
			err = errors.New(info)
		}
		return err
	})
	watcher := startSentinel(t, "sentinel monitor main 127.0.0.1 "+primary.port()+" 1\nsentinel down-after-milliseconds main 1000\n")
	sentinel := redis.NewSentinelClient(&redis.Options{Addr: watcher.addr})
	defer sentinel.Close()
	eventually(t, "the Sentinel knows the replica", func(ctx context.Context) error {
		replicas, err := sentinel.Replicas(ctx, "main").Result()
		if err == nil && (len(replicas) != 1 || replicas[0]["flags"] != "slave") {
			err = errors.New("no replica, or one that it has not reached yet")
		}
		return err
	})

	o := redis.FailoverOptions{MasterName: "main", SentinelAddrs: []string{watcher.addr}, ContextTimeoutEnabled: true}
	client := redis.NewFailoverClient(with(o, func(*redis.FailoverOptions) {}))
	defer client.Close()
	store := newStore(t, client)
	noError(t, "Check", store.Check(t.Context()))
	keys := createMany(t, store, 50)
	deleted := keys[:20]
	noError(t, "Delete", store.Delete(t.Context(), deleted...))

	readers := redis.NewFailoverClient(with(o, func(o *redis.FailoverOptions) { o.ReplicaOnly = true }))
	defer readers.Close()
	wantRefused(t, newStore(t, readers), "FailoverOptions.ReplicaOnly")
	wantRefused(t, newStore(t, newClient(t, watcher.addr)), "use redis.NewFailoverClient")

	// After a failover the same Store works with the new primary.
	eventually(t, "the replica has every write", func(ctx context.Context) error {
		n, err := newClient(t, replica.addr).DBSize(ctx).Result()
		if err == nil && n != 30 {
			err = errors.New("not yet")
		}
		return err
	})
	users := startManaged(t, func() usersession.Store { return newStore(t, client) })
	noError(t, "SENTINEL FAILOVER", sentinel.Failover(t.Context(), "main").Err())
	// Until it is a replica, the old primary accepts what will be lost.
	eventually(t, "they have changed places", func(ctx context.Context) error {
		for addr, role := range map[string]string{replica.addr: "role:master", primary.addr: "role:slave"} {
			client := newClient(t, addr)
			defer client.Close()
			if info, err := client.Info(ctx, "replication").Result(); err != nil || !strings.Contains(info, role) {
				return errors.Join(errors.New(info), err)
			}
		}
		return nil
	})
	fresh := newKey()
	eventually(t, "a login on the new primary", func(ctx context.Context) error {
		return store.Create(ctx, fresh, []byte("data"), later())
	})
	users.finishUnplanned(t)
	existing, err := existing(t.Context(), store, append(keys, fresh)...)
	if len(existing) != 31 || err != nil {
		t.Errorf("%d keys are found, %v; want 31", len(existing), err)
	}
}
