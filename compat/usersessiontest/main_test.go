// Package usersessiontest tests the package usersessiontest, and what works in a bubble of
// testing/synctest, on each database and Store.
package usersessiontest_test

import (
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }
