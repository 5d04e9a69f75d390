package database_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/sqlspy"
	usmemstore "github.com/seed-296ca7ab/usersession/memstore"
	"github.com/seed-296ca7ab/usersession/scsstore"
)

// TestExplain asks PostgreSQL how it would run every query of this package, on
// 100,000 sessions of 20,000 users: none may read a whole table. The queries are
// those that the public methods were seen to send.
func TestExplain(t *testing.T) {
	depth.OnlyFull(t)
	db, queries := queriesOf(t, opendb.Pq, func(*usersession.Options) {})
	// A query that useEverything has missed would go unseen.
	for _, part := range everyQuery {
		if !slices.ContainsFunc(slices.Collect(keys(queries)), func(q string) bool { return strings.Contains(q, part) }) {
			t.Errorf("no query was seen with %q in it", part)
		}
	}
	t.Logf("%d queries", len(queries))
	conn, err := db.Connx(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		if _, err := conn.ExecContext(t.Context(), "SET plan_cache_mode = "+mode); err != nil {
			t.Fatal(err)
		}
		for _, c := range queries {
			plan := explain(t, conn, c)
			if byTime.MatchString(c.Query) {
				continue // an administrator's search: no index serves it
			}
			if strings.Contains(c.Query, "0 AS again") && !strings.Contains(plan, "user_sessions_due") {
				t.Errorf("%s does not go by when the data are due:\n%s\n%s", mode, c.Query, plan)
			}
			if strings.Contains(c.Query, "AND idp_issuer = $") && !strings.Contains(plan, "user_sessions_idp_") {
				t.Errorf("%s does not go by the identity provider:\n%s\n%s", mode, c.Query, plan)
			}
			plan = strings.ReplaceAll(plan, "Seq Scan on user_sessions_replicas", "") // one row for each process
			if strings.Contains(plan, "Seq Scan on user_sessions") || strings.Contains(plan, "Seq Scan on sessions") {
				t.Errorf("%s reads a whole table:\n%s\n%s", mode, c.Query, plan)
			}
		}
	}
	// The test can tell one that does.
	if plan := explain(t, conn, sqlspy.Call{Query: "SELECT * FROM user_sessions WHERE user_agent = $1", Args: []any{"x"}}); !strings.Contains(plan, "Seq Scan on user_sessions") {
		t.Errorf("the plan of a query without an index:\n%s", plan)
	}
}

