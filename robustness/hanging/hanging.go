// Package hanging calls everything there is while a backend hangs: a black hole
// in the network, which takes what it is sent and never answers, or a Store whose
// calls hang. Every call is to come back within its timeout, and after the hole
// nothing is to be left of it.
package hanging

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/postgresstore"
	_ "github.com/go-sql-driver/mysql" // MariaDB
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // PostgreSQL
	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq" // PostgreSQL
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/pgxdb"
	"github.com/seed-296ca7ab/usersession/redisstore"
	"github.com/seed-296ca7ab/usersession/robustness/backends"
	"github.com/seed-296ca7ab/usersession/scsstore"
)

// The timeouts of the Managers, and what a busy machine may add.
const (
	ReadTimeout  = 200 * time.Millisecond
	WriteTimeout = 200 * time.Millisecond
	slack        = 2 * time.Second
	watchdog     = 30 * time.Second
)

// A Case is a backend and what hangs of it.
type Case struct {
	Name string
	open func(tb testing.TB) *rig
}

// rig is a backend that can be made to hang.
type rig struct {
	db    *sqlx.DB
	store usersession.Store
	hang  func()
	heal  func()
	close []func() // in this order
}

// Cases are all that hang.
var Cases = []Case{
	{"PostgreSQL through lib/pq", func(tb testing.TB) *rig { return sqlRig(tb, "postgres", false) }},
	{"PostgreSQL through lib/pq, no connection open", func(tb testing.TB) *rig { return sqlRig(tb, "postgres", true) }},
	{"PostgreSQL through pgx", func(tb testing.TB) *rig { return sqlRig(tb, "pgx", false) }},
	{"PostgreSQL through pgx, no connection open", func(tb testing.TB) *rig { return sqlRig(tb, "pgx", true) }},
	{"PostgreSQL through pgxdb", func(tb testing.TB) *rig { return sqlRig(tb, "pgxdb", false) }},
	{"MariaDB", func(tb testing.TB) *rig { return sqlRig(tb, "mysql", false) }},
	{"MariaDB, no connection open", func(tb testing.TB) *rig { return sqlRig(tb, "mysql", true) }},
	{"Redis", redisRig},
	{"index in PostgreSQL, sessions in a memstore", func(tb testing.TB) *rig {
		r := sqlRig(tb, "postgres", false)
		r.store = memstore.New()
		return r
	}},
	{"scs postgresstore, which takes no contexts", wrappedRig},
	{"Store that hangs until its context ends", func(tb testing.TB) *rig {
		s := &hangingStore{Store: memstore.New()}
		db := backends.SQLite(tb)
		return &rig{db: db, store: s, hang: s.hang, heal: s.heal, close: []func(){func() { db.Close() }}}
	}},
}

// sqlRig is a database behind a proxy. cold: no connection is open when it
// begins to hang.
func sqlRig(tb testing.TB, driver string, cold bool) *rig {
	tb.Helper()
	native := driver == "pgxdb"
	if native {
		driver = "pgx"
	}
	var dsn string
	var p *proxy
	if driver == "mysql" {
		dsn = testserver.FreshMariaDB(tb, func(dsn string) (*sql.DB, error) { return sql.Open(driver, dsn) })
		before, rest, _ := strings.Cut(dsn, "tcp(")
		server, rest, _ := strings.Cut(rest, ")")
		p = newProxy(tb, server)
		dsn = before + "tcp(" + p.addr() + ")" + rest
	} else {
		dsn = testserver.FreshPostgres(tb, func(dsn string) (*sql.DB, error) { return sql.Open(driver, dsn) })
		u, err := url.Parse(dsn)
		if err != nil {
			tb.Fatal(err)
		}
		p = newProxy(tb, u.Host)
		u.Host = p.addr()
		dsn = u.String()
	}
	if native {
		pool, err := pgxpool.New(tb.Context(), dsn)
		if err != nil {
			tb.Fatal(err)
		}
		db := pgxdb.Open(pool)
		return &rig{db: db, hang: p.swallow, heal: p.heal, close: []func(){func() { db.Close() }, pool.Close, p.close}}
	}
	db, err := sqlx.Open(driver, dsn)
	if err != nil {
		tb.Fatal(err)
	}
	hang := p.swallow
	if cold {
		hang = func() {
			db.SetMaxIdleConns(-1) // closes those there are
			p.swallow()
		}
	}
	return &rig{db: db, hang: hang, heal: p.heal, close: []func(){func() { db.Close() }, p.close}}
}

func redisRig(tb testing.TB) *rig {
	tb.Helper()
	p := newProxy(tb, testserver.Redis(tb))
	client := redis.NewClient(&redis.Options{Addr: p.addr(), ContextTimeoutEnabled: true})
	s, err := redisstore.New(client, &redisstore.Options{Prefix: "hanging:"})
	if err != nil {
		tb.Fatal(err)
	}
	db := backends.SQLite(tb)
	return &rig{db: db, store: s, hang: p.swallow, heal: p.heal, close: []func(){func() { client.Close() }, p.close, func() { db.Close() }}}
}

