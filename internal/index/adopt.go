package index

import (
	"context"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Adoption is what the index gets of a session that was made before it.
type Adoption struct {
	ID, UserID, Key string
	Age             time.Duration // since its login, as far as that is known
	Unproved        time.Duration // since the user has proved who they are
	Left            time.Duration // until its deadline
	IP, UserAgent   string
}

const adoptSQL = `
INSERT INTO @index (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta, place)
VALUES (?, ?, ?, @after(?), @after(?), @now, @after(?), ?, @text(?, 512), @text(?), @here)`

// Adopt writes the row of a session that is live already. It reports false if there is
// a row with that ID or key.
func (x *Index) Adopt(ctx context.Context, a Adoption) (bool, error) {
	_, err := x.db.Exec(ctx, adoptSQL, a.ID, x.userArg(a.UserID), a.Key,
		-a.Age.Microseconds(), -a.Unproved.Microseconds(), a.Left.Microseconds(),
		a.IP, sqldb.Text(a.UserAgent), sqldb.Verbatim(MetaJSON(nil)))
	if sqldb.IsDuplicate(err) {
		return false, nil
	}
	return err == nil, err
}

const adoptedSQL = `
SELECT id
FROM @index
WHERE id = ? AND user_id = ?
UNION ALL
SELECT id
FROM @index
WHERE user_id = ? AND other_key IN (?, ?)`

// Adopted reports whether a session of a user with that ID was adopted, or that key was
// the one before the last renewal of one of the user's sessions. It reads the user's
// rows by the index (user_id, ended_at).
func (x *Index) Adopted(ctx context.Context, id, userID, key string) (bool, error) {
	user := x.userArg(userID)
	var ids []string
	err := x.db.Read(ctx, &ids, adoptedSQL, id, user, user, key, bindingMark+key)
	return len(ids) > 0, err
}

const readoptSQL = `
UPDATE @index
SET last_seen_at = @now, place = @here,` + setClientSQL + `
WHERE id = ? AND session_key = ? AND user_id = ? AND ended_at IS NULL AND expires_at > @now`

// Readopt is Touch for a session that another program has used, which did not note it
// here. The idle timeout does not end it.
func (x *Index) Readopt(ctx context.Context, b *trailer.Binding, by Client) error {
	_, err := x.db.Exec(ctx, readoptSQL, append(by.args(), b.ID, b.Key, x.userArg(b.UserID))...)
	return err
}
