package manager_test

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
)

var deviceCost = flag.Int("device-cost", 0, "compare so many reads of a bound session with as many of one that is not")

// TestDeviceCost measures a read of a bound session beside one without package dbsc, in
// turns, on PostgreSQL.
func TestDeviceCost(t *testing.T) {
	if *deviceCost == 0 {
		return // it measures, and promises nothing
	}
	reads := map[bool]func() time.Duration{}
	for _, used := range []bool{false, true} {
		db := opendb.Pq(t)(t)
		db.SetMaxIdleConns(4)
		m := opendb.Migrated(t, db, &usersession.Options{})
		s := &deviceSite{T: t, m: m, db: db, handler: mwRoutes(m, nil)}
		if used {
			s.handler = deviceRoutes(t, m, nil)
		}
		laptop := s.browser()
		if challenge := laptop.login("alice"); used {
			laptop.register(challenge)
		}
		reads[used] = func() time.Duration {
			r := httptest.NewRequestWithContext(t.Context(), "GET", "https://example.com/me", nil)
			for k, v := range laptop.cookies {
				r.AddCookie(&http.Cookie{Name: k, Value: v})
			}
			w := httptest.NewRecorder()
			began := time.Now()
			s.handler.ServeHTTP(w, r)
			took := time.Since(began)
			if w.Body.String() != "alice" {
				t.Fatalf("a read: %d %s", w.Code, w.Body)
			}
			return took
		}
	}
	took := map[bool][]time.Duration{}
	for i := range 2 * *deviceCost {
		used := i%2 == 1
		took[used] = append(took[used], reads[used]())
	}
	p50 := func(used bool) time.Duration {
		slices.Sort(took[used])
		return took[used][len(took[used])/2]
	}
	t.Logf("p50 of %d reads in turns: %v without, %v bound, %.3fx", *deviceCost, p50(false), p50(true), float64(p50(true))/float64(p50(false)))
}
