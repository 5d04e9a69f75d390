package backendtest

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
)

var migrationBehaviours = []behaviour{
	{"migrations: twice", migrateTwice},
	{"migrations: by ten at once", migrateTen},
	{"migrations: a missing column is named", migrateColumn},
	{"migrations: a missing table or index is made", migrateHalf},
	{"migrations: an index of an older version", migratePlace},
	{"migrations: without them every call says so", migrateMissing},
	{"migrations: as files", migrateFiles},
	{"names: tables of one's own", namesTable},
	{"names: a schema of one's own", namesSchema},
	{"names: two programs in one database", namesTwo},
}

func migrateTwice(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	laptop.login("alice")
	e.ok(e.m.Migrate(t.Context()))
	laptop.wantUser("alice")
	e.wantSessions("alice", 1)
}

func migrateTen(t *testing.T, b backend) {
	db := b.open(t)
	errs := make([]error, 10)
	var ready, done sync.WaitGroup
	ready.Add(len(errs))
	for i := range errs {
		done.Go(func() {
			m, err := b.newManager(db)
			ready.Done()
			ready.Wait()
			if err == nil {
				err = m.Migrate(t.Context())
			}
			errs[i] = err
		})
	}
	done.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	e := b.startOn(t, db, nil)
	laptop := e.browser()
	laptop.login("alice")
	laptop.wantUser("alice")
}

// newManager returns a Manager whose tables nobody has made.
func (b backend) newManager(db *sqlx.DB, change ...func(*usersession.Options)) (*usersession.Manager, error) {
	opts := &usersession.Options{}
	for _, f := range slices.Concat(b.configure, change) {
		f(opts)
	}
	return usersession.New(db, opts)
}

// unmigrated is newManager where that cannot fail.
func (b backend) unmigrated(t *testing.T, db *sqlx.DB) *usersession.Manager {
	t.Helper()
	m, err := b.newManager(db)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func migrateColumn(t *testing.T, b backend) {
	for _, c := range []struct{ table, column string }{
		{usersession.DefaultTable, "user_agent"},
		{usersession.DefaultTable, "reason"},
		{usersession.DefaultDataTable, "data"},
	} {
		t.Run(c.table+"."+c.column, func(t *testing.T) {
			db := b.open(t)
			if err := b.unmigrated(t, db).Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			exec(t, db, "ALTER TABLE "+c.table+" DROP COLUMN "+c.column)
			m := b.unmigrated(t, db)
			if err := m.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), c.column) {
				t.Errorf("Migrate: %v; want an error that names the column", err)
			}
			ctx, err := m.Load(t.Context(), "")
			if err == nil {
				err = m.Login(ctx, "alice")
			}
			if err == nil {
				_, _, err = m.Commit(ctx)
			}
			if err == nil {
				_, err = m.ListSessions(t.Context(), "alice")
			}
			if !errors.Is(err, usersession.ErrNotMigrated) {
				t.Errorf("a use: %v, want ErrNotMigrated", err)
			}
		})
	}
}

func migratePlace(t *testing.T, b backend) {
	for _, lacks := range [][]string{{"place", "idle_timeout", "last_ip", "last_user_agent"}, {"device_key", "device_bound_at", "device_secret", "device_challenge", "device_challenge_before"}, {"last_ip", "last_user_agent"}, {"device_challenge"}, {"renewed_at"}, {"idle_timeout"}, {"place"}} {
		e := b.start(t)
		laptop := e.browser()
		laptop.login("alice")
		for _, column := range lacks {
			exec(t, e.db, "ALTER TABLE "+quoted(e.db, e.table)+" DROP COLUMN "+column)
		}
		e = b.startOn(t, e.db, nil)
		e.wantSessions("alice", 1)
		phone := e.browser()
		phone.login("alice", usersession.WithIdleTimeout(2*time.Hour))
		e.ok(e.m.Migrate(t.Context()))
		if n, err := e.m.RevokeAllSessions(t.Context(), "alice"); n != 2 || err != nil {
			t.Errorf("%q: %d, %v, want 2 ended", lacks, n, err)
		}
		phone.wantUser("")
	}
}

