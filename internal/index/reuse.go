package index

import "context"

// presentedSQL is liveRowByKeySQL that finds the row of a key that was renewed as well.
// The requests of a page may be under way with the token before for a minute. When a
// session was renewed is not known if the program noted it nowhere then, and nothing is
// said of that one.
const presentedSQL = liveRowByKeySQL + `
UNION ALL
SELECT` + rowColumns + `
FROM @index
WHERE other_key = ? AND renewed_at <= @after(-60000000) AND @live`

// Presented returns the live row of a key that a request has come with. renewed says that
// the row has another key by now, since more than a minute. It needs Config.Reuse. found
// is false if there is no such row.
func (x *Index) Presented(ctx context.Context, key string) (row Row, found, renewed bool, err error) {
	var rows []Row
	err = x.db.Read(ctx, &rows, presentedSQL, key, key)
	row, found, err = first(rows, err)
	return row, found, found && row.SessionKey != key, err
}
