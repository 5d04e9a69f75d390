package compat

import (
	"bytes"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/backendtest"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// TestSealedBackends is TestBackends with sealed values: some behaviours, on the
// database that has a statement of its own for the data of a login.
func TestSealedBackends(t *testing.T) {
	depth.OnlyFull(t)
	sealed := func(o *usersession.Options) {
		o.Seal = &usersession.Seal{Keys: [][]byte{bytes.Repeat([]byte{1}, 32)}, RefuseUnsealed: true}
	}
	open := opendb.Pq(t)
	backendtest.RunSome(t, open, backendtest.Named(backendtest.Stores(open), "sql"), sealed)
}
