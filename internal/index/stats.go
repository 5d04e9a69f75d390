package index

import (
	"context"
	"time"
)

// Crowd is how many users have so many live sessions.
type Crowd struct {
	Sessions int `db:"sessions"`
	Users    int `db:"users"`
}

const perUserSQL = `
SELECT sessions, COUNT(*) AS users
FROM (
	SELECT COUNT(*) AS sessions
	FROM @index
	WHERE user_id IS NOT NULL AND @live
	GROUP BY user_id
) AS counted
GROUP BY sessions
ORDER BY sessions`

// PerUser counts the live sessions by their users, from those with the fewest on. It
// reads every live row.
func (x *Index) PerUser(ctx context.Context) ([]Crowd, error) {
	var list []Crowd
	err := x.db.Unkept().Select(ctx, &list, perUserSQL)
	return list, err
}

// Waiting is what the janitor has left to do.
type Waiting struct {
	Ended   int // ended rows
	Pending int // of these, those with data that could not be deleted
	Overdue int // rows to end, and ended ones that are due
	For     time.Duration
}

// The indexes by expires_at and by purge_at serve these. Every ended row has a
// purge_at, and no other row has one.
const (
	expiredSinceSQL = `
SELECT 0 AS ended, 0 AS pending, overdue, COALESCE(@us(oldest), 0) AS oldest, @us(now) AS now
FROM (
	SELECT COUNT(*) AS overdue, MIN(expires_at) AS oldest, @now AS now
	FROM @index
	WHERE ended_at IS NULL AND expires_at <= @now
) AS waiting`
	dueSinceSQL = `
SELECT 0 AS ended, pending, overdue, COALESCE(@us(oldest), 0) AS oldest, @us(now) AS now
FROM (
	SELECT COUNT(*) AS overdue, MIN(purge_at) AS oldest, @now AS now,
		COALESCE(SUM(CASE WHEN purge_at = ended_at THEN 1 ELSE 0 END), 0) AS pending
	FROM @index
	WHERE purge_at <= @now
) AS waiting`
	endedSQL = `
SELECT COUNT(*) AS ended, 0 AS pending, 0 AS overdue, 0 AS oldest, 0 AS now
FROM @index
WHERE purge_at IS NOT NULL`
)

// Waiting counts it, and says how long the first row has waited.
func (x *Index) Waiting(ctx context.Context) (Waiting, error) {
	var w Waiting
	for _, q := range []string{expiredSinceSQL, dueSinceSQL, endedSQL} {
		var rows []struct {
			Ended   int   `db:"ended"`
			Pending int   `db:"pending"`
			Overdue int   `db:"overdue"`
			Oldest  int64 `db:"oldest"`
			Now     int64 `db:"now"`
		}
		if err := x.db.Unkept().Select(ctx, &rows, q); err != nil {
			return Waiting{}, err
		}
		for _, r := range rows {
			w.Ended += r.Ended
			w.Pending += r.Pending
			if w.Overdue += r.Overdue; r.Oldest > 0 {
				w.For = max(w.For, time.Duration(r.Now-r.Oldest)*time.Microsecond)
			}
		}
	}
	return w, nil
}

const placesSQL = `
SELECT place, COUNT(*) AS n
FROM @index
WHERE @live
GROUP BY place`

// Places counts the live rows by the place of their data.
func (x *Index) Places(ctx context.Context) (map[string]int, error) {
	var rows []struct {
		Place string `db:"place"`
		N     int    `db:"n"`
	}
	err := x.db.Unkept().Select(ctx, &rows, placesSQL)
	places := make(map[string]int, len(rows))
	for _, r := range rows {
		places[r.Place] = r.N
	}
	return places, err
}
