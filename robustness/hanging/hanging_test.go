package hanging_test

import (
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/robustness/hanging"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// TestBounded is I9: whatever hangs, every call comes back, and afterwards
// nothing is left.
func TestBounded(t *testing.T) {
	for _, c := range hanging.Cases {
		t.Run(c.Name, func(t *testing.T) {
			res := hanging.Run(t, c)
			t.Logf("%d calls, the longest took %.2f of what it may", res.Calls, res.Longest)
			for _, text := range append(res.Beyond, res.Left...) {
				t.Error(text)
			}
		})
	}
}
