package system

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/trailer"
	"github.com/seed-296ca7ab/usersession/redisstore"
)

// row is a row of the index as it is.
type row struct {
	ID       string         `db:"id"`
	Key      string         `db:"session_key"`
	Other    string         `db:"other_key"`
	User     sql.NullString `db:"user_id"`
	Label    string         `db:"label"`
	Live     bool           `db:"live"`
	Bound    bool           `db:"bound"` // its login was committed
	Redelete bool           `db:"redelete"`
	Text     string         `db:"whole"`
}

const rowsSQL = `
SELECT id, session_key, ltrim(COALESCE(other_key, ''), '+') AS other_key, user_id, COALESCE(meta->>'label', '') AS label,
	ended_at IS NULL AND expires_at > now() AND last_seen_at > now() - interval '1 hour' AS live,
	expires_at > created_at + interval '10 minutes' AS bound,
	COALESCE(ended_at IS NOT NULL AND purge_at <= ended_at + interval '61 seconds', false) AS redelete,
	user_sessions::text AS whole
FROM user_sessions`

// entry is a session as the store has it.
type entry struct {
	data []byte
	ttl  time.Duration
}

// entries are all sessions in the store, by their keys.
func (w *world) entries(ctx context.Context) (map[string]entry, error) {
	entries := make(map[string]entry)
	if w.keys == nil {
		var rows []struct {
			Token string
			Data  []byte
			Left  float64
		}
		err := w.index.SelectContext(ctx, &rows,
			"SELECT token, data, extract(epoch FROM expiry - now())::float8 AS left FROM sessions WHERE expiry > now()")
		for _, r := range rows {
			entries[r.Token] = entry{r.Data, time.Duration(r.Left * float64(time.Second))}
		}
		return entries, err
	}
	scan := w.keys.Scan(ctx, 0, "*", 1000).Iterator()
	for scan.Next(ctx) {
		name := scan.Val()
		key, found := strings.CutPrefix(name, redisstore.DefaultPrefix)
		if !found {
			return nil, fmt.Errorf("Redis has a key %q", name)
		}
		data, err := w.keys.Get(ctx, name).Bytes()
		if err != nil {
			return nil, err
		}
		ttl, err := w.keys.PTTL(ctx, name).Result()
		if err != nil {
			return nil, err
		}
		entries[key] = entry{data, ttl}
	}
	return entries, scan.Err()
}

// findings are what a comparison of index and store found.
type findings struct {
	entries, rows int
	unlisted      int // sessions that would be served and have no live row
	interrupted   int // of those, the ones whose second delete is to come
	withoutData   int // rows that are listed and have no data, for a reason
	unexplained   int // the same for no reason
	forgotten     int // keys that a failover brought back
	immortal      int // without a TTL, or with one longer than the lifetime
	tokens        int // raw tokens found
	details       []string
}

// compare compares index and store while nothing moves.
func (w *world) compare(ctx context.Context, tokens map[string]bool, excused func(label string) bool) (findings, error) {
	var f findings
	var rows []row
	if err := w.index.SelectContext(ctx, &rows, rowsSQL); err != nil {
		return f, err
	}
	entries, err := w.entries(ctx)
	if err != nil {
		return f, err
	}
	say := func(format string, args ...any) { f.details = append(f.details, fmt.Sprintf(format, args...)) }
	byKey := make(map[string]row)
	for _, r := range rows {
		byKey[r.Key] = r
		if r.Other != "" {
			byKey[r.Other] = r
		}
		f.tokens += len(find([]byte(r.Text), tokens))
		if !r.Live {
			continue
		}
		f.rows++
		_, found := entries[r.Key]
		_, other := entries[r.Other]
		switch {
		case found || other || !r.Bound:
		case excused(r.Label):
			f.withoutData++
		default:
			f.unexplained++
			say("a live row without data: %s", r.Text)
		}
	}
	for key, e := range entries {
		f.entries++
		f.tokens += len(find([]byte(key), tokens)) + len(find(e.data, tokens))
		// The lifetime is a day, and a clock is wrong by an hour at most.
		if e.ttl <= 0 || e.ttl > 25*time.Hour {
			f.immortal++
			say("a key with a TTL of %v", e.ttl)
		}
		if !bytes.Contains(e.data, []byte(userPrefix)) {
			continue // nobody's
		}
		r, found := byKey[key]
		switch {
		case found && r.Live:
		case found && r.Redelete:
			f.interrupted++
		case w.profile.sentinel:
			f.forgotten++ // by the failover; the row is not that of this key, and refuses it
		default:
			f.unlisted++
			_, b := trailer.Split(e.data)
			if b == nil {
				b = new(trailer.Binding)
			}
			say("a session without a live row: key %s, row %q, session %s of %s.", key, r.Text, b.ID, b.UserID)
		}
	}
	return f, nil
}

// minutePasses makes the second delete due that every ended row has a minute
// after its end.
func (w *world) minutePasses() {
	w.exec("UPDATE user_sessions SET purge_at = now() WHERE ended_at IS NOT NULL AND purge_at > now() AND purge_at <= ended_at + interval '61 seconds'")
}

// quiet waits until no replica works on a request, and for a minute at most. Its client may
// have given up on it. In this test a minute passes before what is late could be deleted.
func (w *world) quiet(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, r := range w.replicas {
		for !r.idle(ctx) && pause(ctx, 50*time.Millisecond) {
		}
	}
}

// idle reports whether a replica answers, and works on nothing else.
func (r *replica) idle(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, "GET", "http://"+r.server.Addr+"/under-way", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return string(body) == "0"
}

// pruned waits until the janitors have nothing left to do, and for a minute at most. They
// may have to wait for the lease of a replica that was killed.
func (w *world) pruned(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for pause(ctx, 2*pruneInterval) {
		var due int
		err := w.index.GetContext(ctx, &due, "SELECT count(*) FROM user_sessions WHERE CASE WHEN ended_at IS NULL THEN expires_at ELSE purge_at END <= now()")
		if err == nil && due == 0 {
			return
		}
	}
}

// find returns the tokens that are in data.
func find(data []byte, tokens map[string]bool) []string {
	var found []string
	const length = 43
	for at := 0; at < len(data); {
		end := at
		for end < len(data) && tokenByte(data[end]) {
			end++
		}
		for i := at; i+length <= end; i++ {
			if tokens[string(data[i:i+length])] {
				found = append(found, string(data[i:i+length]))
			}
		}
		at = max(end, at+1)
	}
	return found
}

func tokenByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '-' || b == '_'
}

// scanFiles looks for tokens in whatever the processes have written: tables and
// log of PostgreSQL, the append-only file of Redis, what the replicas print.
func (w *world) scanFiles(tokens map[string]bool) (bytesRead int64, found []string, err error) {
	servers := []interface{ Files() ([]string, error) }{w.postgres}
	if w.redis != nil {
		servers = append(servers, w.redis)
	}
	if w.sentinel != nil {
		servers = append(servers, w.follower, w.sentinel)
	}
	for _, r := range w.replicas {
		servers = append(servers, r.server)
	}
	w.exec("CHECKPOINT")
	for _, s := range servers {
		files, err := s.Files()
		if err != nil {
			return bytesRead, found, err
		}
		for _, path := range files {
			data, err := os.ReadFile(path)
			if os.IsNotExist(err) {
				continue // PostgreSQL has removed it meanwhile.
			}
			if err != nil {
				return bytesRead, found, err
			}
			bytesRead += int64(len(data))
			for _, token := range find(data, tokens) {
				found = append(found, path+": "+token[:6]+"…")
			}
		}
	}
	return bytesRead, found, nil
}
