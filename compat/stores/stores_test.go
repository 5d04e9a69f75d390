// Package stores tests the stores that are not of the root module: those written
// for scs that can be had, and the one of docs/writing-a-store.md.
package stores_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/boltstore"
	"github.com/seed-296ca7ab/usersession/compat/internal/backendtest"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/storetest"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// TestBackends is the table "regardless of the backend" for the stores that are
// not of the root module. Neither what a Store does with its data nor what the
// index does with its rows depends on the other, so that one database is enough
// for most.
func TestBackends(t *testing.T) {
	for _, d := range []struct {
		name string
		open opendb.Opener
		all  bool // all stores, not only those that are run everywhere
	}{
		{"MariaDB", opendb.MariaDB, false},
		{"PostgreSQL pgx", opendb.Pgx, false},
		{"SQLite", opendb.SQLite, true},
	} {
		t.Run(d.name, func(t *testing.T) {
			open := d.open(t)
			if d.all {
				open = opendb.MigratedSQLite(t)
			}
			var every, some []backendtest.StoreCase // behaviours
			if d.all {
				every = append(every, backendtest.StoreCase{Name: "sixty lines over bbolt", New: sixtyLines})
			}
			for _, s := range scsStores {
				if s.open == nil || !s.everywhere && !d.all || s.name == "memstore" { // compat runs that one
					continue
				}
				c := backendtest.StoreCase{Name: "scs " + s.name, Open: s.wrapped}
				if d.all && !slices.Contains(likeSQLite3, s.name) {
					every = append(every, c)
				} else {
					some = append(some, c)
				}
			}
			if !depth.Full() {
				every, some = nil, backendtest.Named(append(every, some...), "sixty lines over bbolt", "scs sqlite3store")
			}
			backendtest.Run(t, open, every)
			backendtest.RunSome(t, open, some)
		})
	}
}

// likeSQLite3 are the stores that do with SQL what sqlite3store does.
var likeSQLite3 = []string{"gormstore", "mysqlstore", "pgxstore", "postgresstore"}

// sixtyLines is the Store of docs/writing-a-store.md, whose kit runs in its own
// package.
func sixtyLines(t *testing.T) usersession.Store {
	t.Helper()
	store, err := boltstore.New(openBolt(t))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// TestStores runs the contract kit on every store written for scs.
func TestStores(t *testing.T) {
	// For the most part they wait, so that more than t.Parallel allows may run.
	var running sync.WaitGroup
	defer running.Wait()
	for _, s := range scsStores {
		if s.open == nil {
			continue
		}
		running.Go(func() {
			t.Run("scs "+s.name, func(t *testing.T) { storetest.Run(t, s.wrapped(t)) })
		})
	}
}
