package database_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	usmemstore "github.com/seed-296ca7ab/usersession/memstore"
)

// manySQL inserts as many sessions of a user as the first argument says, that
// have ended or not. Those that have, are to be kept for a day.
var manySQL = map[string]string{
	"postgres": `INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta, ended_at, purge_at)
		SELECT left(md5('@ended' || n), 22), 'mallory', left(md5('k@ended' || n) || md5('l@ended' || n), 43), now(), now(), now(), now() + interval '1 day', '', '', '{}',
			CASE WHEN '@ended' = 'true' THEN now() - interval '1 hour' END, CASE WHEN '@ended' = 'true' THEN now() + interval '1 day' END
		FROM generate_series(1, @n) AS n`,
	"mysql": `INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta, ended_at, purge_at)
		SELECT LEFT(MD5(CONCAT('@ended', seq)), 22), 'mallory', LEFT(SHA2(CONCAT('@ended', seq), 256), 43), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) + INTERVAL 1 DAY, '', '', '{}',
			IF('@ended' = 'true', UTC_TIMESTAMP(6) - INTERVAL 1 HOUR, NULL), IF('@ended' = 'true', UTC_TIMESTAMP(6) + INTERVAL 1 DAY, NULL)
		FROM seq_1_to_@n`,
	"sqlite": `WITH RECURSIVE seq(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM seq WHERE n < @n)
		INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta, ended_at, purge_at)
		SELECT substr('@ended' || hex(randomblob(11)), 1, 22), 'mallory', substr('k' || hex(randomblob(22)), 1, 43), unixepoch() * 1000000, unixepoch() * 1000000, unixepoch() * 1000000, (unixepoch() + 86400) * 1000000, '', '', '{}',
			CASE WHEN '@ended' = 'true' THEN (unixepoch() - 3600) * 1000000 END, CASE WHEN '@ended' = 'true' THEN (unixepoch() + 86400) * 1000000 END
		FROM seq`,
}

func insertMany(t *testing.T, db *sqlx.DB, n int, ended bool) {
	t.Helper()
	q, ok := manySQL[db.DriverName()]
	if !ok {
		q = manySQL["postgres"]
	}
	opendb.MustExec(t, db, strings.NewReplacer("@n", fmt.Sprint(n), "@ended", fmt.Sprint(ended)).Replace(q))
}

// pageStore notes the largest deletion, and fails one of them.
type pageStore struct {
	usersession.Store
	failing atomic.Int64 // which one; 0: none
	calls   atomic.Int64
	largest atomic.Int64
}

func (*pageStore) AtomicUpdates() bool { return true }

func (s *pageStore) Delete(ctx context.Context, keys ...string) error {
	s.largest.Store(max(s.largest.Load(), int64(len(keys))))
	if s.calls.Add(1) == s.failing.Load() {
		return errors.New("down")
	}
	return s.Store.Delete(ctx, keys...)
}

// TestManySessions ends what somebody who knows a password can log in within
// minutes: in pages, of which one whose data cannot be deleted holds up no other.
func TestManySessions(t *testing.T) {
	// That it goes in pages is told by what the Store is asked, not by the time.
	const timeout = time.Minute
	n, ended := 2_500, 5_000
	if depth.Full() {
		n, ended = 3_000, 20_001
	}
	for name, open := range map[string]opendb.Opener{
		"SQLite": opendb.SQLite, "PostgreSQL": opendb.Pq, "PostgreSQL pgx": opendb.Pgx, "MariaDB": opendb.MariaDB,
	} {
		t.Run(name, func(t *testing.T) {
			if name != "SQLite" {
				depth.OnlyFull(t)
			}
			db := open(t)(t)
			store := &pageStore{Store: usmemstore.New()}
			m := opendb.Migrated(t, db, &usersession.Options{Store: store, WriteTimeout: timeout, ReadTimeout: time.Minute, MaxSessions: usersession.NoMaxSessions})
			insertMany(t, db, ended, true)

			insertMany(t, db, n, false)
			began := time.Now()
			if got, err := m.RevokeAllSessions(t.Context(), "mallory"); got != n || err != nil {
				t.Errorf("RevokeAllSessions: %d, %v; want %d", got, err, n)
			}
			t.Logf("all: %v", time.Since(began))
			wantLive(t, m, 0)

			// Those that ended a moment ago are met again, once.
			store.calls.Store(0)
			if got, err := m.RevokeAllSessions(t.Context(), "mallory"); got != 0 || err != nil {
				t.Errorf("RevokeAllSessions again: %d, %v; want 0", got, err)
			}
			if calls := store.calls.Load(); calls < int64(n/500) || calls > int64(n/500)+1 {
				t.Errorf("%d pages of %d sessions that had ended", calls, n)
			}

			opendb.MustExec(t, db, "DELETE FROM user_sessions WHERE ended_at > created_at")
			insertMany(t, db, n, false)
			c := &client{m: m}
			c.login(t, "mallory")
			store.calls.Store(0)
			store.failing.Store(2)
			began = time.Now()
			c.do(t, func(ctx context.Context) {
				if got, err := m.RevokeOtherSessions(ctx); got != n || !errors.Is(err, usersession.ErrRevocationPending) {
					t.Errorf("RevokeOtherSessions: %d, %v; want %d and ErrRevocationPending", got, err, n)
				}
			})
			t.Logf("others: %v", time.Since(began))
			wantLive(t, m, 1)
			if got := store.largest.Load(); got > 1000 {
				t.Errorf("a page of %d sessions", got)
			}
		})
	}
}

func wantLive(t *testing.T, m *usersession.Manager, want int) {
	t.Helper()
	if list, err := m.ListSessions(t.Context(), "mallory"); len(list) != want || err != nil {
		t.Errorf("%d live sessions, %v; want %d", len(list), err, want)
	}
}
