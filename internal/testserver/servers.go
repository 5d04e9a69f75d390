package testserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// startPostgres starts a PostgreSQL server tuned for data nobody will miss and
// returns the URL of its maintenance database.
func startPostgres() (dsn string, err error) {
	p, s, err := preparePostgres("synchronous_commit=off")
	if err != nil {
		return "", err
	}
	port, err := p.serve(s)
	if err != nil {
		return "", err
	}
	processes.Lock()
	processes.postgres = p
	processes.Unlock()
	return postgresURL(port), nil
}

func postgresURL(port string) string {
	return "postgres://postgres@127.0.0.1:" + port + "/postgres?sslmode=disable"
}

// preparePostgres makes a cluster and says how to serve it, with settings of the
// form name=value besides those that are always the same.
func preparePostgres(settings ...string) (*process, service, error) {
	binary, initdb, err := findPostgres("initdb")
	if err != nil {
		return nil, service{}, err
	}
	p, err := newProcess("postgres", "postgres")
	if err != nil {
		return nil, service{}, err
	}
	data := filepath.Join(p.dir, "data")
	create := func(locale string) error {
		return p.run(initdb, "--pgdata="+data, "--username=postgres", "--auth=trust",
			"--encoding=UTF8", "--locale="+locale, "--no-sync", "--no-instructions")
	}
	if create("C.UTF-8") != nil {
		// Not every libc knows C.UTF-8; initdb removes what it had written.
		if err := create("C"); err != nil {
			return nil, service{}, err
		}
	}
	return p, postgresService(binary, data, "connections", settings...), nil
}

// postgresService says how to run a server on a data directory: accepts is what
// its log says that it is ready for.
func postgresService(binary, data, accepts string, settings ...string) service {
	return service{
		ready: "database system is ready to accept " + accepts,
		// Immediate shutdown: unlike SIGKILL it also takes the children and the
		// shared memory along.
		end: syscall.SIGQUIT,
		command: func(port string) []string {
			args := []string{binary, "-D", data,
				"-c", "listen_addresses=127.0.0.1",
				"-c", "port=" + port,
				// No socket: its path has a length limit, a temporary directory has none.
				"-c", "unix_socket_directories=",
				"-c", "max_connections=200",
				"-c", "shared_buffers=64MB",
				"-c", "fsync=off",
				"-c", "full_page_writes=off",
				// Plans and tuple counts change when the test says so, at no other time.
				"-c", "autovacuum=off",
			}
			for _, setting := range settings {
				args = append(args, "-c", setting)
			}
			return args
		},
	}
}

// binariesEnv names the variable with the folder of a PostgreSQL of one's own.
const binariesEnv = "USERSESSION_TEST_POSTGRES_BIN"

// findPostgres returns the paths of the server and of another program of its version.
// Distributions keep those of each major version in a folder of its own.
func findPostgres(other string) (string, string, error) {
	dir := os.Getenv(binariesEnv)
	if dir == "" {
		return findTogether(postgresDirs(), "postgres", other)
	}
	server, err := exec.LookPath(filepath.Join(dir, "postgres"))
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", binariesEnv, err)
	}
	path, err := exec.LookPath(filepath.Join(dir, other))
	if err != nil {
		return "", "", fmt.Errorf("%s: %s is %w there", binariesEnv, other, errMissing)
	}
	return server, path, nil
}

// postgresDirs returns the folders outside PATH that may hold a PostgreSQL
// server, the newest major version first.
func postgresDirs() []string {
	var dirs []string
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
		"/usr/pgsql-*/bin",          // PostgreSQL's own RPM packages
		"/usr/libexec/postgresql*",  // Alpine
	} {
		found, _ := filepath.Glob(pattern)
		dirs = append(dirs, found...)
	}
	major := func(dir string) int {
		digits := strings.FieldsFunc(dir, func(r rune) bool { return r < '0' || r > '9' })
		if len(digits) == 0 {
			return 0
		}
		n, _ := strconv.Atoi(digits[len(digits)-1])
		return n
	}
	slices.SortStableFunc(dirs, func(a, b string) int { return major(b) - major(a) })
	return dirs
}

// startMariaDB starts a MariaDB server tuned for data nobody will miss and
// returns the DSN of a user who may do everything.
func startMariaDB() (dsn string, err error) {
	p, s, err := prepareMariaDB()
	if err != nil {
		return "", err
	}
	port, err := p.serve(s)
	if err != nil {
		return "", err
	}
	return mariaDBURL(port), nil
}

func mariaDBURL(port string) string { return "test:test@tcp(127.0.0.1:" + port + ")/" }

