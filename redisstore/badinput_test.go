package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/redisstore"
)

func TestNewRefuses(t *testing.T) {
	cluster := func(change func(*redis.ClusterOptions)) redis.UniversalClient {
		return newClusterClient(t, []string{"127.0.0.1:1"}, change)
	}
	sentinel := redis.FailoverOptions{MasterName: "main", SentinelAddrs: []string{"127.0.0.1:1"}, ContextTimeoutEnabled: true}
	plain := redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true}
	var noClient *redis.Client
	var noCluster *redis.ClusterClient
	for _, tc := range []struct {
		name   string
		client redis.UniversalClient
		prefix string
		want   []string // nil: accepted
	}{
		{"nothing about a plain client", redis.NewClient(&plain), "", nil},
		{"nothing about a Cluster client", cluster(nil), "", nil},
		{"nothing about a Sentinel client", redis.NewFailoverClient(&sentinel), "", nil},
		{"nothing about timeouts of -1", redis.NewClient(with(plain, func(o *redis.Options) { o.ReadTimeout, o.WriteTimeout = -1, -1 })), "", nil},
		{"no client", nil, "", []string{"client is nil"}},
		{"a nil client", noClient, "", []string{"client is nil"}},
		{"a nil Cluster client", noCluster, "", []string{"client is nil"}},
		{"a Ring", redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}}), "", []string{"Ring", "redis.ClusterClient"}},
		{"a client of another type", struct{ *redis.Client }{redis.NewClient(&plain)}, "", []string{"*redis.ClusterClient"}},
		{"ReadOnly", cluster(func(o *redis.ClusterOptions) { o.ReadOnly = true }), "", []string{"ClusterOptions.ReadOnly"}},
		{"RouteByLatency", cluster(func(o *redis.ClusterOptions) { o.RouteByLatency = true }), "", []string{"ClusterOptions.RouteByLatency"}},
		{"RouteRandomly", cluster(func(o *redis.ClusterOptions) { o.RouteRandomly = true }), "", []string{"ClusterOptions.RouteRandomly"}},
		{"Sentinel ReplicaOnly", redis.NewFailoverClusterClient(with(sentinel, func(o *redis.FailoverOptions) { o.ReplicaOnly = true })), "",
			[]string{"FailoverOptions.ReplicaOnly"}},
		{"Sentinel RouteByLatency", redis.NewFailoverClusterClient(with(sentinel, func(o *redis.FailoverOptions) { o.RouteByLatency = true })), "",
			[]string{"RouteByLatency"}},
		{"Sentinel RouteRandomly", redis.NewFailoverClusterClient(with(sentinel, func(o *redis.FailoverOptions) { o.RouteRandomly = true })), "",
			[]string{"RouteRandomly"}},
		{"ignored deadlines", redis.NewClient(with(plain, func(o *redis.Options) { o.ContextTimeoutEnabled = false })), "",
			[]string{"Options.ContextTimeoutEnabled"}},
		{"ignored deadlines in a Cluster", cluster(func(o *redis.ClusterOptions) { o.ContextTimeoutEnabled = false }), "",
			[]string{"ClusterOptions.ContextTimeoutEnabled"}},
		{"no read deadlines", redis.NewClient(with(plain, func(o *redis.Options) { o.ReadTimeout = -2 })), "", []string{"Options.ReadTimeout"}},
		{"no write deadlines in a Cluster", cluster(func(o *redis.ClusterOptions) { o.WriteTimeout = -2 }), "", []string{"WriteTimeout"}},
		{"a cache", redis.NewClient(with(plain, func(o *redis.Options) { o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{} })), "",
			[]string{"ClientSideCacheConfig"}},
		{"a pattern", redis.NewClient(&plain), "a*", []string{"Prefix"}},
		{"a hash tag", redis.NewClient(&plain), "{a}:", []string{"Prefix"}},
		{"a long prefix", redis.NewClient(&plain), strings.Repeat("a", 65), []string{"Prefix"}},
		{"several at once", cluster(func(o *redis.ClusterOptions) { o.RouteRandomly, o.ContextTimeoutEnabled = true, false }), "a b",
			[]string{"RouteRandomly", "ContextTimeoutEnabled", "Prefix"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			store, err := redisstore.New(tc.client, &redisstore.Options{Prefix: tc.prefix})
			if tc.want == nil {
				noError(t, "New", err)
				return
			}
			wantError(t, "New", err, tc.want...)
			if store != nil {
				t.Error("New returned a Store as well")
			}
		})
	}
}

