package redisstore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/redisstore"
)

// What is published arrives, and a connection that was cut comes back and says that it
// may have missed something.
func TestChannel(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: testserver.Redis(t), ContextTimeoutEnabled: true})
	defer client.Close()
	opts := &redisstore.Options{Prefix: "channel:"}
	c, err := redisstore.NewChannel(client, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	heard, over := make(chan []string), make(chan error)
	go func() { over <- c.Subscribe(ctx, func(ids []string) { heard <- ids }) }()
	for range 2 {
		if ids := <-heard; ids != nil {
			t.Errorf("a subscription begins with %q", ids)
		}
		want := []string{"a", "b-_c"}
		if err := c.Publish(ctx, want); err != nil {
			t.Fatal(err)
		}
		if ids := <-heard; !slices.Equal(ids, want) {
			t.Errorf("heard %q", ids)
		}
		if err := client.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
			t.Fatal(err)
		}
	}
	<-heard
	stop()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("the subscription ended with %v", err)
	}
}

func TestNewChannelRefuses(t *testing.T) {
	var none *redis.Client
	for _, client := range []redis.UniversalClient{nil, none} {
		if _, err := redisstore.NewChannel(client, nil); err == nil || !strings.Contains(err.Error(), "client is nil") {
			t.Errorf("without a client: %v", err)
		}
	}
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	if _, err := redisstore.NewChannel(client, &redisstore.Options{Prefix: "a*"}); err == nil || !strings.Contains(err.Error(), "Prefix") {
		t.Errorf("with a pattern: %v", err)
	}
}