// prepareMariaDB makes a data directory and says how to serve it, with more arguments
// behind those that are always the same.
func prepareMariaDB(args ...string) (*process, service, error) {
	dirs := []string{"/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/libexec"}
	mariadbd, err := find(dirs, "mariadbd")
	if err != nil {
		return nil, service{}, err
	}
	install, err := find(dirs, "mariadb-install-db")
	if err != nil {
		return nil, service{}, err
	}
	p, err := newProcess("mariadb", "mysql")
	if err != nil {
		return nil, service{}, err
	}
	data := filepath.Join(p.dir, "data")
	common := []string{
		"--no-defaults", // Has to be the first: the machine's own configuration does not count.
		"--datadir=" + data,
		"--innodb-buffer-pool-size=32M",
		"--innodb-log-file-size=16M",
		"--innodb-flush-log-at-trx-commit=0",
		"--skip-innodb-doublewrite",
		"--loose-innodb-flush-method=nosync", // loose: newer versions may not have it any more.
		"--skip-name-resolve",
	}
	err = p.run(install, append(slices.Clone(common),
		"--auth-root-authentication-method=normal", "--skip-test-db")...)
	if err != nil {
		return nil, service{}, err
	}
	grants := filepath.Join(p.dir, "grants.sql")
	err = p.writeFile(grants, `CREATE USER 'test'@'127.0.0.1' IDENTIFIED BY 'test';
GRANT ALL PRIVILEGES ON *.* TO 'test'@'127.0.0.1' WITH GRANT OPTION;
`)
	return p, service{
		ready: "ready for connections",
		end:   syscall.SIGKILL, // It has no children, and a shutdown would only write its buffers.
		command: func(port string) []string {
			return append(append(append([]string{mariadbd}, common...),
				"--bind-address=127.0.0.1",
				"--port="+port,
				"--socket=mariadb.sock", // Below datadir, and short.
				"--pid-file=mariadb.pid",
				"--init-file="+grants,
				"--character-set-server=utf8mb4",
				"--max-connections=200",
				"--performance-schema=OFF",
			), args...)
		},
	}, err
}

// startRedis starts a Redis server that keeps nothing on disk and returns its
// host:port.
func startRedis() (addr string, err error) {
	p, s, err := prepareRedis("--save", "", "--appendonly", "no")
	if err != nil {
		return "", err
	}
	port, err := p.serve(s)
	if err != nil {
		return "", err
	}
	return "127.0.0.1:" + port, nil
}

// prepareRedis says how to serve a Redis with more arguments.
func prepareRedis(args ...string) (*process, service, error) {
	// "Ready …" since 4.0, "… is now ready …" before.
	return prepareRedisServer("eady to accept connections", func(*process) ([]string, error) { return args, nil })
}

// prepareSentinel says how to serve a Sentinel.
func prepareSentinel(configuration string) (*process, service, error) {
	return prepareRedisServer("Sentinel ID is", func(p *process) ([]string, error) {
		path := filepath.Join(p.dir, "sentinel.conf") // A Sentinel writes it anew.
		return []string{path, "--sentinel"}, p.writeFile(path, configuration)
	})
}

func prepareRedisServer(ready string, arguments func(*process) ([]string, error)) (*process, service, error) {
	binary, err := find(nil, "redis-server")
	if err != nil {
		return nil, service{}, err
	}
	p, err := newProcess("redis", "redis")
	if err != nil {
		return nil, service{}, err
	}
	args, err := arguments(p)
	return p, service{
		ready: ready,
		end:   syscall.SIGKILL,
		command: func(port string) []string {
			// The path of a configuration has to be the first argument.
			return append(append([]string{binary}, args...), "--bind", "127.0.0.1", "--port", port, "--dir", p.dir)
		},
	}, err
}

// find returns the path of a program: in PATH, else in the first of dirs that
// has it.
func find(dirs []string, program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range dirs {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is %w", program, errMissing)
}

// findTogether returns the paths of two programs of the same version: both from
// one folder, the one that PATH leads to, else the first of dirs that has both.
func findTogether(dirs []string, first, second string) (string, string, error) {
	if path, err := find(nil, first); err == nil {
		dirs = append([]string{filepath.Dir(path)}, dirs...)
	}
	for _, dir := range dirs {
		path1, err1 := exec.LookPath(filepath.Join(dir, first))
		path2, err2 := exec.LookPath(filepath.Join(dir, second))
		if err1 == nil && err2 == nil {
			return path1, path2, nil
		}
	}
	return "", "", fmt.Errorf("%s with %s is %w", first, second, errMissing)
}
