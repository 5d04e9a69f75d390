package database_test

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// pooled is a Manager whose reads find idle connections of lib/pq, and a user's
// session.
type pooled struct {
	*testing.T
	db     *sqlx.DB
	m      *usersession.Manager
	cookie *http.Cookie
}

const poolOf = 6

// The timeout of a read in a test that waits for it, and in one that does not: a
// busy machine must not be taken for a server that does not answer.
const (
	waitedFor = time.Second
	patient   = time.Minute
)

func newPooled(t *testing.T, timeout time.Duration) *pooled {
	t.Helper()
	dsn := opendb.FreshPostgres(t, "postgres")
	p := &pooled{T: t, db: opendb.Connect(t, "postgres", dsn)}
	p.db.SetMaxIdleConns(poolOf)
	p.m = opendb.Migrated(t, p.db, &usersession.Options{ReadTimeout: timeout})
	p.fill()
	w := p.request("/login")
	if w.Code != http.StatusOK {
		t.Fatalf("login: %d", w.Code)
	}
	p.cookie = w.Result().Cookies()[0]
	return p
}

// take takes n connections from the pool.
func (p *pooled) take(n int) (conns []*sql.Conn, back func()) {
	p.Helper()
	for range n {
		cn, err := p.db.Conn(p.Context())
		if err != nil {
			p.Fatal(err)
		}
		conns = append(conns, cn)
	}
	return conns, func() {
		for _, cn := range conns {
			cn.Close()
		}
	}
}

// fill opens all connections of the pool.
func (p *pooled) fill() {
	p.Helper()
	_, back := p.take(poolOf)
	back()
}

// everywhere runs a statement on each connection of the pool.
func (p *pooled) everywhere(query string) {
	p.Helper()
	conns, back := p.take(poolOf)
	defer back()
	for _, cn := range conns {
		if _, err := cn.ExecContext(p.Context(), query); err != nil {
			p.Fatal(err)
		}
	}
}

func (p *pooled) request(path string) *httptest.ResponseRecorder {
	h := p.m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			if err := p.m.Login(r.Context(), "alice"); err != nil {
				p.Error(err)
			}
			return
		}
		if p.m.UserID(r.Context()) != "alice" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	r := httptest.NewRequest("GET", path, nil)
	if p.cookie != nil {
		r.AddCookie(p.cookie)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// served checks that the session is, and that it is listed, whatever connection
// is idle.
func (p *pooled) served() {
	p.Helper()
	for n := range poolOf - 1 {
		_, back := p.take(n)
		if w := p.request("/"); w.Code != http.StatusOK {
			p.Errorf("status %d: %s", w.Code, w.Body)
		}
		list, err := p.m.ListSessions(p.Context(), "alice")
		if err != nil || len(list) != 1 {
			p.Errorf("%d sessions, %v", len(list), err)
		}
		back()
	}
}

// lock locks a table until the test ends or unlock is called, and returns another
// pool for the same database.
func (p *pooled) lock(table string) (admin *sqlx.DB, unlock func()) {
	p.Helper()
	admin = opendb.Connect(p.T, "postgres", dsnOf(p.T, p.db))
	tx, err := admin.BeginTx(p.Context(), nil)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { tx.Rollback() })
	if _, err := tx.ExecContext(p.Context(), "LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		p.Fatal(err)
	}
	return admin, func() {
		if err := tx.Rollback(); err != nil {
			p.Fatal(err)
		}
	}
}

// until waits until as many connections wait for a lock on the server as they should.
func (p *pooled) until(admin *sqlx.DB, what string, ok func(waiting int) bool) {
	p.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		var n int
		if err := admin.GetContext(p.Context(), &n, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"); err != nil {
			p.Fatal(err)
		}
		if ok(n) {
			return
		}
		if time.Now().After(end) {
			p.Fatalf("%d connections wait on the server, want %s", n, what)
		}
	}
}

