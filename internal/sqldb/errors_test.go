package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"
)

type stateError string

func (e stateError) Error() string    { return "of the server" }
func (e stateError) SQLState() string { return string(e) }

// stateText is a state with a text.
type stateText struct {
	stateError
	text string
}

func (e stateText) Error() string { return e.text }

func TestConflicts(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want conflict
	}{
		{nil, noConflict},
		{errors.New("x"), noConflict},
		{stateError("40001"), deadlock},
		{fmt.Errorf("wrapped: %w", stateError("40P01")), deadlock},
		{fmt.Errorf("wrapped: %w", stateError("57P01")), closed},
		{stateError("57P02"), noConflict}, // the server has crashed, perhaps after the commit
		{stateError("57P05"), closed},
		{stateError("25P03"), closed},
		{stateError("57014"), noConflict},
		{stateError("08006"), noConflict},
		{unknownOutcome{stateError("57P01")}, noConflict}, // COMMIT may have been executed
		{unknownOutcome{stateError("40001")}, deadlock},
		{unknownOutcome{driver.ErrBadConn}, noConflict},
		{driver.ErrBadConn, noConflict}, // database/sql has asked again if it may
		{undone{driver.ErrBadConn}, closed},
		{fmt.Errorf("wrapped: %w", undone{stateError("26000")}), closed},
		{stateError("26000"), noConflict},
		{stateText{"23505", "database is locked"}, noConflict}, // the state has the last word
		{errors.New("Error 1213 (40001): Deadlock found"), deadlock},
		{errors.New("Error 1020 (HY000): Record has changed since last read"), deadlock},
		{errors.New("database is locked (5) (SQLITE_BUSY)"), busy},
	} {
		if got := conflictOf(tc.err); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.err, got, tc.want)
		}
	}
}

func TestRetry(t *testing.T) {
	for _, tc := range []struct {
		name  string
		err   error
		calls int
	}{
		{"no error", nil, 1},
		{"no conflict", errors.New("x"), 1},
		{"a deadlock that lasts", stateError("40P01"), maxConflicts + 1},
		{"a server that closes every connection", stateError("57P01"), maxClosed + 1},
	} {
		calls := 0
		if err := retry(t.Context(), func() error { calls++; return tc.err }); !errors.Is(err, tc.err) || calls != tc.calls {
			t.Errorf("%s: %d calls, %v; want %d", tc.name, calls, err, tc.calls)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err := retry(ctx, func() error {
		if calls++; calls == 10 {
			cancel()
		}
		return errors.New("SQLITE_BUSY")
	})
	if calls != 10 || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "SQLITE_BUSY") {
		t.Errorf("a busy database: %d calls, %v", calls, err)
	}
}

func TestExplain(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want error  // that it is
		text string // that it says
	}{
		{stateError("42P01"), ErrNotMigrated, ""},
		{stateError("42703"), ErrNotMigrated, ""},
		{errors.New("no such table: user_sessions"), ErrNotMigrated, ""},
		{errors.New("Error 1146 (42S02): Table 'x' doesn't exist"), ErrNotMigrated, ""},
		{stateError("23503"), ErrUnknownUser, ""},
		{errors.New("FOREIGN KEY constraint failed"), ErrUnknownUser, ""},
		{stateError("26000"), nil, "NoPreparedStatements"},
		{stateText{"08P01", "bind: no such prepared statement"}, nil, "NoPreparedStatements"},
		{stateText{"XX000", "no such table"}, nil, "no such table"}, // the state has the last word
	} {
		got := explain(t.Context(), tc.err)
		if !errors.Is(got, tc.err) || tc.want != nil && !errors.Is(got, tc.want) || !strings.Contains(got.Error(), tc.text) {
			t.Errorf("%v became %v", tc.err, got)
		}
		for _, other := range []error{ErrNotMigrated, ErrUnknownUser} {
			if other != tc.want && errors.Is(got, other) {
				t.Errorf("%v is taken for %v", tc.err, other)
			}
		}
		if again := explain(t.Context(), got); tc.want != nil && again != got {
			t.Errorf("%v is explained twice", tc.err)
		}
	}
	if err := explain(t.Context(), nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}

// Drivers have words of their own for the end of a context.
func TestExplainTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	of := stateText{"57014", "canceling statement due to user request"}
	if err := explain(ctx, of); !errors.Is(err, context.Canceled) || !errors.Is(err, of) {
		t.Errorf("%v", err)
	}
	if err := explain(ctx, nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}

func TestIsDuplicate(t *testing.T) {
	for err, want := range map[error]bool{
		nil: false, stateError("23505"): true, stateError("23503"): false,
		errors.New("Error 1062 (23000): Duplicate entry"): true, errors.New("UNIQUE constraint failed: sessions.token"): true, errors.New("x"): false,
	} {
		if IsDuplicate(err) != want {
			t.Errorf("%v: %v", err, !want)
		}
	}
}
