// Package index is the table that says which user each session belongs to. It
// has one row for each login, in the default database, whatever the Store is.
// Every statement on it is here, and nowhere else.
//
// It may import the packages sqldb, trailer and token. It must never ask the
// program's clock whether a session is live, and never keep anything of a row
// between two calls. It returns facts, and the root gives them their names.
//
// A statement names the user wherever it is known. It needs no more for that, and
// reads one partition of an index that is partitioned by user.
package index

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// PageSize bounds how many rows one statement reads or ends.
const PageSize = 500

// Config says which table the index is, and how long a session in it lives.
type Config struct {
	Dialect sqldb.Dialect
	Table   string // quoted, and with its schema
	Locks   string // the table of locks, likewise, on MariaDB only
	Fences  string // the table of fences, likewise
	SignOut string // the table of sign-outs at an identity provider, likewise
	Replica string // the table of replicas with a lease, likewise
	Inbox   string // the table of what they are told, likewise
	Data    string // the table of the session data, likewise, or "" if it is in another database
	Prepare bool   // keep prepared statements

	UserIDType UserIDType
	Max        int  // live sessions of a user; 0 if there is no limit
	SoftMax    bool // logins on several replicas in the same instant may exceed it
	OnLimit    Limit
	Partitions int // 0 if it has none

	// Here is the place of the Store, as rows keep it. It is part of statements, and
	// has no character that means something there.
	Here string

	Grace     time.Duration // how long a login lives at most that is never confirmed
	Idle      time.Duration // not positive if there is no idle timeout
	Touch     time.Duration // how often a row is touched
	Retention time.Duration // of ended rows

	Devices bool // rows say whether sessions are bound to devices
	Reuse   bool // rows say when a session was renewed, for Presented
}

// Index is the index in one database. It is safe for concurrent use.
type Index struct {
	db        *sqldb.DB
	c         Config
	turns     turns    // of users who log in under a limit
	part      sync.Map // name of a partition: *Index of it, with its statements
	pages     sync.Map // the forms of pages that are kept statements
	pageForms atomic.Int32
	neverLazy atomic.Bool // the server does not know lazilySQL
}

// New returns the index in a database.
func New(pool *sqlx.DB, c Config) *Index {
	return &Index{db: sqldb.New(pool, c.Dialect, c.words(), c.Prepare), c: c}
}

// DB returns what runs the statements of the index, for its migrations.
func (x *Index) DB() *sqldb.DB { return x.db }

// Row is a row of the index. Times are microseconds since 1970.
type Row struct {
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
	Place           string         `db:"place"`
	IdleTimeout     int64          `db:"idle_timeout"` // in microseconds; 0 if it has that of the Config
	LastIP          string         `db:"last_ip"`
	LastUserAgent   string         `db:"last_user_agent"`
	IdPIssuer       string         `db:"idp_issuer"`
	IdPSubject      string         `db:"idp_subject"`
	IdPSession      string         `db:"idp_session"`
	Bound           int            `db:"bound"` // 1 if it is bound to a device; 0 also without Config.Devices
}

// ColumnsSQL reads nothing, and fails if a column is not there.
const ColumnsSQL = "SELECT" + rowColumns + ", purge_at, renewed_at" + deviceColumnNames + "\nFROM @index\nWHERE 1 = 0"

const rowColumns = `
	id, user_id, session_key, COALESCE(other_key, '') AS other_key,
	@us(created_at) AS created_at, @us(authenticated_at) AS authenticated_at,
	@us(last_seen_at) AS last_seen_at, @us(expires_at) AS expires_at,
	ip, @bytes(user_agent), @bytes(meta),
	COALESCE(@us(ended_at), 0) AS ended_at, @bytes(ended_by), @bytes(reason), place, COALESCE(idle_timeout, 0) AS idle_timeout,
	COALESCE(last_ip, ip) AS last_ip, @lastagent,
	COALESCE(idp_issuer, '') AS idp_issuer, COALESCE(idp_subject, '') AS idp_subject, COALESCE(idp_session, '') AS idp_session@bound`

// RenewingTo returns the key to which the session is being renewed, if it is.
func (r Row) RenewingTo() (key string, ok bool) { return strings.CutPrefix(r.OtherKey, bindingMark) }

