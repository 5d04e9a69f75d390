package database_test

import (
	"bytes"
	"context"
	"crypto/rand"
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

// TestMigrateWithoutRights wants Migrate to be content, under a role that may only
// read and write the tables, with tables that are there.
func TestMigrateWithoutRights(t *testing.T) {
	for _, d := range allDatabases {
		t.Run(d.name, func(t *testing.T) {
			var db *sqlx.DB
			opts := &usersession.Options{UserIDType: usersession.UserIDBigint, UsersTable: "people"}
			name := "us_" + strings.ToLower(rand.Text()[:10])
			people := "CREATE TABLE people (id BIGINT NOT NULL PRIMARY KEY)"
			switch d.name {
			case "SQLite":
				t.Skip("SQLite has no roles")
			case "MariaDB":
				dsn := opendb.FreshMariaDB(t)
				admin := opendb.Connect(t, "mysql", dsn)
				opendb.MustExec(t, admin, people)
				opendb.Migrated(t, admin, opts)
				opendb.MustExec(t, admin, "CREATE USER "+name+" IDENTIFIED BY 'p'")
				t.Cleanup(func() { admin.ExecContext(context.WithoutCancel(t.Context()), "DROP USER "+name) })
				for _, table := range []string{"user_sessions", "user_sessions_fences", "user_sessions_signouts", "user_sessions_replicas", "user_sessions_inbox", "user_sessions_locks", "sessions"} {
					opendb.MustExec(t, admin, "GRANT SELECT, INSERT, UPDATE, DELETE ON "+table+" TO "+name)
				}
				c, err := mysql.ParseDSN(dsn)
				if err != nil {
					t.Fatal(err)
				}
				c.User, c.Passwd = name, "p"
				db = opendb.Connect(t, "mysql", c.FormatDSN())
			default:
				db = d.open(t)(t)
				db.SetMaxOpenConns(1) // the role is that of a connection
				opendb.MustExec(t, db, people)
				opendb.Migrated(t, db, opts)
				opendb.MustExec(t, db, "CREATE ROLE "+name)
				t.Cleanup(func() {
					ctx := context.WithoutCancel(t.Context())
					db.ExecContext(ctx, "RESET ROLE")
					db.ExecContext(ctx, "DROP OWNED BY "+name)
					db.ExecContext(ctx, "DROP ROLE "+name)
				})
				var schema string
				if err := db.GetContext(t.Context(), &schema, "SELECT current_schema()"); err != nil {
					t.Fatal(err)
				}
				opendb.MustExec(t, db, "GRANT USAGE ON SCHEMA "+schema+" TO "+name)
				opendb.MustExec(t, db, "GRANT SELECT, INSERT, UPDATE, DELETE ON user_sessions, user_sessions_fences, user_sessions_signouts, user_sessions_replicas, user_sessions_inbox, sessions TO "+name)
				opendb.MustExec(t, db, "SET ROLE "+name)
			}
			m := newManager(t, db, opts)
			if err := m.Migrate(t.Context()); err != nil {
				t.Errorf("Migrate: %v", err)
			}
			if list, err := m.ListSessions(t.Context(), "1"); err != nil || len(list) > 0 {
				t.Errorf("%v, %v", list, err)
			}
			// It cannot make what is missing, and says so.
			if err := newManager(t, db, &usersession.Options{Index: usersession.IndexOptions{Table: "others"}}).Migrate(t.Context()); err == nil {
				t.Error("a table was made without the right to")
			}
		})
	}
}

// TestMigrateTooLittle wants tables that lack an index or a unique key to be
// completed, or to be named.
func TestMigrateTooLittle(t *testing.T) {
	isPostgres := func(name string) bool { return strings.HasPrefix(name, "PostgreSQL") }
	for _, d := range allDatabases {
		t.Run(d.name, func(t *testing.T) {
			if d.name == "MariaDB" {
				depth.OnlyFull(t) // seconds of making tables
			}
			open := d.open(t)
			for _, tc := range []struct {
				name   string
				before []string // instead of Migrate, or else after it
				after  []string
				words  []string // of the error; none: it is nil
				index  string   // is there then
			}{
				{
					name:   "the name of an index is taken by another table",
					before: []string{"CREATE TABLE other (a INT)", "CREATE INDEX user_sessions_user ON other (a)"},
					words:  []string{"user_sessions_user", "user_id, ended_at", "user_sessions"},
				},
				{
					name:  "the name of an index is taken by other columns",
					after: []string{"DROP INDEX sessions_expiry_idx", "CREATE INDEX sessions_expiry_idx ON sessions (token)"},
					words: []string{"sessions_expiry_idx", "expiry", "sessions"},
				},
				{
					name:   "no unique key on token",
					before: []string{"CREATE TABLE sessions (token CHAR(43) NOT NULL, data BLOB NOT NULL, expiry TIMESTAMP NOT NULL)"},
					words:  []string{"sessions", "unique key", "token"},
				},
				{
					name:   "a key on token that is not unique",
					before: []string{"CREATE TABLE sessions (token CHAR(43) NOT NULL, data BLOB NOT NULL, expiry TIMESTAMP NOT NULL)", "CREATE INDEX tokens ON sessions (token)"},
					words:  []string{"sessions", "unique key", "token"},
				},
				{
					name:   "an index and a unique key of other names",
					before: []string{"CREATE TABLE sessions (data BLOB NOT NULL, expiry TIMESTAMP NOT NULL, token CHAR(43) NOT NULL)", "CREATE UNIQUE INDEX tokens ON sessions (token)", "CREATE INDEX ends ON sessions (expiry)"},
				},
				{
					name:  "an index of PostgreSQL that serves no order",
					after: []string{"DROP INDEX sessions_expiry_idx", "CREATE INDEX sessions_expiry_idx ON sessions USING hash (expiry)"},
					words: []string{"sessions_expiry_idx", "expiry", "sessions"},
				},
				{
					name:   "data of PostgreSQL in another type",
					before: []string{"CREATE TABLE sessions (token text PRIMARY KEY, data text NOT NULL, expiry timestamptz NOT NULL)"},
					words:  []string{"sessions", "get_byte", "text"},
				},
				{
					name:   "times of PostgreSQL in another type",
					before: []string{"CREATE TABLE sessions (token text PRIMARY KEY, data bytea NOT NULL, expiry bigint NOT NULL)"},
					words:  []string{"sessions", "timestamp"},
				},
				{name: "no index of users", after: []string{"DROP INDEX user_sessions_user"}, index: "user_sessions_user"},
				{name: "no index of the data", after: []string{"DROP INDEX sessions_expiry_idx"}, index: "sessions_expiry_idx"},
			} {
				t.Run(tc.name, func(t *testing.T) {
					db := open(t)
					if d.name == "MariaDB" && strings.Contains(tc.name, "taken by another table") {
						t.Skip("each table has its own names of indexes")
					}
					if strings.Contains(tc.name, "of PostgreSQL") && !isPostgres(d.name) {
						return
					}
					for _, s := range tc.before {
						if isPostgres(d.name) {
							s = strings.Replace(s, "BLOB", "bytea", 1)
						}
						opendb.MustExec(t, db, s)
					}
					m := newManager(t, db, nil)
					if len(tc.before) == 0 {
						if err := m.Migrate(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
					for _, s := range tc.after {
						if d.name == "MariaDB" && strings.HasPrefix(s, "DROP INDEX") {
							s += " ON " + map[bool]string{true: "user_sessions", false: "sessions"}[strings.Contains(s, "user_sessions")]
						}
						opendb.MustExec(t, db, s)
					}
					err := m.Migrate(t.Context())
					wantNaming(t, err, tc.words...)
					if len(tc.words) == 0 && err != nil {
						t.Error(err)
					}
					if tc.index != "" && !indexes(t, db)[tc.index] {
						t.Errorf("there is no index %s", tc.index)
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
