package database_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lib/pq"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/backendtest"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// partitions is how many the tests divide the index into.
const partitions = 4

func partitioned(o *usersession.Options) { o.Index.Partitions = partitions }

// TestPartitionedBackends is the table of backends with the index in
// partitions: every behaviour, with the default Store, whose sessions are then
// verified by a statement of their own, and with one that is atomic.
func TestPartitionedBackends(t *testing.T) {
	depth.OnlyFull(t)
	open := opendb.Pq(t)
	backendtest.Run(t, open, backendtest.Named(backendtest.Stores(open), "sql", "memstore"), partitioned)
}

func TestPartitionedDatabase(t *testing.T) {
	depth.OnlyFull(t)
	backendtest.RunDatabase(t, opendb.Pq(t), partitioned)
}

var updatePartitions = flag.Bool("update-partitions", false, "write docs/partitions.txt anew")

// TestExplainPartitioned asks PostgreSQL how many partitions it would read for
// every query of this package: one for whatever is about one user. The file
// docs/partitions.txt has them all.
func TestExplainPartitioned(t *testing.T) {
	depth.OnlyFull(t)
	db, queries := queriesOf(t, opendb.Pq, partitioned)
	conn, err := db.Connx(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	read := map[string]int{}
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		if _, err := conn.ExecContext(t.Context(), "SET plan_cache_mode = "+mode); err != nil {
			t.Fatal(err)
		}
		for text, c := range queries {
			if !strings.Contains(regexp.MustCompile("user_sessions_(fences|signouts)").ReplaceAllString(text, ""), "user_sessions") {
				continue // session data, fences and sign-outs are in no partitions
			}
			if strings.HasSuffix(text, "WHERE 1 = 0") {
				continue // the last statement of Migrate
			}
			plan := explain(t, conn, c)
			n, most, name := partitionsIn(plan), mostPartitions(text), shortened(text)
			if n == 0 || n > most {
				t.Errorf("%s: %d partitions, at most %d:\n%s\n%s", mode, n, most, text, plan)
			}
			read[name] = max(n, read[name])
		}
	}
	everything := slices.Collect(keys(queries))
	for i, text := range everything {
		everything[i] = anyPartition(text)
	}
	for _, part := range everyQuery {
		if part != "LEFT JOIN" && !strings.HasPrefix(part, "WITH ") && // data and row are read one after the other here
			!slices.ContainsFunc(everything, func(q string) bool { return strings.Contains(q, part) }) {
			t.Errorf("no query was seen with %q in it", part)
		}
	}

	const file = "../../docs/partitions.txt"
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !*updatePartitions {
		// Statements of one form may be about other users in another run, whose
		// partitions happen to be fewer.
		for line := range strings.Lines(string(want)) {
			var most int
			if _, err := fmt.Sscan(line, &most); err != nil {
				continue
			}
			_, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
			if n, ok := read[name]; ok && n < most {
				t.Logf("%d partitions instead of %d: %s", n, most, name)
				read[name] = most
			}
		}
	}
	var lines []string
	for name, n := range read {
		lines = append(lines, fmt.Sprintf("%d  %s\n", n, name))
	}
	slices.Sort(lines)
	got := fmt.Sprintf("How many partitions each query of the index reads, of %d, as EXPLAIN of PostgreSQL\n"+
		"shows it, with custom and with generic plans. Written by this command, and compared\n"+
		"with what EXPLAIN shows by every run of the tests:\n\n"+
		"    USERSESSION_TEST_DEPTH=full go test -run TestExplainPartitioned . -update-partitions, in compat/database\n\n", partitions) + strings.Join(lines, "")
	if *updatePartitions {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		want = []byte(got)
	}
	if got != string(want) {
		t.Errorf("%s is not what EXPLAIN shows now; see there. Now:\n%s", file, got)
	}
}

// anyPartition puts the name of the index in the place of a partition's.
func anyPartition(query string) string {
	return partitionName.ReplaceAllString(query, `"user_sessions"`)
}

