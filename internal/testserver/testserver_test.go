package testserver

import (
	"bufio"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// helperEnv makes the test binary the process that a test kills.
const helperEnv = "TESTSERVER_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		helper()
	}
	Main(m)
}

var starts = map[string]func() (string, error){
	"PostgreSQL": startPostgres,
	"MariaDB":    startMariaDB,
	"Redis":      startRedis,
}

// helper starts the servers the machine has, prints where they are and then waits to be killed.
func helper() {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for name, start := range starts {
		wg.Go(func() {
			address, err := start()
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, errMissing):
			case err != nil:
				fmt.Println("error:", err)
			default:
				fmt.Println(name, hostPort(address))
			}
		})
	}
	wg.Wait()
	for _, p := range processes.list {
		fmt.Println("process", p.child.process.Pid, p.dir)
	}
	fmt.Println("ready")
	// The idle threads are to end now and then, as in any other process: the ones
	// that started the servers must not be among them.
	for range 100 {
		go runtime.LockOSThread()
	}
	<-time.After(5 * time.Minute)
	os.Exit(1) // The test that should have killed it is gone.
}

// hostPort finds host:port in a DSN.
func hostPort(dsn string) string {
	if u, err := url.Parse(dsn); err == nil && u.Host != "" {
		return u.Host
	}
	if _, rest, found := strings.Cut(dsn, "("); found {
		address, _, _ := strings.Cut(rest, ")")
		return address
	}
	return dsn
}

func TestServersAcceptConnections(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(testing.TB) string{
		"PostgreSQL": PostgresServer,
		"MariaDB":    MariaDBServer,
		"Redis":      Redis,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			first := address(t)
			t.Logf("ready after %s", time.Since(began).Round(time.Millisecond))
			if second := address(t); second != first {
				t.Errorf("two calls, two servers: %s and %s", first, second)
			}
			conn, err := net.Dial("tcp", hostPort(first))
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		})
	}
}

func TestServersEndWithAKilledProcess(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a process with its parent")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addresses, pids, dirs := map[string]string{}, []string{}, []string{}
	ready := false
	for lines := bufio.NewScanner(out); !ready && lines.Scan(); {
		switch words := strings.Fields(lines.Text()); {
		case len(words) == 1 && words[0] == "ready":
			ready = true
		case len(words) == 3 && words[0] == "process":
			pids, dirs = append(pids, words[1]), append(dirs, words[2])
		case len(words) == 2 && starts[words[0]] != nil:
			addresses[words[0]] = words[1]
		default:
			t.Error(lines.Text())
		}
	}
	for name, address := range addresses {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Errorf("%s before the kill: %v", name, err)
			continue
		}
		conn.Close()
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // Always an error: the process was killed.
	if !ready {
		t.Fatal("the process did not start its servers")
	}
	if len(pids) == 0 {
		t.Skip("no server is installed")
	}

	killed := time.Now()
	for name, address := range addresses {
		eventually(t, name+" refuses connections", func() bool {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
	}
	for _, pid := range pids {
		eventually(t, "process "+pid+" ends", func() bool { return ended(pid) })
	}
	t.Logf("%d servers gone %s after the kill", len(pids), time.Since(killed).Round(time.Millisecond))

	for _, dir := range dirs {
		eventually(t, dir+" is removed by the next run", func() bool {
			removeStale(filepath.Dir(dir))
			_, err := os.Stat(dir)
			return errors.Is(err, os.ErrNotExist)
		})
	}
}

// ended reports whether a process is gone or a zombie that nobody waits for.
func ended(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(state, "Z")
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-timeout:
			t.Errorf("not within 20 s: %s", what)
			return
		case <-poll.C:
		}
	}
}

// outcome is a testing.TB that notes how the test ended.
type outcome struct {
	testing.TB
	skipped, failed string
}

// run calls f with the outcome, and returns when f has ended.
func (o *outcome) run(f func(tb testing.TB)) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f(o)
	}()
	<-ended
}

func (o *outcome) Helper() {}

