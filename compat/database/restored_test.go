package database_test

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	usmemstore "github.com/seed-296ca7ab/usersession/memstore"
)

// backups makes a copy of a database, as it is now, and returns what opens it.
var backups = map[string]func(t *testing.T) (db *sqlx.DB, backup func() *sqlx.DB){
	"SQLite": func(t *testing.T) (*sqlx.DB, func() *sqlx.DB) {
		db := opendb.SQLite(t)(t)
		return db, func() *sqlx.DB {
			file := filepath.Join(t.TempDir(), "backup.db")
			opendb.MustExec(t, db, "VACUUM INTO '"+file+"'")
			return opendb.Connect(t, "sqlite", "file:"+file+"?_pragma=busy_timeout(60000)")
		}
	},
	"PostgreSQL": func(t *testing.T) (*sqlx.DB, func() *sqlx.DB) {
		dsn := opendb.FreshPostgres(t, "postgres")
		db := opendb.Connect(t, "postgres", dsn)
		db.SetMaxIdleConns(0) // a database that is copied has no connection
		return db, func() *sqlx.DB {
			u, err := url.Parse(dsn)
			if err != nil {
				t.Fatal(err)
			}
			name := u.Path[1:]
			u.Path = "/postgres"
			admin := opendb.Connect(t, "postgres", u.String())
			t.Cleanup(func() {
				admin.ExecContext(context.WithoutCancel(t.Context()), "DROP DATABASE "+name+"_old WITH (FORCE)")
			})
			opendb.MustExec(t, admin, "CREATE DATABASE "+name+"_old TEMPLATE "+name)
			u.Path = "/" + name + "_old"
			return opendb.Connect(t, "postgres", u.String())
		}
	},
}

func (c *client) want(t *testing.T, m *usersession.Manager, user string) {
	t.Helper()
	on := &client{m: m, cookie: c.cookie}
	on.do(t, func(ctx context.Context) {
		if got := m.UserID(ctx); got != user {
			t.Errorf("the client is %q, want %q", got, user)
		}
	})
}

// TestRestoredIndex shows what docs/guarantees.md says of an index that has lost its
// last writes, by a backup or a failover, and of what to call then.
func TestRestoredIndex(t *testing.T) {
	for name, open := range backups {
		for store, data := range map[string]usersession.Store{"default Store": nil, "memstore": usmemstore.New()} {
			t.Run(name+", "+store, func(t *testing.T) {
				if name != "SQLite" {
					depth.OnlyFull(t)
				}
				db, backup := open(t)
				m := opendb.Migrated(t, db, &usersession.Options{Store: data})
				kept, revoked, disabled, later := &client{m: m}, &client{m: m}, &client{m: m}, &client{m: m}
				kept.login(t, "alice")
				id := revoked.login(t, "alice")
				disabled.login(t, "bob")
				if _, err := m.RevokeAllSessions(t.Context(), "erin"); err != nil {
					t.Fatal(err)
				}
				old := backup()

				before := time.Now()
				if err := m.RevokeSession(t.Context(), "alice", id); err != nil {
					t.Fatal(err)
				}
				if _, err := m.AccountDisabled(t.Context(), "bob"); err != nil {
					t.Fatal(err)
				}
				if _, err := m.RevokeAllSessions(t.Context(), "dave"); err != nil {
					t.Fatal(err)
				}
				later.login(t, "carol")
				if data == nil {
					db.Close()
				}

				m = opendb.Migrated(t, old, &usersession.Options{Store: data})
				kept.want(t, m, "alice")
				later.want(t, m, "") // its row is lost
				if data == nil {     // so are the endings, and the data are as old as they
					revoked.want(t, m, "alice")
					disabled.want(t, m, "bob")
				} else { // the data are gone
					revoked.want(t, m, "")
					disabled.want(t, m, "")
				}
				login := func(user string) (err error) {
					(&client{m: m}).do(t, func(ctx context.Context) { err = m.Login(ctx, user, usersession.WithCheckedAt(before)) })
					return err
				}
				if err := login("bob"); err != nil {
					t.Errorf("a login to the account that was disabled after the backup: %v", err)
				}
				if err := login("dave"); err != nil {
					t.Errorf("a login from before a fence that is lost: %v", err)
				}

				// What docs/guarantees.md has to be called.
				if _, err := m.RevokeMatching(t.Context(), usersession.Filter{Everyone: true}); err != nil {
					t.Fatal(err)
				}
				for _, c := range []*client{kept, revoked, disabled, later} {
					c.want(t, m, "")
				}
				if _, err := m.AccountDisabled(t.Context(), "bob"); err != nil {
					t.Fatal(err)
				}
				if _, err := m.PasswordChanged(t.Context(), "dave"); err != nil {
					t.Fatal(err)
				}
				if err := login("bob"); !errors.Is(err, usersession.ErrAccountDisabled) {
					t.Errorf("the disabled account: %v", err)
				}
				if err := login("dave"); !errors.Is(err, usersession.ErrRevokedMeanwhile) {
					t.Errorf("the login from before the new fence: %v", err)
				}
				if err := login("erin"); err != nil { // whose fence is in the backup, and older
					t.Errorf("a login behind an old fence: %v", err)
				}
			})
		}
	}
}
