package index

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/token"
)

// A fence is one row for each user whose sessions were all revoked. It says when,
// and which revocation that was. A login whose credentials were checked before it is
// refused.
//
// The row of a login is there before the fence is looked at for the last time, and a
// revocation looks for rows after its fence is there. So one of the two sees the
// other, whatever the isolation. The clock only tells logins that began before the
// revocation from those that began after it.

// FenceKept is how long a fence is kept. Nobody's credentials count that long.
const FenceKept = 24 * time.Hour

// Checked says when the credentials of a login were checked.
type Checked struct {
	At     time.Time     // by the clock of the program
	Within time.Duration // how long a statement may take at most
	Fence  string        // a fence that is known not to concern the login; "" if there is none
}

// unfencedSQL is true if no fence is in the way. It errs to the side of refusing:
// how long ago the check was is measured before the statement is sent.
const unfencedSQL = `
	AND NOT EXISTS (
		SELECT 1 FROM @fence f
		WHERE f.user_id = ? AND (f.disabled = 1 OR f.id <> ? AND f.not_before > @after(?))
	)`

// unfenced returns the arguments of unfencedSQL. slack is how often Within is added
// to the time since the check. The first look at a fence has one more than the last,
// so that it sees whatever stops the last.
func (x *Index) unfenced(userID string, c Checked, slack int) []any {
	since := time.Since(c.At) + time.Duration(slack)*c.Within
	return []any{x.userArg(userID), cmp.Or(c.Fence, "-"), -since.Microseconds()}
}

const fencedSQL = `
SELECT 1
FROM @fence f
WHERE f.user_id = ? AND (f.disabled = 1 OR f.id <> ? AND f.not_before > @after(?))`

// fenced is unfencedSQL in a statement of its own. On MariaDB a statement that writes
// would lock what it reads.
func (x *Index) fenced(ctx context.Context, q sqldb.Querier, userID string, c Checked, slack int) (bool, error) {
	var one []int
	err := q.Select(ctx, &one, fencedSQL, x.unfenced(userID, c, slack)...)
	return len(one) > 0, err
}

// Fence is the fence of a user. It was raised before Latest, by the clock of the
// program.
type Fence struct {
	ID       string
	Disabled bool
	Latest   time.Time
}

const fenceSQL = `
SELECT id, disabled, @us(now) - @us(not_before) AS age
FROM (SELECT id, disabled, not_before, @now AS now FROM @fence WHERE user_id = ?) AS f`

// fenceTick is how coarse a clock may be that says when a fence was raised. That of
// SQLite has milliseconds.
const fenceTick = time.Millisecond

// Fence returns the fence of a user; nil if there is none.
func (x *Index) Fence(ctx context.Context, userID string) (*Fence, error) {
	var rows []struct {
		ID       string `db:"id"`
		Disabled int    `db:"disabled"`
		Age      int64  `db:"age"`
	}
	err := x.db.Read(ctx, &rows, fenceSQL, x.userArg(userID))
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	age := time.Duration(rows[0].Age) * time.Microsecond
	f := &Fence{ID: rows[0].ID, Disabled: rows[0].Disabled == 1, Latest: time.Now().Add(fenceTick - age)}
	if r, ok := raisedHere.of(f.ID); ok && (!r.older || r.at.Before(f.Latest)) {
		f.Latest = r.at
	}
	return f, nil
}

// raiseFirstSQL is followed by the values of further users. A request that raises a
// fence may log in behind it. It must not for that reason get past the fence that
// somebody else has raised since it began, so that the two together are nobody's.
const (
	raiseFirstSQL = `
INSERT INTO @fence (user_id, not_before, id, disabled)
VALUES (?, @after(?), ?, ?)`
	raiseNextSQL = `,
	(?, @after(?), ?, ?)`
	raiseAgainSQL = `
ON CONFLICT (user_id) DO UPDATE
SET id = CASE WHEN @fence.not_before > @after(?) AND @fence.id NOT IN @list THEN ? ELSE excluded.id END,
	not_before = CASE WHEN excluded.not_before > @fence.not_before THEN excluded.not_before ELSE @fence.not_before END,
	disabled = CASE WHEN excluded.disabled = 1 THEN 1 ELSE @fence.disabled END`
	raiseAgainMariaDB = `
ON DUPLICATE KEY UPDATE
	id = CASE WHEN not_before > @after(?) AND id NOT IN @list THEN ? ELSE VALUES(id) END,
	not_before = GREATEST(not_before, VALUES(not_before)),
	disabled = CASE WHEN VALUES(disabled) = 1 THEN 1 ELSE disabled END`
)

// Raise is a fence to be raised for some users.
type Raise struct {
	ID       string
	Users    []string
	At       time.Time     // what the credentials must be newer than, or the zero time for now
	Disabled bool          // logins are refused until Enable
	Began    time.Time     // when the request began that raises it, or the zero time without one
	Within   time.Duration // how long a statement may take at most
	Own      []string      // fences that do not concern the request, such as its own

	// Lazily lets RaiseAlone return before the fence is on disk. What the same database
	// commits afterwards takes the fence along. Whoever commits nothing must raise it
	// again.
	Lazily bool
}

