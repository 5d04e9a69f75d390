package database_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/sqlspy"
)

// TestExplainMariaDB asks MariaDB what TestExplain asks PostgreSQL: no query may
// read a whole table.
func TestExplainMariaDB(t *testing.T) {
	depth.OnlyFull(t)
	db, queries := queriesOf(t, opendb.MariaDB, func(*usersession.Options) {})
	for _, part := range everyQueryMariaDB {
		if !contains(queries, part) {
			t.Errorf("no query was seen with %q in it", part)
		}
	}
	t.Logf("%d queries", len(queries))

	for query, c := range queries {
		if strings.HasPrefix(query, "INSERT") {
			continue // its plan reads nothing, and looks as if it did
		}
		if plan := wholeTable(t, db, c); plan != "" && !byTimeMariaDB.MatchString(query) {
			t.Errorf("reads a whole table:\n%s\n%s", query, plan)
		}
	}
	// The test can tell one that does.
	if wholeTable(t, db, sqlspy.Call{Query: "SELECT * FROM user_sessions WHERE user_agent = ?", Args: []any{"x"}}) == "" {
		t.Error("a query without an index has passed")
	}
}

// byTimeMariaDB are an administrator's searches that no index serves, and the count of
// every live session by its user.
var byTimeMariaDB = regexp.MustCompile(`WHERE \(?(created|last_seen|ended)_at [<>]|GROUP BY user_id`)

// pages are those of an administrator's list.
var pages = regexp.MustCompile(`ORDER BY id\nLIMIT \d+$`)

// everyQueryMariaDB has a piece of each kind of query.
var everyQueryMariaDB = []string{
	"ORDER BY last_seen_at DESC, id", "ELSE 1 END, created_at DESC", "ELSE 1 END, last_seen_at DESC", "LIMIT ? ) AS counted", "WHERE session_key = ?",
	"SET last_seen_at", "SET other_key", "SET expires_at", "SET session_key", "SET ended_by", "FOR UPDATE", "SET purge_at",
	"ORDER BY expires_at", "user_id IS NULL", "ORDER BY purge_at", "DELETE FROM `user_sessions`", "ORDER BY id LIMIT 500",
	"FROM `user_sessions_locks` LIMIT 500", "GROUP BY user_id", "MIN(expires_at)", "MIN(purge_at)", "WHERE purge_at IS NOT NULL",
	"LEFT JOIN", "SET data", "DELETE FROM `sessions` WHERE token = ?", "SELECT data FROM", "SET expiry",
}

func contains(queries map[string]sqlspy.Call, part string) bool {
	for q := range queries {
		if strings.Contains(q, part) {
			return true
		}
	}
	return false
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

// fillMariaDB makes 100,000 sessions of 20,000 users: a tenth have ended, a hundredth
// have expired.
func fillMariaDB(t *testing.T, db *sqlx.DB) {
	t.Helper()
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
		opendb.MustExec(t, db, q)
	}
}