// shortened is what of a query selects rows.
func shortened(query string) string {
	for _, r := range []struct{ pattern, with string }{
		{`\buser_sessions_p\d+\b`, "one partition"},
		{`"user_sessions"`, "the index"},
		{`^SELECT (COUNT\(\*\)|).*? FROM (the|one)`, "SELECT $1… FROM $2"},
		{`^UPDATE (the index|one partition) SET (\w+) = .*? WHERE (id|user_id|session_key|ended_at) `, "UPDATE $1 SET $2… WHERE $3 "},
		{`VALUES .*`, "…"}, {` RETURNING .*`, ""},
		{`statement_timestamp\(\)`, "now"},
		{`\(?ended_at IS NULL AND expires_at > now AND last_seen_at > \(now \+ \(CASE WHEN idle_timeout IS NULL THEN -3600000000 ELSE -idle_timeout END\)::bigint \* interval '1 microsecond'\)\)?`, "(live)"},
		{`\(ended_at IS NULL OR purge_at <= .*?'1 microsecond'\)\)`, "(not ended for good)"},
		{`\(timestamptz 'epoch' \+ \(\$1\)::bigint \* interval '1 microsecond'\)`, "$$1"},
		{`\$\d+`, "?"},
		{`'=?(?:index|sql|scs|store|memory) ?[^']*'`, "'the place'"}, {`'memory#\w+'`, "'the place'"},
	} {
		query = regexp.MustCompile(r.pattern).ReplaceAllString(query, r.with)
	}
	return query
}

var (
	partitionName = regexp.MustCompile(`\buser_sessions_p\d+\b`)
	scanned       = regexp.MustCompile(`(?:Scan|Insert).* on (user_sessions(?:_p\d+)?)\b`)
)

// partitionsIn counts the partitions that a plan reads or writes. What it names
// for nothing but locks does not count.
func partitionsIn(plan string) int {
	seen := map[string]bool{}
	for _, m := range scanned.FindAllStringSubmatch(plan, -1) {
		seen[m[1]] = true
	}
	return len(seen)
}

// mostPartitions returns how many partitions a query may read.
func mostPartitions(query string) int {
	switch {
	case strings.HasPrefix(query, "INSERT") && strings.Contains(query, "COUNT(*)"): // where it counts; the plan names the index as well
		return 2
	case strings.HasPrefix(query, "INSERT"), // into that of the user
		partitionName.MatchString(query): // the janitor's
		return 1
	case strings.Contains(query, "SET expires_at = CASE"): // a login over a session, perhaps somebody else's
		return 2
	case strings.Contains(query, "user_id = $") && strings.Contains(query, "OR user_id IS NULL"): // their user is gone
		return 2
	case strings.Contains(query, "user_id = $"):
		return 1
	}
	for _, part := range []string{
		// scs was called directly, which knows the token only.
		"WHERE session_key = $1", "WHERE session_key = $4 AND (ended_at", "reason = $1 WHERE session_key",
		// A session that is refused and may be another program's.
		"AS renewing FROM",
		// Across users: those of some, or of all; whoever was seen lately.
		"user_id IN", "session_key IN", "ORDER BY id LIMIT 500",
		// The counts of Stats.
		"GROUP BY user_id", ") AS waiting",
		// What has ended lately, of any user.
		"WHERE purge_at >=", "WHERE purge_at IS NOT NULL",
	} {
		if strings.Contains(query, part) {
			return partitions
		}
	}
	return 0
}

