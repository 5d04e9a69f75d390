// Package pgchannel carries the word that sessions have ended from one replica of a
// program to the others, with LISTEN and NOTIFY of PostgreSQL:
//
//	channel, err := pgchannel.New(db.DB, dsn)
//	sessions, err := usersession.New(db, &usersession.Options{
//		Watch: usersession.WatchOptions{Channel: channel},
//	})
//
// Each process that watches a session has one connection of its own to listen on. It is
// one of lib/pq, whichever driver db has. It must reach the primary itself, because a
// pooler with transactions and a standby do not pass notifications on.
//
// At its commit a NOTIFY takes a lock of the whole server. A server that ends many
// hundreds of sessions each second is better off without it, or with the channel of
// package redisstore.
package pgchannel

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/lib/pq"

	"github.com/seed-296ca7ab/usersession"
)

// name is that of the channel in PostgreSQL. The IDs of sessions are random, so that
// programs may share it.
const name = "usersession"

var _ usersession.Channel = (*Channel)(nil)

// Channel is a [usersession.Channel]. It is safe for concurrent use.
type Channel struct {
	db  *sql.DB
	dsn string
}

// New returns a Channel that tells others through db, and hears them on a connection
// that it opens with dsn while it is subscribed. dsn is a URL or a connection string as
// lib/pq takes it, to the database of db. It should have a connect_timeout. New connects
// to nothing, and never closes db.
func New(db *sql.DB, dsn string) (*Channel, error) {
	if db == nil {
		return nil, errors.New("pgchannel: New: db is nil")
	}
	if _, err := pq.NewConnector(dsn); err != nil || dsn == "" {
		return nil, errors.New("pgchannel: New: dsn is no connection string of lib/pq") // err may have the password
	}
	return &Channel{db, dsn}, nil
}

// Format implements fmt.Formatter. It prints none of the connection string.
func (c *Channel) Format(f fmt.State, _ rune) { fmt.Fprint(f, "pgchannel.Channel") }

// validID leaves out what would mean something in a statement.
var validID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Publish implements [usersession.Channel].
func (c *Channel) Publish(ctx context.Context, ids []string) error {
	for _, id := range ids {
		if !validID.MatchString(id) {
			return errors.New("pgchannel: Publish: that is no ID of a session")
		}
	}
	// Without an argument, because some poolers take no prepared statement.
	_, err := c.db.ExecContext(ctx, "NOTIFY "+name+", '"+strings.Join(ids, ",")+"'")
	return err
}

// Subscribe implements [usersession.Channel].
func (c *Channel) Subscribe(ctx context.Context, heard func(ids []string)) error {
	notes := make(chan *pq.Notification, 32)
	conn, err := pq.NewListenerConn(c.dsn, notes)
	if err != nil {
		return err
	}
	closed := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		closed()
		conn.Close()
		for range notes { // else what reads the connection could wait for ever
		}
	}()
	if _, err := conn.Listen(name); err != nil {
		return err
	}
	heard(nil)
	for n := range notes {
		heard(strings.Split(n.Extra, ","))
	}
	return errors.Join(ctx.Err(), conn.Err())
}
