//go:build unix

package testserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a process that one test has to itself, and may kill, pause and start
// again on the same port. Its methods fail the test if they cannot do so. They
// are not safe for concurrent use.
type Server struct {
	// Addr is the host:port the server listens on.
	Addr string
	// Dir is the temporary directory of the server. It has the server's data
	// and, in files whose names begin with log, all it wrote.
	Dir string

	process *process
	service service
	starts  int
}

// OwnPostgres starts a PostgreSQL server whose commits survive a kill, with more
// settings of the form name=value, and stops it when the test ends. It returns
// the URL of its maintenance database, too.
func OwnPostgres(tb testing.TB, settings ...string) (server *Server, dsn string) {
	tb.Helper()
	p, s, err := preparePostgres(append([]string{"synchronous_commit=on"}, settings...)...)
	server = own(tb, postgres, p, s, err)
	_, port, _ := net.SplitHostPort(server.Addr)
	return server, postgresURL(port)
}

// OwnMariaDB starts a MariaDB server with more arguments on its command line, and
// stops it when the test ends. It returns the DSN of a user who may do everything,
// too.
func OwnMariaDB(tb testing.TB, args ...string) (server *Server, dsn string) {
	tb.Helper()
	p, s, err := prepareMariaDB(args...)
	server = own(tb, mariaDB, p, s, err)
	_, port, _ := net.SplitHostPort(server.Addr)
	return server, mariaDBURL(port)
}

// OwnRedis starts a Redis server with more arguments on its command line, and
// stops it when the test ends.
func OwnRedis(tb testing.TB, args ...string) *Server {
	tb.Helper()
	p, s, err := prepareRedis(append([]string{"--save", ""}, args...)...)
	return own(tb, redis, p, s, err)
}

// OwnSentinel starts a Redis Sentinel with this configuration, and stops it when
// the test ends.
func OwnSentinel(tb testing.TB, configuration string) *Server {
	tb.Helper()
	p, s, err := prepareSentinel(configuration)
	return own(tb, redis, p, s, err)
}

// OwnProgram starts a program as the user of the tests, waits until its output
// holds ready, and stops it when the test ends. The function command returns the
// program and its arguments for a port it is to listen on.
func OwnProgram(tb testing.TB, name, ready string, command func(port string) []string) *Server {
	tb.Helper()
	p, err := newProcess(name, "")
	s := service{command: command, ready: ready, end: syscall.SIGKILL}
	return own(tb, &server{name: name}, p, s, err)
}

// own starts a server that was prepared, unless err says that it could not be.
func own(tb testing.TB, what *server, p *process, s service, err error) *Server {
	tb.Helper()
	var port string
	if err == nil {
		port, err = p.serve(s)
	}
	if err != nil {
		what.fail(tb, err)
	}
	owned := &Server{Addr: net.JoinHostPort("127.0.0.1", port), Dir: p.dir, process: p, service: s}
	tb.Cleanup(func() {
		owned.Resume()
		p.child.stop(p.end)
		if tb.Failed() {
			tb.Log(p.failure(what.name, errors.New("the test failed")))
		}
		_ = os.RemoveAll(p.dir)
	})
	return owned
}

// PID returns the process ID of the server, which may have children.
func (s *Server) PID() int { return s.process.child.process.Pid }

// Kill ends the server and its children with SIGKILL.
func (s *Server) Kill() {
	s.signal(syscall.SIGKILL)
	<-s.process.child.exited
}

// Pause stops the server and its children until Resume (SIGSTOP).
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets the server go on (SIGCONT). For one that is not paused it is a
// no-op.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

// signal sends a signal to the server and its children. Those that are gone
// already do not matter.
func (s *Server) signal(sig syscall.Signal) {
	pid := s.PID()
	select {
	case <-s.process.child.exited:
		return // The ID may be another's by now.
	default:
	}
	// The parent first: it makes no more children then.
	family := children(pid)
	_ = s.process.child.process.Signal(sig)
	for _, child := range append(family, children(pid)...) {
		_ = syscall.Kill(child, sig)
	}
}

// Restart starts the server again after Kill, on the same port, and returns once
// it is ready.
func (s *Server) Restart() error {
	s.starts++
	if err := os.Rename(s.process.log(), fmt.Sprintf("%s.%d", s.process.log(), s.starts)); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(s.Addr)
	var err error
	for range 50 {
		if err = s.process.serveOn(port, s.service); err == nil || !strings.Contains(err.Error(), "in use") {
			return err
		}
		// The port, or shared memory, of the one that was killed a moment ago.
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// Files returns the paths of all files of the server, logs included.
func (s *Server) Files() ([]string, error) {
	var files []string
	err := filepath.WalkDir(s.Dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		files = append(files, path)
		return nil
	})
	return files, err
}
