package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/pgxstore"
	"github.com/alexedwards/scs/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/pgchannel"
	"github.com/seed-296ca7ab/usersession/usersessiontest"
)

// cheapWriter costs less than a ResponseRecorder.
type cheapWriter struct {
	header http.Header
	body   string
}

func (a *cheapWriter) Header() http.Header { return a.header }
func (a *cheapWriter) WriteHeader(int)     {}
func (a *cheapWriter) Write(p []byte) (int, error) {
	a.body = string(p)
	return len(p), nil
}

// BenchmarkWhoAmI asks who is logged in, with a lease, without one, and with scs and
// pgxstore, in turns, on one PostgreSQL.
func BenchmarkWhoAmI(b *testing.B) {
	dsn := testserver.FreshPostgres(b, func(dsn string) (*sql.DB, error) { return sql.Open("postgres", dsn) })
	db := sqlx.MustConnect("postgres", dsn)
	defer db.Close()
	db.SetMaxIdleConns(16)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	ours := func(lease time.Duration) http.Handler {
		m, err := usersession.New(db, &usersession.Options{InsecureCookies: true, ReadLease: lease})
		if err == nil {
			err = m.Migrate(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
		running.Go(func() { m.Run(ctx) })
		return m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/login" {
				m.Login(r.Context(), "ann")
			}
			io.WriteString(w, m.UserID(r.Context()))
		}))
	}
	leased, uncached := ours(3*time.Second), ours(0)
	defer running.Wait()
	defer stop()
	pool, err := pgxpool.New(ctx, testserver.FreshPostgres(b, func(dsn string) (*sql.DB, error) { return sql.Open("postgres", dsn) }))
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL)"); err != nil {
		b.Fatal(err)
	}
	sm := scs.New()
	sm.Store = pgxstore.NewWithCleanupInterval(pool, 0)
	plain := sm.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			sm.Put(r.Context(), "user", "ann")
		}
		io.WriteString(w, sm.GetString(r.Context(), "user"))
	}))
	get := func(h http.Handler, path string, c *http.Cookie) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		if c != nil {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	subjects := []struct {
		name string
		http.Handler
		cookie *http.Cookie
	}{{name: "lease", Handler: leased}, {name: "uncached", Handler: uncached}, {name: "pgxstore", Handler: plain}}
	for i, s := range subjects {
		subjects[i].cookie = get(s.Handler, "/login", nil).Result().Cookies()[0]
	}
	warm, cancel := context.WithTimeout(ctx, 15*time.Second)
	<-warm.Done()
	cancel()
	for _, clients := range []int{1, 8} {
		b.Run(fmt.Sprint(clients, "clients"), func(b *testing.B) {
			took := make([]time.Duration, len(subjects))
			const batch = 400
			for range b.N {
				for i, s := range subjects {
					began := time.Now()
					var wg sync.WaitGroup
					for range clients {
						wg.Go(func() {
							r := httptest.NewRequest("GET", "/", nil)
							r.AddCookie(s.cookie)
							for range batch / clients {
								w := cheapWriter{header: make(http.Header)}
								if s.ServeHTTP(&w, r); w.body != "ann" {
									b.Errorf("%s serves %q", s.name, w.body)
								}
							}
						})
					}
					wg.Wait()
					took[i] += time.Since(began)
				}
			}
			for i, s := range subjects {
				b.ReportMetric(float64(took[i].Nanoseconds())/float64(b.N*batch), "ns/"+s.name)
			}
			b.ReportMetric(float64(took[2])/float64(took[0]), "x")
		})
	}
}

// BenchmarkRevoke revokes a session with two other processes that have a lease, with and
// without a Channel, and with none that has one, in turns, on one PostgreSQL.
func BenchmarkRevoke(b *testing.B) {
	dsn := testserver.FreshPostgres(b, func(dsn string) (*sql.DB, error) { return sql.Open("postgres", dsn) })
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	manager := func(table string, lease time.Duration, channel bool) *usersession.Manager {
		db := sqlx.MustConnect("postgres", dsn)
		b.Cleanup(func() { db.Close() })
		o := &usersession.Options{InsecureCookies: true, ReadLease: lease, Index: usersession.IndexOptions{Table: table}}
		if channel {
			ch, err := pgchannel.New(db.DB, dsn)
			if err != nil {
				b.Fatal(err)
			}
			o.Watch.Channel = ch
		}
		m, err := usersession.New(db, o)
		if err == nil {
			err = m.Migrate(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
		running.Go(func() { m.Run(ctx) })
		return m
	}
	subjects := []struct {
		name    string
		lease   time.Duration
		channel bool
		m       *usersession.Manager
		took    []time.Duration
	}{{name: "channel", lease: 3 * time.Second, channel: true}, {name: "poll", lease: 3 * time.Second}, {name: "none"}}
	for i := range subjects {
		s := &subjects[i]
		for range 3 {
			s.m = manager("of_"+s.name, s.lease, s.channel)
		}
	}
	warm, cancel := context.WithTimeout(ctx, 15*time.Second)
	<-warm.Done()
	cancel()
	for b.Loop() {
		for i := range subjects {
			s := &subjects[i]
			usersessiontest.Login(b, s.m, "ann")
			began := time.Now()
			if n, err := s.m.RevokeAllSessions(ctx, "ann"); n != 1 || err != nil {
				b.Fatalf("%s: %d, %v", s.name, n, err)
			}
			s.took = append(s.took, time.Since(began))
		}
	}
	for i := range subjects {
		s := &subjects[i]
		slices.Sort(s.took)
		b.ReportMetric(float64(s.took[len(s.took)/2].Microseconds()), "p50-us/"+s.name)
		b.ReportMetric(float64(s.took[len(s.took)-1].Microseconds()), "max-us/"+s.name)
	}
}
