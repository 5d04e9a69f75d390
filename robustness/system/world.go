package system

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// Timeouts of the replicas: short, so that a side that hangs is noticed within a
// round.
const (
	readTimeout   = 400 * time.Millisecond
	writeTimeout  = 800 * time.Millisecond
	pruneInterval = 300 * time.Millisecond
	touchInterval = 200 * time.Millisecond
	connections   = 12
	lease         = 1500 * time.Millisecond
)

// pace is how often a replica looks at rows.
type pace struct{ touch, prune time.Duration }

var (
	fast = pace{touchInterval, pruneInterval}
	// remembering is for sessions in memory, which stay there until their touch.
	remembering = pace{2 * time.Second, pruneInterval}
	defaults    = pace{usersession.DefaultTouchInterval, usersession.DefaultPruneInterval}
)

// profile is how the replicas keep their sessions.
type profile struct {
	name     string
	store    string // of the replica: redis, sql, control
	verify   bool
	sentinel bool // a primary with a replica, and a Sentinel that promotes it

	lease   time.Duration // Options.ReadLease
	channel bool          // with a channel between the replicas
	cache   bool          // a plain cache with messages in its place
}

// remembers reports whether replicas serve sessions from memory.
func (p profile) remembers() bool { return p.lease > 0 || p.cache }

var (
	onRedis            = profile{name: "Redis", store: "redis"}
	onVerifiedRedis    = profile{name: "Redis, every request verified", store: "redis", verify: true}
	onSQL              = profile{name: "PostgreSQL alone", store: "sql"}
	onSentinel         = profile{name: "Redis with Sentinel", store: "redis", sentinel: true}
	onVerifiedSentinel = profile{name: "Redis with Sentinel, every request verified", store: "redis", verify: true, sentinel: true}
	onLeases           = profile{name: "PostgreSQL alone, with leases", store: "sql", lease: lease}
	onLeasesRedis      = profile{name: "Redis, with leases and a channel", store: "redis", lease: lease, channel: true}
	onCache            = profile{name: "plain cache with messages", store: "sql", channel: true, cache: true}
	onControl          = profile{name: "plain scs and a hand-written index", store: "control"}
)

// timeouts are those of the replicas. A heartbeat is to be answered on a busy machine, too.
func (p profile) timeouts() (read, write time.Duration) {
	if p.remembers() {
		return time.Second, 2 * time.Second
	}
	return readTimeout, writeTimeout
}

// length is how long a fault lasts, about: sometimes longer than a lease.
func (p profile) length() time.Duration {
	if p.remembers() {
		return lease
	}
	return 700 * time.Millisecond
}

// world is two replicas, their databases, and a proxy on every link.
type world struct {
	t testing.TB
	profile
	pace
	postgres, redis *testserver.Server // redis is nil where there is none
	replicas        []*replica
	proxies         *toxiproxy.ApiServer

	// Of a profile with a Sentinel.
	follower, sentinel *testserver.Server
	replication        *link // of the follower to the primary

	dsn   string
	index *sqlx.DB      // not through a proxy
	keys  *redis.Client // not through a proxy; nil where there is no Redis
	admin *usersession.Manager
}

// replica is one process of the program.
type replica struct {
	server *testserver.Server
	clock  time.Duration // ahead, from its next start on

	http, sql, store *link // store is nil where there is no Redis
	channel          *link // to PostgreSQL, or nil
}

// newWorld starts everything, and stops it when the test ends.
func newWorld(t testing.TB, program string, p profile) *world {
	t.Helper()
	if p.remembers() {
		return newWorldAt(t, program, p, remembering)
	}
	return newWorldAt(t, program, p, fast)
}

