// Package testserver gives tests the real databases of the machine they run on.
//
// A server is looked for at an address in the environment first
// (USERSESSION_TEST_POSTGRES, USERSESSION_TEST_PGBOUNCER,
// USERSESSION_TEST_MARIADB, USERSESSION_TEST_REDIS). If there is none, server
// binaries are looked for, those of PostgreSQL in the folder that
// USERSESSION_TEST_POSTGRES_BIN names if it is set. From them one throwaway server
// per test process is started on a free loopback port. If there are none either, the
// test is skipped with one line that says what is missing. With
// USERSESSION_TEST_REQUIRE=all such a test fails instead.
//
// A server that is there but does not start always fails the test, with its
// log. The same goes for what tests of pages need, which is [Chromium] and
// [AxeCore].
//
// The package imports the standard library and the package depth only. The root
// module and every nested module use it, each with a driver of its own.
package testserver

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// Main is the body of a TestMain. It runs the tests, at the fast depth with
// -short, stops the servers they started, removes their directories and exits.
// Without it the servers still end with the process (on Linux), but their
// directories stay until the next run.
func Main(m *testing.M) {
	depth.Short()
	code := m.Run()
	if err := stopAll(); err != nil {
		fmt.Fprintln(os.Stderr, "testserver:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// PostgresServer returns the URL of a PostgreSQL server's maintenance database,
// for lib/pq and pgx alike. All tests of the process share the server. Use
// [FreshPostgres] for a database of one's own.
func PostgresServer(tb testing.TB) (dsn string) {
	tb.Helper()
	return postgres.address(tb)
}

// MariaDBServer returns the go-sql-driver/mysql DSN of a MariaDB server, with no
// database selected and, from a throwaway server, no parameters. All tests of
// the process share the server. Use [FreshMariaDB] for a database of one's own.
func MariaDBServer(tb testing.TB) (dsn string) {
	tb.Helper()
	return mariaDB.address(tb)
}

// Redis returns the host:port of a Redis server. All tests of the process share
// it, so each one uses keys with a prefix of its own.
func Redis(tb testing.TB) (addr string) {
	tb.Helper()
	return redis.address(tb)
}

// The servers of this process. They outlive every single test, so there is no
// narrower scope to keep them in.
var (
	postgres = &server{
		name:    "PostgreSQL",
		env:     "USERSESSION_TEST_POSTGRES",
		example: "postgres://user:password@host:5432/postgres",
		start:   sync.OnceValues(startPostgres),
	}
	mariaDB = &server{
		name:    "MariaDB",
		env:     "USERSESSION_TEST_MARIADB",
		example: "user:password@tcp(host:3306)/",
		start:   sync.OnceValues(startMariaDB),
	}
	redis = &server{
		name:    "Redis",
		env:     "USERSESSION_TEST_REDIS",
		example: "host:6379",
		start:   sync.OnceValues(startRedis),
	}
)

// requireEnv names the variable that turns skips into failures.
const requireEnv = "USERSESSION_TEST_REQUIRE"

// server is one kind of database and the way to get at it.
type server struct {
	name    string
	env     string // the variable with the address of a running server
	example string // what such an address looks like
	start   func() (address string, err error)
}

// errMissing is wrapped by a start function's error when the machine does not
// have the server's binaries.
var errMissing = errors.New("not installed")

// address returns where the server can be reached, starts it if need be, and
// skips or fails the test when it cannot.
func (s *server) address(tb testing.TB) string {
	tb.Helper()
	require := os.Getenv(requireEnv)
	if require != "" && require != "all" {
		// A misspelt value must not quietly mean "skip".
		tb.Fatalf("%s=%q: the only value is \"all\"", requireEnv, require)
	}
	if address := os.Getenv(s.env); address != "" {
		return address
	}
	address, err := s.start()
	if err != nil {
		s.fail(tb, err)
		return "" // Reached only with a TB whose Fatalf and Skipf return.
	}
	if err := alive(address); err != nil {
		tb.Fatalf("%s: %v", s.name, err)
	}
	return address
}

// fail ends a test that cannot have the server.
func (s *server) fail(tb testing.TB, err error) {
	tb.Helper()
	switch require := os.Getenv(requireEnv); {
	case !errors.Is(err, errMissing):
		tb.Fatalf("%s does not start: %v", s.name, err)
	case require == "all":
		tb.Fatalf("%s is required: %v; install it or set %s (%s)", s.name, err, s.env, s.example)
	default:
		tb.Skipf("no %s: %v; install it or set %s (%s)", s.name, err, s.env, s.example)
	}
}