func migrateHalf(t *testing.T, b backend) {
	for name, breakIt := range map[string]string{
		"no index":       "DROP INDEX user_sessions_purge",
		"no data table":  "DROP TABLE sessions",
		"no index table": "DROP TABLE user_sessions",
	} {
		t.Run(name, func(t *testing.T) {
			db := b.open(t)
			if name == "no index" && db.DriverName() == "mysql" {
				// One statement makes a table with its indexes there, so an
				// interrupted migration cannot have left one out.
				name, breakIt = "no index table", "DROP TABLE user_sessions"
			}
			if err := b.unmigrated(t, db).Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			exec(t, db, breakIt)
			if err := b.unmigrated(t, db).Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if name == "no index" && !hasIndex(t, db, "user_sessions_purge") {
				t.Error("the index is not there again")
			}
			e := b.startOn(t, db, nil)
			laptop := e.browser()
			laptop.login("alice")
			laptop.wantUser("alice")
		})
	}
}

func hasIndex(t *testing.T, db *sqlx.DB, name string) bool {
	t.Helper()
	q := map[string]string{
		"sqlite": "SELECT COUNT(*) FROM sqlite_master WHERE type = 'index' AND name = ?",
	}[db.DriverName()]
	if q == "" {
		q = "SELECT COUNT(*) FROM pg_indexes WHERE schemaname = current_schema() AND indexname = ?"
	}
	var n int
	if err := db.GetContext(t.Context(), &n, db.Rebind(q), name); err != nil {
		t.Fatal(err)
	}
	return n > 0
}

func migrateMissing(t *testing.T, b backend) {
	m := b.unmigrated(t, b.open(t))
	for name, call := range map[string]func(ctx context.Context) error{
		"ListSessions": func(ctx context.Context) error {
			_, err := m.ListSessions(ctx, "alice")
			return err
		},
		"ListMatching": func(ctx context.Context) error {
			for _, err := range m.ListMatching(ctx, usersession.Filter{}, usersession.Page{}) {
				return err
			}
			return nil
		},
		"RevokeAllSessions": func(ctx context.Context) error {
			_, err := m.RevokeAllSessions(ctx, "alice")
			return err
		},
		"Prune": func(ctx context.Context) error {
			_, err := m.Prune(ctx)
			return err
		},
		"Login": func(ctx context.Context) error {
			ctx, err := m.Load(ctx, "")
			if err != nil {
				return err
			}
			return m.Login(ctx, "alice")
		},
		"Commit": func(ctx context.Context) error {
			ctx, err := m.Load(ctx, "")
			if err != nil {
				return err
			}
			m.Put(ctx, "cart", 1)
			_, _, err = m.Commit(ctx)
			return err
		},
	} {
		if err := call(t.Context()); !errors.Is(err, usersession.ErrNotMigrated) {
			t.Errorf("%s: %v, want ErrNotMigrated", name, err)
		}
	}
}

func migrateFiles(t *testing.T, b backend) {
	db := b.open(t)
	m := b.unmigrated(t, db)
	files, err := m.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(files, "*.sql")
	if err != nil || strings.Join(names, " ") != "00001_user_sessions.sql 00002_sessions.sql" {
		t.Fatalf("files %q, %v", names, err)
	}
	// Up by hand, statement by statement: then Migrate finds nothing to do.
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		up, down, ok := strings.Cut(string(text), "-- +goose Down")
		if !ok || !strings.HasPrefix(up, "-- +goose Up\n") || !strings.Contains(down, "DROP TABLE") {
			t.Errorf("%s: %s", name, text)
		}
		for _, s := range strings.Split(strings.TrimPrefix(up, "-- +goose Up\n"), ";\n") {
			if strings.TrimSpace(s) != "" {
				exec(t, db, s)
			}
		}
	}
	e := b.startOn(t, db, nil)
	laptop := e.browser()
	laptop.login("alice")
	laptop.wantUser("alice")
}

