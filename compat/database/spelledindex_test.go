package database_test

import (
	"testing"

	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
)

// TestMigrateKnowsASpelledIndex wants an index of SQLite to fit however its
// condition is set apart, and not to fit with another condition.
func TestMigrateKnowsASpelledIndex(t *testing.T) {
	open := opendb.MigratedSQLite(t)
	for _, tc := range []struct {
		rest string
		fits bool
	}{
		{" WHERE ended_at IS NULL", true},
		{"\nWHERE ended_at IS NULL", true},
		{"\r\n\twhere\n\tended_at IS NULL", true},
		{"WHERE(ended_at IS NULL)", true},
		{"\nWHERE ended_at IS NOT NULL", false},
	} {
		db := open(t)
		opendb.MustExec(t, db, "DROP INDEX user_sessions_expires")
		opendb.MustExec(t, db, "CREATE INDEX user_sessions_expires ON user_sessions (expires_at)"+tc.rest)
		if err := newManager(t, db, nil).Migrate(t.Context()); (err == nil) != tc.fits {
			t.Errorf("%q: %v, want fits to be %v", tc.rest, err, tc.fits)
		}
	}
}
