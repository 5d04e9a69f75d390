package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/pqread"
)

// The errors that this package tells from others.
var (
	ErrNotMigrated = errors.New("usersession: the tables are missing or incomplete: run Manager.Migrate")
	ErrUnknownUser = errors.New("usersession: no such user in UsersTable")
)

var errLetter = errors.New("a user ID, or a text of WithMeta or Filter.Meta, has a letter that the encoding of the database, of the connection or of a column does not have")

// retry runs fn again after a conflict. It does so maxConflicts times after a
// deadlock or a serialisation failure, which a level above READ COMMITTED makes
// common; until ctx ends while SQLite is busy, because waiting for the one writer is
// all there is to do. A connection that the server had closed is replaced at once. A
// pool may hold many of them.
func retry(ctx context.Context, fn func() error) error {
	for attempt := 1; ; attempt++ {
		err := fn()
		kind := conflictOf(err)
		if kind == noConflict || kind == deadlock && attempt > maxConflicts || kind == closed && attempt > maxClosed {
			return err
		}
		if kind == closed && ctx.Err() == nil {
			continue
		}
		pause := time.NewTimer(time.Duration(1+rand.IntN(5*min(attempt, 8))) * time.Millisecond)
		select {
		case <-ctx.Done():
			pause.Stop()
			return errors.Join(err, ctx.Err())
		case <-pause.C:
		}
	}
}

type conflict int

const (
	noConflict conflict = iota
	deadlock
	busy
	closed
)

const (
	maxConflicts = 64
	// maxClosed bounds the connections that one call finds closed, or without what
	// they kept.
	maxClosed = 128
)

// undone is the error of a transaction that has lost its connection, or a kept
// statement, before COMMIT was sent, or of a statement outside of one that is as
// good as not executed.
type undone struct{ error }

func (e undone) Unwrap() error { return e.error }

// unknownOutcome is the error of a COMMIT. It may have been executed even though
// the connection is gone.
type unknownOutcome struct{ error }

func (e unknownOutcome) Unwrap() error { return e.error }

// lost marks the error of a statement that only reads, if its connection is gone. Of
// one that writes nobody knows what it has done.
func (s statement) lost(err error) error {
	if !s.read || err == nil {
		return err
	}
	if cut(err) {
		return undone{err}
	}
	for _, text := range []string{"invalid connection", "Error 1927", "Error 1053"} { // of MariaDB's driver
		if strings.Contains(err.Error(), text) {
			return undone{err}
		}
	}
	return err
}

// cut reports whether a connection has ended under a statement without a word of the
// server. lib/pq is asked by database/sql to try again, and pgx and MariaDB's driver
// are not.
func cut(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op != "dial" && !op.Timeout()
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

func conflictOf(err error) conflict {
	if err == nil {
		return noConflict
	}
	if _, ok := errors.AsType[undone](err); ok {
		return closed
	}
	switch pqread.SQLState(err) {
	case "40001", "40P01":
		return deadlock
	case "57P01", "57P05", "25P03":
		// The server ends a connection with one of these, and with it what has
		// not been committed. lib/pq asks again by itself, and pgx does not.
		// 57P02, of a server that crashes, may come after the commit.
		if _, committing := errors.AsType[unknownOutcome](err); committing {
			return noConflict
		}
		return closed
	case "":
	default:
		return noConflict
	}
	// The MySQL and SQLite drivers are not imported here, and have no method
	// in common that tells.
	text := err.Error()
	switch {
	case strings.Contains(text, "Error 1213"), strings.Contains(text, "Error 1205"), strings.Contains(text, "Error 1020"):
		return deadlock
	case strings.Contains(text, "SQLITE_BUSY"), strings.Contains(text, "database is locked"), strings.Contains(text, "database table is locked"):
		return busy
	}
	return noConflict
}

// explain puts ErrNotMigrated and ErrUnknownUser before the driver's errors
// that mean them, and says what to do about those of a pooler. Of an error that
// comes from the end of ctx it says that it does: drivers have words of their own
// for it.
func explain(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = errors.Join(ctx.Err(), err)
	}
	if err == nil || errors.Is(err, errLetter) || errors.Is(err, ErrNotMigrated) || errors.Is(err, ErrUnknownUser) {
		return err
	}
	text, state := err.Error(), pqread.SQLState(err)
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	switch {
	case state == "26000", state == "42P05", state == "08P01" && has("prepared statement"):
		return fmt.Errorf("a connection pooler does not keep prepared statements: set Options.Index.NoPreparedStatements, and binary_parameters=yes (lib/pq) or default_query_exec_mode=exec (pgx) in the connection string: %w", err)
	case state == "42P01", state == "42703", state == "3F000",
		state == "" && has("no such table", "no such column", "has no column named", "Error 1146", "Error 1054", "Error 1049"):
		return fmt.Errorf("%w: %w", ErrNotMigrated, err)
	case state == "22P05", state == "22021", state == "" && has("Error 1366") && !has("Incorrect integer", "Incorrect uuid"):
		return fmt.Errorf("%w: %w", errLetter, err)
	case state == "22P02", state == "42804", state == "42883",
		state == "" && has("Error 1366", "Error 1292", "Error 4078", "unable to encode"):
		return fmt.Errorf("%w, or a column has another type than the Options say, UserIDType perhaps: %w", ErrNotMigrated, err)
	case state == "23503", state == "" && has("FOREIGN KEY constraint failed", "Error 1452"):
		return fmt.Errorf("%w: %w", ErrUnknownUser, err)
	}
	return err
}

// IsDuplicate reports whether err is a violated unique constraint.
func IsDuplicate(err error) bool {
	if err == nil {
		return false
	}
	if s := pqread.SQLState(err); s != "" {
		return s == "23505"
	}
	text := err.Error()
	return strings.Contains(text, "Error 1062") || strings.Contains(text, "UNIQUE constraint failed")
}

// Refused reports whether a server of PostgreSQL has answered a statement with an
// error, so that the statement has done nothing.
func Refused(err error) bool { return pqread.SQLState(err) != "" }

// IsLockTimeout reports whether err says that a lock was not got in time.
func IsLockTimeout(err error) bool {
	if err == nil {
		return false
	}
	if s := pqread.SQLState(err); s != "" {
		return s == "55P03"
	}
	return strings.Contains(err.Error(), "Error 1205")
}
