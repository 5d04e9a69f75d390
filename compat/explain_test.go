package compat

import (
	"database/sql"
	"regexp"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/backendtest"
	"github.com/seed-296ca7ab/usersession/internal/backendtest/sqlspy"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// TestExplain asks MariaDB how it would run the queries that the behaviours were
// seen to send, on 100,000 sessions of 20,000 users: none may read a whole table.
// The root module asks PostgreSQL the same.
func TestExplain(t *testing.T) {
	var spy sqlspy.Spy
	open := func(t *testing.T) *sqlx.DB {
		t.Helper()
		dsn := testserver.FreshMariaDB(t, func(dsn string) (*sql.DB, error) { return sql.Open("mysql", dsn) })
		pool, err := spy.Open("mysql", dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pool.Close() })
		return sqlx.NewDb(pool, "mysql")
	}
	t.Run("behaviours", func(t *testing.T) {
		backendtest.Run(t, open, backendtest.Stores(open)[:2]) // those in SQL
	})
	queries := map[string]sqlspy.Call{}
	for _, c := range spy.Take() {
		if !c.Prepare && explainable.MatchString(c.Query) {
			queries[normal(c.Query)] = c
		}
	}
	if t.Failed() {
		return
	}
	for _, part := range everyQuery {
		if !contains(queries, part) {
			t.Errorf("no query was seen with %q in it", part)
		}
	}
	t.Logf("%d queries", len(queries))

	db := filled(t)
	for query, c := range queries {
		if plan := wholeTable(t, db, c); plan != "" && !byTests.MatchString(query) && !byTime.MatchString(query) {
			t.Errorf("reads a whole table:\n%s\n%s", query, plan)
		}
	}
	// The test can tell one that does.
	if wholeTable(t, db, sqlspy.Call{Query: "SELECT * FROM user_sessions WHERE user_agent = ?", Args: []any{"x"}}) == "" {
		t.Error("a query without an index has passed")
	}
}

// explainable are queries of the package; what is inserted is not looked for.
var explainable = regexp.MustCompile("(?is)^\\s*(SELECT|UPDATE|DELETE|WITH)\\b.*`(user_sessions|user_sessions_locks|sessions)`")

// byTests are what the behaviours ask by themselves.
var byTests = regexp.MustCompile("^(SELECT COUNT\\(\\*\\) FROM `(sessions|user_sessions_locks)`|UPDATE `user_sessions` SET \\w+ = [^?]*)$")

// byTime are an administrator's searches that no index serves.
var byTime = regexp.MustCompile(`WHERE \(?(created|last_seen)_at [<>]`)

// pages are those of an administrator's list.
var pages = regexp.MustCompile(`ORDER BY id\nLIMIT \d+$`)

// everyQuery has a piece of each kind of query.
var everyQuery = []string{
	"ORDER BY last_seen_at DESC, id", "ORDER BY created_at, id", "ORDER BY last_seen_at, id", "WHERE session_key = ?",
	"SET last_seen_at", "SET other_key", "SET expires_at", "SET session_key", "SET ended_at", "FOR UPDATE", "SET purge_at",
	"ORDER BY expires_at", "user_id IS NULL", "ORDER BY purge_at", "DELETE FROM `user_sessions`", "ORDER BY id LIMIT 500",
	"FROM `user_sessions_locks` LIMIT 500", "LEFT JOIN", "SET data", "DELETE FROM `sessions` WHERE token = ?", "SELECT data FROM", "SET expiry",
}

func contains(queries map[string]sqlspy.Call, part string) bool {
	for q := range queries {
		if strings.Contains(q, part) {
			return true
		}
	}
	return false
}

var (
	spaces = regexp.MustCompile(`\s+`)
	lists  = regexp.MustCompile(`IN \([?, ]*\)`)
)

// normal is a query on one line, with lists of one length.
func normal(q string) string {
	return lists.ReplaceAllString(strings.TrimSpace(spaces.ReplaceAllString(q, " ")), "IN (…)")
}

// wholeTable returns the plan of a query that reads all rows or all of an index;
// "" if it does not.
func wholeTable(t *testing.T, db *sqlx.DB, c sqlspy.Call) string {
	t.Helper()
	rows, err := db.QueryxContext(t.Context(), "EXPLAIN "+c.Query, c.Args...)
	if err != nil {
		t.Fatalf("EXPLAIN %s: %v", c.Query, err)
	}
	defer rows.Close()
	var plan strings.Builder
	whole := false
	for rows.Next() {
		row := map[string]any{}
		if err := rows.MapScan(row); err != nil {
			t.Fatal(err)
		}
		text := func(column string) string {
			b, _ := row[column].([]byte)
			return string(b)
		}
		for _, column := range []string{"table", "type", "key", "ref", "rows", "Extra"} {
			plan.WriteString(column + "=" + text(column) + " ")
		}
		plan.WriteString("\n")
		switch how := text("type"); {
		case strings.HasPrefix(text("table"), "<"), text("table") == "user_sessions_locks":
		case how == "index" && text("key") == "PRIMARY" && pages.MatchString(c.Query): // until the page is full
		case how == "ALL", how == "index":
			whole = true
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if !whole {
		return ""
	}
	return plan.String()
}

// filled makes 100,000 sessions of 20,000 users: a tenth have ended, a hundredth
// have expired.
func filled(t *testing.T) *sqlx.DB {
	t.Helper()
	dsn := testserver.FreshMariaDB(t, func(dsn string) (*sql.DB, error) { return sql.Open("mysql", dsn) })
	db := connect(t, "mysql", dsn)
	m, err := usersession.New(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta, ended_at, reason, purge_at)
		SELECT LEFT(MD5(CONCAT('i', seq)), 22), CONCAT('user', seq % 20000), LEFT(SHA2(seq, 256), 43),
			UTC_TIMESTAMP(6) - INTERVAL seq % 1000 MINUTE, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) - INTERVAL seq % 55 MINUTE,
			UTC_TIMESTAMP(6) + INTERVAL IF(seq % 100 = 1, -1, 1) * CAST(seq % 1000 AS SIGNED) MINUTE, '192.0.2.1', 'Firefox', '{}',
			IF(seq % 10 = 0, UTC_TIMESTAMP(6) - INTERVAL 1 HOUR, NULL), '', IF(seq % 10 = 0, UTC_TIMESTAMP(6) + INTERVAL seq % 1000 MINUTE, NULL)
		FROM seq_1_to_100000`,
		`INSERT INTO sessions (token, data, expiry) SELECT session_key, 'x', expires_at FROM user_sessions`,
		`INSERT INTO user_sessions_locks (user_hash) SELECT LEFT(SHA2(seq, 256), 43) FROM seq_1_to_1000`,
		`ANALYZE TABLE user_sessions, sessions, user_sessions_locks`,
	} {
		mustExec(t, db, q)
	}
	return db
}
