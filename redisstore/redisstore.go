package redisstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed-296ca7ab/usersession"
)

// DefaultPrefix starts the name of every key in Redis.
const DefaultPrefix = "usersession:"

// Options configure a Store. The zero value of every field is its default.
type Options struct {
	// Prefix starts the name of every key in Redis. It has 1 to 64 characters
	// from [A-Za-z0-9_.:/-]. Programs that share a Redis need different ones.
	// The default is [DefaultPrefix].
	Prefix string

	// Logger gets what an operator should know, such as an eviction policy that
	// may drop sessions. It never gets a key. If nil, nothing is logged.
	Logger *slog.Logger
}

var (
	_ usersession.Store         = (*Store)(nil)
	_ usersession.AtomicUpdater = (*Store)(nil)
	_ usersession.ExpiryFinder  = (*Store)(nil)
	_ usersession.KeyLister     = (*Store)(nil)
	_ usersession.Placer        = (*Store)(nil)
)

// Store is a [usersession.Store] in Redis. It is safe for concurrent use.
type Store struct {
	client  redis.UniversalClient
	cluster *redis.ClusterClient // nil if the client is a *redis.Client
	prefix  string
	logger  *slog.Logger

	// checked is false until the server has passed a check, and again once it
	// says that it is a replica.
	checked atomic.Bool
}

// validPrefix leaves out what SCAN takes for a pattern, and the braces by which
// a Cluster would keep every session in one slot.
var validPrefix = regexp.MustCompile(`^[A-Za-z0-9_.:/-]{1,64}$`)

// New returns a Store in the Redis of client, which must be a [redis.Client] or
// a [redis.ClusterClient] and stays the caller's to close. If opts is nil,
// every option has its default. New returns every error of configuration at
// once. It does no I/O, and leaves that to [Store.Check].
func New(client redis.UniversalClient, opts *Options) (*Store, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	errs := clientErrors(client)
	if !validPrefix.MatchString(o.Prefix) {
		errs = append(errs, fmt.Errorf("redisstore: Options.Prefix: %q is not 1 to 64 characters from [A-Za-z0-9_.:/-]", o.Prefix))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s := &Store{client: client, prefix: o.Prefix, logger: o.Logger}
	s.cluster, _ = client.(*redis.ClusterClient)
	return s, nil
}

// AtomicUpdates reports true, because Update and Touch are one command each,
// which Redis runs alone.
func (s *Store) AtomicUpdates() bool { return true }

// Place names the database by its number, the prefix, and a sum of the address. Behind
// Sentinel the address is that of no server, and is left out.
func (s *Store) Place() string {
	n, address := 0, ""
	switch c := s.client.(type) {
	case *redis.Client:
		n, address = c.Options().DB, c.Options().Addr
	case *redis.ClusterClient: // which has no other database
		address = strings.Join(slices.Sorted(slices.Values(c.Options().Addrs)), " ")
	}
	place := fmt.Sprintf("redis %d %s", n, s.prefix)
	if address == "" || address == "FailoverClient" {
		return place
	}
	return fmt.Sprintf("%s+%.8x", place, sha256.Sum256([]byte(address)))
}

// Find returns the data of a key. A key that is no string of Redis has empty data, so
// that it can be deleted like other data that nobody can read.
func (s *Store) Find(ctx context.Context, key string) ([]byte, bool, error) {
	if err := s.ready(ctx, key); err != nil {
		return nil, false, err
	}
	data, err := s.client.Get(ctx, s.prefix+key).Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, false, nil
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return nil, true, nil
	case err != nil:
		return nil, false, s.failed(ctx, "find", err)
	}
	return data, true, nil
}

// FindExpiry is Find that returns the expiry as well, in the same round trip. A key
// without a TTL, which this package never makes, has the zero time.
func (s *Store) FindExpiry(ctx context.Context, key string) ([]byte, time.Time, bool, error) {
	if err := s.ready(ctx, key); err != nil {
		return nil, time.Time{}, false, err
	}
	pipe := s.client.Pipeline()
	get, ttl := pipe.Get(ctx, s.prefix+key), pipe.PTTL(ctx, s.prefix+key)
	_, _ = pipe.Exec(ctx) // each has its own error
	data, err := get.Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, time.Time{}, false, nil
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		data, err = nil, nil
	case err == nil:
		err = ttl.Err()
	}
	switch left := ttl.Val(); {
	case err != nil:
		return nil, time.Time{}, false, s.failed(ctx, "find", err)
	case left == -1:
		return data, time.Time{}, true, nil
	case left < 0: // it has expired since it was read
		return nil, time.Time{}, false, nil
	default:
		return data, time.Now().Add(left), true, nil
	}
}

