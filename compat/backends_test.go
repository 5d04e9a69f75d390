package compat

import (
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/backendtest"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/storetest"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// databases are those of the tests, with the Stores that TestBackends runs on each.
// Neither what a Store does with its data nor what the index does with its rows
// depends on the other, so that not every pair is run, and of some pairs a part.
var databases = []struct {
	name         string
	open         opendb.Opener
	stores, some []string
}{
	{"SQLite", opendb.SQLite, []string{"sql", "sql elsewhere", "memstore", "scs memstore", "hand-written"}, nil},
	{"PostgreSQL", opendb.Pq, []string{"sql", "memstore"}, []string{"sql elsewhere"}},
	{"PostgreSQL pgx", opendb.Pgx, []string{"sql"}, []string{"memstore"}},
	{"PostgreSQL pgxdb", opendb.PgxPool, nil, []string{"sql"}},
	{"MariaDB", opendb.MariaDB, []string{"sql", "memstore"}, []string{"sql elsewhere"}},
}

// TestBackends is the table "regardless of the backend". Its other half, with the
// stores that are not of the root module, is in the package stores.
//
// At the fast depth every behaviour is tested in SQLite, with a Store that is
// verified and one that is atomic, and some in the other databases.
func TestBackends(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			open := d.open(t)
			if d.name == "SQLite" {
				open = opendb.MigratedSQLite(t)
			}
			all := backendtest.Stores(open)
			switch {
			case depth.Full():
				backendtest.Run(t, open, backendtest.Named(all, d.stores...))
				backendtest.RunSome(t, open, backendtest.Named(all, d.some...))
			case d.name == "SQLite":
				backendtest.Run(t, open, backendtest.Named(all, "sql", "memstore"))
			default:
				backendtest.RunSome(t, open, backendtest.Named(all, "sql"))
			}
		})
	}
}

func TestDatabases(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			run := backendtest.RunDatabase
			if !depth.Full() && d.name != "SQLite" {
				run = backendtest.RunDatabaseSome
			}
			run(t, d.open(t))
		})
	}
}

// TestSQLStore runs the contract kit on the SQL store of each database.
func TestSQLStore(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			db := d.open(t)(t)
			storetest.Run(t, func(t *testing.T) usersession.Store {
				s, err := usersession.NewSQLStore(db, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}
