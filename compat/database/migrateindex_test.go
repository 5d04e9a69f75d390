package database_test

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// TestMigrateAnInvalidIndex wants an index that CREATE INDEX CONCURRENTLY has left
// behind to be made again, in a table and in partitions.
func TestMigrateAnInvalidIndex(t *testing.T) {
	open := opendb.Pq(t)
	for _, tc := range []struct {
		name  string
		opts  usersession.Options
		index string
	}{
		{"a table", usersession.Options{}, "user_sessions_user"},
		{"the data", usersession.Options{}, "sessions_expiry_idx"},
		{"partitions", usersession.Options{Index: usersession.IndexOptions{Partitions: partitions}}, "user_sessions_user"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db := open(t)
			m := opendb.Migrated(t, db, &tc.opts)
			opendb.MustExec(t, db, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"+tc.index+"'::regclass")
			if err := m.Migrate(t.Context()); err != nil || !indexes(t, db)[tc.index] {
				t.Errorf("%v; want nil and a valid index", err)
			}
		})
	}
	t.Run("partitions that lack the index", func(t *testing.T) {
		db := open(t)
		m := opendb.Migrated(t, db, &usersession.Options{Index: usersession.IndexOptions{Partitions: partitions}})
		opendb.MustExec(t, db, "DROP INDEX user_sessions_user")
		if err := m.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		have := indexes(t, db)
		for _, name := range []string{"user_sessions_user", "user_sessions_p0_user", fmt.Sprintf("user_sessions_p%d_user", partitions-1)} {
			if !have[name] {
				t.Errorf("no index %s", name)
			}
		}
	})
}

