package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/redisstore"
	"github.com/seed-296ca7ab/usersession/storetest"
)

// TestCluster runs on three primaries with a replica each.
func TestCluster(t *testing.T) {
	depth.OnlyFull(t)
	nodes, addrs := startCluster(t)
	client := newClusterClient(t, addrs, nil)
	noError(t, "Check", newStore(t, client).Check(t.Context()))

	t.Run("Contract", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) usersession.Store { return newStore(t, client) })
	})
	t.Run("DeleteIsOneRoundTripToEachNode", func(t *testing.T) { oneRoundTripToEachNode(t, addrs) })
	t.Run("PlainClientIsRefused", func(t *testing.T) {
		plain := newClient(t, addrs[0])
		store := newStore(t, plain)
		const want = "use redis.NewClusterClient"
		wantError(t, "Check", store.Check(t.Context()), want)
		for range 10 {
			_, _, err := store.Find(t.Context(), newKey())
			wantError(t, "Find", err, want)
			wantError(t, "Create", store.Create(t.Context(), newKey(), nil, later()), want)
		}
	})
	t.Run("KeysOfEveryNode", func(t *testing.T) {
		store := newStore(t, client)
		want := createMany(t, store, 1000)
		got := allKeys(t, store)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("Keys: %d keys, want the %d that were created", len(got), len(want))
		}
	})
	t.Run("RevokeAllIsOneRoundTripToEachNode", func(t *testing.T) { revokeAllIsOneRoundTrip(t, addrs) })
	t.Run("MainJob", func(t *testing.T) {
		mainJob(t, newClusterClient(t, addrs, nil), func(client redis.UniversalClient, trips *recorder) { client.AddHook(trips) })
	})
	// Last, because they change the Cluster.
	t.Run("ReshardingUnderLoad", func(t *testing.T) { reshardingUnderLoad(t, client, addrs) })
	t.Run("FailoverUnderLoad", func(t *testing.T) { failoverUnderLoad(t, client) })
	t.Run("FailoverForgets", func(t *testing.T) {
		failoverForgets(t, findShard(t, client, nodes), func() usersession.Store { return newStore(t, client) },
			func(ctx context.Context) error { return client.ForEachMaster(ctx, replicated) })
	})
	t.Run("CrashUnderLoad", func(t *testing.T) { crashUnderLoad(t, client, nodes) })
}

// oneRoundTripToEachNode deletes 1,000 keys that lie in slots all over. What the
// connections write shows that the pipeline is sent at once.
func oneRoundTripToEachNode(t *testing.T, addrs []string) {
	client, hook, counting := countedCluster(t, addrs)
	store := newStore(t, client)
	// The first use of each node opens connections, for pipelines as well.
	noError(t, "Delete", store.Delete(t.Context(), createMany(t, store, 100)...))
	keys := createMany(t, store, 1000)
	for _, tc := range []struct {
		name string
		call func() error
	}{
		{"Delete", func() error { return store.Delete(t.Context(), keys...) }},
	} {
		hook.reset()
		counting.reset()
		noError(t, tc.name, tc.call())
		trips, writes := hook.list(), counting.reset()
		if len(trips) != 3 {
			t.Errorf("%s of 1,000 keys: round trips %q, want 3 pipelines", tc.name, trips)
		}
		if got := slices.Collect(maps.Values(writes)); !slices.Equal(got, []int{1, 1, 1}) {
			t.Errorf("%s of 1,000 keys: writes by node %v, want one to each of 3", tc.name, writes)
		}
		t.Logf("%s of 1,000 keys: %q", tc.name, trips)
	}
	if left := allKeys(t, store); len(left) > 0 {
		t.Errorf("%d keys are left", len(left))
	}
}

// countedCluster returns a client whose round trips are noted, and what its
// connections write.
func countedCluster(t *testing.T, addrs []string) (*redis.ClusterClient, *recorder, *countingDialer) {
	t.Helper()
	counting, hook := &countingDialer{}, &recorder{}
	client := newClusterClient(t, addrs, func(o *redis.ClusterOptions) { o.Dialer = counting.dial })
	// Before there is a node.
	client.OnNewNode(func(node *redis.Client) { node.AddHook(hook) })
	return client, hook, counting
}

