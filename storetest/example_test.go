package storetest_test

import (
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/storetest"
)

// The body of a test of the package that implements the Store. Run it with the race
// detector.
func ExampleRun() {
	testContract := func(t *testing.T) { // func TestContract(t *testing.T)
		storetest.Run(t, func(t *testing.T) usersession.Store {
			return memstore.New() // yours, with t.Cleanup for what has to be closed
		})
	}
	_ = testContract
}
