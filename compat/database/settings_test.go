package database_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/usersessiontest"
)

// logIn logs a user in from a browser.
func logIn(t *testing.T, m *usersession.Manager, user, userAgent string) error {
	t.Helper()
	var err error
	h := m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		err = m.Login(r.Context(), user, usersession.WithMeta(map[string]string{"device": "phone"}))
	}))
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
	r.Header.Set("User-Agent", userAgent)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if err == nil && w.Code != http.StatusOK {
		err = fmt.Errorf("the answer is %d", w.Code)
	}
	return err
}

// everyLetter has letters of many encodings, and what means something in a statement.
const everyLetter = `Fire“fox” é €Ж 😀 '\ "%_?`

// works wants logins under a limit, lists, filters and revocations to do what they
// say. Each text is kept with letters up to the highest one.
func works(t *testing.T, db *sqlx.DB, user string, highest rune) {
	t.Helper()
	const limit = 3
	m := newManager(t, db, &usersession.Options{MaxSessions: limit})
	if err := m.Migrate(t.Context()); err != nil {
		t.Errorf("Migrate: %v", err)
		return
	}
	kept := sqldb.Within(everyLetter, highest)
	ctx := usersession.ContextWithActor(usersession.ContextWithReason(t.Context(), everyLetter), everyLetter)
	// The address is for a network that every database reads too many rows for, so
	// that the program has the last word.
	f := usersession.Filter{UserIDs: []string{user}, UserAgent: "FOX” é €Ж", IP: netip.MustParsePrefix("192.0.2.0/25"), Meta: map[string]string{"device": "phone"}}
	logsIn := func(n int) {
		t.Helper()
		for range n {
			if err := logIn(t, m, user, everyLetter); err != nil {
				t.Errorf("login: %v", err)
			}
		}
	}
	logsIn(limit + 1)
	list, err := m.ListSessions(t.Context(), user)
	if err != nil || len(list) != limit {
		t.Errorf("%d are listed, %v; want %d", len(list), err, limit)
	}
	for _, s := range list {
		if s.UserAgent != kept || s.Meta["device"] != "phone" {
			t.Errorf("listed with %q and %v; want %q", s.UserAgent, s.Meta, kept)
		}
	}
	found := func(f usersession.Filter, want int) {
		t.Helper()
		n := 0
		for _, err := range m.ListMatching(t.Context(), f, usersession.Page{}) {
			if n++; err != nil {
				t.Errorf("ListMatching: %v", err)
			}
		}
		if n != want {
			t.Errorf("%d are found by %q, want %d", n, f.UserAgent, want)
		}
	}
	found(f, limit)
	other := f
	other.UserAgent = "fox” è"
	found(other, 0)
	if n, err := m.RevokeMatching(ctx, f); n != limit || err != nil {
		t.Errorf("%d are revoked, %v; want %d", n, err, limit)
	}
	ended, err := m.ListEndedSessions(t.Context(), user, 10)
	if n := len(slices.DeleteFunc(ended, func(s usersession.UserSession) bool { return s.Reason != kept || s.EndedBy != kept })); n != limit || err != nil {
		t.Errorf("%d have ended for %q, %v; want %d", n, kept, err, limit)
	}

	logsIn(limit)
	tx, err := db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Error(err)
		return
	}
	defer tx.Rollback()
	// A Manager that has asked nothing yet.
	r, err := newManager(t, db, nil).RevokeMatchingTx(ctx, tx, f)
	if err != nil || r.Count() != limit {
		t.Errorf("in a transaction: %v", err)
		return
	}
	if err := errors.Join(tx.Commit(), r.Finish(t.Context())); err != nil {
		t.Errorf("in a transaction: %v", err)
	}
	logsIn(limit)
	if n, err := m.RevokeAllSessions(ctx, user); n != limit || err != nil {
		t.Errorf("%d of all are revoked, %v; want %d", n, err, limit)
	}
	if n, err := m.CountMatching(t.Context(), usersession.Filter{UserIDs: []string{user}}, 0); n != 0 || err != nil {
		t.Errorf("%d are left, %v", n, err)
	}
	if _, err := m.Prune(t.Context()); err != nil {
		t.Errorf("Prune: %v", err)
	}
}

// everything is the highest letter of a database that keeps each text as it is.
const everything = '\U0010FFFF'

func withSetting(dsn, setting string) string {
	if strings.Contains(dsn, "?") {
		return dsn + "&" + setting
	}
	return dsn + "?" + setting
}

// subtest returns a setting as the name of a subtest.
func subtest(setting string) string { return strings.ReplaceAll(setting, "/", "|") }

