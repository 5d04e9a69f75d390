// Package adminpages measures the admin's pages against the SQL somebody would
// have written instead of them, on one table with very many sessions in
// PostgreSQL. Both read the same rows with the same columns in the same order.
package adminpages

import (
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq" // PostgreSQL

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

// limit is how many sessions a page shows.
const limit = 50

// A Case is one page of the admin's list.
type Case struct {
	Name   string
	Query  string             // of the page
	Filter usersession.Filter // the same
	After  string             // the same
	Where  string             // the same as SQL
	Args   []any
	Count  bool // it is the preview that is measured, not the list
}

// A Result is what one Case took: medians of Rounds interleaved rounds.
type Result struct {
	Case
	Rows, Rounds          int
	Raw, List, JSON, HTML time.Duration
}

// live is the condition for live sessions with the default timeouts.
const live = "ended_at IS NULL AND expires_at > now() AND last_seen_at > now() - interval '1 hour'"

func cases(now time.Time) []Case {
	at := func(ago time.Duration) (time.Time, string) {
		t := now.Add(-ago).UTC().Truncate(time.Second)
		return t, t.Format(time.RFC3339)
	}
	recent, recentText := at(2 * time.Minute)
	old, oldText := at(23 * time.Hour)
	return []Case{
		{Name: "first page"},
		{Name: "page in the middle", Query: "after=gAAAAAAAAAAAAAAAAAAAAA", After: "gAAAAAAAAAAAAAAAAAAAAA",
			Where: "id > $1", Args: []any{"gAAAAAAAAAAAAAAAAAAAAA"}},
		{Name: "one user", Query: "user=user77", Filter: usersession.Filter{UserIDs: []string{"user77"}}, Where: "user_id = $1", Args: []any{"user77"}},
		{Name: "User-Agent, one in four", Query: "user_agent=firefox", Filter: usersession.Filter{UserAgent: "firefox"},
			Where: "user_agent ILIKE $1", Args: []any{"%firefox%"}},
		{Name: "User-Agent, one in 100,000", Query: "user_agent=NetSurf", Filter: usersession.Filter{UserAgent: "NetSurf"},
			Where: "user_agent ILIKE $1", Args: []any{"%netsurf%"}},
		{Name: "network of 256 addresses", Query: "ip=10.1.2.0/24", Filter: usersession.Filter{IP: netip.MustParsePrefix("10.1.2.0/24")},
			Where: "ip LIKE $1", Args: []any{"10.1.2.%"}},
		{Name: "seen in the last 2 minutes", Query: "seen_after=" + recentText, Filter: usersession.Filter{SeenAfter: recent},
			Where: "last_seen_at > $1", Args: []any{recent}},
		{Name: "logged in 23 hours ago, on Linux", Query: "created_before=" + oldText + "&user_agent=linux",
			Filter: usersession.Filter{CreatedBefore: old, UserAgent: "linux"}, Where: "created_at < $1 AND user_agent ILIKE $2", Args: []any{old, "%linux%"}},
		{Name: "preview of everyone", Query: "everyone=true", Filter: usersession.Filter{}, Count: true},
		{Name: "preview of a User-Agent", Query: "user_agent=firefox", Filter: usersession.Filter{UserAgent: "firefox"},
			Where: "user_agent ILIKE $1", Args: []any{"%firefox%"}, Count: true},
	}
}

// row has the columns of the index that the list shows.
type row struct {
	ID              string         `db:"id"`
	UserID          sql.NullString `db:"user_id"`
	SessionKey      string         `db:"session_key"`
	OtherKey        sql.NullString `db:"other_key"`
	CreatedAt       time.Time      `db:"created_at"`
	AuthenticatedAt time.Time      `db:"authenticated_at"`
	LastSeenAt      time.Time      `db:"last_seen_at"`
	ExpiresAt       time.Time      `db:"expires_at"`
	IP              string         `db:"ip"`
	UserAgent       string         `db:"user_agent"`
	Meta            string         `db:"meta"`
	EndedAt         sql.NullTime   `db:"ended_at"`
	EndedBy         string         `db:"ended_by"`
	Reason          string         `db:"reason"`
}

const columns = `id, user_id, session_key, other_key, created_at, authenticated_at, last_seen_at, expires_at,
	ip, user_agent, meta, ended_at, ended_by, reason`

// sql is what somebody would have written.
func (c Case) sql() string {
	where := live
	if c.Where != "" {
		where = c.Where + " AND " + live
	}
	if c.Count {
		return "SELECT COUNT(*) FROM user_sessions WHERE " + where
	}
	return fmt.Sprintf("SELECT %s FROM user_sessions WHERE %s ORDER BY id LIMIT %d", columns, where, limit+1)
}

// site is a table of many sessions and the admin's pages over it.
type site struct {
	tb     testing.TB
	db     *sqlx.DB
	m      *usersession.Manager
	admin  http.Handler
	cookie *http.Cookie
}

// fill writes sessions as they are on a busy day: a seventh have ended, the others
// were seen within the last 50 minutes.
const fill = `
INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta, ended_at, reason, purge_at)
SELECT rtrim(translate(encode(decode(md5('i' || n), 'hex'), 'base64'), '+/', '-_'), '='), 'user' || n % ($1 / 5), left(md5('k' || n) || md5('l' || n), 43),
	now() - n % 1439 * interval '1 minute', now() - n % 1439 * interval '1 minute', now() - n % 3001 * interval '1 second', now() + interval '1 day',
	'10.' || n % 16 || '.' || n / 16 % 250 || '.' || n % 251,
	CASE WHEN n % 100000 = 9 THEN 'Mozilla/5.0 (RISC OS) NetSurf/3.11'
		WHEN n % 4 = 0 THEN 'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0'
		WHEN n % 4 = 1 THEN 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36'
		WHEN n % 4 = 2 THEN 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1'
		ELSE 'Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36' END,
	'{"auth_method": "password"}',
	CASE WHEN n % 7 = 3 THEN now() - interval '5 minutes' END, CASE WHEN n % 7 = 3 THEN 'logout' ELSE '' END, CASE WHEN n % 7 = 3 THEN now() + interval '1 day' END
FROM generate_series(1, $1::int) AS n`

func newSite(tb testing.TB, rows int) *site {
	tb.Helper()
	dsn := testserver.FreshPostgres(tb, func(dsn string) (*sql.DB, error) { return sql.Open("postgres", dsn) })
	db, err := sqlx.Open("postgres", dsn)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	s := &site{tb: tb, db: db}
	if s.m, err = usersession.New(db, &usersession.Options{InsecureCookies: true, WriteTimeout: time.Minute}); err != nil {
		tb.Fatal(err)
	}
	if err := s.m.Migrate(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	if _, err := db.ExecContext(tb.Context(), fill, rows); err != nil {
		tb.Fatal(err)
	}
	login := httptest.NewRecorder()
	s.m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := s.m.Login(r.Context(), "admin"); err != nil {
			tb.Error(err)
		}
	})).ServeHTTP(login, httptest.NewRequestWithContext(tb.Context(), "POST", "/login", nil))
	if cookies := login.Result().Cookies(); len(cookies) == 1 {
		s.cookie = cookies[0]
	} else {
		tb.Fatalf("%d cookies after the login", len(cookies))
	}
	if _, err := db.ExecContext(tb.Context(), "VACUUM ANALYZE user_sessions"); err != nil {
		tb.Fatal(err)
	}
	s.admin, err = sessionui.Admin(s.m, &sessionui.AdminOptions{
		Authorize:     func(r *http.Request) bool { return s.m.UserID(r.Context()) == "admin" },
		SearchTimeout: time.Minute, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// get asks for a page and returns its body.
func (s *site) get(c Case, accept string) string {
	target := "/?" + c.Query
	if c.Count {
		target = "/revoke?" + c.Query
	}
	r := httptest.NewRequestWithContext(s.tb.Context(), "GET", target, nil)
	r.Header.Set("Accept", accept)
	r.AddCookie(s.cookie)
	w := httptest.NewRecorder()
	s.admin.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		s.tb.Fatalf("%s: status %d: %s", c.Name, w.Code, w.Body)
	}
	return w.Body.String()
}

// Run measures every Case on a table of so many rows, each for at most so many
// rounds and so long. It fails if the rows are not the same.
func Run(tb testing.TB, rows, rounds int, each time.Duration) []Result {
	tb.Helper()
	s := newSite(tb, rows)
	var list []Result
	for _, c := range cases(time.Now()) {
		list = append(list, s.measure(c, rounds, each))
	}
	return list
}

func (s *site) measure(c Case, rounds int, each time.Duration) Result {
	ctx := s.tb.Context()
	kept, err := s.db.PreparexContext(ctx, c.sql())
	if err != nil {
		s.tb.Fatal(err)
	}
	defer kept.Close()
	res := Result{Case: c}
	var raw []row
	var counted, count int
	var listed []usersession.UserSession
	var json, html string
	var times [4][]time.Duration
	ways := []func() error{
		func() error {
			if c.Count {
				return kept.GetContext(ctx, &counted, c.Args...)
			}
			raw = nil
			return kept.SelectContext(ctx, &raw, c.Args...)
		},
		func() (err error) {
			if c.Count {
				count, err = s.m.CountMatching(ctx, c.Filter, 0)
				return err
			}
			listed = nil
			for one, err := range s.m.ListMatching(ctx, c.Filter, usersession.Page{After: c.After, Limit: limit + 1}) {
				if err != nil {
					return err
				}
				listed = append(listed, one)
			}
			return nil
		},
		func() error { json = s.get(c, "application/json"); return nil },
		func() error { html = s.get(c, "text/html"); return nil },
	}
	begun := time.Now()
	for round := -2; round < rounds; round++ { // the first two fill caches
		for i := range ways {
			way := (i + round + len(ways)) % len(ways) // each comes first as often
			start := time.Now()
			if err := ways[way](); err != nil {
				s.tb.Fatalf("%s: %v", c.Name, err)
			}
			if round >= 0 {
				times[way] = append(times[way], time.Since(start))
			}
		}
		if round >= 0 {
			res.Rounds++
		}
		if res.Rounds >= 5 && time.Since(begun) > each {
			break
		}
	}
	s.same(c, raw, listed, counted, count, json, html)
	res.Rows = max(len(raw), counted)
	for i, to := range []*time.Duration{&res.Raw, &res.List, &res.JSON, &res.HTML} {
		slices.Sort(times[i])
		*to = times[i][len(times[i])/2]
	}
	return res
}

// same fails if what was read is not the same whichever way.
func (s *site) same(c Case, raw []row, listed []usersession.UserSession, counted, count int, json, html string) {
	s.tb.Helper()
	if c.Count {
		if counted == 0 || count != counted || !strings.Contains(json, fmt.Sprintf(`{"count":%d,"complete":true`, counted)) || !strings.Contains(strings.ReplaceAll(html, ",", ""), fmt.Sprintf("%d sessions will be ended", counted)) {
			s.tb.Errorf("%s: counted %d, want %d; %.80s", c.Name, count, counted, json)
		}
		return
	}
	if len(raw) == 0 || len(raw) != len(listed) {
		s.tb.Fatalf("%s: %d sessions, want %d", c.Name, len(listed), len(raw))
	}
	for i, r := range raw {
		l := listed[i]
		if l.ID != r.ID || l.UserID != r.UserID.String || l.UserAgent != r.UserAgent || !l.LastSeenAt.Equal(r.LastSeenAt) {
			s.tb.Errorf("%s: session %d is %+v, want %+v", c.Name, i, l, r)
		}
		if i < limit && (!strings.Contains(json, r.ID) || !strings.Contains(html, r.ID)) {
			s.tb.Errorf("%s: session %d is not on the page", c.Name, i)
		}
	}
}
