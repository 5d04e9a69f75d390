package database_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// replicated is a database, a streaming replica of it, and a Manager that reads
// its lists there.
type replicated struct {
	*testing.T
	db, replica *sqlx.DB
	m           *usersession.Manager
}

func newReplicated(t *testing.T) *replicated {
	t.Helper()
	dsn := opendb.FreshPostgres(t, "postgres")
	database, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	standby, err := url.Parse(testserver.PostgresStandby(t))
	if err != nil {
		t.Fatal(err)
	}
	standby.Path = database.Path
	r := &replicated{T: t, db: opendb.Connect(t, "postgres", dsn), replica: opendb.Connect(t, "postgres", standby.String())}
	r.m = opendb.Migrated(t, r.db, &usersession.Options{Index: usersession.IndexOptions{ReadReplica: r.replica}})
	return r
}

// replay stops the replica, or lets it go on.
func (r *replicated) replay(function string) {
	r.Helper()
	if _, err := r.replica.ExecContext(r.Context(), "SELECT "+function+"()"); err != nil {
		r.Fatal(err)
	}
}

// caughtUp waits until the replica has all that was written.
func (r *replicated) caughtUp() {
	r.Helper()
	var at string
	if err := r.db.GetContext(r.Context(), &at, "SELECT pg_current_wal_insert_lsn()::text"); err != nil {
		r.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		var there bool
		if err := r.replica.GetContext(r.Context(), &there, "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", at); err != nil {
			r.Fatal(err)
		}
		if there {
			return
		}
		if time.Now().After(end) {
			r.Fatal("the replica does not catch up")
		}
	}
}

// wantListed fails the test unless every list of alice's sessions has n.
func (r *replicated) wantListed(n int) {
	r.Helper()
	f := usersession.Filter{UserIDs: []string{"alice"}}
	list, err := r.m.ListSessions(r.Context(), "alice")
	if err != nil || len(list) != n {
		r.Errorf("ListSessions: %d, %v; want %d", len(list), err, n)
	}
	count, err := r.m.CountMatching(r.Context(), f, 0)
	if err != nil || count != n {
		r.Errorf("CountMatching: %d, %v; want %d", count, err, n)
	}
	count = 0
	for _, err := range r.m.ListMatching(r.Context(), f, usersession.Page{}) {
		if err != nil {
			r.Fatal(err)
		}
		count++
	}
	if count != n {
		r.Errorf("ListMatching: %d, want %d", count, n)
	}
}

func (r *replicated) wantUser(c *client, want string) {
	r.Helper()
	got := ""
	c.do(r.T, func(ctx context.Context) { got = r.m.UserID(ctx) })
	if got != want {
		r.Errorf("served as %q, want %q", got, want)
	}
}

// TestReadReplica reads lists from a replica that stands still, and looks whether
// anything but the lists is as old as it is.
func TestReadReplica(t *testing.T) {
	r := newReplicated(t)
	m, ctx := r.m, t.Context()
	laptop, phone := &client{m: m}, &client{m: m}
	first := laptop.login(t, "alice")
	r.caughtUp()
	r.wantListed(1)

	r.replay("pg_wal_replay_pause")
	second := phone.login(t, "alice")
	if err := m.RevokeSession(ctx, "alice", first); err != nil {
		t.Error(err)
	}
	if list, err := m.ListSessions(ctx, "alice"); err != nil || len(list) != 1 || list[0].ID != first {
		t.Errorf("list %v, %v: want the session that was revoked since", list, err)
	}
	r.wantListed(1)
	// Nothing else is late.
	r.wantUser(laptop, "")
	r.wantUser(phone, "alice")
	if _, err := m.Session(ctx, "alice", first); err != usersession.ErrSessionNotFound {
		t.Errorf("Session of a revoked one: %v", err)
	}
	if _, err := m.Session(ctx, "alice", second); err != nil {
		t.Errorf("Session of a new one: %v", err)
	}
	phone.do(t, func(ctx context.Context) {
		if s, err := m.Current(ctx); err != nil || s.ID != second {
			t.Errorf("Current: %v, %v", s.ID, err)
		}
	})
	if n, err := m.RevokeMatching(ctx, usersession.Filter{UserIDs: []string{"alice"}}); n != 1 || err != nil {
		t.Errorf("RevokeMatching: %d, %v; want the session that no list shows", n, err)
	}
	r.wantUser(phone, "")

	r.replay("pg_wal_replay_resume")
	r.caughtUp()
	r.wantListed(0)
	if ended, err := m.ListEndedSessions(ctx, "alice", 10); err != nil || len(ended) != 2 {
		t.Errorf("%d ended sessions, %v; want 2", len(ended), err)
	}

	// A replica that cannot be read is an error, and nobody else's trouble.
	phone.login(t, "alice")
	r.replica.Close()
	if list, err := m.ListSessions(ctx, "alice"); err == nil {
		t.Errorf("list %v from a replica that is closed", list)
	}
	if _, err := m.CountMatching(ctx, usersession.Filter{}, 0); err == nil {
		t.Error("a count from a replica that is closed")
	}
	r.wantUser(phone, "alice")
	if n, err := m.RevokeAllSessions(ctx, "alice"); n != 1 || err != nil {
		t.Errorf("RevokeAllSessions: %d, %v; want 1", n, err)
	}
	r.wantUser(phone, "")
}

func TestReadReplicasThatNewRefuses(t *testing.T) {
	db := opendb.SQLite(t)(t)
	for _, c := range []struct {
		name    string
		dialect usersession.Dialect
		replica *sqlx.DB
		want    string
	}{
		{"no database", usersession.DialectPostgres, &sqlx.DB{}, "ReadReplica: has no database"},
		{"SQLite", "", db, "ReadReplica: SQLite has no replicas"},
		{"another dialect", usersession.DialectPostgres, db, "ReadReplica: its driver is for sqlite"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := usersession.New(db, &usersession.Options{Index: usersession.IndexOptions{Dialect: c.dialect, ReadReplica: c.replica}})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New: %v, want %q", err, c.want)
			}
		})
	}
}
