package usersession

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// userIndex is the table that says whose session is whose: one row for each
// login, in the default database, whatever the Store is. Only this type knows
// its SQL; the protocol, which orders index and Store, is in protocol.go.
//
// A statement names the user wherever it is known: it needs no more for that, and
// reads one partition of an index that is partitioned by user.
type userIndex struct {
	*conn
	part      sync.Map // name of a partition: *userIndex of it, with its statements
	pages     sync.Map // the forms of pages that are kept statements
	pageForms atomic.Int32
}

// indexRow is a row of the index. Times are microseconds since 1970.
type indexRow struct {
	ID              string         `db:"id"`
	UserID          sql.NullString `db:"user_id"`
	SessionKey      string         `db:"session_key"`
	OtherKey        string         `db:"other_key"`
	CreatedAt       int64          `db:"created_at"`
	AuthenticatedAt int64          `db:"authenticated_at"`
	LastSeenAt      int64          `db:"last_seen_at"`
	ExpiresAt       int64          `db:"expires_at"`
	IP              string         `db:"ip"`
	UserAgent       string         `db:"user_agent"`
	Meta            string         `db:"meta"`
	EndedAt         int64          `db:"ended_at"`
	EndedBy         string         `db:"ended_by"`
	Reason          string         `db:"reason"`
}

const rowColumns = `
	id, user_id, session_key, COALESCE(other_key, '') AS other_key,
	@us(created_at) AS created_at, @us(authenticated_at) AS authenticated_at,
	@us(last_seen_at) AS last_seen_at, @us(expires_at) AS expires_at,
	ip, user_agent, meta,
	COALESCE(@us(ended_at), 0) AS ended_at, ended_by, reason`

// session returns the public view of the row.
func (r indexRow) session(idle time.Duration, currentID string) UserSession {
	s := UserSession{
		ID: r.ID, UserID: r.UserID.String,
		CreatedAt: fromMicro(r.CreatedAt), AuthenticatedAt: fromMicro(r.AuthenticatedAt),
		LastSeenAt: fromMicro(r.LastSeenAt), ExpiresAt: fromMicro(r.ExpiresAt),
		UserAgent: r.UserAgent, Meta: map[string]string{},
		Current: currentID != "" && r.ID == currentID,
		EndedBy: r.EndedBy,
	}
	if idle > 0 {
		if end := s.LastSeenAt.Add(idle); end.Before(s.ExpiresAt) {
			s.ExpiresAt = end
		}
	}
	if r.IP != "" {
		s.IP, _ = netip.ParseAddr(r.IP)
	}
	if r.Meta != "" {
		// Metadata is a convenience: a row that somebody edited by hand must
		// not make a user's sessions impossible to list and revoke.
		if json.Unmarshal([]byte(r.Meta), &s.Meta) != nil || s.Meta == nil {
			s.Meta = map[string]string{}
		}
	}
	if r.EndedAt != 0 {
		s.EndedAt, s.Reason = fromMicro(r.EndedAt), r.Reason
	}
	return s
}

func fromMicro(us int64) time.Time { return time.UnixMicro(us).UTC() }

// liveRow is what a request needs to know of its row. The zero value is that of
// no row.
type liveRow struct {
	id     string
	userID sql.NullString
	state  int
}

// The states of a row, as liveColumns tells them. They are compared with the
// database's clock, and cost less than the times themselves.
const (
	stateOver = iota // ended, expired or idle
	stateLive
	stateDue // live, and not touched for a TouchInterval
)

// accepts reports whether the row, as read with the data, lets the session of b
// be served, and whether it is time to touch it.
func (r liveRow) accepts(b *binding) (ok, due bool) {
	return r.state != stateOver && r.id == b.id && r.userID.Valid && r.userID.String == b.userID, r.state == stateDue
}

const liveColumns = `COALESCE(id, ''), user_id, CASE WHEN @live THEN CASE WHEN @due THEN 2 ELSE 1 END ELSE 0 END`

const liveByKeySQL = `
SELECT ` + liveColumns + `
FROM @index
WHERE session_key = ? AND user_id = ?`

// liveByKey returns the row of the session of b; the zero row if there is none.
func (x *userIndex) liveByKey(ctx context.Context, b *binding) (liveRow, error) {
	var r liveRow
	if _, err := x.readRow(ctx, liveByKeySQL, []any{b.key, x.d.userArg(b.userID)}, &r.id, &r.userID, &r.state); err != nil {
		return liveRow{}, err
	}
	return r, nil
}

// The index (user_id, ended_at) serves this, the revocations and the foreign
// key's ON DELETE. last_seen_at is in no index, so that a touch stays in its
// page (HOT).
const listByUserSQL = `
SELECT` + rowColumns + `
FROM @index
WHERE user_id = ? AND @live
ORDER BY last_seen_at DESC, id`

func (x *userIndex) listByUser(ctx context.Context, userID string) ([]indexRow, error) {
	var rows []indexRow
	err := x.read(ctx, &rows, listByUserSQL, x.d.userArg(userID))
	return rows, err
}

const listEndedSQL = `
SELECT` + rowColumns + `
FROM @index
WHERE user_id = ? AND ended_at IS NOT NULL
ORDER BY ended_at DESC, id
LIMIT ?`

// listEnded reads the index (user_id, ended_at) from its end.
func (x *userIndex) listEnded(ctx context.Context, userID string, limit int) ([]indexRow, error) {
	var rows []indexRow
	err := x.read(ctx, &rows, listEndedSQL, x.d.userArg(userID), limit)
	return rows, err
}