// since is how long ago a fence is certainly older than the request.
func (r Raise) since() time.Duration {
	if r.Began.IsZero() {
		return 0
	}
	return time.Since(r.Began) + r.Within
}

func (r Raise) disabled() int {
	if r.Disabled {
		return 1
	}
	return 0
}

// Raise raises a fence. tx is the application's transaction, or nil.
func (x *Index) Raise(ctx context.Context, tx sqldb.Transaction, r Raise) error {
	var q sqldb.Querier = x.db.Unkept()
	if tx != nil {
		q = x.db.In(tx)
	}
	again := raiseAgainSQL
	if x.c.Dialect == sqldb.MariaDB {
		again = raiseAgainMariaDB
	}
	own := append([]string{r.ID}, r.Own...) // a driver may ask again
	nobodys := NewFenceID()
	since, ago := r.since(), time.Duration(0)
	if !r.At.IsZero() {
		ago = time.Since(r.At)
	}
	// In one order, so that two of them do not wait for each other.
	for users := range slices.Chunk(slices.Sorted(slices.Values(r.Users)), PageSize) {
		var args []any
		for _, u := range users {
			args = append(args, x.userArg(u), -ago.Microseconds(), r.ID, r.disabled())
		}
		args = append(args, -since.Microseconds(), sqldb.ListOf(own), nobodys)
		if _, err := q.Exec(ctx, raiseFirstSQL+strings.Repeat(raiseNextSQL, len(users)-1)+again, args...); err != nil {
			return err
		}
	}
	raisedHere.note(r.ID, !r.At.IsZero())
	raisedHere.note(nobodys, !r.At.IsZero())
	return nil
}

// raiseAloneSQL is raiseFirstSQL where no fence is in the way that somebody else may
// have raised since the request began. Such a fence stays.
const (
	raiseAloneSQL    = raiseFirstSQL + raiseAloneEndSQL
	raiseLazilySQL   = raiseSelectSQL + "true" + lazilySQL + raiseAloneEndSQL
	raiseSelectSQL   = "\nINSERT INTO @fence (user_id, not_before, id, disabled)\nSELECT ?, @after(?), ?, ?\nWHERE "
	raiseAloneEndSQL = `
ON CONFLICT (user_id) DO UPDATE
SET id = excluded.id, not_before = excluded.not_before,
	disabled = CASE WHEN excluded.disabled = 1 THEN 1 ELSE @fence.disabled END
WHERE @fence.not_before <= @after(?) OR @fence.id IN (?, excluded.id)`
)

// RaiseAlone is Raise for one user, in one statement that is kept. It reports false, and
// has done nothing, if that cannot do. Ask Fence then, and Raise.
func (x *Index) RaiseAlone(ctx context.Context, r Raise) (bool, error) {
	if x.c.Dialect == sqldb.MariaDB || len(r.Users) != 1 || len(r.Own) > 1 || !r.At.IsZero() {
		return false, nil
	}
	own, lazy := "-", raiseAloneSQL
	if len(r.Own) == 1 {
		own = r.Own[0]
	}
	if r.Lazily {
		lazy = raiseLazilySQL
	}
	n, err := x.execLazily(ctx, x.db, raiseAloneSQL, lazy, x.userArg(r.Users[0]), 0, r.ID, r.disabled(), -r.since().Microseconds(), own)
	if err != nil || n == 0 {
		return false, err
	}
	raisedHere.note(r.ID, false)
	return true, nil
}

// NewFenceID returns an ID for a fence.
func NewFenceID() string { return token.NewID() }

const enableSQL = `
UPDATE @fence
SET disabled = 0
WHERE user_id = ? AND disabled = 1`

// Enable lets a user log in again.
func (x *Index) Enable(ctx context.Context, userID string) error {
	_, err := x.db.Unkept().Exec(ctx, enableSQL, x.userArg(userID))
	return err
}

const pruneFencesSQL = `
DELETE FROM @fence
WHERE not_before < @after(?) AND disabled = 0`

// PruneFences deletes the fences that are older than that.
func (x *Index) PruneFences(ctx context.Context, keep time.Duration) error {
	return x.db.Tx(ctx, func(q sqldb.Tx) error { // at an isolation that locks no others
		_, err := q.Exec(ctx, pruneFencesSQL, -keep.Microseconds())
		return err
	})
}

// raisedHere remembers the last fences that this process has raised. A login that
// began after one of them has its certainty from here: the clocks of two machines
// cannot tell two moments that are very close.
var raisedHere fenceLog

// fenceLog is safe for concurrent use.
type fenceLog struct {
	mu   sync.Mutex
	last [512]raised
	next int
}

// raised says that a fence was raised before a time.
type raised struct {
	id    string
	at    time.Time
	older bool // it may be for what happened long before
}

func (l *fenceLog) note(id string, older bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last[l.next] = raised{id, time.Now(), older}
	l.next = (l.next + 1) % len(l.last)
}

func (l *fenceLog) of(id string) (r raised, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.last {
		if r.id == id && id != "" {
			return r, true
		}
	}
	return raised{}, false
}
