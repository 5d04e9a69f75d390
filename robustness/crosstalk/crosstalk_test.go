package crosstalk_test

import (
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/robustness/backends"
	"github.com/seed-296ca7ab/usersession/robustness/crosstalk"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// TestOwnSessionOnly is I3 under load: whatever is cancelled when, a token loads
// its own session.
func TestOwnSessionOnly(t *testing.T) {
	loads := map[string]int64{"memstore + SQLite": 20000, "SQLite": 2000, "Redis + PostgreSQL": 6000, "PostgreSQL": 3000, "MariaDB": 2000}
	for name, n := range loads {
		if !depth.Full() {
			n /= 10
		}
		t.Run(name, func(t *testing.T) {
			const seed = 7
			res := crosstalk.Load{Loads: n, Seed: seed}.Run(t, backends.Named(name))
			t.Logf("seed %d: %d loads, %d cancelled, %d answered", seed, res.Loads, res.Cancelled, res.Answered)
			if res.Wrong != 0 || res.Anonymous != 0 {
				t.Errorf("%d wrong, %d anonymous: %q", res.Wrong, res.Anonymous, res.Firsts)
			}
			if res.Loads < n || res.Answered < n/4 {
				t.Errorf("%d loads and %d answers of %d: that says too little", res.Loads, res.Answered, n)
			}
		})
	}
}