// reshardingUnderLoad moves slots while keys are created, changed and deleted,
// and while users log in and are logged out.
func reshardingUnderLoad(t *testing.T, client *redis.ClusterClient, addrs []string) {
	ids := primaryIDs(t, client)
	l := startLoad(t, newStore(t, client))
	users := startManaged(t, func() usersession.Store { return newStore(t, client) })
	for i := range ids {
		cli(t, "--cluster", "reshard", addrs[0], "--cluster-from", ids[i], "--cluster-to", ids[(i+1)%len(ids)],
			"--cluster-slots", "200", "--cluster-pipeline", "1", "--cluster-yes")
		eventually(t, "the nodes agree", func(ctx context.Context) error {
			out, err := exec.CommandContext(ctx, "redis-cli", "--cluster", "check", addrs[0]).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, tail(string(out)))
			}
			return nil
		})
	}
	l.over.Store(true)
	users.finishPlanned(t)
	l.finish(t)
	if l.failed > 0 {
		t.Errorf("%d calls failed, want none: %v", l.failed, l.err)
	}
}

// failoverUnderLoad lets every replica take over from its primary, which hands
// over what it has. One after the other: elections at the same time take votes
// from each other, and Redis gives up one that gets too few.
func failoverUnderLoad(t *testing.T, client *redis.ClusterClient) {
	l := startLoad(t, newStore(t, client))
	users := startManaged(t, func() usersession.Store { return newStore(t, client) })
	var replicas []*redis.Client
	eventually(t, "the replicas are known", func(ctx context.Context) error {
		var mu sync.Mutex
		replicas = nil
		err := client.ForEachSlave(ctx, func(_ context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			replicas = append(replicas, node)
			return nil
		})
		if err == nil && len(replicas) != 3 {
			err = fmt.Errorf("%d replicas, want 3", len(replicas))
		}
		return err
	})
	for _, replica := range replicas {
		var asked time.Time
		eventually(t, "a replica takes over", func(ctx context.Context) error {
			info, err := replica.Info(ctx, "replication").Result()
			if err != nil || strings.Contains(info, "role:master") {
				return err
			}
			if time.Since(asked) > 6*time.Second { // Redis has given up after 5.
				asked = time.Now()
				if err := replica.ClusterFailover(ctx).Err(); err != nil {
					return err
				}
			}
			return errors.New("still a replica")
		})
	}
	l.more() // and then it goes on
	l.over.Store(true)
	users.finishPlanned(t)
	l.finish(t)
	t.Logf("%d calls failed meanwhile: %v", l.failed, l.err)
}

// crashUnderLoad kills a primary. What it acknowledged in its last moment may be
// lost; what its replica has got before is not.
func crashUnderLoad(t *testing.T, client *redis.ClusterClient, nodes []*server) {
	store := newStore(t, client)
	kept, deleted := createMany(t, store, 300), createMany(t, store, 300)
	noError(t, "Delete", store.Delete(t.Context(), deleted...))
	eventually(t, "the replicas have got that", func(ctx context.Context) error {
		return client.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			if err := replicated(ctx, node); !errors.Is(err, errNoReplica) {
				return err
			}
			return nil // it has died before
		})
	})

	l := startLoad(t, newStore(t, client))
	users := startManaged(t, func() usersession.Store { return newStore(t, client) })
	victim := findShard(t, client, nodes).primary
	begin := time.Now()
	victim.stop()
	eventually(t, "a replica takes over", func(ctx context.Context) error {
		existing, err := existing(ctx, store, slices.Concat(kept, deleted)...)
		if err == nil && !slices.Equal(existing, kept) {
			t.Errorf("%d keys, want the %d that were kept", len(existing), len(kept))
		}
		return err
	})
	took := time.Since(begin)
	if took > 30*time.Second {
		t.Errorf("the store works again after %v, want soon after cluster-node-timeout, 2s", took)
	}
	l.more()
	l.over.Store(true)
	users.finishUnplanned(t)
	l.done.Wait()
	if l.failed == 0 {
		t.Error("no call has failed: the primary has not been missed")
	}
	lost, back := l.count(t)
	t.Logf("all works again after %v; %d calls failed, the last with: %v", took, l.failed, l.err)
	t.Logf("of %d keys kept and %d deleted under load, %d are lost and %d have come back", len(l.live), len(l.deleted), lost, back)
}

