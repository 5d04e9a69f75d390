// Command scaling measures what docs/scaling.md reckons with: the size of a
// session's row, of its index entries and of its value in Redis, and what the
// operations write. It runs throwaway servers and writes docs/scaling-figures.txt.
//
//	go run ./bench/scaling               # from the root of the repository
//	go run ./bench/scaling -rows 10000   # does it run?
//
// It imports the root module, the test servers and lib/pq.
package main

import (
	"bufio"
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/memstore"
)

var (
	rows = flag.Int("rows", 1_000_000, "sessions in the index")
	file = flag.String("o", "docs/scaling-figures.txt", "the file to write")
)

// operations is how many of each operation are measured.
const operations = 2000

func main() {
	log.SetFlags(0)
	flag.Parse()
	var out strings.Builder
	err := testserver.Command("scaling", func(tb testing.TB) {
		fmt.Fprintf(&out, "Written by: go run ./bench/scaling -rows %d\n", *rows)
		for _, partitions := range []int{0, 16} {
			postgres(tb, &out, partitions)
		}
		redis(tb, &out)
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(*file, []byte(out.String()), 0o644); err != nil {
		log.Fatal(err)
	}
}

// fillSQL makes sessions as a login leaves them: five to a user, one in ten of
// them ended, over a day. Keys and IDs are as random as real ones.
const fillSQL = `
INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta, ended_at, ended_by, reason, purge_at)
SELECT left(translate(encode(uuid_send(gen_random_uuid()), 'base64'), '+/', '-_'), 22), 'user' || n % ($1 / 5),
	left(translate(encode(sha256(uuid_send(gen_random_uuid())), 'base64'), '+/', '-_'), 43),
	t, t, t, t + interval '1 day', '203.0.113.' || n % 250,
	'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36',
	'{"auth_method": "password"}',
	CASE WHEN n % 10 = 0 THEN t END, CASE WHEN n % 10 = 0 THEN 'user' ELSE '' END, CASE WHEN n % 10 = 0 THEN 'logout' ELSE '' END,
	CASE WHEN n % 10 = 0 THEN t + interval '1 day' END
FROM generate_series(1, $1) AS n, LATERAL (SELECT now() - 80000.0 * ($1 - n) / $1 * interval '1 second' - n * interval '1 microsecond') AS times (t)`

const sizesSQL = `
WITH parts AS (SELECT oid::regclass AS relid FROM pg_class WHERE relkind = 'r' AND relname ~ '^user_sessions(_p[0-9]+)?$')
SELECT 'row' AS name, sum(pg_relation_size(relid))::bigint AS bytes FROM parts
UNION ALL
SELECT 'entry of the index on ' || regexp_replace(pg_get_indexdef(indexrelid), '^.* USING btree ', ''), sum(pg_relation_size(indexrelid))::bigint
FROM pg_index JOIN parts ON indrelid = relid
GROUP BY 1
ORDER BY bytes DESC`

func postgres(tb testing.TB, out *strings.Builder, partitions int) {
	ctx := tb.Context()
	dsn := testserver.FreshPostgres(tb, func(dsn string) (*sql.DB, error) { return sql.Open("postgres", dsn) })
	db := sqlx.MustConnect("postgres", dsn)
	defer db.Close()
	// The index alone is measured, so data are in memory.
	m, err := usersession.New(db, &usersession.Options{Store: memstore.New(), Index: usersession.IndexOptions{Partitions: partitions}, TouchInterval: time.Millisecond})
	must(tb, err)
	must(tb, m.Migrate(ctx))
	must(tb, exec(ctx, db, "SET work_mem = '64MB'"))
	_, err = db.ExecContext(ctx, fillSQL, *rows)
	must(tb, err)
	must(tb, exec(ctx, db, "VACUUM ANALYZE user_sessions"))

	version := ""
	must(tb, db.GetContext(ctx, &version, "SHOW server_version"))
	fmt.Fprintf(out, "\nIndex of %d rows, %d users, PostgreSQL %s, Partitions %d: bytes per session\n", *rows, *rows/5, version, partitions)
	var sizes []struct {
		Name  string `db:"name"`
		Bytes int64  `db:"bytes"`
	}
	must(tb, db.SelectContext(ctx, &sizes, sizesSQL))
	total := int64(0)
	for _, s := range sizes {
		fmt.Fprintf(out, "%8.1f  %s\n", float64(s.Bytes)/float64(*rows), s.Name)
		total += s.Bytes
	}
	fmt.Fprintf(out, "%8.1f  together\n", float64(total)/float64(*rows))

	fmt.Fprintf(out, "\nOne client, one after the other, %d each, Partitions %d: WAL bytes, median time\n", operations, partitions)
	tokens := make([]string, operations)
	user := func(i int) string { return fmt.Sprint("new", i) }
	measure := func(name string, fn func(i int) error) {
		before, times := wal(tb, db), make([]time.Duration, operations)
		for i := range operations {
			begin := time.Now()
			must(tb, fn(i))
			times[i] = time.Since(begin)
		}
		slices.Sort(times)
		fmt.Fprintf(out, "%8.0f  %8.3f ms  %s\n", float64(wal(tb, db)-before)/operations, float64(times[operations/2].Microseconds())/1000, name)
	}
	measure("login (two statements)", func(i int) error {
		ctx, err := m.Load(ctx, "")
		if err == nil {
			err = m.Login(ctx, user(i))
		}
		if err == nil {
			tokens[i], _, err = m.Commit(ctx)
		}
		return err
	})
	measure("touch", func(i int) error {
		ctx, err := m.Load(ctx, tokens[i])
		if err == nil && m.UserID(ctx) != user(i) {
			err = fmt.Errorf("the session of %s is not served", user(i))
		}
		return err
	})
	measure("list", func(i int) error {
		list, err := m.ListSessions(ctx, user(i))
		if err == nil && len(list) != 1 {
			err = fmt.Errorf("%d sessions of %s", len(list), user(i))
		}
		return err
	})
	measure("revoke all of a user with one session", func(i int) error {
		n, err := m.RevokeAllSessions(ctx, user(i))
		if err == nil && n != 1 {
			err = fmt.Errorf("%d sessions of %s revoked", n, user(i))
		}
		return err
	})
	must(tb, exec(ctx, db, "UPDATE user_sessions SET purge_at = ended_at, expires_at = ended_at WHERE ended_at IS NOT NULL"))
	must(tb, exec(ctx, db, "VACUUM ANALYZE user_sessions"))
	begin := time.Now()
	before := wal(tb, db)
	res, err := m.Prune(ctx)
	must(tb, err)
	fmt.Fprintf(out, "%8.0f  %8.3f ms  janitor, per row pruned (%d rows in %.1f s)\n", float64(wal(tb, db)-before)/float64(res.Pruned),
		float64(time.Since(begin).Microseconds())/1000/float64(res.Pruned), res.Pruned, time.Since(begin).Seconds())
}

// wal returns how many bytes of write-ahead log there have been.
func wal(tb testing.TB, db *sqlx.DB) int64 {
	var n int64
	must(tb, db.GetContext(tb.Context(), &n, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint"))
	return n
}

// redis measures values of the size that a session with a few values has: the
// codec's 150 bytes and the trailer's 90.
func redis(tb testing.TB, out *strings.Builder) {
	const keys, size = 100_000, 240
	conn, err := net.Dial("tcp", testserver.Redis(tb))
	must(tb, err)
	defer conn.Close()
	r := bufio.NewReader(conn)
	used := func() (n int64) {
		fmt.Fprint(conn, "INFO memory\r\n")
		for {
			line, err := r.ReadString('\n')
			must(tb, err)
			fmt.Sscanf(line, "used_memory:%d", &n)
			if strings.HasPrefix(line, "mem_fragmentation_bytes") || line == "\r\n" {
				for r.Buffered() > 0 {
					r.Discard(r.Buffered())
				}
				return n
			}
		}
	}
	before := used()
	for i := range keys {
		fmt.Fprintf(conn, "SET usersession:%043d %s PX 3600000 NX\r\n", i, strings.Repeat("x", size))
		line, err := r.ReadString('\n')
		must(tb, err)
		if line != "+OK\r\n" {
			tb.Fatalf("SET: %s", line)
		}
	}
	fmt.Fprintf(out, "\nRedis, %d values of %d bytes under keys of 55: memory per session, its entry and its TTL included\n%8.1f  bytes\n",
		keys, size, float64(used()-before)/keys)
	fmt.Fprintf(out, "\n%s %s/%s, %d processors, other work beside it. The servers do not wait for disks and write no full\npages to the WAL. Sizes are of tables just written and vacuumed; times are of a loopback connection.\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
}

func exec(ctx context.Context, db *sqlx.DB, q string) error {
	_, err := db.ExecContext(ctx, q)
	return err
}

func must(tb testing.TB, err error) {
	if err != nil {
		tb.Fatal(err)
	}
}
