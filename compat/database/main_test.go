// Package database tests what a database is asked and what its answers do: round
// trips, plans, partitions, replicas, PgBouncer, reads through lib/pq.
package database_test

import (
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }
