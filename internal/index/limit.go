package index

import (
	"context"
	"errors"
	"strconv"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/token"
)

// Limit says what becomes of a login of a user who has as many sessions as
// allowed.
type Limit string

// The limits.
const (
	EvictOldest      Limit = "evict oldest"
	EvictLeastRecent Limit = "evict least recent"
	Reject           Limit = "reject"
)

// Entry says how a login under a limit ended.
type Entry int

// The entries.
const (
	Entered  Entry = iota
	Full           // the user has too many sessions
	Evicting       // a page of sessions has made room, and more are to follow
	Fenced         // a fence may be in the way
)

var errFull = errors.New("the user has too many sessions")

var lockUserSQL = map[sqldb.Dialect]string{
	sqldb.Postgres: "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))",
	// The lock lasts until the transaction ends, the row until the janitor comes.
	sqldb.MariaDB: "INSERT INTO @lock (user_hash) VALUES (?) ON DUPLICATE KEY UPDATE user_hash = user_hash",
	// BEGIN IMMEDIATE has locked everybody out already.
	sqldb.SQLite: "",
}

// A login that replaces sessions replaces one or two. Confirm ends those, and so
// they do not count.
const countedSQL = `
FROM @index
WHERE user_id = ? AND @live AND id NOT IN (?, ?)`

const (
	// liveUpToSQL stops counting where there is no room left.
	liveUpToSQL = `
SELECT COUNT(*) AS n
FROM (
	SELECT 1 AS one` + countedSQL + `
	LIMIT ?
) AS counted`
	belowSQL       = liveUpToSQL + ") AS live\nWHERE n < ?" + unfencedSQL
	insertBelowSQL = insertSelectSQL + belowSQL
	mayEnterSQL    = "\nSELECT 1\nFROM (" + belowSQL
)

// unconfirmedSQL is true of a login that was never confirmed. Confirm notes that
// the session was seen. Where the clock is too coarse to tell, it is the deadline
// that tells, which Confirm moves away.
const unconfirmedSQL = "last_seen_at = created_at AND expires_at <= @after(?)"

var (
	surplusOldestSQL      = surplusSQL("created_at")
	surplusLeastRecentSQL = surplusSQL("last_seen_at")
)

// surplusSQL finds a page of the sessions that a login makes too many. A login that
// was never confirmed comes last. Logins at once would end each other otherwise, and
// none of them would succeed.
func surplusSQL(order string) string {
	return `
SELECT id` + countedSQL + `
ORDER BY CASE WHEN ` + unconfirmedSQL + ` THEN 0 ELSE 1 END, ` + order + ` DESC, id DESC
LIMIT ` + strconv.Itoa(PageSize) + `
OFFSET ?`
}

// Enter is Insert under a limit. It returns the rows it ended to make room. The
// sessions that the login replaces, at most two, do not count.
//
// Logins of one user wait for each other here before they take a connection. They
// would hold one each while they wait for the user's lock, and other users would
// find none left.
func (x *Index) Enter(ctx context.Context, l Login, replaces []string, by Ending) (evicted []EndedRow, e Entry, err error) {
	limit, soft := x.limit(l)
	if limit == 0 {
		e, err = x.insertUnlimited(ctx, l)
		return nil, e, err
	}
	leave, err := x.turns.take(ctx, l.UserID)
	if err != nil {
		return nil, Entered, err
	}
	defer leave()
	if n := x.lockless(limit, soft); n > 0 {
		if ok, err := x.insertUnlocked(ctx, l, replaces, n); ok || err != nil {
			return nil, Entered, err
		}
	}
	var out []EndedRow // not a result: fn may outlast an error
	var entry Entry
	err = x.db.Tx(ctx, func(q sqldb.Tx) error {
		if lock := lockUserSQL[x.c.Dialect]; lock != "" {
			if _, err := q.Exec(ctx, lock, token.Key(x.c.Table+"\x00"+l.UserID)); err != nil {
				return err
			}
		}
		if ok, err := x.insertBelow(ctx, q, l, replaces, limit); ok || err != nil {
			out, entry = nil, Entered
			return err
		}
		// There is no room, or a fence. A login that is refused makes no room.
		if fenced, err := x.fenced(ctx, q, l.UserID, l.Checked, 2); fenced || err != nil {
			out, entry = nil, Fenced
			return err
		}
		if x.c.OnLimit == Reject {
			return errFull
		}
		rows, more, err := x.evict(ctx, q, l.UserID, replaces, limit, by)
		if err != nil {
			return err
		}
		if out, entry = rows, Entered; more {
			entry = Evicting
			return nil
		}
		entry, err = x.insert(ctx, q, l)
		return err
	})
	switch {
	case errors.Is(err, errFull):
		return nil, Full, nil
	case err != nil:
		return nil, Entered, err
	}
	return out, entry, nil
}

// limit returns how many sessions the user of a login may have, 0 if any number, and
// whether that may be exceeded as Config.SoftMax says.
func (x *Index) limit(l Login) (limit int, soft bool) {
	if l.Max == 0 {
		return x.c.Max, x.c.SoftMax
	}
	return max(l.Max, 0), false
}

// lockless returns how many sessions a user must stay below to need no lock. On
// SQLite a statement that writes is alone. Elsewhere two statements do not see each
// other's rows, so that half of a soft limit is left for those under way.
func (x *Index) lockless(limit int, soft bool) int {
	switch {
	case x.c.Dialect == sqldb.SQLite:
		return limit
	case soft:
		return limit / 2
	}
	return 0
}

// insertUnlocked is insertBelow on the pool.
func (x *Index) insertUnlocked(ctx context.Context, l Login, replaces []string, below int) (bool, error) {
	if x.c.Dialect != sqldb.MariaDB {
		return x.insertBelow(ctx, x.db, l, replaces, below)
	}
	// On the pool the isolation is what the server says. By default a statement
	// that writes locks what it reads, with the gaps between, and logins of other
	// users run into a deadlock.
	var one []int
	err := x.db.Read(ctx, &one, mayEnterSQL, x.belowArgs(l, replaces, below)...)
	if err != nil || len(one) != 1 {
		return false, err
	}
	_, err = x.db.Exec(ctx, insertValuesSQL, x.values(l)...)
	return true, err
}

// insertBelow inserts the row of a login if the user has fewer sessions than that.
func (x *Index) insertBelow(ctx context.Context, q sqldb.Querier, l Login, replaces []string, below int) (bool, error) {
	n, err := q.Exec(ctx, x.lazily(q, insertBelowSQL, insertBelowSQL+lazilySQL), append(x.values(l), x.belowArgs(l, replaces, below)...)...)
	return n == 1, err
}

// belowArgs are the arguments of belowSQL.
func (x *Index) belowArgs(l Login, replaces []string, below int) []any {
	args := append(x.countedArgs(l.UserID, replaces, below), below)
	return append(args, x.unfenced(l.UserID, l.Checked, 2)...)
}

// countedArgs are the arguments of countedSQL, and more.
func (x *Index) countedArgs(userID string, replaces []string, more ...any) []any {
	var replaced [2]string
	copy(replaced[:], replaces)
	return append([]any{x.userArg(userID), replaced[0], replaced[1]}, more...)
}

// evict ends a page of the sessions that a login makes too many, and reports
// whether there may be more.
func (x *Index) evict(ctx context.Context, q sqldb.Querier, userID string, replaces []string, limit int, by Ending) (evicted []EndedRow, more bool, err error) {
	surplus := surplusOldestSQL
	if x.c.OnLimit == EvictLeastRecent {
		surplus = surplusLeastRecentSQL
	}
	var ids []string
	if err := q.Select(ctx, &ids, surplus, x.countedArgs(userID, replaces, x.c.Grace.Microseconds(), limit-1)...); err != nil {
		return nil, false, err
	}
	evicted, err = x.endIDs(ctx, q, ids, by, " AND user_id = ?", x.userArg(userID))
	return evicted, len(ids) == PageSize && len(evicted) > 0, err
}
