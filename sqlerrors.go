package usersession

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// retry runs fn again after a conflict: three times after a deadlock or a
// serialisation failure; until ctx ends while SQLite is busy, because waiting
// for the one writer is all there is to do.
func retry(ctx context.Context, fn func() error) error {
	for attempt := 1; ; attempt++ {
		err := fn()
		kind := conflictOf(err)
		if kind == noConflict || kind == deadlock && attempt > 3 {
			return err
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
)

func conflictOf(err error) conflict {
	if err == nil {
		return noConflict
	}
	switch sqlState(err) {
	case "40001", "40P01":
		return deadlock
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

// sqlState returns the SQLSTATE of an error of lib/pq or pgx.
func sqlState(err error) string {
	var s interface{ SQLState() string }
	if errors.As(err, &s) {
		return s.SQLState()
	}
	return ""
}

// explain puts ErrNotMigrated and ErrUnknownUser before the driver's errors
// that mean them, and says what to do about those of a pooler.
func (c *conn) explain(err error) error {
	if err == nil || errors.Is(err, ErrNotMigrated) || errors.Is(err, ErrUnknownUser) {
		return err
	}
	text, state := err.Error(), sqlState(err)
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
		return fmt.Errorf("a connection pooler does not keep prepared statements: set Options.NoPreparedStatements, and binary_parameters=yes (lib/pq) or default_query_exec_mode=exec (pgx) in the connection string: %w", err)
	case state == "42P01", state == "42703", state == "3F000",
		state == "" && has("no such table", "no such column", "has no column named", "Error 1146", "Error 1054", "Error 1049"):
		return fmt.Errorf("%w: %w", ErrNotMigrated, err)
	case state == "23503", state == "" && has("FOREIGN KEY constraint failed", "Error 1452"):
		return fmt.Errorf("%w: %w", ErrUnknownUser, err)
	}
	return err
}

// isDuplicate reports whether err is a violated unique constraint.
func isDuplicate(err error) bool {
	if err == nil {
		return false
	}
	if s := sqlState(err); s != "" {
		return s == "23505"
	}
	text := err.Error()
	return strings.Contains(text, "Error 1062") || strings.Contains(text, "UNIQUE constraint failed")
}