// Create stores the data of a new key until expiry. It returns
// [usersession.ErrKeyExists] and changes nothing if the key exists. An expiry
// less than a millisecond away counts as past.
func (s *Store) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	if err := s.ready(ctx, key); err != nil {
		return err
	}
	left := time.Until(expiry).Milliseconds()
	if left <= 0 {
		// SET knows no TTL of zero, and without one the key would live for ever.
		n, err := s.client.Exists(ctx, s.prefix+key).Result()
		switch {
		case err != nil:
			return s.failed(ctx, "create", err)
		case n > 0:
			return usersession.ErrKeyExists
		}
		return nil
	}
	cmd := once{redis.NewStatusCmd(ctx, "set", s.prefix+key, data, "px", left, "nx")}
	err := s.client.Process(ctx, cmd)
	switch {
	case errors.Is(err, redis.Nil):
		return usersession.ErrKeyExists
	case err != nil:
		return s.failed(ctx, "create", err)
	}
	return nil
}

// once is a command that go-redis does not repeat when its answer is lost: the
// second SET NX would find the key of the first.
type once struct{ *redis.StatusCmd }

func (once) NoRetry() bool { return true }

// Update replaces the data of a key that exists and keeps its expiry.
func (s *Store) Update(ctx context.Context, key string, data []byte) (bool, error) {
	if err := s.ready(ctx, key); err != nil {
		return false, err
	}
	found, err := s.client.SetXX(ctx, s.prefix+key, data, redis.KeepTTL).Result()
	if err != nil {
		return false, s.failed(ctx, "update", err)
	}
	return found, nil
}

// Touch moves the expiry of a key that exists and keeps its data. An expiry
// that is not in the future deletes the key.
func (s *Store) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	if err := s.ready(ctx, key); err != nil {
		return false, err
	}
	// PEXPIRE itself deletes the key if the duration is not positive. The
	// client's PExpire would round less than a millisecond up.
	cmd := redis.NewIntCmd(ctx, "pexpire", s.prefix+key, time.Until(expiry).Milliseconds())
	if err := s.client.Process(ctx, cmd); err != nil {
		return false, s.failed(ctx, "touch", err)
	}
	return cmd.Val() > 0, nil
}

const (
	// pipelineSize bounds the memory of one pipeline.
	pipelineSize = 10_000
	// commandSize bounds how long one DEL keeps Redis from others.
	commandSize = 500
)

// Delete removes keys. Missing keys and an empty list are no-ops. Up to 10,000
// keys are one round trip. In a Cluster they are one to each node that holds
// some of them, all at the same time. After an error some keys may have been
// deleted.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	if err := s.readyFor(ctx, keys); err != nil || len(keys) == 0 {
		return err
	}
	size := commandSize
	if s.cluster != nil {
		size = 1 // The keys of a command must be of one slot; hardly two are.
	}
	// DEL and not UNLINK: Redis frees strings at once for both.
	if len(keys) <= size {
		if err := s.client.Del(ctx, s.names(keys)...).Err(); err != nil {
			return s.failed(ctx, "delete", err)
		}
		return nil
	}
	for batch := range slices.Chunk(keys, pipelineSize) {
		pipe := s.client.Pipeline()
		for part := range slices.Chunk(batch, size) {
			pipe.Del(ctx, s.names(part)...)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return s.failed(ctx, "delete", err)
		}
	}
	return nil
}

// keyLength is the length of the base64url form of a SHA-256 sum.
const keyLength = 43

// Keys yields every key that has not expired, in no particular order. A key may
// be yielded twice. One that a Cluster moves to another node meanwhile, or any
// key during a failover, may be missing.
func (s *Store) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if !s.checked.Load() {
			if err := s.Check(ctx); err != nil {
				yield("", err)
				return
			}
		}
		nodes, err := s.primaries(ctx)
		if err != nil {
			yield("", err)
			return
		}
		pattern := s.prefix + strings.Repeat("?", keyLength)
		for _, node := range nodes {
			for cursor, more := uint64(0), true; more; more = cursor != 0 {
				if err := ctx.Err(); err != nil {
					yield("", err)
					return
				}
				var page []string
				page, cursor, err = node.Scan(ctx, cursor, pattern, 1000).Result()
				if err != nil {
					yield("", s.failed(ctx, "iterate keys", err))
					return
				}
				for _, name := range page {
					if !yield(strings.TrimPrefix(name, s.prefix), nil) {
						return
					}
				}
			}
		}
	}
}

// names returns the names of keys in Redis.
func (s *Store) names(keys []string) []string {
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = s.prefix + key
	}
	return names
}
