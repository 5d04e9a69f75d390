package database_test

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/redis/go-redis/v9"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/goroutines"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/pgchannel"
	"github.com/seed-296ca7ab/usersession/redisstore"
	"github.com/seed-296ca7ab/usersession/usersessiontest"
)

var (
	streams = flag.Int("streams", 0, "how many streams TestStreamsEnd ends one after the other, to print how long each takes")
	watched = flag.Int("watched", 0, "how many sessions TestWatchedSessions watches, to print what they cost")
)

// watching is a replica that watches, and another one that ends.
type watching struct {
	*testing.T
	here, there *usersession.Manager
	told        *told
}

// told is the channel of a replica. It notes when it hears.
type told struct {
	usersession.Channel // nil: it is told nothing
	hears               chan struct{}
}

func (c *told) Publish(ctx context.Context, ids []string) error {
	if c.Channel == nil {
		return nil
	}
	return c.Channel.Publish(ctx, ids)
}

func (c *told) Subscribe(ctx context.Context, heard func([]string)) error {
	noted := func(ids []string) {
		heard(ids)
		if ids == nil {
			select {
			case c.hears <- struct{}{}:
			default:
			}
		}
	}
	if c.Channel == nil {
		noted(nil)
		<-ctx.Done()
		return ctx.Err()
	}
	return c.Channel.Subscribe(ctx, noted)
}

func newWatching(t *testing.T, driver, dsn string, ch usersession.Channel, interval time.Duration) *watching {
	w := &watching{T: t, told: &told{ch, make(chan struct{}, 1)}}
	for _, m := range []**usersession.Manager{&w.here, &w.there} {
		*m = opendb.Migrated(t, opendb.Connect(t, driver, dsn), &usersession.Options{
			Watch:       usersession.WatchOptions{Interval: interval, Channel: w.told},
			MaxSessions: usersession.NoMaxSessions,
		})
	}
	return w
}

// watch returns a context of a new session of a user.
func (w *watching) watch(user string) context.Context {
	w.Helper()
	ctx, err := w.here.Load(w.Context(), usersessiontest.Login(w.T, w.here, user).Value)
	if err == nil {
		ctx, err = w.here.Watch(ctx)
	}
	if err != nil {
		w.Fatal(err)
	}
	return ctx
}

// end ends the sessions of a user, and returns how long it takes until a context ends.
func (w *watching) end(user string, ctx context.Context) time.Duration {
	w.Helper()
	began := time.Now()
	if _, err := w.there.RevokeAllSessions(w.Context(), user); err != nil {
		w.Fatal(err)
	}
	revoked := time.Now()
	<-ctx.Done()
	if cause := context.Cause(ctx); cause != usersession.ErrSessionEnded {
		w.Errorf("the context of %s has ended with %v after %v", user, cause, time.Since(began))
	}
	return time.Since(revoked)
}

// eachChannel runs a test with each database and channel.
func eachChannel(t *testing.T, test func(t *testing.T, driver, dsn string, ch usersession.Channel)) {
	postgres := func(driver string) func(t *testing.T) (string, usersession.Channel) {
		return func(t *testing.T) (string, usersession.Channel) {
			dsn := opendb.FreshPostgres(t, driver)
			ch, err := pgchannel.New(opendb.Connect(t, driver, dsn).DB, dsn)
			if err != nil {
				t.Fatal(err)
			}
			return dsn, ch
		}
	}
	for i, c := range []struct {
		name, driver string
		open         func(t *testing.T) (string, usersession.Channel)
	}{
		{"NOTIFY, lib pq", "postgres", postgres("postgres")},
		{"SQLite", "sqlite", func(t *testing.T) (string, usersession.Channel) {
			return "file:" + t.TempDir() + "/db?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)", nil
		}},
		{"MariaDB", "mysql", func(t *testing.T) (string, usersession.Channel) { return opendb.FreshMariaDB(t), nil }},
		{"PostgreSQL", "postgres", func(t *testing.T) (string, usersession.Channel) { return opendb.FreshPostgres(t, "postgres"), nil }},
		{"NOTIFY, pgx", "pgx", postgres("pgx")},
		{"Redis", "postgres", func(t *testing.T) (string, usersession.Channel) {
			client := redis.NewClient(&redis.Options{Addr: testserver.Redis(t), ContextTimeoutEnabled: true})
			t.Cleanup(func() { client.Close() })
			ch, err := redisstore.NewChannel(client, &redisstore.Options{Prefix: fmt.Sprintf("watch%d:", time.Now().UnixNano())})
			if err != nil {
				t.Fatal(err)
			}
			return opendb.FreshPostgres(t, "postgres"), ch
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if i > 0 {
				depth.OnlyFull(t)
			}
			dsn, ch := c.open(t)
			test(t, c.driver, dsn, ch)
		})
	}
}

// A stream ends that another replica revokes: by the hint, if there is one, and else by
// what is read.
func TestStreamsEnd(t *testing.T) {
	eachChannel(t, func(t *testing.T, driver, dsn string, ch usersession.Channel) {
		interval := 20 * time.Millisecond
		if ch != nil {
			interval = time.Hour // it ends by the hint, or never
		}
		if *streams > 0 {
			interval = usersession.DefaultWatchInterval
		}
		w := newWatching(t, driver, dsn, ch, interval)
		other := w.watch("other")
		<-w.told.hears
		w.end("ann", w.watch("ann"))
		var took []time.Duration
		for i := range *streams {
			user := fmt.Sprint("user", i)
			ctx := w.watch(user)
			took = append(took, w.end(user, ctx))
		}
		if other.Err() != nil {
			t.Errorf("the stream of another user has ended: %v", context.Cause(other))
		}
		if n := len(took); n > 0 {
			slices.Sort(took)
			t.Logf("%d streams, each %v: p50 %v, p99 %v, max %v", n, interval, took[n/2].Round(10*time.Microsecond),
				took[n*99/100].Round(10*time.Microsecond), took[n-1].Round(10*time.Microsecond))
		}
	})
}

