package redisstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// clientErrors returns why a client cannot keep the promises of the Store.
func clientErrors(client redis.UniversalClient) []error {
	switch c := client.(type) {
	case *redis.Client:
		if c != nil {
			return optionsErrors(c.Options())
		}
	case *redis.ClusterClient:
		if c != nil {
			return clusterOptionsErrors(c.Options())
		}
	case *redis.Ring:
		return []error{errors.New("redisstore: a redis.Ring moves keys to other shards while one is down, so that deleted sessions come back: use a redis.ClusterClient")}
	case nil:
	default:
		return []error{fmt.Errorf("redisstore: a client must be a *redis.Client or a *redis.ClusterClient: where a %T reads from cannot be told", client)}
	}
	return []error{errors.New("redisstore: client is nil")}
}

func optionsErrors(o *redis.Options) []error {
	errs := timeoutErrors("Options", o.ContextTimeoutEnabled, o.ReadTimeout, o.WriteTimeout)
	if o.ClientSideCache != nil || o.ClientSideCacheConfig != nil {
		errs = append(errs, errors.New("redisstore: Options.ClientSideCache and ClientSideCacheConfig must not be set: a revoked session would still be served from the cache"))
	}
	return errs
}

func clusterOptionsErrors(o *redis.ClusterOptions) []error {
	errs := timeoutErrors("ClusterOptions", o.ContextTimeoutEnabled, o.ReadTimeout, o.WriteTimeout)
	for _, route := range []struct {
		option string
		set    bool
	}{
		{"RouteByLatency", o.RouteByLatency},
		{"RouteRandomly", o.RouteRandomly},
		// The two above set this one, too.
		{"ReadOnly (FailoverOptions.ReplicaOnly)", o.ReadOnly && !o.RouteByLatency && !o.RouteRandomly},
	} {
		if route.set {
			errs = append(errs, fmt.Errorf("redisstore: ClusterOptions.%s must not be set: a revoked session would still be served from a replica", route.option))
		}
	}
	return errs
}

// timeoutErrors is about calls that would not end with their context. The
// timeouts are those that go-redis has derived: -1 has become 0, which leaves
// the deadline of the context in force, and -2 is still negative.
func timeoutErrors(options string, contextTimeout bool, read, write time.Duration) []error {
	var errs []error
	if !contextTimeout {
		errs = append(errs, fmt.Errorf("redisstore: %s.ContextTimeoutEnabled must be true: without it calls do not end with their context", options))
	}
	if read < 0 || write < 0 {
		errs = append(errs, fmt.Errorf("redisstore: %s.ReadTimeout and WriteTimeout must not be -2: calls would not end with their context", options))
	}
	return errs
}
