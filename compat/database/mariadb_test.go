package database_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

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
	"ORDER BY expires_at", "user_id IS NULL", "ORDER BY purge_at", "DELETE FROM `user_sessions`", "ORDER BY id LIMIT 500", "GROUP BY user_id", "id NOT IN",
	"FROM `user_sessions_locks` LIMIT 500", "AS clock WHERE id IN (…)", "SELECT id FROM `user_sessions` WHERE purge_at >=", "INTO `user_sessions_fences`", "SELECT 1 FROM `user_sessions_fences`", "SELECT id, disabled", "SET disabled",
	"DELETE FROM `user_sessions_fences`", "SET idp_issuer", "FROM `user_sessions_signouts`", "INTO `user_sessions_signouts`", "idp_subject = ?", "MIN(expires_at)", "MIN(purge_at)", "WHERE purge_at IS NOT NULL",
	"1 = 1", "purge_at <> ended_at LIMIT 500", "SET user_id = NULL", "AS ip_over", "SET ip = ''", "SET user_agent = ''",
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
		case strings.HasPrefix(text("table"), "<"), text("table") == "user_sessions_locks",
			text("table") == "user_sessions_replicas": // one row for each process
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
		`INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta, ended_at, reason, purge_at, idp_issuer, idp_subject, idp_session)
		SELECT LEFT(MD5(CONCAT('i', seq)), 22), CONCAT('user', seq % 20000), LEFT(SHA2(seq, 256), 43),
			UTC_TIMESTAMP(6) - INTERVAL seq % 1000 MINUTE, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) - INTERVAL seq % 55 MINUTE,
			UTC_TIMESTAMP(6) + INTERVAL IF(seq % 100 = 1, -1, 1) * CAST(seq % 1000 AS SIGNED) MINUTE, '192.0.2.1', 'Firefox', '{}',
			IF(seq % 10 = 0, UTC_TIMESTAMP(6) - INTERVAL 1 HOUR, NULL), '', IF(seq % 10 = 0, UTC_TIMESTAMP(6) + INTERVAL seq % 1000 MINUTE, NULL),
			IF(seq % 2 = 0, 'https://idp.example/', NULL), IF(seq % 2 = 0, CONCAT('sub', seq % 20000), NULL), IF(seq % 4 = 0, CONCAT('sid', seq), NULL)
		FROM seq_1_to_100000`,
		`INSERT INTO sessions (token, data, expiry) SELECT session_key, 'x', expires_at FROM user_sessions`,
		`INSERT INTO user_sessions_fences (user_id, not_before, id)
		SELECT CONCAT('user', seq), UTC_TIMESTAMP(6) - INTERVAL seq % 1000 MINUTE, seq FROM seq_1_to_20000`,
		`INSERT INTO user_sessions_signouts (id, not_before)
		SELECT LEFT(SHA2(seq, 256), 43), UTC_TIMESTAMP(6) - INTERVAL seq % 1000 MINUTE FROM seq_1_to_20000`,
		`INSERT INTO user_sessions_locks (user_hash) SELECT LEFT(SHA2(seq, 256), 43) FROM seq_1_to_1000`,
		`ANALYZE TABLE user_sessions, sessions, user_sessions_fences, user_sessions_signouts, user_sessions_locks`,
	} {
		opendb.MustExec(t, db, q)
	}
}