// harmlessMariaDB are settings of a connection that change nothing.
var harmlessMariaDB = []string{
	"charset=utf8", "charset=latin1", "charset=ascii", "charset=cp1251", "charset=binary", "collation=latin1_swedish_ci", "character_set_results=latin1",
	"charset=utf8&interpolateParams=true", "charset=latin1&interpolateParams=true", "charset=ascii&interpolateParams=true",
	"sql_mode=''", "sql_mode='ANSI_QUOTES'", "sql_mode='ORACLE'", "sql_mode='PAD_CHAR_TO_FULL_LENGTH'", "sql_mode='TRADITIONAL'",
	"sql_mode='NO_BACKSLASH_ESCAPES'&interpolateParams=true", "sql_mode='SIMULTANEOUS_ASSIGNMENT'", "sql_mode='PIPES_AS_CONCAT'", "sql_mode='ONLY_FULL_GROUP_BY'",
	"sql_select_limit=1000", "sql_safe_updates=1", "max_statement_time=60", "parseTime=true&loc=Local", "clientFoundRows=true", "interpolateParams=true",
	"time_zone='%2B05:00'", "tx_isolation='SERIALIZABLE'", "tx_isolation='READ-UNCOMMITTED'", "unique_checks=0", "low_priority_updates=1", "sql_auto_is_null=1", "big_tables=1",
	"group_concat_max_len=4",
}

// TestSettingsMariaDB wants settings of a connection to change nothing, whatever the
// texts are.
func TestSettingsMariaDB(t *testing.T) {
	depth.OnlyFull(t)
	opendb.MariaDB(t) // skips here where there is none
	dsn := opendb.FreshMariaDB(t)
	for _, setting := range harmlessMariaDB {
		t.Run(subtest(setting), func(t *testing.T) {
			works(t, opendb.Connect(t, "mysql", withSetting(dsn, setting)), setting, everything)
		})
	}
}

// TestConvertedMariaDB wants the same of a table that somebody has converted from
// utf8mb4. A letter that it does not have is written as its number.
func TestConvertedMariaDB(t *testing.T) {
	open := opendb.MariaDB(t)
	charsets := map[string]rune{"latin1": 0xFF, "utf8mb3": 0xFFFF}
	if depth.Full() {
		maps.Copy(charsets, map[string]rune{"ascii": 0x7F, "cp1251": 0x7F, "latin2": 0x7F})
	}
	for charset, highest := range charsets {
		t.Run(charset, func(t *testing.T) {
			db := open(t)
			opendb.Migrated(t, db, &usersession.Options{})
			opendb.MustExec(t, db, "ALTER TABLE user_sessions CONVERT TO CHARACTER SET "+charset)
			works(t, db, "alice", highest)
			m := newManager(t, db, nil)
			longTexts(t, db)
			h := m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				err := m.Login(r.Context(), "bob", usersession.WithMeta(map[string]string{"device": "😀"}))
				if err == nil || !strings.Contains(err.Error(), "WithMeta") {
					t.Errorf("metadata with such a letter: %v", err)
				}
			}))
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "POST", "/", nil))
		})
	}
}