// shard is a primary with its replica.
type shard struct{ primary, replica *server }

// findShard returns a shard whose replica is connected.
func findShard(t *testing.T, client *redis.ClusterClient, nodes []*server) (s shard) {
	t.Helper()
	byAddr := func(addr string) *server {
		return nodes[slices.IndexFunc(nodes, func(n *server) bool { return n.addr == addr })]
	}
	eventually(t, "there is a shard with a replica", func(ctx context.Context) error {
		//lint:ignore SA1019 this is what clients of Redis 7.0 route by
		slots, err := client.ClusterSlots(ctx).Result()
		if err != nil {
			return err
		}
		for _, slot := range slots {
			if len(slot.Nodes) < 2 {
				continue
			}
			s = shard{byAddr(slot.Nodes[0].Addr), byAddr(slot.Nodes[1].Addr)}
			node := newClient(t, s.primary.addr)
			defer node.Close()
			info, err := node.Info(ctx, "replication").Result()
			if err == nil && strings.Contains(info, "state=online") {
				return nil
			}
		}
		return errors.New("none yet")
	})
	return s
}

var errNoReplica = errors.New("no replica is connected")

// replicated returns an error unless a replica has acknowledged what the node
// has written.
func replicated(ctx context.Context, node *redis.Client) error {
	info, err := node.Info(ctx, "replication").Result()
	if err != nil {
		return err
	}
	if strings.Contains(info, "connected_slaves:0") {
		return errNoReplica
	}
	_, offset, _ := strings.Cut(info, "master_repl_offset:")
	offset, _, _ = strings.Cut(offset, "\r\n")
	if !strings.Contains(info, ",offset="+offset+",") {
		return errors.New(info)
	}
	return nil
}

// startCluster starts six nodes and returns them and their addresses.
func startCluster(t *testing.T) (nodes []*server, addrs []string) {
	t.Helper()
	nodes, addrs = make([]*server, 6), make([]string, 6)
	for i := range addrs {
		nodes[i] = startServer(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
		addrs[i] = nodes[i].addr
	}
	cli(t, append(append([]string{"--cluster", "create"}, addrs...), "--cluster-replicas", "1", "--cluster-yes")...)
	eventually(t, "every node knows the Cluster", func(ctx context.Context) error {
		for _, addr := range addrs {
			node := newClient(t, addr)
			defer node.Close()
			info, err := node.ClusterInfo(ctx).Result()
			if err != nil {
				return err
			}
			nodes, err := node.ClusterNodes(ctx).Result()
			if err != nil {
				return err
			}
			if !strings.Contains(info, "cluster_state:ok") || strings.Count(nodes, " connected") != 6 || strings.Count(nodes, "slave") != 3 {
				return fmt.Errorf("%s:\n%s", info, nodes)
			}
		}
		return nil
	})
	return nodes, addrs
}

// cli runs redis-cli to its end.
func cli(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "redis-cli", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %s: %v\n%s", strings.Join(args, " "), err, tail(string(out)))
	}
}

func newClusterClient(t *testing.T, addrs []string, change func(*redis.ClusterOptions)) *redis.ClusterClient {
	t.Helper()
	o := &redis.ClusterOptions{Addrs: addrs, ContextTimeoutEnabled: true}
	if change != nil {
		change(o)
	}
	client := redis.NewClusterClient(o)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// primaryIDs returns the IDs by which the nodes with slots know each other.
func primaryIDs(t *testing.T, client *redis.ClusterClient) []string {
	t.Helper()
	//lint:ignore SA1019 this is what clients of Redis 7.0 route by
	slots, err := client.ClusterSlots(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, slot := range slots {
		if id := slot.Nodes[0].ID; !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func createMany(t *testing.T, store *redisstore.Store, n int) []string {
	t.Helper()
	keys := make([]string, n)
	for i := range keys {
		keys[i] = newKey()
		if err := store.Create(t.Context(), keys[i], []byte("data"), later()); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

// allKeys returns what Keys yields, sorted and each key once.
func allKeys(t *testing.T, store *redisstore.Store) []string {
	t.Helper()
	seen := make(map[string]bool)
	for key, err := range store.Keys(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		seen[key] = true
	}
	return slices.Sorted(maps.Keys(seen))
}
