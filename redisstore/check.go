package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Check asks the server, or every primary of the Cluster, whether sessions can
// be kept there. It returns an error if the server cannot be reached, refuses
// the password, is a replica or a Sentinel, is older than Redis 6.0, or is a
// node of a Cluster while the client is not for one, and the other way round. It
// logs a warning if the eviction policy may drop sessions. It writes nothing.
//
// Call it when the program starts. Without Check, the first use of the Store
// does the same for the server it talks to. So does the next use after a server
// has said that it is a replica.
func (s *Store) Check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	nodes, err := s.primaries(ctx)
	if err != nil {
		return err
	}
	var warnings []func()
	for _, node := range nodes {
		warn, err := s.checkNode(ctx, node)
		if err != nil {
			return err
		}
		warnings = append(warnings, warn)
	}
	for _, warn := range warnings {
		warn()
	}
	s.checked.Store(true)
	return nil
}

// ready returns an error if ctx has ended or the server of a key cannot keep
// sessions. It does I/O only until the server has passed the check.
func (s *Store) ready(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.checked.Load() {
		return nil
	}
	node, _ := s.client.(*redis.Client)
	if s.cluster != nil {
		// Not all nodes: one that is down must not stop the others.
		var err error
		if node, err = s.cluster.MasterForKey(ctx, s.prefix+key); err != nil {
			return s.failed(ctx, "find the node of a key", err)
		}
	}
	warn, err := s.checkNode(ctx, node)
	if err != nil {
		return err
	}
	if s.checked.CompareAndSwap(false, true) {
		warn()
	}
	return nil
}

// readyFor is ready for the first of keys. Without keys it does no I/O.
func (s *Store) readyFor(ctx context.Context, keys []string) error {
	if len(keys) == 0 {
		return ctx.Err()
	}
	return s.ready(ctx, keys[0])
}

// primaries returns the clients of the nodes that hold keys.
func (s *Store) primaries(ctx context.Context) ([]*redis.Client, error) {
	if s.cluster == nil {
		return []*redis.Client{s.client.(*redis.Client)}, ctx.Err()
	}
	var mu sync.Mutex
	var nodes []*redis.Client
	err := s.cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		nodes = append(nodes, node)
		return nil
	})
	if err != nil {
		return nil, s.failed(ctx, "find the nodes", err)
	}
	return nodes, nil
}

// checkNode returns why a server cannot keep sessions, and what logs what an
// operator should know about it.
func (s *Store) checkNode(ctx context.Context, node *redis.Client) (warn func(), err error) {
	addr := node.Options().Addr
	text, err := node.Info(ctx).Result()
	if redis.IsPermissionError(err) || unknownCommand(err) {
		return func() {
			s.logger.WarnContext(ctx, "redisstore: the server does not allow INFO: its role and its eviction policy are not known", "server", addr)
		}, nil
	}
	if err != nil {
		return nil, s.failed(ctx, "check the server", err)
	}
	info := parseInfo(text)
	var errs []error
	if info["redis_mode"] == "sentinel" {
		return nil, fmt.Errorf("redisstore: %s is a Sentinel: use redis.NewFailoverClient", addr)
	}
	if info["role"] == "slave" {
		errs = append(errs, fmt.Errorf("redisstore: %s is a replica: use the primary, and no FailoverOptions.ReplicaOnly", addr))
	}
	if info["cluster_enabled"] == "1" && s.cluster == nil {
		errs = append(errs, fmt.Errorf("redisstore: %s is a node of a Redis Cluster: use redis.NewClusterClient", addr))
	}
	major, _, _ := strings.Cut(info["redis_version"], ".")
	if n, err := strconv.Atoi(major); err == nil && n < 6 {
		errs = append(errs, fmt.Errorf("redisstore: %s is Redis %s: 6.0 or later is needed, for SET with KEEPTTL", addr, info["redis_version"]))
	}
	policy := info["maxmemory_policy"]
	return func() {
		if policy != "" && policy != "noeviction" {
			s.logger.WarnContext(ctx, "redisstore: Redis drops sessions when its memory is full: set maxmemory-policy to noeviction",
				"server", addr, "maxmemory_policy", policy, "maxmemory", info["maxmemory"])
		}
	}, errors.Join(errs...)
}

// parseInfo returns the fields of an answer to INFO.
func parseInfo(text string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if field, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[field] = value
		}
	}
	return info
}
