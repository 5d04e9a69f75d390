package stores_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/redis/go-redis/v9"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
	"github.com/seed-296ca7ab/usersession/redisstore"
)

// drift is what is wrong with one session in a thousand each.
type drift int

const (
	sound drift = iota
	lost
	over
	rowless
	early
	late
	never
	former  // and its data under a former key
	foreign // and data of another program
)

func driftOf(i int) drift {
	if k := drift(i % 1000); k <= foreign {
		return k
	}
	return sound
}

// text returns the base64 form of a sum of a number.
func sumText(kind string, i, size int) string {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(kind), uint64(i)))
	return base64.RawURLEncoding.EncodeToString(sum[:size])
}

// TestDriftAtSize injects every kind of drift into PostgreSQL and Redis, lets Reconcile
// and ReconcileStore find and repair it beside traffic, and wants nothing else to have
// changed. USERSESSION_TEST_SESSIONS is the number of sessions.
func TestDriftAtSize(t *testing.T) {
	depth.OnlyFull(t)
	n := 1000
	if s := os.Getenv("USERSESSION_TEST_SESSIONS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	db := opendb.Pq(t)(t)
	client := redis.NewClient(&redis.Options{Addr: testserver.OwnRedis(t).Addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	store, err := redisstore.New(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := opendb.Migrated(t, db, &usersession.Options{Store: store, InsecureCookies: true, ReadTimeout: time.Minute, WriteTimeout: time.Minute})
	began := time.Now()
	injectRows(t, db, store.Place(), n, began)
	injectData(t, client, n, began)
	t.Logf("%d sessions made in %v", n, time.Since(began).Round(time.Second))
	before := fingerprints(t, db, client, n)

	traffic, stop := context.WithCancel(t.Context())
	served := make(chan int)
	go func() { served <- serveMeanwhile(traffic, t, m) }()
	each := n / 1000
	want := usersession.ReconcileResult{Over: 2 * each, Early: each, Late: 2 * each, Rowless: each, Left: each, Deleted: each}
	run := func(opts usersession.ReconcileOptions, lost int) {
		t.Helper()
		low := rss(t)
		at := time.Now()
		if !opts.DryRun {
			if got, err := m.Reconcile(t.Context()); got != lost || err != nil {
				t.Errorf("Reconcile: %d, %v, want %d", got, err, lost)
			}
			t.Logf("Reconcile: %v, %d MB more", time.Since(at).Round(time.Second), rss(t)-low)
		}
		at = time.Now()
		got, err := m.ReconcileStore(t.Context(), opts)
		t.Logf("ReconcileStore: %v, %d MB more: %d keys", time.Since(at).Round(time.Second), rss(t)-low, got.Keys)
		got.Keys, got.Anonymous, got.RowlessIDs = 0, 0, nil
		if fmt.Sprint(got) != fmt.Sprint(want) || err != nil {
			t.Errorf("ReconcileStore: %+v, %v, want %+v", got, err, want)
		}
	}
	run(usersession.ReconcileOptions{DeleteRowless: true}, each)
	want = usersession.ReconcileResult{Left: each}
	run(usersession.ReconcileOptions{DryRun: true}, 0)
	stop()
	t.Logf("%d sessions served meanwhile", <-served)

	if after := fingerprints(t, db, client, n); !maps.Equal(before, after) {
		t.Errorf("sessions without drift have changed: %v, before %v", after, before)
	}
	var ended int
	if err := db.Get(&ended, "SELECT COUNT(*) FROM user_sessions WHERE reason = 'data_lost'"); err != nil || ended != each {
		t.Errorf("%d sessions ended as lost, %v, want %d", ended, err, each)
	}
}

// rss returns the memory of this process in megabytes, without what is free.
func rss(t *testing.T) int {
	t.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0 // not on Linux
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb / 1024
}

// injectRows writes the rows of n sessions that are an hour old, and were seen at a time
// that is the same for all: to write very many takes minutes.
func injectRows(t *testing.T, db *sqlx.DB, place string, n int, seen time.Time) {
	t.Helper()
	const step = 5000
	for from := 0; from < n; from += step {
		var ids, users, keys, others []string
		var overs []bool
		for i := from; i < min(from+step, n); i++ {
			if driftOf(i) == rowless {
				continue
			}
			other := ""
			if driftOf(i) == former {
				other = sumText("former", i, 32)
			}
			ids, users, keys = append(ids, sumText("id", i, 16)), append(users, fmt.Sprint("user", i/3)), append(keys, sumText("key", i, 32))
			others, overs = append(others, other), append(overs, driftOf(i) == over)
		}
		if _, err := db.ExecContext(t.Context(), `
INSERT INTO user_sessions (id, user_id, session_key, other_key, created_at, authenticated_at, last_seen_at, expires_at, ended_at, purge_at, ip, user_agent, meta, place)
SELECT id, user_id, key, NULLIF(other, ''), $7::timestamptz - interval '1 hour', $7 - interval '1 hour', $7, $7 + interval '23 hours',
	CASE WHEN over THEN $7 END, CASE WHEN over THEN $7 + interval '23 hours' END, '203.0.113.7', 'Firefox', '{}', $6
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bool[]) AS s(id, user_id, key, other, over)`,
			pq.Array(ids), pq.Array(users), pq.Array(keys), pq.Array(others), pq.Array(overs), place, seen); err != nil {
			t.Fatal(err)
		}
	}
	opendb.MustExec(t, db, "ANALYZE user_sessions")
}

// injectData writes their data.
func injectData(t *testing.T, client *redis.Client, n int, seen time.Time) {
	t.Helper()
	const step = 5000
	body := []byte(strings.Repeat("x", 100))
	for from := 0; from < n; from += step {
		pipe := client.Pipeline()
		set := func(key string, data []byte, ttl time.Duration) { // from seen; 0: for ever
			if ttl > 0 {
				ttl -= time.Since(seen)
			}
			pipe.Set(t.Context(), redisstore.DefaultPrefix+key, data, ttl)
		}
		for i := from; i < min(from+step, n); i++ {
			key, ttl := sumText("key", i, 32), time.Hour // the idle timeout
			data := func(key string) []byte {
				return trailer.Append(body[:len(body):len(body)], &trailer.Binding{
					Key: key, Deadline: seen.Add(23 * time.Hour), UserID: fmt.Sprint("user", i/3), ID: sumText("id", i, 16), AuthenticatedAt: seen.Add(-time.Hour),
				})
			}
			switch driftOf(i) {
			case lost:
				continue
			case early:
				ttl = 50 * time.Minute // a run of this test takes less
			case late:
				ttl = 1000 * time.Hour
			case never:
				ttl = 0
			case former:
				set(sumText("former", i, 32), data(sumText("former", i, 32)), ttl)
			case foreign:
				set(sumText("foreign", i, 32), body, ttl)
			}
			set(key, data(key), ttl)
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// fingerprints sums up the sessions that have no drift. What is to expire is told by
// the minute in which it will.
func fingerprints(t *testing.T, db *sqlx.DB, client *redis.Client, n int) map[string]int64 {
	t.Helper()
	sums := make(map[string]int64)
	const step = 5000
	for from := 0; from < n; from += step {
		var ids []string
		pipe := client.Pipeline()
		for i := from; i < min(from+step, n); i++ {
			if k := driftOf(i); k == sound || k == former || k == foreign {
				ids = append(ids, sumText("id", i, 16))
				pipe.Do(t.Context(), "PEXPIRETIME", redisstore.DefaultPrefix+sumText("key", i, 32))
				pipe.StrLen(t.Context(), redisstore.DefaultPrefix+sumText("key", i, 32))
			}
		}
		cmds, err := pipe.Exec(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, cmd := range cmds {
			switch c := cmd.(type) {
			case *redis.Cmd:
				ms, err := c.Int64()
				if err != nil {
					t.Fatal(err)
				}
				sums["expiries"] += ms
			case *redis.IntCmd:
				sums["bytes"] += c.Val()
			}
		}
		var sum int64
		if err := db.GetContext(t.Context(), &sum, "SELECT COALESCE(SUM(hashtextextended(s::text, 0) / 1000000), 0)::bigint FROM user_sessions s WHERE id = ANY($1)", pq.Array(ids)); err != nil {
			t.Fatal(err)
		}
		sums["rows"] += sum
	}
	return sums
}

// serveMeanwhile logs users in and serves them, one after the other, until ctx ends.
func serveMeanwhile(ctx context.Context, t *testing.T, m *usersession.Manager) (served int) {
	request := func(tok, user string) string {
		rctx, err := m.Load(context.WithoutCancel(ctx), tok)
		switch {
		case err != nil:
		case tok == "":
			err = m.Login(rctx, user)
		case m.UserID(rctx) != user:
			t.Errorf("%s was logged out meanwhile", user)
		}
		if err == nil && tok == "" {
			tok, _, err = m.Commit(rctx)
		}
		if err != nil {
			t.Errorf("a request meanwhile: %v", err)
		}
		return tok
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var toks []string
	for ; ctx.Err() == nil; served++ {
		toks = append(toks, request("", fmt.Sprint("traffic", served)))
		<-tick.C
		request(toks[served/2], fmt.Sprint("traffic", served/2))
	}
	return served
}