// adoptTwice lets two programs adopt a session of plain scs, one after the other.
func adoptTwice(t *testing.T, db *sqlx.DB, configure func(*usersession.Options)) {
	t.Helper()
	store, err := usersession.NewSQLStore(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := scs.GobCodec{}.Encode(time.Now().Add(time.Hour), map[string]any{"user": "adopted"})
	if err != nil {
		t.Fatal(err)
	}
	token := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	if err := store.Create(t.Context(), token, data, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		o := &usersession.Options{SCS: scs.New(), Adopt: &usersession.Adopt{
			UserID: func(values map[string]any) string { return values["user"].(string) },
		}}
		configure(o)
		m := opendb.Migrated(t, db, o)
		if ctx, err := m.Load(t.Context(), token); err != nil || m.UserID(ctx) != "adopted" {
			t.Errorf("adopted as a session of %q, %v", m.UserID(ctx), err)
		}
	}
}

// queriesOf fills an index and returns the queries that useEverything sends, by
// their normal form.
func queriesOf(t *testing.T, open opendb.Opener, configure func(*usersession.Options)) (*sqlx.DB, map[string]sqlspy.Call) {
	t.Helper()
	db := open(t)(t)
	spy, spied := opendb.Spied(t, db)
	spied.SetMaxOpenConns(0)
	opts := &usersession.Options{}
	configure(opts)
	m := opendb.Migrated(t, spied, opts)
	if db.DriverName() == "mysql" {
		fillMariaDB(t, db)
	} else {
		fill(t, db, 100_000)
	}
	spy.Take()
	useEverything(t, spied, m, configure)
	queries := map[string]sqlspy.Call{}
	for _, c := range spy.Take() {
		if !c.Prepare && explainable.MatchString(c.Query) {
			queries[normal(c.Query)] = c
		}
	}
	return db, queries
}

// byTime matches the pages of a Filter that names neither users nor anything
// else an index holds. Where little matches, PostgreSQL reads the table.
// So it does to count every live session by its user.
var byTime = regexp.MustCompile(`(?s)WHERE (created|last_seen|ended)_at [<>].*ORDER BY id\nLIMIT 500|GROUP BY user_id`)

var explainable = regexp.MustCompile(`(?is)^\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b.*(["\x60](user_sessions|user_sessions_fences|user_sessions_signouts|user_sessions_locks|sessions)["\x60]|\buser_sessions_p\d+\b)`)

// everyQuery has a piece of each query of the package.
var everyQuery = []string{
	// the index
	"INSERT INTO \"user_sessions\"", "ORDER BY last_seen_at DESC, id", "ELSE 1 END, created_at DESC", "ELSE 1 END, last_seen_at DESC", "WHERE n <",
	"WHERE id = $1 AND user_id = $2", "WHERE id = $1", "WHERE session_key = $1", "SET last_seen_at = statement_timestamp(), place = '",
	"SET last_seen_at = GREATEST", "SELECT session_key, id, user_id FROM",
	"SET other_key", "SET authenticated_at", "SET meta", "reason = $1 WHERE session_key", "SET session_key",
	"SET expires_at = (statement_timestamp() + ($1)::bigint * interval '1 microsecond') WHERE id = $2 AND user_id = $3 AND ended_at IS NULL",
	"SET expires_at = (statement_timestamp() + ($1)::bigint * interval '1 microsecond'), last_seen_at",
	"SET expires_at = CASE", "SET purge_at = ended_at", "AND ended_at IS NOT NULL",
	"SELECT id, 0 AS again", "ORDER BY id FOR UPDATE", "WHERE id = $4 AND user_id = $5", "WHERE session_key = $4 AND",
	"expires_at <= statement_timestamp() ORDER BY expires_at", "user_id IS NULL", "ORDER BY purge_at", "SET purge_at = GREATEST", "DELETE FROM \"user_sessions\"",
	"ORDER BY id LIMIT 500", "created_at <", "user_id IN", "GROUP BY user_id", "id NOT IN", "SELECT COUNT(*) FROM \"user_sessions\"", "SELECT COUNT(*) FROM ( SELECT 1", "ORDER BY ended_at DESC", "UNION ALL SELECT id FROM",
	"WHERE id IN (…) AND (ended_at", "AS clock WHERE id IN (…)", "SELECT id FROM \"user_sessions\" WHERE purge_at >=", "MIN(expires_at)", "MIN(purge_at)", "WHERE purge_at IS NOT NULL",
	"1 = 1", "purge_at <> ended_at LIMIT 500", "SET user_id = NULL", "AS ip_over", "SET ip = ''", "SET user_agent = ''",
	// the devices
	"SET device_secret", "SET device_key", "SELECT COALESCE(device_key", "SET device_challenge_before", "COALESCE(device_secret, '') FROM \"user_sessions\" WHERE session_key",
	// what was renewed
	"WHERE other_key = $2 AND renewed_at",
	// the fences
	"INSERT INTO \"user_sessions_fences\"", "SELECT id, disabled", "SELECT 1 FROM \"user_sessions_fences\"", "SET disabled", "DELETE FROM \"user_sessions_fences\"",
	// the sign-outs
	"SET idp_issuer", "FROM \"user_sessions_signouts\" WHERE id IN", "INSERT INTO \"user_sessions_signouts\"", "DELETE FROM \"user_sessions_signouts\"",
	"idp_subject = $4 AND idp_issuer = $5",
	// both at once
	"WITH confirmed", "WITH page",
	// the data
	"LEFT JOIN", "INSERT INTO \"sessions\"", "SET data", "DELETE FROM \"sessions\" WHERE token = $1", "DELETE FROM \"sessions\" WHERE token IN",
	"WHERE token > $1", "expiry <= statement_timestamp() ORDER BY expiry", "SELECT data FROM", "SET expiry",
}

var spaces = regexp.MustCompile(`\s+`)

// normal is a query on one line, with lists of one length.
func normal(q string) string {
	return regexp.MustCompile(`IN \([$?0-9, ]*\)`).ReplaceAllString(strings.TrimSpace(spaces.ReplaceAllString(q, " ")), "IN (…)")
}

func keys(m map[string]sqlspy.Call) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// explain returns the plan of a query as a prepared statement.
func explain(t *testing.T, conn *sqlx.Conn, c sqlspy.Call) string {
	t.Helper()
	exec := func(q string) {
		t.Helper()
		if _, err := conn.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	exec("PREPARE explained AS " + c.Query)
	defer exec("DEALLOCATE explained")
	var args []string
	for _, a := range c.Args {
		args = append(args, literal(a))
	}
	execute := "EXPLAIN EXECUTE explained"
	if len(args) > 0 {
		execute += "(" + strings.Join(args, ", ") + ")"
	}
	var lines []string
	if err := conn.SelectContext(t.Context(), &lines, execute); err != nil {
		t.Fatalf("%s: %v", c.Query, err)
	}
	return strings.Join(lines, "\n")
}

func literal(a any) string {
	switch v := a.(type) {
	case nil:
		return "NULL"
	case string:
		return pq.QuoteLiteral(v)
	case []byte:
		return fmt.Sprintf(`'\x%x'`, v)
	case time.Time:
		return pq.QuoteLiteral(v.Format(time.RFC3339Nano))
	}
	return fmt.Sprint(a)
}

// fill makes n sessions of n/5 users: a tenth have ended, a hundredth have
// expired.
func fill(t *testing.T, db *sqlx.DB, n int) {
	t.Helper()
	for _, q := range []string{
		`INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta, ended_at, reason, purge_at, idp_issuer, idp_subject, idp_session)
		SELECT substr(md5('i' || n), 1, 22), 'user' || n % (@n / 5), left(md5('k' || n) || md5('l' || n), 43),
			now() - n % 1000 * interval '1 minute', now(), now() - n % 55 * interval '1 minute',
			now() + CASE WHEN n % 100 = 1 THEN -1 ELSE 1 END * n % 1000 * interval '1 minute', '192.0.2.1', 'Firefox', '{}',
			CASE WHEN n % 10 = 0 THEN now() - interval '1 hour' END, '', CASE WHEN n % 10 = 0 THEN now() + n % 1000 * interval '1 minute' END,
			CASE WHEN n % 2 = 0 THEN 'https://idp.example/' END, CASE WHEN n % 2 = 0 THEN 'sub' || n % (@n / 5) END, CASE WHEN n % 4 = 0 THEN 'sid' || n END
		FROM generate_series(1, @n) AS n`,
		`INSERT INTO sessions (token, data, expiry)
		SELECT session_key, '\x00', expires_at FROM user_sessions`,
		`INSERT INTO user_sessions_fences (user_id, not_before, id)
		SELECT 'user' || n, now() - n % 1000 * interval '1 minute', 'f' || n FROM generate_series(1, @n / 5) AS n`,
		`INSERT INTO user_sessions_signouts (id, not_before)
		SELECT left(md5('s' || n) || md5('t' || n), 43), now() - n % 1000 * interval '1 minute' FROM generate_series(1, @n / 5) AS n`,
		`ANALYZE user_sessions`, `ANALYZE user_sessions_fences`, `ANALYZE user_sessions_signouts`, `ANALYZE sessions`,
	} {
		if _, err := db.ExecContext(t.Context(), strings.ReplaceAll(q, "@n", strconv.Itoa(n))); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// failing is a Store that cannot delete.
type failing struct{ usersession.Store }

func (failing) AtomicUpdates() bool                     { return true }
func (failing) Delete(context.Context, ...string) error { return errors.New("down") }

// queueTouches has Run write touches: of a session that is live, and of ones that
// have ended since.
func queueTouches(t *testing.T, db *sqlx.DB, configure func(*usersession.Options)) {
	t.Helper()
	opts := &usersession.Options{TouchInterval: 10 * time.Second}
	configure(opts)
	m := opendb.Migrated(t, db, opts)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	for range 20 { // of which the first may be earlier than Run
		c := &client{m: m}
		id := c.login(t, "user7")
		if _, err := db.ExecContext(ctx, db.Rebind("UPDATE user_sessions SET last_seen_at = last_seen_at - INTERVAL '1' MINUTE WHERE id = ?"), id); err != nil {
			t.Fatal(err)
		}
		c.do(t, func(context.Context) {})
		if err := m.RevokeSession(ctx, "user7", id); err != nil {
			t.Error(err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// useEverything calls every method of a Manager, so that every query is sent.
func useEverything(t *testing.T, db *sqlx.DB, m *usersession.Manager, configure func(*usersession.Options)) {
	t.Helper()
	ctx := t.Context()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	c := &client{m: m}
	in := func(fn func(ctx context.Context) error) {
		t.Helper()
		c.do(t, func(ctx context.Context) { ok(fn(ctx)) })
	}
	c.login(t, "user1")
	in(func(ctx context.Context) error { m.Put(ctx, "cart", 1); return nil })
	in(m.RenewToken)
	in(m.SessionManager.RenewToken)
	in(func(ctx context.Context) error { return m.Reauthenticate(ctx, usersession.WithMethod("password")) })
	in(func(ctx context.Context) error {
		if err := m.Login(ctx, "user1"); err != nil {
			return err
		}
		return m.SessionManager.RenewToken(ctx)
	})
	var token string
	in(func(ctx context.Context) error {
		if err := m.Login(ctx, "user1"); err != nil {
			return err
		}
		err := m.Reauthenticate(ctx, usersession.WithMethod("password"))
		token = m.Token(ctx)
		return err
	})
	byHand, err := m.SessionManager.Load(ctx, token)
	ok(err)
	ok(m.SessionManager.Clear(byHand))
	if _, _, err := m.SessionManager.Commit(byHand); !errors.Is(err, usersession.ErrSessionEnded) {
		t.Error(err)
	}
	id := c.login(t, "user1") // over a session
	ok(m.InSession(ctx, "user1", id, func(context.Context) error { return nil }))
	in(func(ctx context.Context) error { m.SetDeadline(ctx, time.Now().Add(time.Hour)); return nil })
	in(func(ctx context.Context) error {
		_, err := m.RevokeOtherSessions(ctx)
		return err
	})
	in(m.SessionManager.Destroy)
	c.login(t, "user1")
	in(m.Clear)
	id = c.login(t, "user1")
	ok(m.RevokeSession(ctx, "user1", id))
	if err := m.RevokeSession(ctx, "user1", id); err != usersession.ErrSessionNotFound {
		t.Error(err)
	}
	c.login(t, "user1")
	in(m.Logout)
	_, err = m.RevokeAllSessions(ctx, "user2")
	ok(err)
	c.login(t, "user2")
	in(m.Logout)
	_, err = m.AccountDisabled(ctx, "user2")
	ok(err)
	ok(m.AccountEnabled(ctx, "user2"))
	list, err := m.ListSessions(ctx, "user3")
	if len(list) != 5 || err != nil {
		t.Errorf("%d sessions, %v; want 5", len(list), err)
	}

	watchOne(t, db, m, configure)

	// By hand, on scs itself.
	c.login(t, "user1")
	hand, err := m.SessionManager.Load(ctx, c.cookie.Value)
	ok(err)
	ok(m.SessionManager.RenewToken(hand))
	_, _, err = m.SessionManager.Commit(hand)
	ok(err)
	hand, err = m.SessionManager.Load(ctx, "")
	ok(err)
	_, _, err = m.SessionManager.Commit(hand)
	ok(err)

	// Across users.
	for _, f := range []usersession.Filter{
		{}, {Ended: true}, {UserIDs: []string{"user3", "user4"}}, {CreatedBefore: time.Now().Add(-999 * time.Minute)},
		{IDs: []string{strings.Repeat("A", 22), strings.Repeat("B", 21) + "A"}}, {Ended: true, EndedAfter: time.Now()},
		{CreatedAfter: time.Now()}, {SeenBefore: time.Now().Add(-54 * time.Minute)}, {SeenAfter: time.Now()},
	} {
		n := 0
		for _, err := range m.ListMatching(ctx, f, usersession.Page{}) {
			ok(err)
			if n++; n == 501 {
				break
			}
		}
	}
	for _, limit := range []int{0, 10} {
		n, err := m.CountMatching(ctx, usersession.Filter{UserIDs: []string{"user3"}}, limit)
		if ok(err); n != 5 {
			t.Errorf("counted %d, want 5", n)
		}
	}
	hand, err = m.Load(ctx, "")
	ok(err)
	ok(m.Login(hand, "named"))
	named, err := m.Current(hand)
	ok(err)
	ok(m.SetMeta(ctx, "named", named.ID, map[string]string{"name": "x"}))
	for _, f := range []usersession.Filter{{}, {UserIDs: []string{"user3"}}} {
		for u, err := range m.ListUsers(ctx, f, usersession.Page{After: "user2", Limit: 1}) {
			if ok(err); u.Sessions != 5 {
				t.Errorf("%+v, want 5 sessions", u)
			}
		}
	}
	for _, err := range m.ListMatching(ctx, usersession.Filter{IDs: []string{"AAAAAAAAAAAAAAAAAAAAAA"}, ExceptIDs: []string{"BAAAAAAAAAAAAAAAAAAAAA"}}, usersession.Page{}) {
		ok(err)
	}
	_, err = m.Stats(ctx)
	ok(err)
	_, err = m.ListEndedSessions(ctx, "user10", 10)
	ok(err)
	_, err = m.RevokeMatching(ctx, usersession.Filter{UserIDs: []string{"user3", "user4"}})
	ok(err)
	c.do(t, func(ctx context.Context) {
		ok(m.Login(ctx, "user6", usersession.WithIdP("https://idp.example/", "sub6", "sid6")))
	})
	for _, idp := range []usersession.IdP{{Session: "sid8"}, {Subject: "sub10"}, {Subject: "sub12", Session: "sid12"}} {
		idp.Issuer = "https://idp.example/"
		_, err = m.RevokeMatching(ctx, usersession.Filter{IdP: idp, AuthenticatedBefore: time.Now()})
		ok(err)
	}
	tx, err := db.BeginTxx(ctx, nil)
	ok(err)
	rev, err := m.RevokeMatchingTx(ctx, tx, usersession.Filter{UserIDs: []string{"user5"}})
	ok(err)
	ok(tx.Commit())
	ok(rev.Finish(ctx))
	for range 2 { // a page of everybody's, and a read that is verified
		_, err = m.RevokeMatching(ctx, usersession.Filter{CreatedBefore: time.Now().Add(-999 * time.Minute)})
		ok(err)
	}
	adoptTwice(t, db, configure)
	// Other Stores, limits, a side that is down.
	for i, o := range []*usersession.Options{
		{Store: scsstore.Wrap(memstore.NewWithCleanupInterval(0)), MaxSessions: 2, OnLimit: usersession.LimitEvictOldest, TouchInterval: time.Nanosecond * 1e6},
		{Store: failing{usmemstore.New()}, MaxSessions: 20},
		{Store: usmemstore.New(), MaxSessions: 2, OnLimit: usersession.LimitEvictLeastRecent},
	} {
		configure(o)
		user := fmt.Sprint("user", 6+i) // whose data are all in one Store
		other := opendb.Migrated(t, db, o)
		oc := &client{m: other}
		for range 3 {
			oc = &client{m: other}
			oc.login(t, user)
		}
		tick := time.NewTicker(5 * time.Millisecond)
		<-tick.C
		tick.Stop()
		oc.do(t, func(context.Context) {})
		if i == 2 {
			found, err := other.ReconcileStore(ctx, usersession.ReconcileOptions{DryRun: true})
			if ok(err); found.Keys != 2 {
				t.Errorf("%+v, want 2 keys", found)
			}
		}
		_, err := other.RevokeAllSessions(ctx, user)
		if _, down := o.Store.(failing); down != errors.Is(err, usersession.ErrRevocationPending) {
			t.Error(err)
		}
	}
	queueTouches(t, db, configure)
	useDevices(t, m, usersession.UserSession{UserID: "user60", ID: "x"}, "x", partitionsOf(configure) > 0)
	for _, err := range m.ExportUser(ctx, "user50") {
		ok(err)
	}
	_, err = m.PurgeUser(ctx, "user50")
	ok(err)
	retains := &usersession.Options{Privacy: usersession.Privacy{IPRetention: 900 * time.Minute, UserAgentRetention: usersession.UntilEnd}}
	configure(retains)
	_, err = opendb.Migrated(t, db, retains).Prune(ctx)
	ok(err)
	store, err := usersession.NewSQLStore(db, nil)
	ok(err)
	_, _, err = store.Find(ctx, "x")
	ok(err)
	_, _, _, err = store.FindExpiry(ctx, "x")
	ok(err)
	_, err = store.Touch(ctx, "x", time.Now())
	ok(err)
	n := 0
	for _, err := range store.Keys(ctx) {
		ok(err)
		if n++; n == 501 {
			break
		}
	}

	// The janitor, with rows for every step.
	for _, q := range []string{
		"UPDATE user_sessions SET purge_at = ended_at WHERE user_id IN ('user10', 'user20')",
		"UPDATE user_sessions SET purge_at = ended_at, expires_at = ended_at WHERE user_id = 'user30'",
		"UPDATE user_sessions SET user_id = NULL WHERE user_id = 'user40'",
	} {
		if _, err := db.ExecContext(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	_, err = m.Prune(ctx)
	ok(err)
}
