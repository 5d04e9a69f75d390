package usersession

import (
	"context"
	"time"
)

// WatchOptions are about how a process learns that a session has ended which it still
// serves, in a stream for instance. The zero value of every field is its default.
type WatchOptions struct {
	// Interval is how long it takes at most until the process learns that, and a query
	// more. While a request or a context of [Manager.Watch] is under way for longer than
	// that, the process reads the index as often. It must be at least 1 millisecond. Default: 1 second.
	Interval time.Duration

	// Channel tells other replicas at once what has ended. If all of its messages are
	// lost, they learn it within the Interval all the same. If nil, there are none.
	Channel Channel
}

// Channel carries the word that sessions have ended from one replica to the others.
// Package pgchannel has one over PostgreSQL, and redisstore one over Redis.
//
// A Channel may lose messages, repeat them and invent them, because whoever hears one
// looks at the index. A message has the IDs of sessions, and with Options.ReadLease the
// random name of a process, and never a token or a key. A Channel must be safe for
// concurrent use.
type Channel interface {
	// Publish tells all subscribers, on every replica, that sessions may have ended.
	// There are 1 to 250 IDs. It must return when ctx ends.
	Publish(ctx context.Context, ids []string) error

	// Subscribe calls heard with the IDs of each message, until ctx ends or the
	// connection fails, and returns the reason. It also calls heard with nil once it
	// hears, and again each time that it may have missed something. After an error it
	// is called again, with a growing pause.
	Subscribe(ctx context.Context, heard func(ids []string)) error
}