// TestMigrateAnIndexByMany wants replicas that start at once to make a missing
// index without being in each other's way, with and without a pooler.
func TestMigrateAnIndexByMany(t *testing.T) {
	for _, pooled := range []bool{false, true} {
		t.Run(fmt.Sprintf("pooled %v", pooled), func(t *testing.T) {
			dsn := opendb.FreshPostgres(t, "postgres")
			u, err := url.Parse(dsn)
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			q.Set("binary_parameters", "yes")
			u.RawQuery = q.Encode()
			db := opendb.Connect(t, "postgres", u.String())
			m := opendb.Migrated(t, db, &usersession.Options{Index: usersession.IndexOptions{NoPreparedStatements: pooled}})
			opendb.MustExec(t, db, "DROP INDEX user_sessions_user")
			opendb.MustExec(t, db, "DROP INDEX sessions_expiry_idx")
			errs := make(chan error)
			const replicas = 5
			for range replicas {
				go func() { errs <- m.Migrate(t.Context()) }()
			}
			for range replicas {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			have := indexes(t, db)
			if !have["user_sessions_user"] || !have["sessions_expiry_idx"] {
				t.Errorf("the indexes are %v", have)
			}
		})
	}
}

// TestMigrateAnIndexBesideWhoWaits wants replicas that wait for a migration not to
// hold up the index that it makes.
func TestMigrateAnIndexBesideWhoWaits(t *testing.T) {
	for _, pooled := range []bool{false, true} {
		t.Run(fmt.Sprintf("pooled %v", pooled), func(t *testing.T) {
			// In a transaction pgx leaves its last statement open, with what that sees.
			db := opendb.Connect(t, "pgx", opendb.FreshPostgres(t, "pgx")+"&default_query_exec_mode=exec")
			m := opendb.Migrated(t, db, &usersession.Options{})
			waits := opendb.Migrated(t, db, &usersession.Options{Index: usersession.IndexOptions{NoPreparedStatements: pooled}})
			(&client{m: m}).login(t, "alice")
			opendb.MustExec(t, db, "DROP INDEX user_sessions_user")
			tx, err := db.BeginTxx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			if _, err := tx.ExecContext(t.Context(), "UPDATE user_sessions SET reason = 'x'"); err != nil {
				t.Fatal(err)
			}
			errs := make(chan error, 2)
			go func() { errs <- m.Migrate(t.Context()) }()
			asked(t, db, "query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'")
			go func() { errs <- waits.Migrate(t.Context()) }()
			asked(t, db, "query LIKE 'SELECT pg_try_advisory%'")
			if err := tx.Rollback(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// asked waits until the server is asked for something by another connection.
func asked(t *testing.T, db *sqlx.DB, condition string) {
	t.Helper()
	for n := 0; n == 0; {
		if err := db.GetContext(inTime(t), &n, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND ("+condition+")"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMigrateWaitsForALock wants a change that waits for a lock to give up in time
// and to say what it waited for, and writers not to wait for it.
func TestMigrateWaitsForALock(t *testing.T) {
	depth.OnlyFull(t) // ten seconds
	t.Run("an index beside a writer", func(t *testing.T) {
		db := opendb.Pq(t)(t)
		m := opendb.Migrated(t, db, &usersession.Options{})
		(&client{m: m}).login(t, "alice")
		opendb.MustExec(t, db, "DROP INDEX user_sessions_user")
		tx, err := db.BeginTxx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(t.Context(), "UPDATE user_sessions SET reason = 'x'"); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- m.Migrate(t.Context()) }()
		asked(t, db, "query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'")
		(&client{m: m}).login(t, "bob")
		wantNaming(t, <-done, "user_sessions_user", "waited 10 seconds", `"user_sessions"`)
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if err := m.Migrate(t.Context()); err != nil || !indexes(t, db)["user_sessions_user"] {
			t.Errorf("%v; want nil and a valid index", err)
		}
	})
	t.Run("the users table", func(t *testing.T) {
		db := opendb.Pq(t)(t)
		opendb.MustExec(t, db, "CREATE TABLE people (id BIGINT NOT NULL PRIMARY KEY)")
		m := newManager(t, db, &usersession.Options{UserIDType: usersession.UserIDBigint, UsersTable: "people"})
		wantTimeout(t, db, m, "INSERT INTO people VALUES (1)", "people", "nothing was changed")
	})
	t.Run("an index in MariaDB", func(t *testing.T) {
		db := opendb.MariaDB(t)(t)
		m := opendb.Migrated(t, db, &usersession.Options{})
		opendb.MustExec(t, db, "DROP INDEX sessions_expiry_idx ON sessions")
		wantTimeout(t, db, m, "INSERT INTO sessions VALUES ('x', 'x', UTC_TIMESTAMP())", "sessions", "not made")
	})
}

// wantTimeout wants Migrate to give up beside a statement of an open transaction,
// and to work after it.
func wantTimeout(t *testing.T, db *sqlx.DB, m *usersession.Manager, statement string, words ...string) {
	t.Helper()
	tx, err := db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	wantNaming(t, m.Migrate(t.Context()), append(words, "waited 2 seconds")...)
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := m.Migrate(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestMigrateAnIgnoredIndex wants an index that MariaDB keeps but does not use to be
// called missing, and to be used again.
func TestMigrateAnIgnoredIndex(t *testing.T) {
	db := opendb.MariaDB(t)(t)
	opts := usersession.Options{}
	m := opendb.Migrated(t, db, &opts)
	wantIgnored := func(want int) {
		t.Helper()
		var n int
		err := db.GetContext(t.Context(), &n, "SELECT count(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND ignored = 'YES'")
		if err != nil || (n > 0) != (want > 0) {
			t.Errorf("%d columns of ignored indexes, %v; want %d indexes", n, err, want)
		}
	}
	for table, index := range map[string]string{"sessions": "sessions_expiry_idx", "user_sessions": "user_sessions_user"} {
		opendb.MustExec(t, db, "ALTER TABLE "+table+" ALTER INDEX "+index+" IGNORED")
		wantIgnored(1)
		if err := m.Migrate(t.Context()); err != nil {
			t.Error(err)
		}
		wantIgnored(0)
	}
	// A unique key guards its table all the same, and is as slow to look up.
	opendb.MustExec(t, db, "ALTER TABLE user_sessions ALTER INDEX user_sessions_key IGNORED")
	if err := m.Migrate(t.Context()); err != nil {
		t.Error(err)
	}
	wantIgnored(0)
}