// longTexts wants texts to be cut that no longer fit when each letter is written as its
// number: those of a login, of a touch in its request and by Run, and of an ending.
func longTexts(t *testing.T, db *sqlx.DB) {
	t.Helper()
	long := strings.Repeat("あ", 170)
	m := newManager(t, db, &usersession.Options{TouchInterval: time.Millisecond})
	used := func(user string) usersession.UserSession {
		t.Helper()
		list, err := m.ListSessions(t.Context(), user)
		if err != nil || len(list) != 1 {
			t.Errorf("%d sessions, %v", len(list), err)
			return usersession.UserSession{}
		}
		return list[0]
	}
	if err := logIn(t, m, "long", long); err != nil {
		t.Errorf("login: %v", err)
	}
	want := used("long").UserAgent
	if n := utf8.RuneCountInString(want); n != 512 && want != long {
		t.Errorf("%d letters are kept", n)
	}
	c := &client{m: m}
	for _, running := range []bool{false, true} {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		if running {
			go func() { done <- m.Run(ctx) }()
		} else {
			done <- nil
		}
		c.userAgent = "short"
		c.login(t, "short")
		c.userAgent = long
		for end := time.Now().Add(time.Minute); used("short").LastUserAgent != want; c.do(t, func(context.Context) {}) {
			if time.Now().After(end) {
				t.Errorf("Run %v: last used by %q", running, used("short").LastUserAgent)
				break
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	ctx := usersession.ContextWithActor(usersession.ContextWithReason(t.Context(), long), long)
	for _, user := range []string{"short", "long"} {
		if _, err := m.RevokeAllSessions(ctx, user); err != nil {
			t.Errorf("revocation: %v", err)
		}
	}
}

// refusedMariaDB are settings that make statements wrong, with what an error names.
var refusedMariaDB = map[string]string{
	"sql_select_limit=1":               "sql_select_limit=1,",
	"sql_select_limit=999":             "sql_select_limit=999,",
	"sql_mode='EMPTY_STRING_IS_NULL'":  "sql_mode=EMPTY_STRING_IS_NULL,",
	"autocommit=0":                     "autocommit=0,",
	"completion_type=CHAIN":            "completion_type=CHAIN,",
	"completion_type='RELEASE'":        "completion_type=RELEASE,",
	"columnsWithAlias=true":            "columnsWithAlias=true,",
	"autocommit=0&sql_select_limit=10": "autocommit=0,",
}

// TestSettingsRefusedMariaDB wants an error that names the setting, from Migrate and
// from whatever comes first.
func TestSettingsRefusedMariaDB(t *testing.T) {
	opendb.MariaDB(t) // skips here where there is none
	dsn := opendb.FreshMariaDB(t)
	plain := opendb.Migrated(t, opendb.Connect(t, "mysql", dsn), &usersession.Options{})
	for range 3 {
		if err := logIn(t, plain, "ann", "Firefox"); err != nil {
			t.Fatal(err)
		}
	}
	for setting, name := range refusedMariaDB {
		db := opendb.Connect(t, "mysql", withSetting(dsn, setting))
		db.SetMaxIdleConns(0) // a ROLLBACK closes some of them
		f := usersession.Filter{UserIDs: []string{"ann"}}
		for what, call := range map[string]func(m *usersession.Manager) error{
			"Migrate": func(m *usersession.Manager) error { return m.Migrate(t.Context()) },
			"Login":   func(m *usersession.Manager) error { return logIn(t, m, "ann", "Firefox") },
			"List":    func(m *usersession.Manager) error { _, err := m.ListSessions(t.Context(), "ann"); return err },
			"Revoke":  func(m *usersession.Manager) error { _, err := m.RevokeAllSessions(t.Context(), "ann"); return err },
			"Prune":   func(m *usersession.Manager) error { _, err := m.Prune(t.Context()); return err },
			"matching in a transaction": func(m *usersession.Manager) error {
				tx, err := db.BeginTxx(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Rollback()
				_, err = m.RevokeMatchingTx(t.Context(), tx, f)
				return err
			},
		} {
			err := call(newManager(t, db, nil))
			if err == nil || !strings.Contains(err.Error(), "setting "+name) {
				t.Errorf("%s: %s: %v; want an error that names %q", setting, what, err, name)
			}
		}
	}
	if list, err := plain.ListSessions(t.Context(), "ann"); len(list) != 3 || err != nil {
		t.Errorf("%d are left, %v; want 3", len(list), err)
	}
}

// harmlessPostgres are settings of a connection that change nothing.
var harmlessPostgres = []string{
	"quote_all_identifiers=on", "standard_conforming_strings=off", "bytea_output=escape", "DateStyle=SQL,DMY", "IntervalStyle=sql_standard",
	"TimeZone=Asia/Kolkata", "transform_null_equals=on", "lc_messages=C", "backslash_quote=off", "row_security=off", "extra_float_digits=-15",
	"synchronous_commit=off", "default_transaction_isolation=serializable", "default_transaction_deferrable=on", "array_nulls=off",
	"plan_cache_mode=force_generic_plan", "enable_indexscan=off", "session_replication_role=replica", "enable_partition_pruning=off",
}

// TestSettingsPostgres is TestSettingsMariaDB for PostgreSQL.
func TestSettingsPostgres(t *testing.T) {
	depth.OnlyFull(t)
	for driver, more := range map[string][]string{
		"postgres": {"binary_parameters=yes"},
		"pgx":      {"default_query_exec_mode=simple_protocol", "default_query_exec_mode=exec", "client_encoding=LATIN1", "client_encoding=SQL_ASCII"},
	} {
		dsn := opendb.FreshPostgres(t, driver)
		for _, setting := range append(more, harmlessPostgres...) {
			t.Run(driver+" "+subtest(setting), func(t *testing.T) {
				k, v, _ := strings.Cut(setting, "=")
				// Letters of another encoding do not fit through these.
				highest := rune(everything)
				if setting == "client_encoding=LATIN1" {
					highest = 0x7F
				}
				works(t, opendb.Connect(t, driver, withQuery(t, dsn, k, v)), setting, highest)
			})
		}
	}
}

func withQuery(t *testing.T, dsn, key, value string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(key, value)
	u.RawQuery = q.Encode()
	return u.String()
}

// TestEncodingsPostgres wants logins and revocations to work in a database whose
// encoding has not every letter. User IDs are refused there, and never changed.
func TestEncodingsPostgres(t *testing.T) {
	depth.OnlyFull(t)
	for _, tc := range []struct {
		driver, encoding string
		highest          rune
		refused          bool // a user ID of other letters
	}{
		{"postgres", "UTF8", everything, false},
		{"postgres", "LATIN1", 0xFF, true},
		{"postgres", "WIN1252", 0xFF, true},
		{"postgres", "KOI8R", 0x7F, true},
		{"postgres", "EUC_JP", 0x7F, true},
		{"postgres", "SQL_ASCII", everything, false},
		// Unless it is told otherwise, pgx speaks the encoding of the database,
		// and so every byte of the program passes.
		{"pgx", "LATIN1", everything, false},
		{"pgx", "WIN1252", everything, false},
		{"pgx", "SQL_ASCII", everything, false},
		{"pgx client_encoding=UTF8", "LATIN1", 0xFF, true},
		{"pgx client_encoding=UTF8", "WIN1252", 0xFF, true},
		{"pgx client_encoding=UTF8", "SQL_ASCII", everything, false},
	} {
		t.Run(tc.driver+" "+tc.encoding, func(t *testing.T) {
			driver, setting, _ := strings.Cut(tc.driver, " ")
			dsn := opendb.FreshPostgres(t, driver)
			u, err := url.Parse(dsn)
			if err != nil {
				t.Fatal(err)
			}
			admin := opendb.Connect(t, driver, dsn)
			name := strings.ToLower(u.Path[1:] + "_e")
			opendb.MustExec(t, admin, "CREATE DATABASE "+name+" ENCODING '"+tc.encoding+"' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
			t.Cleanup(func() {
				if _, err := admin.ExecContext(context.WithoutCancel(t.Context()), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
					t.Error(err)
				}
			})
			u.Path = "/" + name
			dsn = u.String()
			if k, v, ok := strings.Cut(setting, "="); ok {
				dsn = withQuery(t, dsn, k, v)
			}
			db := opendb.Connect(t, driver, dsn)
			works(t, db, "ann", tc.highest)

			m := newManager(t, db, nil)
			if err := logIn(t, m, "ann", "Firefox"); err != nil {
				t.Error(err)
			}
			err = logIn(t, m, "नमन", "Firefox")
			if refused := err != nil; refused != tc.refused {
				t.Errorf("a user ID: %v; want it refused: %v", err, tc.refused)
			}
			if tc.refused {
				wantNaming(t, err, "user ID", tc.encoding)
			}
			if n, err := m.CountMatching(t.Context(), usersession.Filter{UserIDs: []string{"ann"}}, 0); n != 1 || err != nil {
				t.Errorf("%d are of ann, %v; want 1", n, err)
			}
		})
	}
}

// TestSettingsSQLite is TestSettingsMariaDB for SQLite.
func TestSettingsSQLite(t *testing.T) {
	depth.OnlyFull(t)
	open := func(t *testing.T, pragma string) *sqlx.DB {
		return opendb.Connect(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "x.db")+"?_pragma=busy_timeout(60000)&_pragma="+pragma)
	}
	for _, pragma := range []string{
		"encoding('UTF-16')", "short_column_names(0)", "empty_result_callbacks(1)", "case_sensitive_like(1)", "recursive_triggers(1)", "count_changes(1)",
		"reverse_unordered_selects(1)", "read_uncommitted(1)", "legacy_alter_table(1)", "trusted_schema(0)", "automatic_index(0)",
	} {
		t.Run(pragma, func(t *testing.T) { works(t, open(t, pragma), "ann", everything) })
	}
	_, err := usersession.New(open(t, "full_column_names(1)"), nil)
	wantNaming(t, err, "setting full_column_names=1,")
}

// A server that has no transaction's own settings lets users log in all the same.
func TestLoginWithoutLazily(t *testing.T) {
	for _, driver := range []string{"postgres", "pgx"} {
		t.Run(driver, func(t *testing.T) {
			db := opendb.Connect(t, driver, withQuery(t, opendb.FreshPostgres(t, driver), "search_path", "public,pg_catalog"))
			opendb.MustExec(t, db, `CREATE FUNCTION public.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS
				$$ BEGIN RAISE EXCEPTION 'not here' USING ERRCODE = 'feature_not_supported'; END $$`)
			for _, limit := range []int{usersession.NoMaxSessions, 0} {
				m := opendb.Migrated(t, db, &usersession.Options{MaxSessions: limit})
				for range 2 {
					usersessiontest.Login(t, m, "ann")
				}
			}
			m := opendb.Migrated(t, db, &usersession.Options{})
			if list, err := m.ListSessions(t.Context(), "ann"); len(list) != 4 || err != nil {
				t.Errorf("%d sessions, %v", len(list), err)
			}
		})
	}
}
