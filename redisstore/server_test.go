package redisstore_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// startTimeout is what one step of starting servers may take on a busy machine.
const startTimeout = time.Minute

// server is a redis-server of one test. Most tests share the one of
// [testserver.Redis]; these have settings of their own.
type server struct {
	addr    string
	command func() *exec.Cmd
	process *os.Process
	log     bytes.Buffer
	exited  chan struct{} // closed when the server has ended
}

// startServer starts a server on a free loopback port, with settings on its
// command line, and stops it when the test ends.
func startServer(t *testing.T, settings ...string) *server {
	t.Helper()
	return start(t, func(string) []string { return append([]string{"--save", ""}, settings...) })
}

// startSentinel starts a Sentinel with this configuration.
func startSentinel(t *testing.T, configuration string) *server {
	t.Helper()
	return start(t, func(dir string) []string {
		path := filepath.Join(dir, "sentinel.conf")
		if err := os.WriteFile(path, []byte(configuration), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{path, "--sentinel"}
	})
}

// start returns a server once it answers.
func start(t *testing.T, arguments func(dir string) []string) *server {
	t.Helper()
	testserver.Redis(t) // Skips or fails the test where there is no Redis.
	program, err := exec.LookPath("redis-server")
	switch {
	case err == nil:
	case os.Getenv("USERSESSION_TEST_REQUIRE") == "all":
		t.Fatalf("a redis-server to start is required: %v", err)
	default:
		t.Skipf("no redis-server to start: %v", err)
	}
	for range 5 {
		s := launch(t, program, arguments)
		if s.answers(t) {
			return s
		}
		if !strings.Contains(s.log.String(), "ddress already in use") {
			t.Fatalf("redis-server has ended:\n%s", tail(s.log.String()))
		}
		// Somebody took the port since it was found free.
	}
	t.Fatal("no port stays free")
	return nil
}

func launch(t *testing.T, program string, arguments func(dir string) []string) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "redisstore-test-") // t.TempDir is closed to other users.
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: freeAddr(t)}
	args := append(arguments(dir), "--bind", "127.0.0.1", "--port", s.port(), "--dir", dir)
	s.command = func() *exec.Cmd {
		cmd := exec.Command(program, args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &s.log, &s.log
		cmd.SysProcAttr = unprivileged(t, dir)
		return cmd
	}
	s.run(t)
	t.Cleanup(func() {
		s.stop()
		_ = os.RemoveAll(dir)
		if t.Failed() {
			t.Logf("the log of %s:\n%s", s.addr, tail(s.log.String()))
		}
	})
	return s
}

// run starts the server, or starts it again on its address and its data.
func (s *server) run(t *testing.T) {
	t.Helper()
	cmd, exited := s.command(), make(chan struct{})
	s.exited = exited
	started := make(chan error)
	go func() {
		// The kernel ends the server with the thread that started it, so that
		// thread has to live as long as the server.
		runtime.LockOSThread()
		err := cmd.Start()
		s.process = cmd.Process
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
}

// stop ends the server without giving it time for anything.
func (s *server) stop() {
	_ = s.process.Kill()
	<-s.exited
}

// answers waits until the server answers, if only that it wants a password. It
// returns false if the server ends instead.
func (s *server) answers(t *testing.T) bool {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true})
	defer client.Close()
	alive := true
	eventually(t, "the server answers", func(ctx context.Context) error {
		select {
		case <-s.exited:
			alive = false
			return nil
		default:
		}
		if err := client.Ping(ctx).Err(); err != nil && !redis.IsAuthError(err) {
			return err
		}
		return nil
	})
	return alive
}

func (s *server) port() string {
	_, port, _ := net.SplitHostPort(s.addr)
	return port
}

// tail returns the end of a log.
func tail(log string) string { return log[max(0, len(log)-2000):] }

// freeAddr returns a loopback address whose port is free, and so is that of the
// Cluster bus, which is 10,000 higher.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr)
		_ = l.Close()
		bus, err := net.ListenTCP("tcp", &net.TCPAddr{IP: addr.IP, Port: addr.Port + 10_000})
		if err != nil { // taken, or no port any more
			continue
		}
		_ = bus.Close()
		return addr.String()
	}
	t.Fatal("no free ports")
	return ""
}

// eventually asks until ok returns nil.
func eventually(t *testing.T, what string, ok func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		err := ok(ctx)
		if err == nil {
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %v", what, startTimeout, err)
		}
	}
}
