package usersession_test

import (
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/storetest"
)

// TestSQLStore runs the contract kit on the SQL store of each database.
func TestSQLStore(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
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