// with returns a changed copy of options.
func with[T any](options T, change func(*T)) *T {
	change(&options)
	return &options
}

// A client that is pointed at a replica neither writes nor reads there.
func TestReplicaIsRefused(t *testing.T) {
	primary := startServer(t)
	replica := startServer(t, "--replicaof", "127.0.0.1 "+primary.port())
	onPrimary := newStore(t, newClient(t, primary.addr))
	noError(t, "Check of the primary", onPrimary.Check(t.Context()))

	client := newClient(t, replica.addr)
	store := newStore(t, client)
	wantRefused(t, store, "is a replica")

	// A primary that becomes a replica is noticed by the first write. From then
	// on there are no reads either.
	noError(t, "REPLICAOF NO ONE", client.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err())
	key := newKey()
	noError(t, "Create", store.Create(t.Context(), key, []byte("data"), later()))
	noError(t, "REPLICAOF", client.Do(t.Context(), "REPLICAOF", "127.0.0.1", primary.port()).Err())
	wantError(t, "Delete", store.Delete(t.Context(), key), "READONLY", "is a replica")
	wantRefused(t, store, "is a replica")
}

// A full Redis refuses what needs memory, whole, and goes on with the rest.
func TestFullRedis(t *testing.T) {
	client := newClient(t, startServer(t, "--maxmemory-policy", "noeviction").addr)
	store := newStore(t, client)
	keys := createMany(t, store, 3)
	noError(t, "CONFIG SET", client.ConfigSet(t.Context(), "maxmemory", "1").Err())

	fresh := newKey()
	err := store.Create(t.Context(), fresh, []byte("data"), later())
	wantError(t, "Create", err, "OOM", "full")
	if !redis.IsOOMError(err) {
		t.Error("Create: the error of go-redis cannot be reached")
	}
	_, found, err := store.Find(t.Context(), fresh)
	if found || err != nil {
		t.Errorf("Find: %v, %v; want nothing of a failed Create", found, err)
	}
	_, err = store.Update(t.Context(), keys[0], []byte("new"))
	wantError(t, "Update", err, "OOM", "full")
	if data, found, err := store.Find(t.Context(), keys[0]); string(data) != "data" || !found || err != nil {
		t.Errorf("Find: %q, %v, %v; want the old data", data, found, err)
	}
	if found, err := store.Touch(t.Context(), keys[0], later()); !found || err != nil {
		t.Errorf("Touch: %v, %v", found, err)
	}
	noError(t, "Delete", store.Delete(t.Context(), keys...))
	if left := allKeys(t, store); len(left) > 0 {
		t.Errorf("%d keys are left", len(left))
	}
}

