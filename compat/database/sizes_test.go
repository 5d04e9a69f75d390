package database_test

import (
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// TestSizes measures what a session takes on each database: its row with the entries of
// its indexes, and its data. docs/operations.md quotes it.
func TestSizes(t *testing.T) {
	depth.OnlyFull(t)
	const n = 20_000
	const agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
	for _, d := range []struct {
		name              string
		open              opendb.Opener
		user, data, sizes string
		settle            []string
	}{
		{"PostgreSQL", opendb.Pq, "'user' || n / 3", "INSERT INTO sessions SELECT session_key, convert_to(repeat('x', 240), 'UTF8'), expires_at FROM user_sessions",
			"SELECT pg_total_relation_size('@table')", nil},
		{"MariaDB", opendb.MariaDB, "CONCAT('user', seq DIV 3)", "INSERT INTO sessions SELECT session_key, REPEAT('x', 240), expires_at FROM user_sessions",
			"SELECT data_length + index_length FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = '@table'", []string{"ANALYZE TABLE user_sessions", "ANALYZE TABLE sessions"}},
		{"SQLite", opendb.SQLite, "'user' || (n / 3)", "INSERT INTO sessions SELECT session_key, zeroblob(240), julianday('now', '+1 day') FROM user_sessions",
			"SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", nil},
	} {
		t.Run(d.name, func(t *testing.T) {
			db := d.open(t)(t)
			opendb.Migrated(t, db, &usersession.Options{})
			size := func(table string) int {
				t.Helper()
				for _, q := range d.settle {
					opendb.MustExec(t, db, q)
				}
				return sizeOf(t, db, strings.ReplaceAll(d.sizes, "@table", table))
			}
			empty := size("user_sessions")
			opendb.MustExec(t, db, strings.NewReplacer("'mallory'", d.user, "'', '', '{}'", "'203.0.113.7', '"+agent+"', '{\"auth_method\": \"password\"}'",
				"@n", "20000", "@ended", "false").Replace(manySQL[db.DriverName()]))
			rows := size("user_sessions") - empty
			empty = size("sessions")
			opendb.MustExec(t, db, d.data)
			data := size("sessions") - empty
			t.Logf("%d bytes for a row with its index entries, %d for 240 bytes of data", rows/n, data/n)
			if rows/n < 300 || rows/n > 1500 || data/n < 240 || data/n > 1000 {
				t.Error("that is not what docs/operations.md says")
			}
		})
	}
}

func sizeOf(t *testing.T, db *sqlx.DB, query string) (n int) {
	t.Helper()
	if err := db.GetContext(t.Context(), &n, query); err != nil {
		t.Fatal(err)
	}
	return n
}
