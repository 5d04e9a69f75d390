package testserver

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// pgBouncerUsers is how many users the PgBouncer knows.
const pgBouncerUsers = 2000

// PgBouncerUser is the name of the nth of the users that the PgBouncer lets in,
// without a password. Whether PostgreSQL knows them is up to the test. A role
// with a search_path is all that gives a client a schema of its own there.
func PgBouncerUser(n int) string { return fmt.Sprintf("usersession_test_%d", n) }

// PgBouncer returns the host:port of a PgBouncer in transaction mode in front of
// the server of [PostgresServer], for any of its databases.
func PgBouncer(tb testing.TB) (addr string) {
	tb.Helper()
	server, err := url.Parse(PostgresServer(tb))
	if err != nil || server.Host == "" {
		tb.Fatalf("PgBouncer needs the address of PostgreSQL as a URL (%v)", err)
	}
	pgBouncerServer = server
	return pgBouncer.address(tb)
}

// pgBouncerServer is what the PgBouncer of this process stands before. All tests
// find the same server.
var pgBouncerServer *url.URL

var pgBouncer = &server{
	name:    "PgBouncer",
	env:     "USERSESSION_TEST_PGBOUNCER",
	example: "host:6432",
	start:   sync.OnceValues(func() (string, error) { return startPgBouncer(pgBouncerServer) }),
}

// startPgBouncer starts a PgBouncer with few connections to the server, so that
// clients share them, and returns its host:port.
func startPgBouncer(server *url.URL) (addr string, err error) {
	binary, err := find([]string{"/usr/sbin", "/usr/local/sbin", "/usr/bin"}, "pgbouncer")
	if err != nil {
		return "", err
	}
	p, err := newProcess("pgbouncer", "postgres")
	if err != nil {
		return "", err
	}
	var users strings.Builder
	for n := range pgBouncerUsers {
		fmt.Fprintf(&users, "%q \"\"\n", PgBouncerUser(n+1))
	}
	userlist := filepath.Join(p.dir, "users")
	if err := p.writeFile(userlist, users.String()); err != nil {
		return "", err
	}
	config := filepath.Join(p.dir, "pgbouncer.ini")
	port, err := p.serve(service{
		ready: "process up",
		end:   syscall.SIGKILL, // It has no children and nothing to write.
		command: func(port string) []string {
			if err := p.writeFile(config, fmt.Sprintf(`[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = transaction
default_pool_size = 5
server_idle_timeout = 1
server_round_robin = 1
max_client_conn = 1000
`, server.Hostname(), server.Port(), port, userlist)); err != nil {
				return []string{"false"}
			}
			return []string{binary, config}
		},
	})
	if err != nil {
		return "", err
	}
	return "127.0.0.1:" + port, nil
}

// PostgresLogged returns how many lines in the log of this process's PostgreSQL
// server have text in them, or 0 if somebody else has started the server.
func PostgresLogged(tb testing.TB, text string) int {
	tb.Helper()
	processes.Lock()
	defer processes.Unlock()
	if processes.postgres == nil {
		return 0
	}
	log, err := os.ReadFile(processes.postgres.log())
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Count(string(log), text)
}
