package redisstore

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/seed-296ca7ab/usersession"
)

var _ usersession.Channel = (*Channel)(nil)

// Channel is a [usersession.Channel] over PUBLISH and SUBSCRIBE of Redis. It is safe for
// concurrent use. The sessions need not be in Redis for it.
type Channel struct {
	client redis.UniversalClient
	name   string
}

// NewChannel returns a Channel in the Redis of client, which stays the caller's to close.
// Each process that watches a session has one connection of its own to listen on. Only
// the Prefix of opts counts. If opts is nil, it is [DefaultPrefix].
func NewChannel(client redis.UniversalClient, opts *Options) (*Channel, error) {
	if v := reflect.ValueOf(client); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, errors.New("redisstore: NewChannel: client is nil")
	}
	prefix := DefaultPrefix
	if opts != nil && opts.Prefix != "" {
		prefix = opts.Prefix
	}
	if !validPrefix.MatchString(prefix) {
		return nil, fmt.Errorf("redisstore: NewChannel: Prefix %q is not 1 to 64 characters of [A-Za-z0-9_.:/-]", prefix)
	}
	return &Channel{client, prefix + "ended"}, nil
}

// Publish implements [usersession.Channel].
func (c *Channel) Publish(ctx context.Context, ids []string) error {
	return c.client.Publish(ctx, c.name, strings.Join(ids, ",")).Err()
}

// Subscribe implements [usersession.Channel]. go-redis connects again by itself.
func (c *Channel) Subscribe(ctx context.Context, heard func(ids []string)) error {
	sub := c.client.Subscribe(ctx, c.name)
	defer sub.Close()
	messages := sub.ChannelWithSubscriptions()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case message, open := <-messages:
			switch m := message.(type) {
			case *redis.Subscription:
				heard(nil)
			case *redis.Message:
				heard(strings.Split(m.Payload, ","))
			}
			if !open {
				return errors.New("redisstore: the subscription was closed")
			}
		}
	}
}
