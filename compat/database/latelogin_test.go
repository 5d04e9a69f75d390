package database_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
)

// lateSite is a program whose logins may be refused late.
type lateSite struct {
	m       *usersession.Manager
	db      *sqlx.DB
	refused []error                        // why logins were refused
	before  func(ctx context.Context)      // what its handler does before a login
	after   func(ctx context.Context) bool // and after it; false: it answers 500
	user    string                         // of the last request
}

func newLateSite(t *testing.T, db, admin *sqlx.DB) *lateSite {
	s := &lateSite{db: admin}
	s.m = opendb.Migrated(t, db, &usersession.Options{OnEvent: func(_ context.Context, e usersession.Event) {
		if e.Kind == usersession.EventLoginRefused {
			s.refused = append(s.refused, e.Err)
		}
	}})
	opendb.MustExec(t, admin, "TRUNCATE user_sessions, user_sessions_fences, sessions")
	return s
}

// visit sends a request, which logs alice in if the path says so.
func (s *lateSite) visit(t *testing.T, path string, cookies []*http.Cookie) *http.Response {
	r := httptest.NewRequestWithContext(t.Context(), "POST", "https://example.test"+path, nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	s.m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, ok := r.Context(), true
		if path == "/login" {
			if s.before != nil {
				s.before(ctx)
			}
			if err := s.m.Login(ctx, "alice", usersession.WithLateRefusal()); err != nil {
				t.Errorf("Login = %v", err)
			}
			if s.after != nil {
				ok = s.after(ctx)
			}
		}
		if s.user = s.m.UserID(ctx); !ok {
			http.Error(w, "no", http.StatusInternalServerError)
		}
	})).ServeHTTP(w, r)
	return w.Result()
}

// rows returns how many live rows and data there are.
func (s *lateSite) rows(t *testing.T) string {
	t.Helper()
	var live, data int
	if err := errors.Join(s.db.GetContext(t.Context(), &live, "SELECT count(*) FROM user_sessions WHERE ended_at IS NULL"),
		s.db.GetContext(t.Context(), &data, "SELECT count(*) FROM sessions")); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d rows, %d data", live, data)
}

// TestLateRefusal logs in with one statement, which sees what was revoked meanwhile.
func TestLateRefusal(t *testing.T) {
	revokeAll := func(t *testing.T, s *lateSite, ctx context.Context) {
		if _, err := s.m.RevokeAllSessions(ctx, "alice"); err != nil {
			t.Error(err)
		}
	}
	db := opendb.Pgx(t)(t)
	for _, c := range []struct {
		name   string
		do     func(t *testing.T, s *lateSite) // before the request
		before func(t *testing.T, s *lateSite, ctx context.Context)
		after  func(t *testing.T, s *lateSite, ctx context.Context) bool
		why    error // nil: the login succeeds
		status int
		rows   string
	}{
		{name: "nothing is in the way", rows: "1 rows, 1 data", after: func(t *testing.T, s *lateSite, ctx context.Context) bool {
			list, err := s.m.ListSessions(ctx, "alice")
			cur, cerr := s.m.Current(ctx)
			if len(list) != 0 || err != nil || cerr != nil || cur.UserID != "alice" || cur.CreatedAt.IsZero() {
				t.Errorf("before the response: %v, %v, %v, %v", list, err, cur, cerr)
			}
			s.m.Put(ctx, "cart", 1)
			return true
		}},
		{name: "the account is disabled", status: http.StatusUnauthorized, why: usersession.ErrAccountDisabled, rows: "0 rows, 0 data",
			do: func(t *testing.T, s *lateSite) {
				if _, err := s.m.AccountDisabled(t.Context(), "alice"); err != nil {
					t.Error(err)
				}
			}},
		{name: "all were revoked before the request", rows: "1 rows, 1 data",
			do: func(t *testing.T, s *lateSite) { revokeAll(t, s, t.Context()) }},
		{name: "all were revoked since the request began", status: http.StatusUnauthorized, why: usersession.ErrRevokedMeanwhile, rows: "0 rows, 0 data",
			before: func(t *testing.T, s *lateSite, _ context.Context) { revokeAll(t, s, t.Context()) }},
		{name: "all are revoked after Login", status: http.StatusUnauthorized, why: usersession.ErrRevokedMeanwhile, rows: "0 rows, 0 data",
			after: func(t *testing.T, s *lateSite, _ context.Context) bool { revokeAll(t, s, t.Context()); return true }},
		{name: "by the request itself", rows: "1 rows, 1 data",
			before: func(t *testing.T, s *lateSite, ctx context.Context) { revokeAll(t, s, ctx) }},
		{name: "the handler fails", status: http.StatusInternalServerError, rows: "0 rows, 0 data", why: errors.New("answer"),
			after: func(*testing.T, *lateSite, context.Context) bool { return false }},
		{name: "another token", rows: "1 rows, 1 data", after: func(t *testing.T, s *lateSite, ctx context.Context) bool { return s.m.RenewToken(ctx) == nil }},
		{name: "and again", rows: "1 rows, 1 data", after: func(t *testing.T, s *lateSite, ctx context.Context) bool {
			return s.m.Login(ctx, "alice", usersession.WithLateRefusal()) == nil
		}},
		{name: "and out", rows: "0 rows, 0 data", why: errors.New("nobody"), after: func(t *testing.T, s *lateSite, ctx context.Context) bool { return s.m.Logout(ctx) == nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newLateSite(t, db, db)
			if c.do != nil {
				c.do(t, s)
			}
			if c.before != nil {
				s.before = func(ctx context.Context) { c.before(t, s, ctx) }
			}
			if c.after != nil {
				s.after = func(ctx context.Context) bool { return c.after(t, s, ctx) }
			}
			res := s.visit(t, "/login", nil)
			if want := max(c.status, http.StatusOK); res.StatusCode != want || s.rows(t) != c.rows {
				t.Errorf("answer %d, %s; want %d, %s", res.StatusCode, s.rows(t), want, c.rows)
			}
			if c.status == http.StatusUnauthorized && (len(s.refused) != 1 || !errors.Is(s.refused[0], c.why)) {
				t.Errorf("refused for %v, want %v", s.refused, c.why)
			}
			s.visit(t, "/", res.Cookies())
			if got := s.user == "alice"; got != (c.why == nil) {
				t.Errorf("the next request is of %q", s.user)
			}
			if c.do == nil && c.before == nil && c.why == nil {
				for u, err := range s.m.ExportUser(t.Context(), "alice") {
					if !u.RevokedAt.IsZero() || err != nil {
						t.Errorf("exported: %+v, %v", u, err)
					}
				}
			}
			if n, err := s.m.RevokeAllSessions(t.Context(), "alice"); err != nil || (n == 1) != (c.why == nil) || s.rows(t) != "0 rows, 0 data" {
				t.Errorf("%d revoked, %v, %s", n, err, s.rows(t))
			}
		})
	}
}