func wrappedRig(tb testing.TB) *rig {
	tb.Helper()
	r := sqlRig(tb, "postgres", false)
	if _, err := r.db.ExecContext(tb.Context(), "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL)"); err != nil {
		tb.Fatal(err)
	}
	store, db := scsstore.Wrap(postgresstore.NewWithCleanupInterval(r.db.DB, 0)), backends.SQLite(tb)
	sessions := r.db
	return &rig{db: db, store: store, hang: r.hang, heal: r.heal,
		close: append([]func(){func() { db.Close() }, func() { sessions.Close() }}, r.close...)}
}

// hangingStore hangs until the context of a call ends.
type hangingStore struct {
	usersession.Store
	mu      sync.Mutex
	hanging bool
}

func (s *hangingStore) set(hanging bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hanging = hanging
}
func (s *hangingStore) hang() { s.set(true) }
func (s *hangingStore) heal() { s.set(false) }

func (s *hangingStore) wait(ctx context.Context) error {
	s.mu.Lock()
	hanging := s.hanging
	s.mu.Unlock()
	if !hanging {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *hangingStore) Find(ctx context.Context, key string) ([]byte, bool, error) {
	if err := s.wait(ctx); err != nil {
		return nil, false, err
	}
	return s.Store.Find(ctx, key)
}

func (s *hangingStore) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.Store.Create(ctx, key, data, expiry)
}

func (s *hangingStore) Update(ctx context.Context, key string, data []byte) (bool, error) {
	if err := s.wait(ctx); err != nil {
		return false, err
	}
	return s.Store.Update(ctx, key, data)
}

func (s *hangingStore) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	if err := s.wait(ctx); err != nil {
		return false, err
	}
	return s.Store.Touch(ctx, key, expiry)
}

func (s *hangingStore) Delete(ctx context.Context, keys ...string) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.Store.Delete(ctx, keys...)
}

func (s *hangingStore) AtomicUpdates() bool { return backends.Atomic(s.Store) }

// Result says what came of the calls of one case.
type Result struct {
	Calls   int
	Beyond  []string // calls that came back later than they may, or not at all
	NotBack []string // of these, those that had not come back after half a minute
	Left    []string // what is there afterwards that was not there before
	Longest float64  // of all calls, in parts of what it may take
}

// browser is a session to call with.
type browser struct{ user, token, id string }

var (
	errNeverBegan = errors.New("the call never began")
	errNotBack    = errors.New("did not come back")
)

// Run opens a case, lets it hang, calls everything and heals it again.
func Run(tb testing.TB, c Case) *Result {
	tb.Helper()
	// Servers that this case is the first to ask for stay for the next.
	res, before := &Result{}, goleak.IgnoreCurrent()
	r := c.open(tb)
	defer func() {
		for _, fn := range r.close {
			fn()
		}
		if err := goleak.Find(before,
			goleak.IgnoreAnyFunction("github.com/alexedwards/scs/v2/memstore.(*MemStore).startCleanup"), // scs.New starts it, and nobody can stop it
			goleak.IgnoreAnyFunction("github.com/seed-296ca7ab/usersession/internal/testserver.(*process).spawn.func1"),
		); err != nil {
			res.Left = append(res.Left, err.Error())
		}
	}()
	m, err := usersession.New(r.db, &usersession.Options{
		Store: r.store, InsecureCookies: true, ReadTimeout: ReadTimeout, WriteTimeout: WriteTimeout,
		PruneInterval: 50 * time.Millisecond,
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := m.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	calls := calls(m)
	var browsers []browser
	for i := range calls {
		browsers = append(browsers, login(tb, m, fmt.Sprintf("user-%d", i)))
	}

	hung := make(chan struct{})
	var mu sync.Mutex
	var ready, done sync.WaitGroup
	for i, c := range calls {
		ready.Add(1)
		done.Go(func() {
			result := make(chan error, 1)
			go func() {
				began := false
				var err error
				// On a busy machine a request may not get as far as its handler.
				for range 100 {
					err = c.run(browsers[i], func() {
						began = true
						ready.Done()
						<-hung
					})
					if began {
						result <- err
						return
					}
				}
				ready.Done()
				result <- fmt.Errorf("%w: %w", errNeverBegan, err)
			}()
			<-hung
			start := time.Now()
			var err error
			select {
			case err = <-result:
			case <-time.After(watchdog):
				err = errNotBack
			}
			took := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			res.Calls++
			res.Longest = max(res.Longest, float64(took)/float64(c.may))
			if errors.Is(err, errNotBack) {
				res.NotBack = append(res.NotBack, c.name)
			}
			if took > c.may+slack || errors.Is(err, errNeverBegan) {
				res.Beyond = append(res.Beyond, fmt.Sprintf("%s: %v, may take %v: %v", c.name, took.Round(time.Millisecond), c.may, err))
			}
		})
	}
	ready.Wait()
	r.hang()
	close(hung)
	done.Wait()
	r.heal()

	// After the hole everything works again. Connections from before it may take
	// a call to find out that they are dead.
	var last error
	for range 50 {
		if last = works(m); last == nil {
			break
		}
	}
	if last != nil {
		res.Left = append(res.Left, "after the hole: "+last.Error())
	}
	deadline := time.Now().Add(watchdog)
	for r.db.Stats().InUse > 0 && time.Now().Before(deadline) {
		<-time.After(10 * time.Millisecond)
	}
	if n := r.db.Stats().InUse; n > 0 {
		res.Left = append(res.Left, fmt.Sprintf("%d connections are in use", n))
	}
	return res
}
