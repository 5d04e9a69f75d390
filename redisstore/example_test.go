package redisstore_test

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/redis/go-redis/v9"
	"github.com/seed-296ca7ab/usersession"
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

// Check says at the start of the program what would otherwise fail at the first
// request. Nobody listens at this address.
func ExampleStore_Check() {
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs:                 []string{"127.0.0.1:1"},
		ContextTimeoutEnabled: true,
		MaxRetries:            -1,
	})
	defer client.Close()
	store, err := redisstore.New(client, nil)
	if err != nil {
		panic(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	fmt.Println("Redis is fit:", store.Check(ctx) == nil)
	// Output: Redis is fit: false
}

// The whole wiring. The index is in the database, and session data are in Redis. It
// needs a Redis, so it is built and not run here.
func Example() {
	ctx := context.Background()
	db := sqlx.MustConnect("sqlite", "file:sessions.db?_pragma=busy_timeout(5000)")
	defer db.Close()
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs:                 []string{"127.0.0.1:6379"},
		ContextTimeoutEnabled: true,
	})
	defer client.Close()

	store, err := redisstore.New(client, &redisstore.Options{Prefix: "shop:session:"})
	if err != nil {
		panic(err)
	}
	if err := store.Check(ctx); err != nil {
		panic(err)
	}
	sessions, err := usersession.New(db, &usersession.Options{Store: store})
	if err != nil {
		panic(err)
	}
	if err := sessions.Migrate(ctx); err != nil {
		panic(err)
	}
	go sessions.Run(ctx)
	// http.ListenAndServe(addr, sessions.LoadAndSave(mux))
}

// Redis tells other replicas what has ended, wherever the sessions are.
func ExampleNewChannel() {
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs:                 []string{"127.0.0.1:6379"},
		ContextTimeoutEnabled: true,
	})
	defer client.Close()
	channel, err := redisstore.NewChannel(client, nil)
	if err != nil {
		panic(err)
	}
	opts := &usersession.Options{Watch: usersession.WatchOptions{Channel: channel}}
	fmt.Println(opts.Watch.Channel != nil)
	// Output: true
}