func TestEvictionPolicyIsWarnedAbout(t *testing.T) {
	addr := startServer(t, "--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru").addr
	client := newClient(t, addr)
	for name, use := range map[string]func(*redisstore.Store) error{
		"Check":     func(s *redisstore.Store) error { return s.Check(t.Context()) },
		"first use": func(s *redisstore.Store) error { _, _, err := s.Find(t.Context(), newKey()); return err },
	} {
		var log bytes.Buffer
		store := mustNew(t, client, &redisstore.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for range 3 {
			noError(t, name, use(store))
			if name == "Check" {
				break
			}
		}
		if got := log.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, "volatile-lru") || !strings.Contains(got, "noeviction") {
			t.Errorf("%s: the log is %q, want one warning", name, got)
		}
	}
	noError(t, "CONFIG SET", client.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
	var log bytes.Buffer
	store := mustNew(t, client, &redisstore.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	noError(t, "Check", store.Check(t.Context()))
	if log.Len() > 0 {
		t.Errorf("with noeviction: the log is %q", &log)
	}
}

func TestWrongPassword(t *testing.T) {
	const secret, wrong = "the right one", "not-the-right-one"
	addr := startServer(t, "--requirepass", secret).addr
	for _, password := range []string{"", wrong} {
		client := redis.NewClient(&redis.Options{Addr: addr, Password: password, ContextTimeoutEnabled: true})
		defer client.Close()
		wantRefused(t, newStore(t, client), "refuses the user name or the password")
	}
}

// A user without the right to INFO can still keep sessions.
func TestACLUser(t *testing.T) {
	client := newClient(t, startServer(t).addr)
	set := func(user string, rules ...any) *redis.Client {
		args := append([]any{"acl", "setuser", user, "reset", "on", ">secret", "~usersession:*"}, rules...)
		noError(t, "ACL SETUSER", client.Do(t.Context(), args...).Err())
		c := redis.NewClient(&redis.Options{Addr: client.Options().Addr, Username: user, Password: "secret", ContextTimeoutEnabled: true})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	var log bytes.Buffer
	store := mustNew(t, set("app", "+get", "+set", "+pexpire", "+del", "+exists", "+scan"),
		&redisstore.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	noError(t, "Check", store.Check(t.Context()))
	if !strings.Contains(log.String(), "INFO") {
		t.Errorf("the log is %q, want a warning about INFO", &log)
	}
	keys := createMany(t, store, 3)
	if left := allKeys(t, store); len(left) != len(keys) {
		t.Errorf("Keys: %d, want %d", len(left), len(keys))
	}
	noError(t, "Delete", store.Delete(t.Context(), keys...))

	reader := mustNew(t, set("reader", "+get", "+info"), nil)
	wantError(t, "Create", reader.Create(t.Context(), newKey(), nil, later()), "lacks a permission")
}

func TestClusterClientOnASingleServer(t *testing.T) {
	client := newClusterClient(t, []string{testserver.Redis(t)}, nil)
	wantRefused(t, newStore(t, client), "use redis.NewClient")
}

// No error text holds a key, not even that of a command Redis does not know.
func TestUnknownCommand(t *testing.T) {
	client := newClient(t, startServer(t, "--rename-command", "GET", "").addr)
	store := newStore(t, client)
	key := newKey()
	_, _, err := store.Find(t.Context(), key)
	wantError(t, "Find", err, "does not know a command")
	if err != nil && strings.Contains(err.Error(), key) {
		t.Error("the error holds the key")
	}
}

// A server that accepts connections and says nothing.
func TestHangingServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, client := range map[string]redis.UniversalClient{
		"plain":   newClient(t, l.Addr().String()),
		"cluster": newClusterClient(t, []string{l.Addr().String()}, nil),
	} {
		for method, call := range everyMethod(newStore(t, client)) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			start := time.Now()
			err := call(ctx)
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("%s client: %s returned after %v", name, method, took)
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s client: %s: %v, want context.DeadlineExceeded", name, method, err)
			}
			cancel()
		}
	}
}

// wantRefused checks that every method returns an error with text.
func wantRefused(t *testing.T, store *redisstore.Store, text string) {
	t.Helper()
	for method, call := range everyMethod(store) {
		wantError(t, method, call(t.Context()), text)
	}
}

func everyMethod(store *redisstore.Store) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Check":  store.Check,
		"Find":   func(ctx context.Context) error { _, _, err := store.Find(ctx, newKey()); return err },
		"Create": func(ctx context.Context) error { return store.Create(ctx, newKey(), []byte("data"), later()) },
		"Update": func(ctx context.Context) error { _, err := store.Update(ctx, newKey(), []byte("data")); return err },
		"Touch":  func(ctx context.Context) error { _, err := store.Touch(ctx, newKey(), later()); return err },
		"Delete": func(ctx context.Context) error { return store.Delete(ctx, newKey(), newKey()) },
		"Keys": func(ctx context.Context) error {
			for _, err := range store.Keys(ctx) {
				return err
			}
			return nil
		},
	}
}