func (o *outcome) Skipf(format string, args ...any) {
	o.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (o *outcome) Fatalf(format string, args ...any) {
	o.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestAddress(t *testing.T) {
	missing := func() (string, error) { return "", fmt.Errorf("exampled is %w", errMissing) }
	broken := func() (string, error) { return "", errors.New("exampled: exit status 1; its log") }
	tests := []struct {
		name            string
		require, dsn    string
		start           func() (string, error)
		address         string
		skipped, failed string
	}{
		{name: "in the environment", dsn: "host:1", start: missing, address: "host:1"},
		{name: "in the environment and required", dsn: "host:1", require: "all", start: missing, address: "host:1"},
		{name: "started", start: func() (string, error) { return "host:2", nil }, address: "host:2"},
		{name: "missing", start: missing,
			skipped: "no Example: exampled is not installed; install it or set EXAMPLE_DSN (host:port)"},
		{name: "missing and required", require: "all", start: missing,
			failed: "Example is required: exampled is not installed; install it or set EXAMPLE_DSN (host:port)"},
		{name: "broken", start: broken,
			failed: "Example does not start: exampled: exit status 1; its log"},
		{name: "misspelt requirement", require: "al", start: missing,
			failed: `USERSESSION_TEST_REQUIRE="al": the only value is "all"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(requireEnv, test.require)
			t.Setenv("EXAMPLE_DSN", test.dsn)
			s := &server{name: "Example", env: "EXAMPLE_DSN", example: "host:port", start: test.start}
			o := &outcome{}
			var address string
			o.run(func(tb testing.TB) { address = s.address(tb) })
			if address != test.address || o.skipped != test.skipped || o.failed != test.failed {
				t.Errorf("address %q, skipped %q, failed %q", address, o.skipped, o.failed)
			}
		})
	}
}

func TestNothingInPath(t *testing.T) {
	t.Setenv("PATH", "")
	if _, err := find(nil, "redis-server"); !errors.Is(err, errMissing) {
		t.Errorf("find: %v", err)
	}
	if _, _, err := findTogether(nil, "postgres", "initdb"); !errors.Is(err, errMissing) {
		t.Errorf("findTogether: %v", err)
	}
}

func TestFindTogetherTakesOneVersion(t *testing.T) {
	program := func(elements ...string) string {
		path := filepath.Join(elements...)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	root := t.TempDir()
	inPath := program(root, "path", "server")
	program(root, "16", "server")
	server15, setup15 := program(root, "15", "server"), program(root, "15", "setup")
	dirs := []string{filepath.Join(root, "16"), filepath.Join(root, "15")}
	t.Setenv("PATH", filepath.Dir(inPath))

	server, setup, err := findTogether(dirs, "server", "setup")
	if server != server15 || setup != setup15 || err != nil {
		t.Errorf("%q, %q, %v; want the folder that has both", server, setup, err)
	}
	setupInPath := program(root, "path", "setup")
	server, setup, err = findTogether(dirs, "server", "setup")
	if server != inPath || setup != setupInPath || err != nil {
		t.Errorf("%q, %q, %v; want those in PATH", server, setup, err)
	}
}

func TestServerThatFailsToStartShowsItsLog(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh")
	}
	p, err := newProcess("broken", "nobody")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.serve(service{
		ready:   "ready",
		end:     syscall.SIGKILL,
		command: func(string) []string { return []string{sh, "-c", "echo out of cheese >&2; exit 3"} },
	})
	if err == nil || !strings.Contains(err.Error(), "out of cheese") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("%v; want the status and the log", err)
	}
}

func TestRemoveStaleSparesTheLiving(t *testing.T) {
	base := t.TempDir()
	living := filepath.Join(base, dirPrefix+strconv.Itoa(os.Getpid())+"-redis-1")
	foreign := filepath.Join(base, dirPrefix+"notes")
	for _, dir := range []string{living, foreign} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	removeStale(base)
	for _, dir := range []string{living, foreign} {
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	}
}

func TestDSNWithAnotherDatabase(t *testing.T) {
	tests := []struct {
		name      string
		with      func(dsn, name string) string
		dsn, want string
	}{
		{"URL", postgresDSN, "postgres://u:p%2F@h:1/postgres?sslmode=disable", "postgres://u:p%2F@h:1/us_1?sslmode=disable"},
		{"URL without database", postgresDSN, "postgresql://h", "postgresql://h/us_1"},
		{"settings", postgresDSN, "host=h dbname=postgres", "host=h dbname=postgres dbname=us_1"},
		{"no database", mariaDBDSN, "u:p@tcp(h:1)/", "u:p@tcp(h:1)/us_1"},
		{"database and parameters", mariaDBDSN, "u:p/@unix(/run/db.sock)/test?tls=false", "u:p/@unix(/run/db.sock)/us_1?tls=false"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.with(test.dsn, "us_1"); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// recorder is a database driver that notes the statements it is given.
type recorder struct {
	dsns, statements []string
	open             int
}

func (r *recorder) Connect(context.Context) (driver.Conn, error) {
	r.open++
	return recorderConn{r}, nil
}

func (r *recorder) Driver() driver.Driver { return nil }

type recorderConn struct{ r *recorder }

func (c recorderConn) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }
func (c recorderConn) Begin() (driver.Tx, error)           { return nil, errors.ErrUnsupported }
func (c recorderConn) Close() error                        { c.r.open--; return nil }

func (c recorderConn) ExecContext(_ context.Context, statement string, _ []driver.NamedValue) (driver.Result, error) {
	c.r.statements = append(c.r.statements, statement)
	return driver.ResultNoRows, nil
}

func TestFreshDatabaseIsDropped(t *testing.T) {
	t.Setenv(postgres.env, "postgres://h/postgres")
	t.Setenv(mariaDB.env, "u:p@tcp(h:1)/")
	tests := []struct {
		name                         string
		fresh                        func(testing.TB, func(string) (*sql.DB, error)) string
		server, prefix, create, drop string
	}{
		{"PostgreSQL", FreshPostgres, "postgres://h/postgres", "postgres://h/",
			"CREATE DATABASE %s", "DROP DATABASE %s WITH (FORCE)"},
		{"MariaDB", FreshMariaDB, "u:p@tcp(h:1)/", "u:p@tcp(h:1)/",
			"CREATE DATABASE %s", "SET STATEMENT lock_wait_timeout = 10 FOR DROP DATABASE %s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &recorder{}
			open := func(dsn string) (*sql.DB, error) {
				r.dsns = append(r.dsns, dsn)
				return sql.OpenDB(r), nil
			}
			var dsns, want []string
			t.Run("user", func(t *testing.T) {
				for range 2 {
					dsns = append(dsns, test.fresh(t, open))
				}
			})
			names := make([]string, len(dsns))
			for i, dsn := range dsns {
				name, found := strings.CutPrefix(dsn, test.prefix)
				if !found || !strings.HasPrefix(name, "us_") {
					t.Errorf("DSN %s", dsn)
				}
				names[i] = name
				want = append(want, fmt.Sprintf(test.create, name))
			}
			if names[0] == names[1] {
				t.Error("two tests, one database")
			}
			want = append(want, fmt.Sprintf(test.drop, names[1]), fmt.Sprintf(test.drop, names[0]))
			if !slices.Equal(r.statements, want) {
				t.Errorf("statements %q, want %q", r.statements, want)
			}
			if slices.ContainsFunc(r.dsns, func(dsn string) bool { return dsn != test.server }) {
				t.Errorf("opened %q, want %s only", r.dsns, test.server)
			}
			if r.open != 0 {
				t.Errorf("%d connections left open", r.open)
			}
		})
	}
}

// A shared server that has ended says so, with its log, to the next test.
func TestAlive(t *testing.T) {
	server := OwnRedis(t)
	if err := alive(server.Addr); err != nil {
		t.Errorf("it runs: %v", err)
	}
	server.Kill()
	if err := alive(server.Addr); err == nil || !strings.Contains(err.Error(), "killed") || !strings.Contains(err.Error(), "Ready to accept connections") {
		t.Errorf("error %v, want how it ended, and its log", err)
	}
}

// A server of one test, which has gone, is not taken for that of all.
func TestPostgresLogged(t *testing.T) {
	t.Run("own", func(t *testing.T) { OwnPostgres(t) })
	PostgresServer(t)
	if n := PostgresLogged(t, "no line of any log"); n != 0 {
		t.Errorf("%d lines", n)
	}
}
