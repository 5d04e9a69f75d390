package index

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// withDataPage is how many sessions a page of EndUserWithData has. It needs no list of
// them, so there is nothing but the time that limits it.
const withDataPage = 4 * PageSize

// endUserWithDataSQL is endableOfUserSQL, the ending of what it finds and the deletion
// of their data, at once. The statement sees the data as they were when it began, and
// the rows as they are when it ends them. So what a renewal or a login has stored
// meanwhile stays, and so do data that somebody else is writing, for which a revocation
// must not wait. The keys are those of the func Keys. gone is 1 if neither can be: every key of the row is gone. A previous
// key is none that data come to again. Lists that are arrays let no planner read a
// whole table.
var endUserWithDataSQL = `
WITH page AS (` + strings.Replace(endableOfUserSQL, "@endpage", strconv.Itoa(withDataPage), 1) + `
),
ended AS (
UPDATE @index` + endSetSQL + `
WHERE id = ANY(ARRAY(SELECT id FROM page)) AND ` + endableSQL + `
RETURNING` + endedColumns + `
),
gone AS (
DELETE FROM @data
WHERE token = ANY(ARRAY(
	SELECT token
	FROM @data
	WHERE token = ANY(ARRAY(SELECT session_key FROM ended UNION ALL SELECT ltrim(other_key, '` + bindingMark + `') FROM ended))
	FOR UPDATE SKIP LOCKED
))
RETURNING token
)
SELECT page.id, page.again AS due, ended.user_id, COALESCE(ended.session_key, '') AS session_key, COALESCE(ended.other_key, '') AS other_key,
	COALESCE(ended.listed, 0) AS listed, COALESCE(ended.again, 0) AS again, COALESCE(ended.place, '') AS place,
	COALESCE(ended.leased, 0) AS leased,
	CASE WHEN ended.session_key IN (SELECT token FROM gone) AND ended.other_key NOT LIKE '` + bindingMark + `%'
		AND NOT EXISTS (SELECT 1 FROM @data WHERE token = ended.other_key AND token NOT IN (SELECT token FROM gone))
		THEN 1 ELSE 0 END AS gone,
	CASE WHEN EXISTS (SELECT 1 FROM @fence WHERE user_id = ? AND id = ?) THEN 1 ELSE 0 END AS fenced
FROM page
LEFT JOIN ended ON ended.id = page.id`

// EndUserWithData is EndUser that deletes the data at once where they are in the same
// database, see EndedRow.Gone. If the server refuses the whole, as it does to one who
// may not delete, the rows end by themselves, and none is Gone.
//
// kept says that a fence of that ID was there when rows were ended. It is on disk then,
// because they are. A server that has crashed since it was raised Lazily has none.
func (x *Index) EndUserWithData(ctx context.Context, userID string, from Place, by Ending, fence string) (ended []EndedRow, next *Place, kept bool, err error) {
	if x.c.Dialect != sqldb.Postgres {
		ended, next, err = x.EndUser(ctx, userID, from, by)
		return ended, next, false, err
	}
	var found []struct {
		EndedRow
		Due    int `db:"due"` // as foundRow.Again
		Fenced int `db:"fenced"`
	}
	args := append(x.endableArgs(userID, "", from, by), sqldb.Text(by.Actor), sqldb.Text(by.Reason), by.purgeAfter(), x.userArg(userID), fence)
	began := time.Now()
	if err := x.db.Select(ctx, &found, endUserWithDataSQL, args...); err != nil {
		if sqldb.Refused(err) && ctx.Err() == nil {
			ended, next, err = x.EndUser(ctx, userID, from, by)
			return ended, next, false, err
		}
		return nil, nil, false, err
	}
	page := make([]foundRow, len(found))
	for i, f := range found {
		page[i] = foundRow{f.ID, f.Due}
		if f.SessionKey != "" {
			ended = append(ended, f.EndedRow)
			kept = f.Fenced == 1
		}
	}
	begun(ended, began)
	next = nextPlace(page, from, withDataPage)
	return ended, next, kept, unendable(len(page), ended, next)
}
