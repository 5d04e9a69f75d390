package testserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout is what one step of starting a server may take on a busy machine.
const startTimeout = 2 * time.Minute

// dirPrefix starts the name of every directory made here; the process ID follows.
const dirPrefix = "usersession-test-"

// processes are the servers and directories that stopAll takes away.
var processes struct {
	sync.Mutex
	list     []*process
	postgres *process // that of startPostgres
}

// process is a server being prepared or running, with its temporary directory.
type process struct {
	dir     string
	account *account // nil: runs as the user the tests run as
	port    string   // set once it runs
	child   *child   // the server; nil until it runs
	end     syscall.Signal
}

// newProcess makes the directory of a server that will run as the named user
// when the tests run as root: the servers refuse to, or should not.
func newProcess(name, user string) (*process, error) {
	account, err := accountFor(user)
	if err != nil {
		return nil, err
	}
	base := os.TempDir()
	removeStale(base)
	if account != nil && !traversable(base) {
		base = "/tmp" // TMPDIR may lie in root's home.
		removeStale(base)
	}
	dir, err := os.MkdirTemp(base, fmt.Sprintf("%s%d-%s-", dirPrefix, os.Getpid(), name))
	if err != nil {
		return nil, err
	}
	p := &process{dir: dir, account: account}
	processes.Lock()
	processes.list = append(processes.list, p)
	processes.Unlock()
	return p, account.own(dir)
}

// run runs a program that prepares the server to its end.
func (p *process) run(program string, args ...string) error {
	c, err := p.spawn(syscall.SIGKILL, program, args...)
	if err != nil {
		return err
	}
	select {
	case <-c.exited:
	case <-time.After(startTimeout):
		_ = c.process.Kill()
		<-c.exited
	}
	if c.err != nil {
		return p.failure(program, c.err)
	}
	return nil
}

// writeFile writes a file that the server can read.
func (p *process) writeFile(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return p.account.own(path)
}

// service says how to run a server.
type service struct {
	command func(port string) []string
	ready   string         // what its log says once it accepts connections
	end     syscall.Signal // ends it at once
}

// serve starts the server on a free loopback port and returns the port once the
// server accepts connections there.
func (p *process) serve(s service) (port string, err error) {
	for range 5 {
		port, err = freePort()
		if err != nil {
			return "", err
		}
		err = p.serveOn(port, s)
		if err == nil || !strings.Contains(err.Error(), "ddress already in use") {
			return port, err
		}
		// Somebody, perhaps another test process, took the port in between.
	}
	return "", err
}

func (p *process) serveOn(port string, s service) error {
	command := s.command(port)
	c, err := p.spawn(s.end, command[0], command[1:]...)
	if err != nil {
		return err
	}
	timeout := time.After(startTimeout)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case <-c.exited:
			return p.failure(command[0], errors.Join(errors.New("ended before it was ready"), c.err))
		case <-timeout:
			c.stop(s.end)
			return p.failure(command[0], fmt.Errorf("not ready after %s", startTimeout))
		case <-poll.C:
			// The log and not a connection: only the log cannot be that of another
			// server on the same port.
			log, err := os.ReadFile(p.log())
			if err != nil {
				c.stop(s.end)
				return err
			}
			if strings.Contains(string(log), s.ready) {
				processes.Lock()
				p.child, p.end, p.port = c, s.end, port
				processes.Unlock()
				return nil
			}
		}
	}
}

// alive returns an error, with the end of its log, if the server of this process
// at an address is no longer running.
func alive(address string) error {
	processes.Lock()
	defer processes.Unlock()
	for _, p := range processes.list {
		if p.child == nil || !strings.Contains(strings.ReplaceAll(address, ")", "")+"/", ":"+p.port+"/") {
			continue
		}
		select {
		case <-p.child.exited:
			return p.failure("the server", errors.Join(errors.New("ended while tests needed it"), p.child.err))
		default:
		}
	}
	return nil
}

// log is the path of what the latest program wrote.
func (p *process) log() string {
	return filepath.Join(p.dir, "log")
}

// failure is err with the end of the log of the program it is about.
func (p *process) failure(program string, err error) error {
	const most = 4 << 10
	log, logErr := os.ReadFile(p.log())
	if logErr != nil {
		return errors.Join(err, logErr)
	}
	tail := strings.TrimSpace(string(log[max(0, len(log)-most):]))
	return fmt.Errorf("%s: %w; the end of its log:\n%s", program, err, tail)
}

// child is a started program.
type child struct {
	process *os.Process
	exited  chan struct{} // closed when the program has ended
	err     error         // how it ended; read it after exited is closed
}

// spawn starts a program that gets the signal end when this process ends,
// however it ends. The program's output replaces the log.
func (p *process) spawn(end syscall.Signal, program string, args ...string) (*child, error) {
	log, err := os.Create(p.log())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir = p.dir // The tests' own directory may be closed to the server's user.
	cmd.Stdout, cmd.Stderr = log, log
	// None of the variables by which a user's own databases are configured. LC_ALL
	// keeps the log in the language it is searched in.
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + p.dir, "TMPDIR=" + p.dir, "LC_ALL=C",
	}
	cmd.SysProcAttr = p.account.attributes(end)

	c := &child{exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the signal when the thread that started the program ends,
		// and the runtime ends idle threads as it likes. A locked one lives as long
		// as this goroutine, which is as long as the program.
		runtime.LockOSThread()
		err := cmd.Start()
		c.process = cmd.Process
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	return c, nil
}

// stop ends the program and waits for it.
func (c *child) stop(end syscall.Signal) {
	_ = c.process.Signal(end)
	select {
	case <-c.exited:
	case <-time.After(10 * time.Second):
		_ = c.process.Kill()
		<-c.exited
	}
}

// stopAll stops the servers of this process and removes their directories.
func stopAll() error {
	processes.Lock()
	defer processes.Unlock()
	var errs []error
	for _, p := range processes.list {
		if p.child != nil {
			p.child.stop(p.end)
		}
		errs = append(errs, os.RemoveAll(p.dir))
	}
	processes.list = nil
	return errors.Join(errs...)
}

// removeStale removes the directories of processes that were killed. One that
// cannot be removed, another user's for instance, is left alone.
func removeStale(base string) {
	dirs, _ := filepath.Glob(filepath.Join(base, dirPrefix+"*"))
	for _, dir := range dirs {
		digits, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		if pid, err := strconv.Atoi(digits); err == nil && gone(pid) {
			_ = os.RemoveAll(dir)
		}
	}
}

// gone reports whether there certainly is no process with this ID.
func gone(pid int) bool {
	process, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer func() { _ = process.Release() }()
	return errors.Is(process.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

// traversable reports whether every user may reach what is in dir.
func traversable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}

// FreeAddr returns a free loopback address for a program that cannot be told to choose one.
// Its host is its own, where the machine has more than 127.0.0.1. Until the program listens
// there, another test process may be given that port, and would be taken for the program.
func FreeAddr(tb testing.TB) *net.TCPAddr {
	tb.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.N(254), rand.N(256), 1+rand.N(254)))
	if err != nil {
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr)
}

// freePort returns a TCP port of the loopback interface that is free now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
