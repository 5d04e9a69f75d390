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
	slices.Sort(took[false])
	slices.Sort(took[true])
	for _, percent := range []int{10, 50} { // other work of the machine is in the slow ones
		n := *deviceCost * percent / 100
		without, bound := took[false][n], took[true][n]
		t.Logf("p%d of %d reads in turns: %v without, %v bound, %.3fx", percent, *deviceCost, without, bound, float64(bound)/float64(without))
	}
}
