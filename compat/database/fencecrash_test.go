package database_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	usmemstore "github.com/seed-296ca7ab/usersession/memstore"
)

// TestFenceAfterACrash kills PostgreSQL as soon as a revocation has returned. The fence is
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
		store    usersession.Store
		end      func(context.Context, *usersession.Manager) error
		want     error // of a login that began before
		later    error // of one that began afterwards
	}{
		{"sessions", 2, nil, revoke, usersession.ErrRevokedMeanwhile, nil},
		{"sessions with data elsewhere", 2, usmemstore.New(), revoke, usersession.ErrRevokedMeanwhile, nil},
		{"no sessions", 0, nil, revoke, usersession.ErrRevokedMeanwhile, nil},
		{"a disabled user", 2, nil, disable, usersession.ErrAccountDisabled, usersession.ErrAccountDisabled},
		{"a disabled user without sessions", 0, nil, disable, usersession.ErrAccountDisabled, usersession.ErrAccountDisabled},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, dsn := testserver.OwnPostgres(t, "wal_writer_delay=10s", "wal_writer_flush_after=0", "checkpoint_timeout=1h")
			m := opendb.Migrated(t, opendb.Connect(t, "pgx", dsn), &usersession.Options{Store: c.store})
			for range c.sessions {
				(&client{m: m}).login(t, "ada")
			}
			opendb.MustExec(t, opendb.Connect(t, "pgx", dsn), "CREATE TABLE before (n int)") // on disk, and all before it
			began := time.Now()
			if err := c.end(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			server.Kill()
			if err := server.Restart(); err != nil {
				t.Fatal(err)
			}
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
