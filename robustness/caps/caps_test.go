package caps_test

import (
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/robustness/backends"
	"github.com/seed-296ca7ab/usersession/robustness/caps"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// TestCapped is I6 under load, for every policy on every database.
func TestCapped(t *testing.T) {
	rounds, length := int64(2), time.Second
	if !depth.Full() {
		rounds, length = 1, time.Millisecond
	}
	for _, db := range []string{"SQLite", "PostgreSQL", "MariaDB"} {
		for policy, p := range caps.Policies {
			t.Run(db+"/"+policy, func(t *testing.T) {
				res := caps.Run(t, backends.Named(db), p, rounds, length)
				t.Logf("%d logins in %d rounds, %d accepted; %d checks, at most %d live", res.Logins, res.Rounds, res.Accepted, res.Checks, res.Most)
				if res.Exceeded != 0 || len(res.Wrong) != 0 {
					t.Errorf("exceeded %d times: %q", res.Exceeded, res.Wrong)
				}
			})
		}
	}
}
