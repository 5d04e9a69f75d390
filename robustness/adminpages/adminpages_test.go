package adminpages_test

import (
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/robustness/adminpages"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// TestSameRows: on a smaller table, the pages show what the raw queries read. The
// figures are those of cmd/adminpages.
func TestSameRows(t *testing.T) {
	depth.OnlyFull(t)
	for _, r := range adminpages.Run(t, 20_000, 1, time.Second) {
		t.Logf("%-40s %6d rows", r.Name, r.Rows)
	}
}
