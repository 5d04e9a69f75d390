package races_test

import (
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/robustness/backends"
	"github.com/seed-296ca7ab/usersession/robustness/races"
)

func TestMain(m *testing.M) { testserver.Main(m) }

const seed = 20

// TestRevokedStaysRevoked is I2 under load: of a thousand requests in flight during
// a revocation, on each backend, none brings the session back. The fast depth has
// a tenth of them.
func TestRevokedStaysRevoked(t *testing.T) {
	trials := int64(1000)
	if !depth.Full() {
		trials = 100
	}
	for _, b := range append(backends.List, backends.Native) {
		t.Run(b.Name, func(t *testing.T) {
			load := races.Load{Trials: trials, Seed: seed}
			res := load.Run(t, b)
			t.Logf("seed %d: %d raced revocations, %d unraced; %d probes; %d served, %d came back",
				seed, res.Trials, res.Unraced, res.Probes, res.Served, res.CameBack)
			if res.Trials < load.Trials {
				t.Errorf("%d raced revocations, want %d", res.Trials, load.Trials)
			}
			if res.Served != 0 || res.CameBack != 0 {
				t.Errorf("%d served, %d came back: %q", res.Served, res.CameBack, res.Wrong())
			}
			if res.Errors != 0 {
				t.Errorf("%d errors without a fault: %v", res.Errors, res.Errs())
			}
		})
	}
}

// TestBoundStaysRevoked is TestRevokedStaysRevoked for sessions that are bound to devices,
// whose refreshes are in flight as well.
func TestBoundStaysRevoked(t *testing.T) {
	list, trials := []string{"SQLite", "PostgreSQL", "MariaDB"}, int64(100)
	if !depth.Full() {
		list, trials = list[:1], 30
	}
	for _, name := range list {
		t.Run(name, func(t *testing.T) {
			load := races.Load{Trials: trials, Seed: seed, Bound: true}
			res := load.Run(t, backends.Named(name))
			t.Logf("seed %d: %d raced revocations, %d unraced; %d probes; %d served, %d came back",
				seed, res.Trials, res.Unraced, res.Probes, res.Served, res.CameBack)
			if res.Trials < load.Trials || res.Served != 0 || res.CameBack != 0 || res.Errors != 0 {
				t.Errorf("%d raced, want %d; %d served, %d came back, %d errors: %q, %v", res.Trials, load.Trials, res.Served, res.CameBack, res.Errors, res.Wrong(), res.Errs())
			}
		})
	}
}

// TestPlainScsFails shows that the load can find what it looks for: plain scs with
// an index made by hand does bring sessions back.
func TestPlainScsFails(t *testing.T) {
	for _, p := range backends.Plains {
		t.Run(p.Name, func(t *testing.T) {
			res := races.Load{Trials: 300, Seed: seed}.RunPlain(t, p)
			t.Logf("seed %d: %d raced revocations, %d unraced; %d probes; %d served, %d came back",
				seed, res.Trials, res.Unraced, res.Probes, res.Served, res.CameBack)
			if res.Served == 0 || res.CameBack == 0 {
				t.Errorf("%d served, %d came back: the load does not find what it is for", res.Served, res.CameBack)
			}
			if res.Errors != 0 {
				t.Errorf("%d errors without a fault: %v", res.Errors, res.Errs())
			}
		})
	}
}
