package index

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Replica is a process that may serve sessions from memory.
type Replica struct {
	ID    string `db:"id"`
	Beats int64  `db:"beats"` // how often it was heard of
	Lease int64  `db:"lease"` // for how long it may, after it was heard of, in microseconds
}

// Message tells a replica what to drop.
type Message struct {
	ID      string `db:"id"`
	Replica string `db:"replica"`
	Names   string `db:"names"` // IDs and keys of sessions, with commas between them
}

const joinSQL = `
INSERT INTO @replica (id, beats, lease)
VALUES (?, 0, ?)`

// Join adds a replica.
func (x *Index) Join(ctx context.Context, id string, lease time.Duration) error {
	_, err := x.db.Exec(ctx, joinSQL, id, lease.Microseconds())
	return err
}

const (
	beatSQL = `
UPDATE @replica
SET beats = beats + 1
WHERE id = ?`
	inboxSQL = `
SELECT id, replica, names
FROM @inbox
WHERE replica = ?`
)

// Beat says that a replica lives. It returns the messages that there are for it, and
// whether the replica is still there. The messages are read last.
func (x *Index) Beat(ctx context.Context, id string) (there bool, told []Message, err error) {
	n, err := x.db.Exec(ctx, beatSQL, id)
	if err != nil || n == 0 {
		return false, nil, err
	}
	told, err = x.Inbox(ctx, id)
	return true, told, err
}

// Inbox returns the messages that there are for a replica.
func (x *Index) Inbox(ctx context.Context, id string) (told []Message, err error) {
	err = x.db.Read(ctx, &told, inboxSQL, id)
	return told, err
}

const (
	heardSQL    = "\nDELETE FROM @inbox\nWHERE id = ?"
	heardAllSQL = "\nDELETE FROM @inbox\nWHERE id IN @list"
)

// Heard says that a replica has dropped what some messages say. On PostgreSQL that is not
// on disk when it returns. A server that crashes and forgets it tells the replica again.
func (x *Index) Heard(ctx context.Context, messages []string) (err error) {
	if len(messages) == 1 {
		_, err = x.execLazily(ctx, x.db, heardSQL, heardSQL+lazilySQL, messages[0])
		return err
	}
	for chunk := range slices.Chunk(messages, PageSize) {
		if _, err := x.execLazily(ctx, x.db.Unkept(), heardAllSQL, heardAllSQL+lazilySQL, sqldb.ListOf(chunk)); err != nil {
			return err
		}
	}
	return nil
}

const (
	replicasSQL = `
SELECT id, beats, lease
FROM @replica
WHERE id <> ?`
	tellSQL     = "\nINSERT INTO @inbox (id, replica, names)\nVALUES (?, ?, ?)"
	tellMoreSQL = ",\n\t(?, ?, ?)"
	tellAllSQL  = `
INSERT INTO @inbox (id, replica, names)
SELECT @message(?, id), id, ?
FROM @replica
WHERE id <> ?
RETURNING replica AS id, (SELECT r.beats FROM @replica r WHERE r.id = replica) AS beats, (SELECT r.lease FROM @replica r WHERE r.id = replica) AS lease`
)

// Tell leaves each replica but one a message, and returns them. The name of the message is
// new, and the ID of each is that with the replica's behind it. When it returns they must
// be on disk: one that is lost is taken for heard.
func (x *Index) Tell(ctx context.Context, message, names, but string) (all []Replica, err error) {
	if x.c.Dialect != sqldb.MariaDB {
		err = x.db.Select(ctx, &all, tellAllSQL, message, names, but)
		return all, err
	}
	if err := x.db.Read(ctx, &all, replicasSQL, but); err != nil || len(all) == 0 {
		return nil, err
	}
	var args []any
	for _, r := range all {
		args = append(args, message+r.ID, r.ID, names)
	}
	_, err = x.db.Unkept().Exec(ctx, tellSQL+strings.Repeat(tellMoreSQL, len(all)-1), args...)
	return all, err
}

const unheardSQL = `
SELECT r.id
FROM @replica r
WHERE EXISTS (SELECT 1 FROM @inbox i WHERE i.id = @message(?, r.id))`

// Unheard returns the replicas that are still to hear a message. Those that have left have
// dropped everything.
func (x *Index) Unheard(ctx context.Context, message string) (left []string, err error) {
	err = x.db.Read(ctx, &left, unheardSQL, message)
	return left, err
}

const (
	buryReplicaSQL = `
DELETE FROM @replica
WHERE id = ? AND beats = ?`
	leaveSQL = `
DELETE FROM @replica
WHERE id = ?`
	dropInboxSQL = `
DELETE FROM @inbox
WHERE replica NOT IN (SELECT id FROM @replica)`
)

// Bury takes a replica out that has not been heard of since it was read.
func (x *Index) Bury(ctx context.Context, r Replica) error {
	n, err := x.db.Exec(ctx, buryReplicaSQL, r.ID, r.Beats)
	if err == nil && n > 0 {
		_, err = x.db.Exec(ctx, dropInboxSQL)
	}
	return err
}

// Leave takes a replica out.
func (x *Index) Leave(ctx context.Context, id string) error {
	_, err := x.db.Exec(ctx, leaveSQL, id)
	if err == nil {
		_, err = x.db.Exec(ctx, dropInboxSQL)
	}
	return err
}

const unreadForSQL = `
SELECT @us(expires_at) AS expires_at, @us(last_seen_at) AS last_seen_at, COALESCE(idle_timeout, 0) AS idle_timeout, @us(now_at) AS now
FROM @index
CROSS JOIN (SELECT @now AS now_at) AS clock
WHERE session_key = ? AND id = ? AND user_id = ? AND @live`

// UnreadFor returns for how long the session of b may be served without a look at its row,
// if nobody ends it: until it is to be touched, or is over. It is not positive if the
// session is not live under its key, or is to be touched.
func (x *Index) UnreadFor(ctx context.Context, b *trailer.Binding) (time.Duration, error) {
	var rows []struct {
		Expires int64 `db:"expires_at"`
		Seen    int64 `db:"last_seen_at"`
		Idle    int64 `db:"idle_timeout"`
		Now     int64 `db:"now"`
	}
	if err := x.db.Read(ctx, &rows, unreadForSQL, b.Key, b.ID, x.userArg(b.UserID)); err != nil || len(rows) == 0 {
		return 0, err
	}
	r := rows[0]
	left := min(r.Expires-r.Now, r.Seen+x.c.Touch.Microseconds()-r.Now)
	if idle := r.Idle; idle > 0 || x.c.Idle > 0 {
		if idle == 0 {
			idle = x.c.Idle.Microseconds()
		}
		left = min(left, r.Seen+idle-r.Now)
	}
	return time.Duration(left) * time.Microsecond, nil
}
