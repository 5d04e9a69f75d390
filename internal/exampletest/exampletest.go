// Package exampletest leaves out Examples that need a database where no driver
// for one is linked. The root module requires no driver. Its Examples stand where
// they are documented, and compat runs them with a driver added to their tests.
//
// It imports the standard library only.
package exampletest

import (
	"database/sql"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
)

// Main is the body of a TestMain in a package whose Examples open SQLite. Without
// a driver of that name it adds the Examples to those that -skip names.
func Main(m *testing.M) {
	flag.Parse()
	if !slices.Contains(sql.Drivers(), "sqlite") {
		skip := flag.Lookup("test.skip")
		pattern := "^Example"
		if named := skip.Value.String(); named != "" {
			pattern = named + "|" + pattern
		}
		if err := skip.Value.Set(pattern); err != nil {
			panic(err)
		}
		if testing.Verbose() {
			fmt.Println("the Examples are left out here: they need a driver, with which compat runs them")
		}
	}
	os.Exit(m.Run())
}