const liveByIDSQL = `
SELECT` + rowColumns + `
FROM @index
WHERE id = ? AND user_id = ? AND @live`

// LiveByID returns one live row of a user. The answer is false if there is none.
func (x *Index) LiveByID(ctx context.Context, userID, id string) (Row, bool, error) {
	var rows []Row
	err := x.db.Read(ctx, &rows, liveByIDSQL, id, x.userArg(userID))
	return first(ofUsers(rows, err, userID))
}

const byIDSQL = `
SELECT` + rowColumns + `
FROM @index
WHERE id = ? AND user_id = ?`

// ByID returns the row of the session of b, in whatever state it is. The answer is
// false if there is none.
func (x *Index) ByID(ctx context.Context, b *trailer.Binding) (Row, bool, error) {
	var rows []Row
	err := x.db.Read(ctx, &rows, byIDSQL, b.ID, x.userArg(b.UserID))
	return first(ofUsers(rows, err, b.UserID))
}

const knowsSQL = `
SELECT user_id, CASE WHEN ended_at IS NULL AND (other_key = ? AND last_seen_at > @after(-60000000) OR session_key = ? AND @live) THEN 1 ELSE 0 END AS renewing
FROM @index
WHERE id = ?`

// Known is what the index knows of the ID of a session.
type Known struct {
	Row      bool // there is one, in whatever state
	Others   bool // it is that of another user
	Renewing bool // it may be going back to the key of the session, from which it was renewed just now, or has gone back
}

// Knows says what the index knows of the ID of a session.
func (x *Index) Knows(ctx context.Context, b *trailer.Binding) (k Known, err error) {
	var rows []struct {
		User     sql.NullString `db:"user_id"`
		Renewing int            `db:"renewing"`
	}
	err = x.db.Unkept().Select(ctx, &rows, knowsSQL, b.Key, b.Key, b.ID)
	if err != nil || len(rows) == 0 {
		return k, err
	}
	user := rows[0].User
	ours := user.Valid && user.String == b.UserID
	return Known{Row: true, Others: user.Valid && !ours, Renewing: ours && rows[0].Renewing == 1}, nil
}

const byKeySQL = `
SELECT` + rowColumns + `
FROM @index
WHERE session_key = ?`

// ByKey returns the row under a key, in whatever state it is. The answer is false
// if there is none.
func (x *Index) ByKey(ctx context.Context, key string) (Row, bool, error) {
	var rows []Row
	err := x.db.Read(ctx, &rows, byKeySQL, key)
	return first(rows, err)
}

const liveRowByKeySQL = byKeySQL + " AND @live"

// LiveRowByKey is ByKey for a live row.
func (x *Index) LiveRowByKey(ctx context.Context, key string) (Row, bool, error) {
	var rows []Row
	err := x.db.Read(ctx, &rows, liveRowByKeySQL, key)
	return first(rows, err)
}

const placeSeenSQL = `
SELECT 1
FROM @index
WHERE place = ? AND last_seen_at >= @at(?)
LIMIT 1`

// PlaceSeen reports whether a session with data in a place was seen since a time, in
// microseconds since 1970. It may read every row, and is asked about stores in memory
// only.
func (x *Index) PlaceSeen(ctx context.Context, place string, since int64) (bool, error) {
	var found []int
	err := x.db.Unkept().Select(ctx, &found, placeSeenSQL, place, since)
	return len(found) > 0, err
}

func first(rows []Row, err error) (Row, bool, error) {
	if err != nil || len(rows) == 0 {
		return Row{}, false, err
	}
	return rows[0], true, nil
}

// errOtherUser is what is wrong with a collation that takes two users for one, and
// with a pooler or a driver that mixes up answers.
var errOtherUser = errors.New("the index has answered with a session of another user")

// ofUsers returns the rows if all of them are of one of the users, who are sorted.
func ofUsers(rows []Row, err error, sorted ...string) ([]Row, error) {
	for _, r := range rows {
		if _, is := slices.BinarySearch(sorted, r.UserID.String); !is {
			return nil, cmp.Or(err, errOtherUser)
		}
	}
	return rows, err
}
