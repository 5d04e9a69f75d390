package database_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

var leased = flag.Int("leased", 20, "how many sessions TestLeasedReads revokes on each database")

// caching is a process that serves sessions from memory.
type caching struct {
	http.Handler
	m     *usersession.Manager
	db    *sqlx.DB
	loads atomic.Int64 // requests that were not served from memory

	// What others do: a map, and messages of what is to be dropped.
	plain    bool
	mu       sync.Mutex
	users    map[string]string
	messages chan string
}

func (c *caching) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !c.plain {
		c.Handler.ServeHTTP(w, r)
		return
	}
	token := r.Header.Get("Cookie")
	c.mu.Lock()
	user, ok := c.users[token]
	c.mu.Unlock()
	if ok {
		io.WriteString(w, user)
		return
	}
	rec := httptest.NewRecorder()
	c.Handler.ServeHTTP(rec, r)
	if user = rec.Body.String(); user != "" {
		c.mu.Lock()
		c.users[token] = user
		c.mu.Unlock()
	}
	io.WriteString(w, user)
}

func newCaching(t *testing.T, db *sqlx.DB, lease time.Duration, plain bool) *caching {
	t.Helper()
	c := &caching{db: db, plain: plain, users: make(map[string]string), messages: make(chan string, 1000)}
	if plain {
		lease = 0
	}
	c.m = opendb.Migrated(t, db, &usersession.Options{
		ReadLease: lease, InsecureCookies: true, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		OnOperation: func(_ context.Context, op usersession.Operation, _ time.Time, _ error) {
			if op == usersession.OperationLoad {
				c.loads.Add(1)
			}
		},
	})
	c.Handler = c.m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch user := r.FormValue("user"); {
		case user != "":
			if err := c.m.Login(r.Context(), user); err != nil {
				http.Error(w, err.Error(), http.StatusTeapot)
			}
		case r.URL.Path == "/logout":
			if err := c.m.Logout(r.Context()); err != nil {
				http.Error(w, err.Error(), http.StatusTeapot)
			}
		default:
			io.WriteString(w, c.m.UserID(r.Context()))
		}
	}))
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { c.m.Run(ctx) })
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case token := <-c.messages:
				c.mu.Lock()
				delete(c.users, token)
				c.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() { stop(); wg.Wait() })
	return c
}

