package database_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/sqlspy"
)

type database struct {
	name string
	open opendb.Opener
}

var allDatabases = []database{
	{"SQLite", opendb.SQLite},
	{"PostgreSQL", opendb.Pq},
	{"PostgreSQL pgx", opendb.Pgx},
	{"MariaDB", opendb.MariaDB},
}

// inTime bounds what must not wait. It is far more than it takes.
func inTime(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func newManager(t *testing.T, db *sqlx.DB, opts *usersession.Options) *usersession.Manager {
	t.Helper()
	m, err := usersession.New(db, opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// wantNaming wants an error that has some words in it.
func wantNaming(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v; want an error that says %q", err, w)
		}
	}
}

// TestMigrateOnlyLooks wants a second Migrate to ask, and to do nothing.
func TestMigrateOnlyLooks(t *testing.T) {
	for _, d := range allDatabases {
		t.Run(d.name, func(t *testing.T) {
			open := d.open(t)
			for name, opts := range map[string]*usersession.Options{
				"defaults": {}, "users table": {UserIDType: usersession.UserIDBigint, UsersTable: "people(person)"},
			} {
				t.Run(name, func(t *testing.T) {
					db := open(t)
					opendb.MustExec(t, db, "CREATE TABLE people (person BIGINT NOT NULL PRIMARY KEY)")
					spy, db := opendb.Spied(t, db)
					opendb.Migrated(t, db, opts)
					m := newManager(t, db, opts)
					spy.Take()
					if err := m.Migrate(t.Context()); err != nil {
						t.Error(err)
					}
					calls := spy.Take()
					queries := map[string]bool{} // some drivers are asked more than once for one
					for _, c := range calls {
						queries[c.Query] = true
					}
					most := 5
					if d.name == "MariaDB" {
						most++ // the first of a Manager, about settings
					}
					if len(queries) == 0 || len(queries) > most {
						t.Errorf("%d statements, want at most %d", len(queries), most)
					}
					for _, c := range calls {
						if !looks.MatchString(c.Query) || locks.MatchString(c.Query) {
							t.Errorf("asked for %s", c.Query)
						}
						if d.name == "MariaDB" && !c.Prepare && strings.Contains(c.Query, "information_schema") {
							wantOwnDatabaseOnly(t, db, c)
						}
					}
				})
			}
		})
	}
}

// wantOwnDatabaseOnly fails the test if MariaDB opens the tables of every database
// to answer a query.
func wantOwnDatabaseOnly(t *testing.T, db *sqlx.DB, c sqlspy.Call) {
	t.Helper()
	rows, err := db.QueryxContext(t.Context(), "EXPLAIN "+c.Query, c.Args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		plan := map[string]any{}
		if err := rows.MapScan(plan); err != nil {
			t.Fatal(err)
		}
		if extra, _ := plan["Extra"].([]byte); bytes.Contains(extra, []byte("all databases")) {
			t.Errorf("%s in %s", extra, c.Query)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

var (
	looks = regexp.MustCompile(`^\s*(SELECT|WITH)\b`)
	locks = regexp.MustCompile(`(?i)advisory|GET_LOCK|FOR UPDATE`)
)

// TestMigrateBesideAWriter wants Migrate to come back, and logins to be served,
// while a transaction is open that has written to the tables, or one that
// holds the lock of VACUUM and ANALYZE.
func TestMigrateBesideAWriter(t *testing.T) {
	isolation := map[string]sql.IsolationLevel{"MariaDB": sql.LevelReadCommitted}
	writes := []string{"UPDATE user_sessions SET reason = 'x'", "UPDATE sessions SET expiry = expiry"}
	for _, d := range allDatabases {
		t.Run(d.name, func(t *testing.T) {
			open := d.open(t)
			cases := map[string][]string{"index": writes[:1], "data": writes[1:], "both": writes}
			if strings.HasPrefix(d.name, "PostgreSQL") {
				cases["partitions"] = writes
				cases["vacuum"] = []string{"LOCK TABLE user_sessions, sessions IN SHARE UPDATE EXCLUSIVE MODE"}
			}
			for name, statements := range cases {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					db := open(t)
					opts := &usersession.Options{}
					if name == "partitions" {
						partitioned(opts)
					}
					m := opendb.Migrated(t, db, opts)
					(&client{m: m}).login(t, "alice")
					// MariaDB's default would lock the gaps between rows too.
					tx, err := db.BeginTxx(t.Context(), &sql.TxOptions{Isolation: isolation[d.name]})
					if err != nil {
						t.Fatal(err)
					}
					defer tx.Rollback()
					for _, s := range statements {
						if _, err := tx.ExecContext(t.Context(), s); err != nil {
							t.Fatal(err)
						}
					}
					if err := m.Migrate(inTime(t)); err != nil {
						t.Errorf("Migrate: %v", err)
					}
					store, err := usersession.NewSQLStore(db, nil)
					if err == nil {
						err = store.Migrate(inTime(t))
					}
					if err != nil {
						t.Errorf("SQLStore.Migrate: %v", err)
					}
					if d.name != "SQLite" { // which has one writer
						(&client{m: m}).login(t, "bob")
					}
				})
			}
		})
	}
}

// indexes returns the names of the indexes that can be used.
func indexes(t *testing.T, db *sqlx.DB) map[string]bool {
	t.Helper()
	var names []string
	err := db.SelectContext(t.Context(), &names, map[string]string{
		"sqlite": "SELECT name FROM sqlite_master WHERE type = 'index'",
		"mysql":  "SELECT index_name FROM information_schema.statistics WHERE table_schema = DATABASE()",
	}[db.DriverName()]+map[bool]string{
		true: "SELECT relname FROM pg_class JOIN pg_index ON indexrelid = oid WHERE indisvalid AND pg_table_is_visible(oid)",
	}[strings.HasPrefix(db.DriverName(), "p")])
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]bool{}
	for _, n := range names {
		set[n] = true
	}
	return set
}

// TestMigrateOtherOptions wants Options that were changed after the tables were
// made to be named.
func TestMigrateOtherOptions(t *testing.T) {
	for _, d := range allDatabases {
		t.Run(d.name, func(t *testing.T) {
			if d.name == "MariaDB" {
				depth.OnlyFull(t) // seconds of making tables
			}
			open := d.open(t)
			type options = usersession.Options
			bigint := usersession.UserIDBigint
			for _, tc := range []struct {
				name  string
				was   options
				after string
				is    options
				words []string
			}{
				{"the same", options{UserIDType: bigint, UsersTable: "people"}, "", options{UserIDType: bigint, UsersTable: "people(id)"}, nil},
				{"another type", options{}, "", options{UserIDType: bigint}, []string{"Options.UserIDType", "user_id", "user_sessions"}},
				{"the default type", options{UserIDType: bigint}, "", options{}, []string{"Options.UserIDType", "user_id"}},
				{"a users table", options{UserIDType: bigint}, "", options{UserIDType: bigint, UsersTable: "people"}, []string{"Options.UsersTable", "people(id)", "without a foreign key"}},
				{"both", options{}, "", options{UserIDType: bigint, UsersTable: "people"}, []string{"Options.UserIDType", "user_id"}},
				{"another users table", options{UserIDType: bigint, UsersTable: "people"}, "", options{UserIDType: bigint, UsersTable: "staff"}, []string{"Options.UsersTable", "staff(id)", "people(id)"}},
				{"another column", options{UserIDType: bigint, UsersTable: "people"}, "", options{UserIDType: bigint, UsersTable: "people(number)"}, []string{"Options.UsersTable", "people(number)", "people(id)"}},
				{"numbers and the default type", options{Index: usersession.IndexOptions{Table: "elsewhere"}}, "", options{UsersTable: "people"}, []string{"Options.UserIDType", "set UserIDType to bigint"}},
				{
					"a foreign key that does not set null", options{Index: usersession.IndexOptions{Table: "elsewhere"}}, "cascade",
					options{UserIDType: bigint, UsersTable: "people"}, []string{"Options.UsersTable", "ON DELETE SET NULL"},
				},
			} {
				t.Run(tc.name, func(t *testing.T) {
					db := open(t)
					opendb.MustExec(t, db, "CREATE TABLE people (id BIGINT NOT NULL PRIMARY KEY, number BIGINT NOT NULL UNIQUE)")
					opendb.MustExec(t, db, "CREATE TABLE staff (id BIGINT NOT NULL PRIMARY KEY)")
					opendb.Migrated(t, db, &tc.was)
					if tc.after == "cascade" {
						cascading(t, db, &tc.is)
					}
					err := newManager(t, db, &tc.is).Migrate(t.Context())
					wantNaming(t, err, tc.words...)
					if len(tc.words) == 0 && err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}

// cascading makes the tables with ON DELETE CASCADE.
func cascading(t *testing.T, db *sqlx.DB, opts *usersession.Options) {
	t.Helper()
	files, err := newManager(t, db, opts).Migrations()
	if err != nil {
		t.Fatal(err)
	}
	text, err := fs.ReadFile(files, "00001_user_sessions.sql")
	if err != nil {
		t.Fatal(err)
	}
	up, _, _ := strings.Cut(string(text), "-- +goose Down")
	for _, s := range strings.Split(strings.ReplaceAll(up, "SET NULL", "CASCADE"), ";\n") {
		if s = strings.TrimSpace(strings.TrimPrefix(s, "-- +goose Up\n")); s != "" {
			opendb.MustExec(t, db, s)
		}
	}
}

// TestMigrateNoDatabaseSelected has MariaDB's database in the Options only.
func TestMigrateNoDatabaseSelected(t *testing.T) {
	dsn := opendb.FreshMariaDB(t)
	c, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	name := c.DBName
	c.DBName = ""
	db := opendb.Connect(t, "mysql", c.FormatDSN())
	m := opendb.Migrated(t, db, &usersession.Options{Index: usersession.IndexOptions{Schema: name}})
	(&client{m: m}).login(t, "alice")
	if err := m.Migrate(t.Context()); err != nil {
		t.Error(err)
	}
	if err := newManager(t, db, nil).Migrate(t.Context()); err == nil || strings.Contains(err.Error(), "lock") {
		t.Errorf("%v; want an error that is not about a lock", err)
	}
}

// TestMigrateNamesAColumn wants a column that is missing to be ErrNotMigrated.
func TestMigrateNamesAColumn(t *testing.T) {
	for _, d := range allDatabases {
		t.Run(d.name, func(t *testing.T) {
			open := d.open(t)
			for table, column := range map[string]string{"user_sessions": "reason", "sessions": "data"} {
				db := open(t)
				m := opendb.Migrated(t, db, &usersession.Options{})
				opendb.MustExec(t, db, "ALTER TABLE "+table+" DROP COLUMN "+column)
				err := m.Migrate(t.Context())
				wantNaming(t, err, table, column)
				if !errors.Is(err, usersession.ErrNotMigrated) {
					t.Errorf("%v, want ErrNotMigrated", err)
				}
			}
		})
	}
}

// TestOtherUserIDsWithoutMigrate wants a program that does not call Migrate to be told
// as well that the column of user IDs has another type.
func TestOtherUserIDsWithoutMigrate(t *testing.T) {
	for _, d := range allDatabases[1:] { // SQLite takes any type
		t.Run(d.name, func(t *testing.T) {
			if d.name == "MariaDB" {
				depth.OnlyFull(t) // seconds of making tables
			}
			for _, tc := range []struct {
				was, is usersession.UserIDType
				user    string
			}{
				{usersession.UserIDBigint, usersession.UserIDText, "alice"},
				{usersession.UserIDUUID, usersession.UserIDText, "alice"},
				{usersession.UserIDUUID, usersession.UserIDBigint, "42"},
			} {
				db := d.open(t)(t)
				opendb.Migrated(t, db, &usersession.Options{UserIDType: tc.was})
				m := newManager(t, db, &usersession.Options{UserIDType: tc.is})
				err := logIn(t, m, tc.user, "agent")
				if !errors.Is(err, usersession.ErrNotMigrated) || !strings.Contains(fmt.Sprint(err), "UserIDType") {
					t.Errorf("%s in a column of %s: %v", tc.is, tc.was, err)
				}
			}
		})
	}
}