// TestLateRefusalAtTheLimit logs in one who has many sessions.
func TestLateRefusalAtTheLimit(t *testing.T) {
	db := opendb.Pgx(t)(t)
	for have, want := range map[int]int{49: 50, 50: 51, 99: 100, 100: 100} { // Options.MaxSessions is 100
		s := newLateSite(t, db, db)
		res := s.visit(t, "/login", nil)
		opendb.MustExec(t, db, fmt.Sprintf(`INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta)
			SELECT 'copy' || n, user_id, 'copy' || n, created_at - interval '1 minute', authenticated_at, last_seen_at, expires_at, ip, user_agent, meta FROM user_sessions, generate_series(2, %d) AS n`, have))
		second := s.visit(t, "/login", nil)
		list, err := s.m.ListSessions(t.Context(), "alice")
		if res.StatusCode != http.StatusOK || second.StatusCode != http.StatusOK || len(list) != want || err != nil {
			t.Errorf("%d sessions and a login: %d, %v; answers %d, %d", have, len(list), err, res.StatusCode, second.StatusCode)
		}
	}
}

// TestLateRefusalLost loses the answer to the statement of the login. The driver asks
// again.
func TestLateRefusalLost(t *testing.T) {
	admin := opendb.Pq(t)(t)
	spy, db := opendb.Spied(t, admin)
	var lost atomic.Int64
	spy.Lost = func(query string) bool { return strings.Contains(query, "WITH gate") && lost.Add(1) == 1 }
	s := newLateSite(t, db, admin)
	res := s.visit(t, "/login", nil)
	s.visit(t, "/", res.Cookies())
	if res.StatusCode != http.StatusOK || s.user != "alice" || lost.Load() != 2 || s.rows(t) != "1 rows, 1 data" {
		t.Errorf("answer %d, then of %q after %d statements, %s", res.StatusCode, s.user, lost.Load(), s.rows(t))
	}
}

// TestLateRefusalUnderWay holds the statement of a login back, after it has found no
// fence and before its row is there for others. A revocation must not return before it.
func TestLateRefusalUnderWay(t *testing.T) {
	db := opendb.Pgx(t)(t)
	opendb.Migrated(t, db, &usersession.Options{})
	opendb.MustExec(t, db, "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$")
	opendb.MustExec(t, db, "CREATE TRIGGER wait BEFORE INSERT ON user_sessions FOR EACH ROW EXECUTE FUNCTION wait()")
	for _, known := range []bool{false, true} { // whether the user has a fence already
		s := newLateSite(t, db, db)
		if known {
			res := s.visit(t, "/login", nil)
			s.visit(t, "/", res.Cookies())
		}
		held, err := db.BeginTxx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer held.Rollback()
		if _, err := held.ExecContext(t.Context(), "SELECT pg_advisory_xact_lock(1)"); err != nil {
			t.Fatal(err)
		}
		answer := make(chan *http.Response, 1)
		go func() { answer <- s.visit(t, "/login", nil) }()
		const waiting = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.datname = current_database()"
		inFlight := waits(t, db, waiting)
		revoked := make(chan error, 1)
		go func() {
			_, err := s.m.RevokeAllSessions(context.WithoutCancel(t.Context()), "alice")
			revoked <- err
		}()
		for n := 0; n < 2 && len(revoked) == 0 && t.Context().Err() == nil; {
			if err := db.GetContext(t.Context(), &n, waiting); err != nil {
				t.Fatal(err)
			}
		}
		if !inFlight || len(revoked) > 0 {
			t.Errorf("the login was held back: %v; the revocation has not waited: %v", inFlight, len(revoked) > 0)
		}
		held.Rollback()
		res := <-answer
		if err := <-revoked; err != nil {
			t.Error(err)
		}
		s.visit(t, "/", res.Cookies())
		if s.user != "" || s.rows(t) != "0 rows, 0 data" {
			t.Errorf("a session outlives the revocation: the client is %q, %s", s.user, s.rows(t))
		}
	}
}
