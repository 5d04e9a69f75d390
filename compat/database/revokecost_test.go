package database_test

import (
	"flag"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

var revokeRows = flag.Int("revoke-rows", 0, "the rows of the larger table of TestRevokeOneTouches")

// TestRevokeOneTouches asks PostgreSQL how many pages the end of one session touches,
// and how much of the log it writes. Neither grows with the table. How many of the pages
// are in memory does:
//
//	go test ./database -run TestRevokeOneTouches -v -revoke-rows 1000000
func TestRevokeOneTouches(t *testing.T) {
	depth.OnlyFull(t)
	const times = 600
	open := opendb.Pq(t)
	for _, rows := range []int{10_000, *revokeRows} {
		if rows == 0 {
			continue
		}
		db := open(t)
		spy, spied := opendb.Spied(t, db)
		m := opendb.Migrated(t, spied, &usersession.Options{})
		fill(t, db, rows)
		id := (&client{m: m}).login(t, "alice")
		spy.Take()
		if err := m.RevokeSession(t.Context(), "alice", id); err != nil {
			t.Fatal(err)
		}
		var sessions []struct {
			ID   string `db:"id"`
			User string `db:"user_id"`
		}
		if err := db.SelectContext(t.Context(), &sessions, "SELECT id, user_id FROM user_sessions WHERE ended_at IS NULL ORDER BY md5(id) LIMIT "+strconv.Itoa(times)); err != nil {
			t.Fatal(err)
		}
		db.SetMaxOpenConns(1)
		opendb.MustExec(t, db, "CHECKPOINT")
		for _, c := range spy.Take() {
			if strings.HasPrefix(c.Query, "UPDATE") && !c.Prepare {
				opendb.MustExec(t, db, "PREPARE ending AS "+c.Query)
			}
		}
		sum := map[string]int{}
		for _, s := range sessions {
			var plan []string
			if err := db.SelectContext(t.Context(), &plan, fmt.Sprintf("EXPLAIN (ANALYZE, BUFFERS, WAL) EXECUTE ending('', 'revoked', 60000000, '%s', '%s')", s.ID, s.User)); err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{} // the first line of each kind counts for what is below it
			for _, m := range regexp.MustCompile(`(hit|read|dirtied|records|bytes)=(\d+)`).FindAllStringSubmatch(strings.Join(plan, "\n"), -1) {
				if n, err := strconv.Atoi(m[2]); err == nil && !seen[m[1]] {
					sum[m[1]], seen[m[1]] = sum[m[1]]+n, true
				}
			}
		}
		of := func(what string) float64 { return float64(sum[what]) / float64(len(sessions)) }
		t.Logf("%d rows: %.1f pages found in memory, %.1f read, %.1f written to for the first time; %.1f records of %.0f bytes",
			rows, of("hit"), of("read"), of("dirtied"), of("records"), of("bytes"))
		if pages := of("hit") + of("read"); len(sessions) < times || pages < 5 || pages > 35 || of("records") > 12 {
			t.Errorf("%.1f pages and %.1f records of the log for the end of one of %d sessions", pages, of("records"), len(sessions))
		}
	}
}