func newWorldAt(t testing.TB, program string, p profile, at pace) *world {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled) // some of toxiproxy logs to where it likes
	w := &world{t: t, profile: p, pace: at, proxies: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())}
	w.postgres, w.dsn = testserver.OwnPostgres(t, "log_parameter_max_length_on_error=-1")
	w.dsn += "&statement_timeout=0"
	w.index = sqlx.MustOpen("postgres", w.dsn)
	t.Cleanup(func() { w.index.Close() })
	if p.store != "sql" {
		// A follower is served at once, without waiting for others.
		w.redis = testserver.OwnRedis(t, "--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0")
		w.keys = redis.NewClient(&redis.Options{Addr: w.redis.Addr, ContextTimeoutEnabled: true, PoolSize: 2})
	}
	if p.sentinel {
		w.follow()
	}
	if w.keys != nil {
		t.Cleanup(func() { w.keys.Close() })
	}
	w.admin = migrate(t, w.index)
	for range 2 {
		w.replicas = append(w.replicas, w.newReplica(program))
	}
	return w
}

// migrate makes the tables.
func migrate(t testing.TB, db *sqlx.DB) *usersession.Manager {
	t.Helper()
	m, err := usersession.New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `
CREATE TABLE control_sessions (
	label   text NOT NULL PRIMARY KEY,
	user_id text NOT NULL,
	token   text NOT NULL
)`); err != nil {
		t.Fatal(err)
	}
	return m
}

func (w *world) newReplica(program string) *replica {
	w.t.Helper()
	r := &replica{}
	dsn, err := url.Parse(w.dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	r.sql = w.newLink(dsn.Host)
	dsn.Host, dsn.RawQuery = r.sql.proxy.Listen, "sslmode=disable&connect_timeout=1"
	redis, sentinel := "", ""
	switch {
	case w.sentinel != nil:
		sentinel = w.sentinel.Addr // who tells replicas the address of the primary itself
	case w.redis != nil:
		r.store = w.newLink(w.redis.Addr)
		redis = r.store.proxy.Listen
	}
	channel := ""
	if w.channel {
		r.channel = w.newLink(w.postgres.Addr)
		listen := *dsn
		listen.Host = r.channel.proxy.Listen
		channel = listen.String()
	}
	read, write := w.timeouts()
	r.server = testserver.OwnProgram(w.t, "replica", "replica serves", func(port string) []string {
		return []string{program, "-listen=127.0.0.1:" + port, "-dsn=" + dsn.String(), "-redis=" + redis, "-sentinel=" + sentinel, "-store=" + w.store,
			fmt.Sprint("-verify=", w.verify), fmt.Sprint("-clock=", r.clock), fmt.Sprint("-connections=", connections),
			fmt.Sprint("-prune=", w.pace.prune), fmt.Sprint("-touch=", w.pace.touch),
			fmt.Sprint("-lease=", w.lease), "-channel=" + channel, fmt.Sprint("-cache=", w.cache),
			fmt.Sprint("-read-timeout=", read), fmt.Sprint("-write-timeout=", write)}
	})
	r.http = w.newLink(r.server.Addr)
	return r
}

// link is one link with its proxy. upstream is the direction of requests,
// downstream that of answers.
type link struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
	hurts []string
}

func (w *world) newLink(upstream string) *link {
	w.t.Helper()
	l := &link{t: w.t, proxy: toxiproxy.NewProxy(w.proxies, "link", "127.0.0.1:0", upstream)}
	if err := l.proxy.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(l.proxy.Stop)
	return l
}

// hurt adds a toxic to one direction; attributes are those of toxiproxy, in JSON.
func (l *link) hurt(stream, kind, attributes string) {
	name := kind + " " + stream
	_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(
		fmt.Sprintf(`{"name": %q, "type": %q, "stream": %q, "attributes": {%s}}`, name, kind, stream, attributes)))
	if err != nil {
		l.t.Errorf("%s: %v", name, err)
		return
	}
	l.hurts = append(l.hurts, name)
}

// heal takes every toxic away.
func (l *link) heal() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, name := range l.hurts {
		if err := l.proxy.Toxics.RemoveToxic(ctx, name); err != nil {
			l.t.Errorf("%s is not healed: %v", name, err)
		}
	}
	l.hurts = nil
}

// exec runs SQL beside the replicas.
func (w *world) exec(query string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := w.index.ExecContext(ctx, query); err != nil {
		w.t.Errorf("%s: %v", query, err)
	}
}

// pause waits, or returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
