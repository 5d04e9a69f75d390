package database_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
)

// dataLeft counts the data of sessions.
func dataLeft(t *testing.T, db *sqlx.DB) (n int) {
	t.Helper()
	if err := db.GetContext(t.Context(), &n, "SELECT count(*) FROM sessions"); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRoundTripsOfRevokeAll counts the statements that end all sessions of a user with
// the default Store on PostgreSQL, by each driver: the fence, and the rows with their
// data.
func TestRoundTripsOfRevokeAll(t *testing.T) {
	for _, d := range []struct {
		name string
		open opendb.Opener
	}{{"lib/pq", opendb.Pq}, {"pgx", opendb.Pgx}} {
		t.Run(d.name, func(t *testing.T) {
			spy, db := opendb.Spied(t, d.open(t)(t))
			m := opendb.Migrated(t, db, &usersession.Options{})
			for pass, n := range []int{1, 5, 1000} { // the first one prepares the statements
				user := fmt.Sprint("user", pass)
				(&client{m: m}).login(t, user)
				opendb.MustExec(t, db, fmt.Sprintf(`INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta)
					SELECT 'copy%d-' || n, user_id, 'copy%[1]d-' || n, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta
					FROM user_sessions, generate_series(2, %d) AS n WHERE user_id = '%s'`, pass, n, user))
				opendb.MustExec(t, db, `INSERT INTO sessions SELECT session_key, '', expires_at FROM user_sessions WHERE ended_at IS NULL ON CONFLICT DO NOTHING`)
				spy.Take()
				ended, err := m.RevokeAllSessions(t.Context(), user)
				calls := spy.Take()
				if ended != n || err != nil || dataLeft(t, db) != 0 {
					t.Errorf("%d of %d ended, %v, %d data left", ended, n, err, dataLeft(t, db))
				}
				if pass > 0 && len(calls) != 2 {
					t.Errorf("%d statements for %d sessions: %+v", len(calls), n, calls)
				}
			}
		})
	}
}

// TestRevokeAllDuringARenewal moves a session to another key while the statement of the
// revocation, which has begun, waits for the row. It cannot see the data under the new
// key.
func TestRevokeAllDuringARenewal(t *testing.T) {
	for name, set := range map[string]string{
		"binding": "other_key = '+new'",
		"moved":   "session_key = 'new', other_key = session_key",
	} {
		t.Run(name, func(t *testing.T) {
			db := opendb.Pq(t)(t)
			m := opendb.Migrated(t, db, &usersession.Options{})
			(&client{m: m}).login(t, "alice")
			renewal, err := db.BeginTxx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer renewal.Rollback()
			if _, err := renewal.ExecContext(t.Context(), "UPDATE user_sessions SET "+set); err != nil {
				t.Fatal(err)
			}
			if _, err := renewal.ExecContext(t.Context(), "INSERT INTO sessions SELECT 'new', data, expiry FROM sessions"); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				n, err := m.RevokeAllSessions(context.WithoutCancel(t.Context()), "alice")
				if err == nil && n != 1 {
					err = fmt.Errorf("%d sessions ended", n)
				}
				done <- err
			}()
			inFlight := waits(t, db, "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.datname = current_database()")
			if err := renewal.Commit(); err != nil {
				t.Error(err)
			}
			if err := <-done; !inFlight || err != nil {
				t.Fatal(inFlight, err)
			}
			if n := dataLeft(t, db); n != 0 {
				t.Errorf("%d data outlive the revocation", n)
			}
		})
	}
}

// TestRevokeAllWithoutItsData ends the rows also where the data cannot be deleted: that
// is pending, and the next call finishes it.
func TestRevokeAllWithoutItsData(t *testing.T) {
	db := opendb.Pq(t)(t)
	m := opendb.Migrated(t, db, &usersession.Options{})
	c := &client{m: m}
	c.login(t, "alice")
	opendb.MustExec(t, db, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$")
	opendb.MustExec(t, db, "CREATE TRIGGER refuse BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION refuse()")
	if n, err := m.RevokeAllSessions(t.Context(), "alice"); n != 1 || !errors.Is(err, usersession.ErrRevocationPending) {
		t.Fatal(n, err)
	}
	if list, err := m.ListSessions(t.Context(), "alice"); len(list) != 0 || err != nil {
		t.Error(list, err)
	}
	opendb.MustExec(t, db, "DROP TRIGGER refuse ON sessions")
	if n, err := m.RevokeAllSessions(t.Context(), "alice"); n != 0 || err != nil || dataLeft(t, db) != 0 {
		t.Error(n, err, dataLeft(t, db))
	}
}
