package index

import (
	"context"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

const byIDsSQL = `
SELECT` + rowColumns + `
FROM @index
WHERE id IN @list`

// ByIDs returns the rows of at most PageSize sessions of these users, in whatever state
// they are, and the time of the database after that, in microseconds since 1970. A row
// may be another user's than is believed, or have none.
func (x *Index) ByIDs(ctx context.Context, ids, users []string) (rows map[string]Row, now int64, err error) {
	rows = make(map[string]Row, len(ids))
	if len(ids) == 0 {
		return rows, 0, nil
	}
	var list []Row
	cond, args := x.amongUsers(users)
	if err = x.db.Unkept().Select(ctx, &list, byIDsSQL+cond, append([]any{sqldb.ListOf(ids)}, args...)...); err == nil {
		now, err = x.Now(ctx)
	}
	for _, r := range list {
		rows[r.ID] = r
	}
	return rows, now, err
}
