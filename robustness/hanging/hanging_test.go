package hanging_test

import (
	"slices"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/robustness/hanging"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// TestBounded is I9: whatever hangs, every call comes back, and afterwards
// nothing is left. How late a busy machine lets a call be is for the command that
// measures it.
func TestBounded(t *testing.T) {
	few := []string{"PostgreSQL through lib/pq", "MariaDB", "Redis", "Store that hangs until its context ends"}
	for _, c := range hanging.Cases {
		t.Run(c.Name, func(t *testing.T) {
			if !slices.Contains(few, c.Name) {
				depth.OnlyFull(t)
			}
			res := hanging.Run(t, c)
			t.Logf("%d calls, the longest took %.2f of what it may", res.Calls, res.Longest)
			for _, name := range res.NotBack {
				t.Errorf("%s did not come back", name)
			}
			for _, text := range res.Left {
				t.Error(text)
			}
			for _, text := range res.Beyond {
				t.Log(text)
			}
		})
	}
}
