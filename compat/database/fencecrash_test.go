package database_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/sqlspy"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	usmemstore "github.com/seed-296ca7ab/usersession/memstore"
)

// TestFenceAfterACrash kills PostgreSQL as soon as a revocation has returned, and once also
// between the fence and the sessions. The fence is
// not lost, though its statement does not wait for the disk. The server writes nothing by
// itself meanwhile.
func TestFenceAfterACrash(t *testing.T) {
	depth.OnlyFull(t)
	revoke := func(ctx context.Context, m *usersession.Manager) error {
		_, err := m.RevokeAllSessions(ctx, "ada")
		return err
	}
	disable := func(ctx context.Context, m *usersession.Manager) error {
		_, err := m.AccountDisabled(ctx, "ada")
		return err
	}
	for _, c := range []struct {
		name     string
		sessions int
		between  bool // the server also crashes before the sessions end
		store    usersession.Store
		end      func(context.Context, *usersession.Manager) error
		want     error // of a login that began before
		later    error // of one that began afterwards
	}{
		{"sessions", 2, false, nil, revoke, usersession.ErrRevokedMeanwhile, nil},
		{"a crash before the sessions end", 2, true, nil, revoke, usersession.ErrRevokedMeanwhile, nil},
		{"sessions with data elsewhere", 2, false, usmemstore.New(), revoke, usersession.ErrRevokedMeanwhile, nil},
		{"no sessions", 0, false, nil, revoke, usersession.ErrRevokedMeanwhile, nil},
		{"a disabled user", 2, false, nil, disable, usersession.ErrAccountDisabled, usersession.ErrAccountDisabled},
		{"a disabled user without sessions", 0, false, nil, disable, usersession.ErrAccountDisabled, usersession.ErrAccountDisabled},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, dsn := testserver.OwnPostgres(t, "wal_writer_delay=10s", "checkpoint_timeout=1h")
			crash := func() {
				server.Kill()
				if err := server.Restart(); err != nil {
					t.Error(err)
				}
			}
			var spy sqlspy.Spy
			crashed := !c.between
			spy.Lost = func(query string) bool {
				if !crashed && strings.Contains(query, `INSERT INTO "user_sessions_fences"`) {
					crashed = true
					crash()
				}
				return false
			}
			pool, err := spy.Open("postgres", dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			m := opendb.Migrated(t, sqlx.NewDb(pool, "postgres"), &usersession.Options{Store: c.store})
			for range c.sessions {
				(&client{m: m}).login(t, "ada")
			}
			opendb.MustExec(t, opendb.Connect(t, "pgx", dsn), "CREATE TABLE before (n int)") // on disk, and all before it
			began := time.Now()
			if err := c.end(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			if !crashed {
				t.Error("the fence was not seen")
			}
			crash()
			// Another process: this one knows the fences that it has raised.
			m = opendb.Migrated(t, opendb.Connect(t, "pgx", dsn), &usersession.Options{Store: c.store})
			for _, login := range []struct {
				checked time.Time
				want    error
			}{{began, c.want}, {time.Now(), c.later}} {
				(&client{m: m}).do(t, func(ctx context.Context) {
					if err := m.Login(ctx, "ada", usersession.WithCheckedAt(login.checked)); !errors.Is(err, login.want) {
						t.Errorf("a login that was checked %v before says %v, want %v", time.Since(login.checked), err, login.want)
					}
				})
			}
		})
	}
}