// A subscription that is cut costs time, and it comes back.
func TestListenerIsKilled(t *testing.T) {
	dsn := opendb.FreshPostgres(t, "postgres")
	db := opendb.Connect(t, "postgres", dsn)
	ch, err := pgchannel.New(db.DB, dsn)
	if err != nil {
		t.Fatal(err)
	}
	w := newWatching(t, "postgres", dsn, ch, 50*time.Millisecond)
	first, second := w.watch("ann"), w.watch("bob")
	<-w.told.hears
	killed := 0
	if err := db.GetContext(t.Context(), &killed, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN \"usersession\"'"); err != nil || killed != 1 {
		t.Fatalf("%d listeners were killed, %v", killed, err)
	}
	t.Logf("with the listener killed: %v, and the interval is 50ms", w.end("ann", first))
	<-w.told.hears
	t.Logf("with another listener: %v", w.end("bob", second))
}

// PostgreSQL is killed while streams are watched. Those that were revoked before and
// after that end, and no other.
func TestStreamsWhilePostgresRestarts(t *testing.T) {
	depth.OnlyFull(t)
	server, dsn := testserver.OwnPostgres(t)
	ch, err := pgchannel.New(opendb.Connect(t, "postgres", dsn).DB, dsn)
	if err != nil {
		t.Fatal(err)
	}
	w := newWatching(t, "postgres", dsn, ch, 100*time.Millisecond)
	all := map[string]context.Context{}
	for i := range 40 {
		user := fmt.Sprint("user", i)
		all[user] = w.watch(user)
	}
	<-w.told.hears
	revoke := func(from, to int) {
		for i := from; i < to; i++ {
			if _, err := w.there.RevokeAllSessions(t.Context(), fmt.Sprint("user", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	revoke(0, 10)
	server.Kill()
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	revoke(10, 20)
	<-w.told.hears
	revoke(20, 30)
	for i := range 30 {
		ctx := all[fmt.Sprint("user", i)]
		<-ctx.Done()
		if context.Cause(ctx) != usersession.ErrSessionEnded {
			t.Errorf("user%d: %v", i, context.Cause(ctx))
		}
	}
	for i := 30; i < 40; i++ {
		if ctx := all[fmt.Sprint("user", i)]; ctx.Err() != nil {
			t.Errorf("user%d was not revoked: %v", i, context.Cause(ctx))
		}
	}
}

// heap returns how many bytes are in use.
func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// Many sessions are watched in one process. A revocation wakes those of one user.
func TestWatchedSessions(t *testing.T) {
	n := *watched
	if n == 0 {
		n = 50
	}
	db := opendb.SQLite(t)(t)
	m := opendb.Migrated(t, db, &usersession.Options{Store: memstore.New()})
	there := opendb.Migrated(t, db, &usersession.Options{Store: memstore.New()})
	tokens := make([]context.Context, n)
	for i := range tokens {
		ctx, err := m.Load(t.Context(), usersessiontest.Login(t, m, fmt.Sprint("user", i/10)).Value)
		if err != nil {
			t.Fatal(err)
		}
		tokens[i] = context.WithoutCancel(ctx)
	}
	count := goroutines.Counter(t)
	before := heap()
	ended := make(chan int, n)
	contexts := make([]context.Context, n)
	for i, ctx := range tokens {
		var err error
		if contexts[i], err = m.Watch(ctx); err != nil {
			t.Fatal(err)
		}
	}
	each := (heap() - before) / int64(n)
	if started := count(); started > 1 {
		t.Errorf("%d goroutines for %d watched sessions", started, n)
	}
	for i, ctx := range contexts {
		context.AfterFunc(ctx, func() { ended <- i })
	}
	if _, err := there.RevokeAllSessions(t.Context(), "user3"); err != nil && *watched == 0 {
		t.Log(err) // the data are in the other's memory
	}
	for range 10 {
		if i := <-ended; i/10 != 3 {
			t.Errorf("session %d has ended, of user%d", i, i/10)
		}
	}
	if len(ended) > 0 {
		t.Errorf("%d more sessions have ended", len(ended))
	}
	if *watched > 0 {
		t.Logf("%d sessions are watched, %d bytes each", n, each)
	}
}

// watchOne has a session watched until what is read tells that it has ended.
func watchOne(t *testing.T, db *sqlx.DB, m *usersession.Manager, configure func(*usersession.Options)) {
	t.Helper()
	ch := &told{nil, make(chan struct{}, 1)}
	o := &usersession.Options{Watch: usersession.WatchOptions{Interval: 10 * time.Millisecond, Channel: ch}}
	configure(o)
	w := &watching{T: t, told: ch, here: opendb.Migrated(t, db, o), there: m}
	ctx := w.watch("user4")
	<-ch.hears // it was looked up, so the next look is at all that have ended
	w.end("user4", ctx)
}
