package boltstore_test

import (
	"path/filepath"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/boltstore"
	"github.com/seed-296ca7ab/usersession/storetest"
	"go.etcd.io/bbolt"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) usersession.Store {
		db, err := bbolt.Open(filepath.Join(t.TempDir(), "test.db"), 0o600, &bbolt.Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		store, err := boltstore.New(db)
		if err != nil {
			t.Fatal(err)
		}
		return store
	})
}