// TestDataColumnThatCutsOff has the data in a column of 64 KB, as other programs make
// it, and a server that cuts off what is longer. The session is over, and its user, the
// list and the log are told so.
func TestDataColumnThatCutsOff(t *testing.T) {
	open := opendb.MariaDB(t)
	for mode, want := range map[string]string{"": usersession.ReasonDataLost, "STRICT_ALL_TABLES": ""} {
		db := open(t)
		db.SetMaxOpenConns(1)
		var unreadable int
		m := opendb.Migrated(t, db, &usersession.Options{OnEvent: func(_ context.Context, e usersession.Event) {
			if e.Kind == usersession.EventUnreadable {
				unreadable++
			}
		}})
		opendb.MustExec(t, db, "ALTER TABLE sessions MODIFY data BLOB NOT NULL")
		opendb.MustExec(t, db, "SET SESSION sql_mode = '"+mode+"'")
		ctx, err := m.Load(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Login(ctx, "alice"); err != nil {
			t.Fatal(err)
		}
		token, _, err := m.Commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if ctx, err = m.Load(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		m.Put(ctx, "long", strings.Repeat("x", 1<<16))
		if _, _, err = m.Commit(ctx); (err == nil) != (want != "") {
			t.Errorf("%q: %v", mode, err)
		}
		if ctx, err = m.Load(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		user := m.UserID(ctx)
		list, err := m.ListSessions(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		if want == "" { // it was not saved, and the session is as it was
			if user != "alice" || len(list) != 1 || unreadable != 0 {
				t.Errorf("%q: %q with %d sessions and %d events", mode, user, len(list), unreadable)
			}
			continue
		}
		ended, err := m.ListEndedSessions(t.Context(), "alice", 1)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" || len(list) != 0 || len(ended) != 1 || ended[0].Reason != want || unreadable != 1 {
			t.Errorf("%q: %q with %d sessions, %d events and %+v", mode, user, len(list), unreadable, ended)
		}
	}
}

// TestUsersTableAsItIs has a users table with keys of every type that programs have. A
// foreign key refers to a column of its own type only, so the index has that.
func TestUsersTableAsItIs(t *testing.T) {
	open := opendb.MariaDB(t)
	const uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	for _, c := range []struct {
		key  string
		ids  usersession.UserIDType
		user string // "" if it does not fit
	}{
		{"BIGINT", usersession.UserIDBigint, "42"},
		{"BIGINT UNSIGNED AUTO_INCREMENT", usersession.UserIDBigint, "9223372036854775807"},
		{"INT AUTO_INCREMENT", usersession.UserIDBigint, "42"},
		{"INT UNSIGNED", usersession.UserIDBigint, "4294967295"},
		{"MEDIUMINT UNSIGNED", usersession.UserIDBigint, "42"},
		{"SMALLINT", usersession.UserIDBigint, "-42"},
		{"UUID", usersession.UserIDUUID, uuid},
		{"CHAR(36)", usersession.UserIDUUID, uuid},
		{"CHAR(36) CHARACTER SET latin1 COLLATE latin1_swedish_ci", usersession.UserIDUUID, uuid},
		{"VARCHAR(36) CHARACTER SET ascii COLLATE ascii_bin", usersession.UserIDUUID, uuid},
		{"VARBINARY(64)", usersession.UserIDText, "alice"},
		{"VARCHAR(255)", usersession.UserIDText, ""},
		{"CHAR(26)", usersession.UserIDText, ""},
		{"BINARY(16)", usersession.UserIDUUID, ""},
		{"DECIMAL(20)", usersession.UserIDBigint, ""},
	} {
		t.Run(c.key, func(t *testing.T) {
			t.Parallel()
			db := open(t)
			opendb.MustExec(t, db, "CREATE TABLE users (id "+c.key+" NOT NULL PRIMARY KEY)")
			m, err := usersession.New(db, &usersession.Options{UserIDType: c.ids, UsersTable: "users", ReadTimeout: time.Minute, WriteTimeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			err = m.Migrate(t.Context())
			if c.user == "" {
				if err == nil || !strings.Contains(err.Error(), "Options.UsersTable") || !strings.Contains(err.Error(), "fit") {
					t.Errorf("%v, want an error that says what fits", err)
				}
				return
			}
			if err = errors.Join(err, m.Migrate(t.Context())); err != nil {
				t.Fatal(err)
			}
			login := func() (string, error) {
				ctx, err := m.Load(t.Context(), "")
				if err == nil {
					err = m.Login(ctx, c.user)
				}
				token := ""
				if err == nil {
					token, _, err = m.Commit(ctx)
				}
				return token, err
			}
			if _, err := login(); !errors.Is(err, usersession.ErrUnknownUser) {
				t.Errorf("%v, want ErrUnknownUser", err)
			}
			opendb.MustExec(t, db, "INSERT INTO users (id) VALUES ('"+c.user+"')")
			token, err := login()
			if err != nil {
				t.Fatal(err)
			}
			if list, err := m.ListSessions(t.Context(), c.user); len(list) != 1 || err != nil || list[0].UserID != c.user {
				t.Errorf("%+v, %v", list, err)
			}
			ctx, err := m.Load(t.Context(), token)
			if err != nil || m.UserID(ctx) != c.user {
				t.Errorf("served as %q, %v", m.UserID(ctx), err)
			}
			opendb.MustExec(t, db, "DELETE FROM users")
			if res, err := m.Prune(t.Context()); res.UserDeleted != 1 || err != nil {
				t.Errorf("%+v, %v, want one ended", res, err)
			}
		})
	}
}