// get sends a request and returns who it was served as.
func (c *caching) get(path, cookie string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

// leaseLoad is two replicas with a lease, a third one without, and users who log in, read
// everywhere and are logged out or revoked.
type leaseLoad struct {
	*testing.T
	replicas []*caching
	ender    *caching
	revoked  atomic.Int64
	probes   atomic.Int64
	served   atomic.Int64 // requests that began after the ending had returned nil
	memory   atomic.Int64 // trials in which both replicas had the session in memory
}

func (l *leaseLoad) trial(i int, r *rand.Rand) error {
	user := fmt.Sprint("user", i)
	w := l.ender.get("/?user="+user, "")
	if w.Code != 200 || len(w.Result().Cookies()) == 0 {
		return fmt.Errorf("login: %d %s", w.Code, w.Body)
	}
	cookie := w.Result().Cookies()[0]
	header := cookie.Name + "=" + cookie.Value
	var over atomic.Bool
	read := func(c *caching) {
		after := over.Load()
		if got := c.get("/", header).Body.String(); after {
			if l.probes.Add(1); got == user {
				l.served.Add(1)
			}
		}
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for _, c := range l.replicas {
		read(c)
		before := c.loads.Load()
		if read(c); c.loads.Load() == before {
			l.memory.Add(1)
		}
		wg.Go(func() {
			pace := time.NewTicker(time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-stop:
					return
				case <-pace.C:
					read(c)
				}
			}
		})
	}
	ender, ctx := []*caching{l.ender, l.replicas[0], l.replicas[1]}[r.IntN(3)], l.Context()
	var err error
	switch r.IntN(3) {
	case 0:
		_, err = ender.m.RevokeAllSessions(ctx, user)
	case 1:
		_, err = ender.m.RevokeMatching(ctx, usersession.Filter{UserIDs: []string{user}})
	case 2:
		ender.Handler.ServeHTTP(w, func() *http.Request {
			r := httptest.NewRequest("GET", "/logout", nil)
			r.Header.Set("Cookie", header)
			return r
		}())
	}
	if err == nil && w.Code == 200 {
		for _, c := range l.replicas {
			c.messages <- header // what others do, at best: no message is ever lost
		}
		over.Store(true)
		l.revoked.Add(1)
		for range 3 {
			for _, c := range l.replicas {
				read(c)
			}
		}
	}
	close(stop)
	wg.Wait()
	return err
}

// partition cuts one replica off from the database, again and again, for up to three
// leases.
func (l *leaseLoad) partition(ctx context.Context, c *caching, lease time.Duration) {
	for ctx.Err() == nil {
		var held []*sqlx.Conn
		for range c.db.Stats().MaxOpenConnections {
			if cn, err := c.db.Connx(ctx); err == nil {
				held = append(held, cn)
			}
		}
		wait, cancel := context.WithTimeout(ctx, rand.N(3*lease))
		<-wait.Done()
		cancel()
		for _, cn := range held {
			cn.Close()
		}
		wait, cancel = context.WithTimeout(ctx, rand.N(3*lease))
		<-wait.Done()
		cancel()
	}
}

// TestLeasedReads is I13, Leased: with sessions in memory, no request is served that begins
// after the ending has returned, also while a replica is cut off from the database. A plain
// cache with messages does serve some.
func TestLeasedReads(t *testing.T) {
	depth.OnlyFull(t)
	t.Parallel() // most of it is waiting
	const lease = 300 * time.Millisecond
	open := map[string]func(t *testing.T) func(t *testing.T) *sqlx.DB{
		"PostgreSQL": func(t *testing.T) func(t *testing.T) *sqlx.DB {
			dsn := opendb.FreshPostgres(t, "postgres")
			return func(t *testing.T) *sqlx.DB { return opendb.Connect(t, "postgres", dsn) }
		},
		"pgx": func(t *testing.T) func(t *testing.T) *sqlx.DB {
			dsn := opendb.FreshPostgres(t, "pgx")
			return func(t *testing.T) *sqlx.DB { return opendb.Connect(t, "pgx", dsn) }
		},
		"MariaDB": func(t *testing.T) func(t *testing.T) *sqlx.DB {
			dsn := opendb.FreshMariaDB(t)
			return func(t *testing.T) *sqlx.DB { return opendb.Connect(t, "mysql", dsn) }
		},
		"SQLite": func(t *testing.T) func(t *testing.T) *sqlx.DB {
			dsn := "file:" + t.TempDir() + "/test.db?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)"
			return func(t *testing.T) *sqlx.DB { return opendb.Connect(t, "sqlite", dsn) }
		},
	}
	for name, database := range open {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			connect := database(t)
			for _, plain := range []bool{false, true} {
				l := &leaseLoad{T: t, ender: newCaching(t, connect(t), 0, false)}
				for range 2 {
					db := connect(t)
					db.SetMaxOpenConns(4)
					l.replicas = append(l.replicas, newCaching(t, db, lease, plain))
				}
				l.run(*leased, lease, plain)
				t.Logf("plain cache: %v; %d revoked, %d requests began after that, %d served; %d had the session in memory",
					plain, l.revoked.Load(), l.probes.Load(), l.served.Load(), l.memory.Load())
				if served := l.served.Load(); (served > 0) != plain {
					t.Errorf("%d are served; a plain cache: %v", served, plain)
				}
				if !plain && l.memory.Load() == 0 {
					t.Error("no session was served from memory")
				}
			}
		})
	}
}

func (l *leaseLoad) run(trials int, lease time.Duration, plain bool) {
	ctx, stop := context.WithCancel(l.Context())
	var cut sync.WaitGroup
	var next atomic.Int64
	var wg sync.WaitGroup
	work := func(trials int) {
		next.Store(0)
		for worker := range 4 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(worker), 1))
				for i := next.Add(1); int(i) <= trials; i = next.Add(1) {
					if err := l.trial(int(i), r); err != nil {
						l.Logf("not counted: %v", err)
					}
				}
			})
		}
		wg.Wait()
	}
	if !plain { // there is no lease sooner
		warm, cancel := context.WithTimeout(ctx, 10*time.Second)
		<-warm.Done()
		cancel()
	}
	for deadline := time.Now().Add(30 * time.Second); !plain && l.memory.Load() == 0 && time.Now().Before(deadline); {
		work(1) // until there is a lease
	}
	if !plain {
		cut.Go(func() { l.partition(ctx, l.replicas[1], lease) })
	}
	work(trials)
	stop()
	cut.Wait()
}
