package database_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/backendtest"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// pgBouncerUser counts the users of the PgBouncer that are in use.
var pgBouncerUser atomic.Int64

// throughPgBouncer opens new schemas in one new PostgreSQL database, through a
// PgBouncer in transaction mode. There a connection's search_path would not stay
// with its client; that of a role does.
func throughPgBouncer(driver, parameters string) opendb.Opener {
	return func(t *testing.T) func(t *testing.T) *sqlx.DB {
		t.Helper()
		addr := testserver.PgBouncer(t)
		u, err := url.Parse(opendb.FreshPostgres(t, "pgx"))
		if err != nil {
			t.Fatal(err)
		}
		admin := opendb.Connect(t, "pgx", u.String())
		return func(t *testing.T) *sqlx.DB {
			t.Helper()
			user := testserver.PgBouncerUser(int(pgBouncerUser.Add(1)))
			for _, q := range []string{
				"CREATE ROLE %[1]s SUPERUSER LOGIN", "CREATE SCHEMA %[1]s AUTHORIZATION %[1]s", "ALTER ROLE %[1]s SET search_path = %[1]s",
			} {
				opendb.MustExec(t, admin, fmt.Sprintf(q, user))
			}
			t.Cleanup(func() {
				ctx := context.WithoutCancel(t.Context())
				// Its connections to the server are left to server_idle_timeout: PgBouncer
				// 1.18 dies of one that ends while it cancels something there ("server in
				// bad state").
				for _, q := range []string{"DROP OWNED BY %[1]s CASCADE", "DROP ROLE %[1]s"} {
					if _, err := admin.ExecContext(ctx, fmt.Sprintf(q, user)); err != nil {
						t.Errorf("%s: %v", q, err)
					}
				}
			})
			mine := *u
			mine.User, mine.Host, mine.RawQuery = url.User(user), addr, "sslmode=disable&"+parameters
			return opendb.Connect(t, driver, mine.String())
		}
	}
}

func unprepared(o *usersession.Options) { o.Index.NoPreparedStatements = true }

var pgBouncerDrivers = []struct{ name, driver, parameters string }{
	{"lib pq", "postgres", "binary_parameters=yes"},
	{"pgx", "pgx", "default_query_exec_mode=exec"},
}

// TestPgBouncer runs every behaviour through PgBouncer in transaction mode, with pgx
// some of those that depend on the Store, and at the fast depth some with one driver.
func TestPgBouncer(t *testing.T) {
	before := testserver.PostgresLogged(t, "prepared statement")
	drivers, stores, database := pgBouncerDrivers, backendtest.Run, backendtest.RunDatabase
	if !depth.Full() {
		drivers, stores, database = drivers[:1], backendtest.RunSome, backendtest.RunDatabaseSome
	}
	for _, p := range drivers {
		t.Run(p.name, func(t *testing.T) {
			open := throughPgBouncer(p.driver, p.parameters)(t)
			if p.driver == "pgx" {
				stores = backendtest.RunSome
			}
			t.Run("stores", func(t *testing.T) { stores(t, open, []backendtest.StoreCase{{Name: "sql"}}, unprepared) })
			t.Run("database", func(t *testing.T) { database(t, open, unprepared) })
		})
	}
	if n := testserver.PostgresLogged(t, "prepared statement") - before; n != 0 {
		t.Errorf("%d lines about prepared statements in the log of the server, want none", n)
	}
}

// TestPgBouncerWithoutTheOptions looks for an error that says what to do.
func TestPgBouncerWithoutTheOptions(t *testing.T) {
	depth.OnlyFull(t)
	for _, p := range pgBouncerDrivers {
		if err := usePooled(t, throughPgBouncer(p.driver, p.parameters)(t)(t), true); err != nil {
			t.Fatalf("%s with the right options: %v", p.name, err)
		}
	}
	for _, c := range []struct {
		name, driver, parameters string
		unprepared               bool
		want                     string
	}{
		{"lib pq keeps statements", "postgres", "binary_parameters=yes", false, "set Options.Index.NoPreparedStatements"},
		{"pgx keeps statements", "pgx", "default_query_exec_mode=exec", false, "set Options.Index.NoPreparedStatements"},
		{"lib pq sends arguments apart", "postgres", "", true, "add binary_parameters=yes"},
		{"pgx keeps statements by itself", "pgx", "", true, "add default_query_exec_mode=exec"},
		{"pgx sends arguments apart", "pgx", "default_query_exec_mode=describe_exec", true, "add default_query_exec_mode=exec"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := usePooled(t, throughPgBouncer(c.driver, c.parameters)(t)(t), c.unprepared)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

// usePooled has several clients use a Manager until there is an error.
func usePooled(t *testing.T, db *sqlx.DB, unprepared bool) error {
	t.Helper()
	m, err := usersession.New(db, &usersession.Options{
		Index:       usersession.IndexOptions{NoPreparedStatements: unprepared},
		ReadTimeout: time.Minute, WriteTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Migrate(t.Context()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const clients, logins = 8, 50
	errs := make(chan error, clients)
	for c := range clients {
		go func() {
			user := fmt.Sprint("user", c)
			for range logins {
				if err := loginByHand(ctx, m, user); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var first error
	for range clients {
		if err := <-errs; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

// loginByHand logs a user in, loads the session and lists it.
func loginByHand(ctx context.Context, m *usersession.Manager, user string) error {
	session, err := m.Load(ctx, "")
	if err != nil {
		return err
	}
	if err := m.Login(session, user); err != nil {
		return err
	}
	token, _, err := m.Commit(session)
	if err != nil {
		return err
	}
	if session, err = m.Load(ctx, token); err != nil {
		return err
	}
	if m.UserID(session) != user {
		return fmt.Errorf("logged in as %q, want %q", m.UserID(session), user)
	}
	_, err = m.ListSessions(ctx, user)
	return err
}