// What is kept on a connection may be gone at any time.
func TestPqKeptStatements(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(p *pooled)
	}{
		{"nothing happens", func(*pooled) {}},
		{"the program deallocates them", func(p *pooled) { p.everywhere("DEALLOCATE ALL") }},
		{"a column changes its type", func(p *pooled) {
			if _, err := p.db.ExecContext(p.Context(), "ALTER TABLE user_sessions ALTER COLUMN user_id TYPE varchar(255)"); err != nil {
				p.Fatal(err)
			}
		}},
		{"the server ends the connections", func(p *pooled) {
			p.db.ExecContext(p.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		}},
		{"the pool closes the connections", func(p *pooled) {
			for range 10 {
				p.db.SetMaxIdleConns(0)
				p.db.SetMaxIdleConns(poolOf)
				p.fill()
				p.served()
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPooled(t, patient)
			p.served()
			c.do(p)
			p.served()
		})
	}
}

func TestPqTableGone(t *testing.T) {
	p := newPooled(t, patient)
	p.served()
	if _, err := p.db.ExecContext(t.Context(), "DROP TABLE user_sessions"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := p.m.ListSessions(t.Context(), "alice"); !errors.Is(err, usersession.ErrNotMigrated) {
			t.Errorf("%v, want ErrNotMigrated", err)
		}
	}
}

// Reads that wait for a table that is locked come back in time, and do not leave
// ever more connections waiting on the server, even if other reads are answered.
func TestPqLockedTable(t *testing.T) {
	depth.OnlyFull(t) // ten seconds of waiting
	for _, table := range []string{"user_sessions", "sessions"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel() // it mostly waits
			p := newPooled(t, waitedFor)
			p.served()
			admin, unlock := p.lock(table)
			for range 5 {
				p.fill() // as other queries of the program do
				if _, err := p.m.ListSessions(t.Context(), "alice"); (err == nil) != (table == "sessions") {
					t.Errorf("list: %v", err)
				}
				var wg sync.WaitGroup
				for range poolOf {
					wg.Go(func() {
						if w := p.request("/"); w.Code != http.StatusServiceUnavailable {
							t.Errorf("status %d", w.Code)
						}
					})
				}
				wg.Wait()
			}
			// Those that were under way when it began. Cancelling takes a moment.
			p.until(admin, "at most as many as were open", func(n int) bool { return n <= poolOf })
			unlock()
			p.served()
		})
	}
}

// Whoever gives up is not kept waiting, also without a deadline.
func TestPqCancelled(t *testing.T) {
	p := newPooled(t, patient)
	p.served()
	admin, _ := p.lock("user_sessions")
	ctx, cancel := context.WithCancel(t.Context())
	back := make(chan error, 1)
	go func() {
		_, err := p.m.ListSessions(ctx, "alice")
		back <- err
	}()
	p.until(admin, "one", func(n int) bool { return n == 1 })
	cancel()
	if err := <-back; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

// dsnOf returns the connection string of a database on the same server.
func dsnOf(t *testing.T, db *sqlx.DB) string {
	t.Helper()
	var name string
	if err := db.GetContext(t.Context(), &name, "SELECT current_database()"); err != nil {
		t.Fatal(err)
	}
	dsn := testserver.PostgresServer(t)
	before, after, _ := strings.Cut(dsn, "?")
	return before[:strings.LastIndex(before, "/")+1] + name + "?" + after
}

// A pool of whatever size serves, and one that may keeps a connection to spare.
func TestPqPools(t *testing.T) {
	for _, c := range []struct {
		name               string
		mostOpen, mostIdle int // as database/sql understands them
		want               int // open at least, at last
	}{
		{"the default", 0, 2, 2},
		{"no limits", 0, 10, 2},
		{"one connection", 1, 1, 1},
		{"two connections", 2, 2, 2},
		{"one idle connection", 0, 1, 1},
		{"no idle connections", 0, -1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPooled(t, patient)
			p.db.SetMaxIdleConns(-1) // closes those there are
			p.db.SetMaxOpenConns(c.mostOpen)
			p.db.SetMaxIdleConns(c.mostIdle)
			read := func() {
				t.Helper()
				if w := p.request("/"); w.Code != http.StatusOK {
					t.Fatalf("status %d: %s", w.Code, w.Body)
				}
			}
			read()
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for end := time.Now().Add(time.Minute); p.db.Stats().OpenConnections < c.want; <-tick.C {
				read()
				if time.Now().After(end) {
					t.Fatalf("%d connections are open, want %d", p.db.Stats().OpenConnections, c.want)
				}
			}
			for range 20 {
				read()
			}
			// One that was taken meanwhile may have been opened too, and may not have
			// been closed again yet.
			for end := time.Now().Add(time.Minute); p.db.Stats().OpenConnections > 3; <-tick.C {
				if time.Now().After(end) {
					t.Fatalf("%d connections are open, want %d", p.db.Stats().OpenConnections, c.want)
				}
			}
		})
	}
}