const liveByIDSQL = `
SELECT` + rowColumns + `
FROM @index
WHERE id = ? AND user_id = ? AND @live`

func (x *userIndex) liveByID(ctx context.Context, userID, id string) (indexRow, error) {
	return x.one(ctx, liveByIDSQL, id, x.d.userArg(userID))
}

const byIDSQL = `
SELECT` + rowColumns + `
FROM @index
WHERE id = ? AND user_id = ?`

// byID returns the row of the session of b in whatever state it is.
func (x *userIndex) byID(ctx context.Context, b *binding) (indexRow, error) {
	return x.one(ctx, byIDSQL, b.id, x.d.userArg(b.userID))
}

const byKeySQL = `
SELECT` + rowColumns + `
FROM @index
WHERE session_key = ?`

func (x *userIndex) byKey(ctx context.Context, key string) (indexRow, error) {
	return x.one(ctx, byKeySQL, key)
}

func (x *userIndex) one(ctx context.Context, q string, args ...any) (indexRow, error) {
	var rows []indexRow
	if err := x.read(ctx, &rows, q, args...); err != nil {
		return indexRow{}, err
	}
	if len(rows) == 0 {
		return indexRow{}, ErrSessionNotFound
	}
	return rows[0], nil
}

const touchSQL = `
UPDATE @index
SET last_seen_at = @now
WHERE id = ? AND session_key = ? AND user_id = ? AND @live`

// touch notes that a session was seen. It reports false if the session is not
// live any more, or not under this key.
func (x *userIndex) touch(ctx context.Context, b *binding) (bool, error) {
	n, err := x.exec(ctx, nil, touchSQL, b.id, b.key, x.d.userArg(b.userID))
	return n == 1, err
}

const (
	liveOfKeysSQL = `
FROM @index
WHERE session_key IN @list AND @live`
	// Rows that somebody has locked are left out: whoever waits for a row while
	// holding others may be waited for.
	touchManySQL = `
WITH seen AS (
SELECT id, user_id` + liveOfKeysSQL + `
FOR UPDATE SKIP LOCKED)
UPDATE @index AS t
SET last_seen_at = @seen(?)
FROM seen
WHERE t.id = seen.id AND t.user_id = seen.user_id
RETURNING t.session_key`
	touchKeysSQL = `
UPDATE @index
SET last_seen_at = @seen(?)
WHERE session_key IN @list AND @live`
)

// touchMany notes that the sessions of at most pageSize keys were seen, so long
// ago, and returns the keys of those that are live. What it leaves out may have ended, or be locked.
func (x *userIndex) touchMany(ctx context.Context, keys []string, ago time.Duration) (map[string]bool, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	seen := []any{-ago.Microseconds()}
	var touched []string
	var err error
	switch x.d.name {
	case Postgres:
		_, err = x.many(ctx, nil, &touched, touchManySQL, keys, nil, seen)
	case SQLite:
		_, err = x.many(ctx, nil, &touched, touchKeysSQL+"\nRETURNING session_key", keys, seen, nil)
	case MariaDB:
		err = x.tx(ctx, func(q querier) error {
			touched = nil
			_, err := x.many(ctx, q, &touched, "SELECT session_key"+liveOfKeysSQL+"\nFOR UPDATE SKIP LOCKED", keys, nil, nil)
			if err != nil || len(touched) == 0 {
				return err
			}
			_, err = x.many(ctx, q, nil, touchKeysSQL, touched, seen, nil)
			return err
		})
	}
	return setOf(touched), err
}

// liveKeys returns those of at most pageSize keys whose session is live. It
// waits for no lock.
func (x *userIndex) liveKeys(ctx context.Context, keys []string) (map[string]bool, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	var live []string
	_, err := x.many(ctx, nil, &live, "SELECT session_key"+liveOfKeysSQL, keys, nil, nil)
	return setOf(live), err
}

func setOf(keys []string) map[string]bool {
	set := make(map[string]bool, len(keys))
	for _, key := range keys {
		set[key] = true
	}
	return set
}

// userID checks a user ID and returns its one canonical form.
func (d *dialect) userID(id string) (string, error) {
	if id == "" {
		return "", ErrNoUserID
	}
	if len(id) > 255 {
		return "", fmt.Errorf("%w: %d bytes, at most 255", ErrBadUserID, len(id))
	}
	if strings.IndexByte(id, 0) >= 0 || !utf8.ValidString(id) {
		return "", fmt.Errorf("%w: not UTF-8 text without NUL", ErrBadUserID)
	}
	switch d.userIDType {
	case Bigint:
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != id {
			return "", fmt.Errorf("%w: not a decimal 64-bit integer", ErrBadUserID)
		}
	case UUID:
		id = strings.ToLower(id)
		if !isUUID(id) {
			return "", fmt.Errorf("%w: not a UUID", ErrBadUserID)
		}
	}
	return id, nil
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

// userArg returns a checked user ID as an argument of its column's type.
func (d *dialect) userArg(id string) any {
	switch {
	case d.userIDType == Bigint:
		n, _ := strconv.ParseInt(id, 10, 64)
		return n
	case d.userIDType == Text && d.name == MariaDB:
		return []byte(id) // the column is VARBINARY
	}
	return id
}

// clip cuts s to at most n bytes of valid UTF-8 without NUL.
func clip(s string, n int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
