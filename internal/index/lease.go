package index

import (
	"context"
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

const replicasSQL = `
SELECT id, beats, lease
FROM @replica`

// Replicas returns the replicas that may serve sessions from memory.
func (x *Index) Replicas(ctx context.Context) (all []Replica, err error) {
	err = x.db.Read(ctx, &all, replicasSQL)
	return all, err
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
	heardSQL = `
DELETE FROM @inbox
WHERE id IN @list`
	beatSQL = `
UPDATE @replica
SET beats = beats + 1
WHERE id = ?`
	inboxSQL = `
SELECT id, replica, names
FROM @inbox
WHERE replica = ?`
)

// Beat says that a replica lives, and has dropped what some messages said. It returns the
// messages that there are, and whether the replica is still there. The messages are read
// last.
func (x *Index) Beat(ctx context.Context, id string, heard []string) (there bool, told []Message, err error) {
	if len(heard) > 0 {
		if _, err := x.db.Unkept().Exec(ctx, heardSQL, sqldb.ListOf(heard)); err != nil {
			return false, nil, err
		}
	}
	n, err := x.db.Exec(ctx, beatSQL, id)
	if err != nil || n == 0 {
		return false, nil, err
	}
	err = x.db.Read(ctx, &told, inboxSQL, id)
	return true, told, err
}

const (
	tellSQL     = "\nINSERT INTO @inbox (id, replica, names)\nVALUES (?, ?, ?)"
	tellMoreSQL = ",\n\t(?, ?, ?)"
)

// Tell leaves messages.
func (x *Index) Tell(ctx context.Context, messages []Message) error {
	var args []any
	for _, m := range messages {
		args = append(args, m.ID, m.Replica, m.Names)
	}
	_, err := x.db.Unkept().Exec(ctx, tellSQL+strings.Repeat(tellMoreSQL, len(messages)-1), args...)
	return err
}

const unheardSQL = `
SELECT id
FROM @inbox
WHERE id IN @list`

// Unheard returns those of some messages that are still there.
func (x *Index) Unheard(ctx context.Context, messages []string) (left []string, err error) {
	err = x.db.Unkept().Select(ctx, &left, unheardSQL, sqldb.ListOf(messages))
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
