package adopt_test

import (
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

func TestMain(m *testing.M) {
	depth.Short()
	testserver.Main(m)
}
