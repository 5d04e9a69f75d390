package usersession_test

import (
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/backendtest"
)

func partitioned(o *usersession.Options) { o.Partitions = 4 }

// TestPartitionedBackends is the table of backends with the index in
// partitions: every behaviour, with the default Store, whose sessions are then
// verified by a statement of their own, and with one that is atomic.
func TestPartitionedBackends(t *testing.T) {
	open := postgresSchemas(t)
	var stores []backendtest.StoreCase
	for _, s := range backendtest.Stores(open) {
		switch s.Name {
		case "sql", "memstore":
			stores = append(stores, s)
		}
	}
	backendtest.Run(t, open, stores, partitioned)
}

func TestPartitionedDatabase(t *testing.T) {
	backendtest.RunDatabase(t, postgresSchemas(t), partitioned)
}
