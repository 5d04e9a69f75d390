package boltstore_test

import (
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/depth"
)

func TestMain(m *testing.M) {
	depth.Short()
	m.Run()
}
