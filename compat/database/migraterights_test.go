package database_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

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
