package pqread

import (
	"errors"
	"fmt"
	"testing"
)

type stateError string

func (e stateError) Error() string    { return "of the server" }
func (e stateError) SQLState() string { return string(e) }

func TestSQLState(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.New("x"), ""},
		{stateError("40001"), "40001"},
		{fmt.Errorf("wrapped: %w", stateError("23505")), "23505"},
		{errors.Join(errors.New("x"), stateError("26000")), "26000"},
	} {
		if got := SQLState(tc.err); got != tc.want {
			t.Errorf("%v: %q, want %q", tc.err, got, tc.want)
		}
	}
}

// Only connections of lib/pq itself are spoken to.
func TestOthersAreNotLibPQ(t *testing.T) {
	for _, v := range []any{nil, idleConn{}, &idleConn{}, &Reader{}} {
		if IsLibPQ(v) || SendsApart(v) {
			t.Errorf("%T is taken for lib/pq", v)
		}
	}
}