// wholeLife uses what touches every table.
func (e *env) wholeLife() {
	e.Helper()
	laptop, phone := e.browser(), e.browser()
	laptop.put("cart", 7)
	laptop.login("alice")
	phone.login("alice")
	e.browser().login("alice") // evicts one
	laptop.login("alice")
	laptop.do(func(ctx context.Context) { e.ok(e.m.RenewToken(ctx)) })
	laptop.wantUser("alice")
	laptop.do(func(ctx context.Context) {
		_, err := e.m.RevokeOtherSessions(ctx)
		e.ok(err)
	})
	e.wantSessions("alice", 1)
	laptop.do(func(ctx context.Context) { e.ok(e.m.Logout(ctx)) })
	e.wantSessions("alice", 0)
	e.prune()
}

func namesTable(t *testing.T, b backend) {
	for _, name := range []string{"my_logins", "Order", "select", "_1", strings.Repeat("t", 48)} {
		t.Run(name, func(t *testing.T) {
			e := b.start(t, func(o *usersession.Options) { o.Index.Table, o.MaxSessions = name, 2 })
			e.wholeLife()
			var n int
			if err := e.db.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM "+quoted(e.db, name)); err != nil || n == 0 {
				t.Errorf("%d rows in the table, %v", n, err)
			}
		})
	}
	db := b.open(t)
	for _, name := range []string{`a"b`, "a`b", "a b", "a.b", "a;b", "1a", strings.Repeat("t", 49), "ä"} {
		if _, err := b.newManager(db, func(o *usersession.Options) { o.Index.Table = name }); err == nil || !strings.Contains(err.Error(), "Options.Index.Table") {
			t.Errorf("%q: %v; want an error that names the field", name, err)
		}
	}
}

func namesSchema(t *testing.T, b backend) {
	db := b.open(t)
	if !hasSchemas(db) {
		if _, err := b.newManager(db, func(o *usersession.Options) { o.Index.Schema = "auth" }); err == nil || !strings.Contains(err.Error(), "Options.Index.Schema") {
			t.Errorf("%v; want an error that names the field", err)
		}
		return
	}
	schema := "Auth"
	if db.DriverName() == "mysql" {
		// A schema is a database there, for everybody on the server.
		if err := db.GetContext(t.Context(), &schema, "SELECT CONCAT(DATABASE(), '_auth')"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.ExecContext(background(), "DROP DATABASE IF EXISTS "+quoted(db, schema)) })
	}
	exec(t, db, "CREATE SCHEMA "+quoted(db, schema))
	e := b.startOn(t, db, nil, func(o *usersession.Options) { o.Index.Schema, o.Index.Table, o.MaxSessions = schema, "logins", 2 })
	e.wholeLife()
	for _, table := range []string{"logins", "sessions"} {
		var n int
		if err := db.GetContext(t.Context(), &n, "SELECT COUNT(*) FROM "+quoted(db, schema)+"."+quoted(db, table)); err != nil {
			t.Errorf("%s: %v", table, err)
		}
	}
	m, err := b.newManager(db, func(o *usersession.Options) { o.Index.Schema = "nowhere" })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.ListSessions(t.Context(), "alice"); !errors.Is(err, usersession.ErrNotMigrated) {
		t.Errorf("a schema that is not there: %v, want ErrNotMigrated", err)
	}
}

func namesTwo(t *testing.T, b backend) {
	db := b.open(t)
	staff := b.startOn(t, db, nil, func(o *usersession.Options) { o.Index.Table = "staff_sessions" })
	guests := b.startOn(t, db, nil, func(o *usersession.Options) { o.Index.Table = "guest_sessions" })
	one, two := staff.browser(), guests.browser()
	one.login("alice")
	two.login("alice")
	// A token of one is nothing to the other, though their data share a table.
	guests.wantDead(one.token())
	staff.wantDead(two.token())
	one.wantUser("alice")
	if n, err := staff.m.RevokeAllSessions(t.Context(), "alice"); n != 1 || err != nil {
		t.Errorf("revoked %d, %v; want 1", n, err)
	}
	one.wantUser("")
	two.wantUser("alice")
}
