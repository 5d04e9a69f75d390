package dbsc_test

import (
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m) }
