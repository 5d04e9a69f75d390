// Package depth says how much the tests do, as much as a machine can do in
// three minutes or everything.
//
// The fast depth is that of a plain "go test". It tests every behaviour, but not
// on every backend, and leaves out what only finds more of the same. The full
// depth is that of CI, with USERSESSION_TEST_DEPTH=full. The package testserver
// says which servers must be there.
//
// The package imports the standard library only. It must never decide what a
// test expects, only how much of it is run.
package depth

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// env names the variable that chooses the depth.
const env = "USERSESSION_TEST_DEPTH"

// Full reports whether the tests are to do everything. It panics if the variable
// has another value than "full", because a misspelt one must not quietly mean
// "fast".
func Full() bool {
	switch value := os.Getenv(env); value {
	case "":
		return false
	case "full":
		return true
	default:
		panic(fmt.Sprintf("%s=%q: the only value is \"full\"", env, value))
	}
}

// Short makes testing.Short true at the fast depth, for all tests of the
// process. The contract kit then runs its races for a shorter time. It is
// called from TestMain.
func Short() {
	if !Full() {
		if err := flag.Set("test.short", "true"); err != nil {
			panic(err)
		}
	}
}

// OnlyFull skips a test at the fast depth. It is called from the test's goroutine.
func OnlyFull(tb testing.TB) {
	tb.Helper()
	if !Full() {
		tb.Skip("runs at the full depth: " + env + "=full")
	}
}
