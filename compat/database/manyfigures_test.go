package database_test

import (
	"context"
	"flag"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

var revoked = flag.Int("revoked", 0, "how many sessions of one user TestOthersMeanwhile ends, on every database, to print what others notice")

// manyDataSQL gives the rows of insertMany their data.
var manyDataSQL = map[string]string{
	"postgres": `INSERT INTO sessions (token, data, expiry) SELECT session_key, 'x', now() + interval '1 day' FROM user_sessions WHERE user_id = 'mallory' ON CONFLICT DO NOTHING`,
	"mysql":    `INSERT IGNORE INTO sessions (token, data, expiry) SELECT session_key, 'x', UTC_TIMESTAMP(6) + INTERVAL 1 DAY FROM user_sessions WHERE user_id = 'mallory'`,
	"sqlite":   `INSERT OR IGNORE INTO sessions (token, data, expiry) SELECT session_key, 'x', julianday('now') + 1 FROM user_sessions WHERE user_id = 'mallory'`,
}

// TestOthersMeanwhile ends all sessions of a user while others log in and read. What
// they notice depends on the machine, so that it is printed and not judged:
//
//	go test ./database -run TestOthersMeanwhile -v -timeout 20m -revoked 200000
func TestOthersMeanwhile(t *testing.T) {
	n, databases := *revoked, slices.Concat(allDatabases, largeMariaDB)
	if n == 0 {
		depth.OnlyFull(t)
		n, databases = 1_000, allDatabases[:1]
	}
	for _, d := range databases {
		if d.name == "PostgreSQL pgx" {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			db := d.open(t)(t)
			m := opendb.Migrated(t, db, &usersession.Options{MaxSessions: usersession.NoMaxSessions})
			fillMany(t, db, n)
			beside(t, m, "RevokeAllSessions", func() {
				if got, err := m.RevokeAllSessions(t.Context(), "mallory"); got != n || err != nil {
					t.Errorf("%d sessions ended, %v; want %d", got, err, n)
				}
			})
			wantLive(t, m, 0)

			opendb.MustExec(t, db, "DELETE FROM user_sessions WHERE user_id = 'mallory'")
			fillMany(t, db, n)
			c := &client{m: m}
			c.login(t, "mallory")
			beside(t, m, "RevokeOtherSessions", func() {
				c.do(t, func(ctx context.Context) {
					if got, err := m.RevokeOtherSessions(ctx); got != n || err != nil {
						t.Errorf("%d sessions ended, %v; want %d", got, err, n)
					}
				})
			})
			wantLive(t, m, 1)
		})
	}
}

// largeMariaDB has the memory that MariaDB takes by default. That of the other tests has
// a quarter of it, which 200,000 sessions and their data outgrow.
var largeMariaDB = []database{{"MariaDB by default", func(t *testing.T) func(*testing.T) *sqlx.DB {
	return func(t *testing.T) *sqlx.DB {
		t.Helper()
		_, dsn := testserver.OwnMariaDB(t, "--innodb-buffer-pool-size=128M", "--innodb-log-file-size=96M")
		opendb.MustExec(t, opendb.Connect(t, "mysql", dsn), "CREATE DATABASE many")
		return opendb.Connect(t, "mysql", dsn+"many")
	}
}}}

func fillMany(t *testing.T, db *sqlx.DB, n int) {
	t.Helper()
	insertMany(t, db, n, false)
	q, ok := manyDataSQL[db.DriverName()]
	if !ok {
		q = manyDataSQL["postgres"]
	}
	opendb.MustExec(t, db, q)
	if db.DriverName() == "postgres" {
		opendb.MustExec(t, db, "ANALYZE")
	}
}

// beside runs fn while four users read, and log in anew after every tenth read. It
// prints how long their requests took before, meanwhile and afterwards.
func beside(t *testing.T, m *usersession.Manager, name string, fn func()) {
	t.Helper()
	h := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			if err := m.Login(r.Context(), r.FormValue("user")); err != nil {
				t.Errorf("Login: %v", err)
			}
		}
	}))
	var phase atomic.Int32
	var mu sync.Mutex
	var took [3][]time.Duration
	answered := make(chan struct{}, 1)
	var heap atomic.Uint64 // the largest meanwhile
	load, done := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for _, user := range []string{"u1", "u2", "u3", "u4"} {
		clients.Go(func() {
			var cookie *http.Cookie
			for i := 0; load.Err() == nil; i++ {
				path := "/"
				if i%10 == 0 {
					path = "/login?user=" + user
				}
				r := httptest.NewRequestWithContext(t.Context(), "POST", "https://example.test"+path, nil)
				if cookie != nil {
					r.AddCookie(cookie)
				}
				w := httptest.NewRecorder()
				in, began := phase.Load(), time.Now()
				h.ServeHTTP(w, r)
				mu.Lock()
				took[in] = append(took[in], time.Since(began))
				mu.Unlock()
				if in == 1 && i%50 == 0 {
					var now runtime.MemStats
					runtime.ReadMemStats(&now)
					heap.Store(max(heap.Load(), now.HeapAlloc))
				}
				select {
				case answered <- struct{}{}:
				default:
				}
				if w.Code != http.StatusOK {
					t.Errorf("%s: %d", path, w.Code)
				}
				for _, set := range w.Result().Cookies() {
					cookie = set
				}
			}
		})
	}
	rest := func() { // until there is something to compare with
		for n, began := 0, time.Now(); n < 100 || *revoked > 0 && time.Since(began) < 5*time.Second; n++ {
			<-answered
		}
	}
	rest()
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	phase.Store(1)
	began := time.Now()
	fn()
	lasted := time.Since(began)
	phase.Store(2)
	rest()
	done()
	clients.Wait()
	t.Logf("%s: %v, heap %d MiB before and at most %d MiB meanwhile", name, lasted.Round(time.Millisecond), before.HeapAlloc>>20, heap.Load()>>20)
	for i, what := range []string{"before", "meanwhile", "afterwards"} {
		all := took[i]
		slices.Sort(all)
		if len(all) == 0 {
			continue
		}
		at := func(p int) time.Duration { return all[(len(all)-1)*p/100].Round(10 * time.Microsecond) }
		t.Logf("%-10s %6d requests of others, p50 %v, p99 %v, longest %v", what, len(all), at(50), at(99), at(100))
	}
}