// TestPartitionsKeepKeysUnique tries what the constraints are to refuse.
func TestPartitionsKeepKeysUnique(t *testing.T) {
	db := opendb.Pq(t)(t)
	m := opendb.Migrated(t, db, &usersession.Options{Index: usersession.IndexOptions{Partitions: partitions}})
	(&client{m: m}).login(t, "alice")
	other := ""
	for n := 0; other == ""; n++ { // a user of the same partition
		u := fmt.Sprint("bob", n)
		(&client{m: m}).login(t, u)
		var same bool
		if err := db.Get(&same, "SELECT count(DISTINCT tableoid) = 1 FROM user_sessions WHERE user_id IN ('alice', $1)", u); err != nil {
			t.Fatal(err)
		}
		if same {
			other = u
		}
	}
	for _, tc := range []struct{ name, id, key, user string }{
		{"the ID, of the same user", "id", "'k'", "alice"},
		{"the key, of the same user", "'i'", "session_key", "alice"},
		{"the ID, of another user of the partition", "id", "'k'", other},
		{"the key, of another user of the partition", "'i'", "session_key", other},
	} {
		_, err := db.ExecContext(t.Context(), `INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta)
			SELECT `+tc.id+`, $1, `+tc.key+`, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta FROM user_sessions WHERE user_id = 'alice'`, tc.user)
		if pqErr, ok := err.(*pq.Error); !ok || pqErr.Code != "23505" {
			t.Errorf("%s twice: %v, want a violated unique constraint", tc.name, err)
		}
	}
	if list, err := m.ListSessions(t.Context(), "alice"); len(list) != 1 || err != nil {
		t.Errorf("%d sessions, %v; want 1", len(list), err)
	}
}

// TestPartitionsAreNeverChanged wants Migrate to refuse a table that is there in
// another form.
func TestPartitionsAreNeverChanged(t *testing.T) {
	open := opendb.Pq(t)
	for _, tc := range []struct {
		name      string
		is, wants int
		err       string
	}{
		{"a plain table", 0, 4, `Options.Index.Partitions: is 4, but the table "user_sessions" is there and is not partitioned`},
		{"another number", 4, 8, `Options.Index.Partitions: is 8, but the table "user_sessions" is there in 4 partitions`},
		{"the same", 4, 4, ""},
		{"partitions that this program does not know of", 4, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db := open(t)
			was := opendb.Migrated(t, db, &usersession.Options{Index: usersession.IndexOptions{Partitions: tc.is}})
			(&client{m: was}).login(t, "alice")
			m, err := usersession.New(db, &usersession.Options{Index: usersession.IndexOptions{Partitions: tc.wants}})
			if err != nil {
				t.Fatal(err)
			}
			err = m.Migrate(t.Context())
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("Migrate: %v, want %q", err, tc.err)
			}
			if list, err := m.ListSessions(t.Context(), "alice"); len(list) != 1 || err != nil {
				t.Errorf("%d sessions, %v; want 1", len(list), err)
			}
		})
	}
}

// TestPrunePartitions wants Prune to go through the partitions one by one: no
// statement of it reads two.
func TestPrunePartitions(t *testing.T) {
	db := opendb.Pq(t)(t)
	spy, spied := opendb.Spied(t, db)
	m := opendb.Migrated(t, spied, &usersession.Options{Index: usersession.IndexOptions{Partitions: partitions}})
	fill(t, db, 10_000)
	spy.Take()
	res, err := m.Prune(t.Context())
	if err != nil || res.Expired == 0 || res.Redeleted == 0 || res.Pruned == 0 {
		t.Fatalf("%+v, %v; want some of each", res, err)
	}
	seen := map[string]bool{}
	for _, c := range spy.Take() {
		names := partitionName.FindAllString(c.Query, -1)
		if strings.Contains(c.Query, `"user_sessions"`) || len(slices.Compact(slices.Sorted(slices.Values(names)))) > 1 {
			t.Errorf("a statement for more than one partition: %s", c.Query)
		}
		for _, n := range names {
			seen[n] = true
		}
	}
	if len(seen) != partitions {
		t.Errorf("%d partitions were pruned, want %d", len(seen), partitions)
	}
	var left int
	if err := db.Get(&left, "SELECT count(*) FROM user_sessions WHERE ended_at IS NULL AND expires_at <= now()"); err != nil || left > 0 {
		t.Errorf("%d rows are left, %v", left, err)
	}
}
