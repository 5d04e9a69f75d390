package index

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// Any means a row in whatever state.
const Any State = "1 = 1"

const (
	// Data that are still to be deleted keep their row as it is, by which the
	// next call finds them.
	purgeable = `user_id = ? AND ended_at IS NOT NULL AND purge_at <> ended_at`

	purgeableSQL = `
SELECT id
FROM @index
WHERE ` + purgeable + `
LIMIT 500`

	anonymizeSQL = `
UPDATE @index
SET user_id = NULL, ip = '', user_agent = '', last_ip = NULL, last_user_agent = NULL, idp_issuer = NULL, idp_subject = NULL, idp_session = NULL,
	device_key = NULL, device_bound_at = NULL, device_secret = NULL, device_challenge = NULL, device_challenge_before = NULL, meta = '{}', ended_by = '', reason = ?
WHERE id IN @list AND ` + purgeable
)

var errUnchanged = errors.New("the rows of the index can be read and not changed")

// Anonymize takes what is personal out of a page of a user's ended rows, whose data are
// not known to be there. What stays is a key that must not come back, until its deadline.
// It returns how many, and whether there may be more.
func (x *Index) Anonymize(ctx context.Context, userID, reason string) (n int, more bool, err error) {
	var ids []string
	if err := x.db.Unkept().Select(ctx, &ids, purgeableSQL, x.userArg(userID)); err != nil || len(ids) == 0 {
		return 0, false, err
	}
	// In a transaction, which sets an isolation that fails for no neighbour.
	var done int64
	err = x.db.Tx(ctx, func(q sqldb.Tx) (err error) {
		done, err = q.Exec(ctx, anonymizeSQL, reason, sqldb.ListOf(ids), x.userArg(userID))
		return err
	})
	if more = len(ids) == PageSize; err == nil && more && done == 0 {
		err = errUnchanged
	}
	if err != nil {
		return 0, false, err
	}
	return int(done), more, nil
}

// Keep says how long after a login a text is kept. It is 0 if as long as the row, and
// negative if until the end of the session.
type Keep time.Duration

// over is the condition, with its arguments, that a text is not kept any more.
func (k Keep) over(column string) (cond string, args []any) {
	switch {
	case k == 0:
		return "1 = 0", nil
	case k < 0:
		return column + " <> '' AND ended_at IS NOT NULL", nil
	}
	return column + " <> '' AND created_at <= @after(?)", []any{-time.Duration(k).Microseconds()}
}

const (
	blankIPSQL    = "\nUPDATE @index\nSET ip = '', last_ip = NULL\nWHERE id IN @list"
	blankAgentSQL = "\nUPDATE @index\nSET user_agent = '', last_user_agent = NULL\nWHERE id IN @list"
)

// Blank takes addresses and User-Agents that are not kept any more out of a page of rows,
// after the given ID. A touch writes none where there is none of the login. It returns of
// how many rows, and where the next page begins, or "" if there is none. It reads the
// primary key.
func (x *Index) Blank(ctx context.Context, after string, ip, userAgent Keep) (n int, next string, err error) {
	ipOver, args := ip.over("ip")
	agentOver, more := userAgent.over("user_agent")
	var rows []struct {
		ID    string `db:"id"`
		IP    int    `db:"ip_over"`
		Agent int    `db:"agent_over"`
	}
	query := "\nSELECT id, CASE WHEN " + ipOver + " THEN 1 ELSE 0 END AS ip_over, CASE WHEN " + agentOver + ` THEN 1 ELSE 0 END AS agent_over
FROM @index
WHERE id > ?
ORDER BY id
LIMIT ` + strconv.Itoa(PageSize)
	if err := x.db.Unkept().Select(ctx, &rows, query, append(append(args, more...), after)...); err != nil {
		return 0, "", err
	}
	var ips, agents []string
	for _, r := range rows {
		if r.IP == 1 {
			ips = append(ips, r.ID)
		}
		if r.Agent == 1 {
			agents = append(agents, r.ID)
		}
		if r.IP == 1 || r.Agent == 1 {
			n++
		}
	}
	for _, c := range []struct {
		query string
		ids   []string
	}{{blankIPSQL, ips}, {blankAgentSQL, agents}} {
		if len(c.ids) == 0 {
			continue
		}
		if _, err := x.db.Unkept().Exec(ctx, c.query, sqldb.ListOf(c.ids)); err != nil {
			return 0, "", err
		}
	}
	if len(rows) == PageSize {
		next = rows[PageSize-1].ID
	}
	return n, next, nil
}
