package usersession_test

import (
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/storetest"
)

// TestSmallStore runs the contract kit on a Store that has what the interface
// wants and nothing more. The SQL store and the others run it with their backends.
func TestSmallStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) usersession.Store {
		return &smallStore{entries: make(map[string]smallEntry)}
	})
}
