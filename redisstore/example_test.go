package redisstore_test

import (
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/seed-296ca7ab/usersession/redisstore"
)

// The right client: it honours deadlines and reads from the primary.
func ExampleNew() {
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs:                 []string{"127.0.0.1:6379"},
		ContextTimeoutEnabled: true,
	})
	defer client.Close()
	store, err := redisstore.New(client, nil)
	fmt.Println(store.AtomicUpdates(), err)
	// Output: true <nil>
}

// The wrong client: a session that has been revoked would still be served from
// a replica, and a request would wait longer than its context allows.
func ExampleNew_wrongClient() {
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs:         []string{"127.0.0.1:6379"},
		RouteRandomly: true,
	})
	defer client.Close()
	_, err := redisstore.New(client, nil)
	fmt.Println(err)
	// Output:
	// redisstore: ClusterOptions.ContextTimeoutEnabled must be true: without it calls do not end with their context
	// redisstore: ClusterOptions.RouteRandomly must not be set: a revoked session would still be served from a replica
}
