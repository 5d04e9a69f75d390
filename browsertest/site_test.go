package browsertest_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	_ "modernc.org/sqlite"
)

const (
	password    = "correct horse"
	newPassword = "battery staple"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// buildOnce builds examples/devices, as its users do, beside the program of the
// tests, which go test removes at the end.
var buildOnce = sync.OnceValues(func() (program string, err error) {
	tests, err := os.Executable()
	if err != nil {
		return "", err
	}
	program = filepath.Join(filepath.Dir(tests), "devices.program")
	cmd := exec.Command("go", "build", "-o", program, ".")
	cmd.Dir = filepath.Join("..", "examples", "devices")
	cmd.Env = append(os.Environ(), "GOFLAGS=") // those of the tests are not its own
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return program, nil
})

// site is a running examples/devices with a database of its own.
type site struct {
	t        *testing.T
	url      string
	db       *sqlx.DB             // the program's, from outside
	sessions *usersession.Manager // the same
}

func start(t *testing.T) *site {
	t.Helper()
	testserver.Chromium(t) // without it there is no use in the rest
	program, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "devices.db")
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "-addr", "127.0.0.1:0", "-database", file)
	cmd.Env = append(os.Environ(), "DEMO_PASSWORD="+password)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if t.Failed() {
			t.Logf("the log of the program:\n%s", stderr.String())
		}
	})
	s := &site{t: t}
	for lines := bufio.NewScanner(stdout); s.url == "" && lines.Scan(); {
		s.url, _ = strings.CutPrefix(lines.Text(), "Listening on ")
	}
	if s.url == "" {
		cmd.Wait()
		t.Fatalf("the program does not listen:\n%s", stderr.String())
	}
	s.db, err = sqlx.Connect("sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.db.Close() })
	s.sessions, err = usersession.New(s.db, &usersession.Options{
		UsersTable: "users(id)", InsecureCookies: true,
		IdleTimeout: 14 * 24 * time.Hour, Lifetime: 90 * 24 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// device is a session made without a browser, some time ago.
type device struct {
	id              string // "": a new one
	user, ip, agent string
	signedIn, seen  time.Duration // ago
	ended           time.Duration // ago; 0: it is live
	by, reason      string        // of the end
}

// add makes the session of a device and returns its ID.
func (s *site) add(d device) string {
	s.t.Helper()
	ctx, err := s.sessions.Load(s.t.Context(), "")
	if err != nil {
		s.t.Fatal(err)
	}
	opts := []usersession.LoginOption{usersession.WithUserAgent(d.agent)}
	if d.ip != "" {
		opts = append(opts, usersession.WithIP(netip.MustParseAddr(d.ip)))
	}
	if err := s.sessions.Login(ctx, d.user, opts...); err != nil {
		s.t.Fatal(err)
	}
	if _, _, err := s.sessions.Commit(ctx); err != nil {
		s.t.Fatal(err)
	}
	current, err := s.sessions.Current(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	if d.ended > 0 {
		ctx := usersession.ContextWithReason(usersession.ContextWithActor(s.t.Context(), d.by), d.reason)
		if err := s.sessions.RevokeSession(ctx, d.user, current.ID); err != nil {
			s.t.Fatal(err)
		}
		s.exec("UPDATE user_sessions SET ended_at = ended_at - ? WHERE id = ?", d.ended.Microseconds(), current.ID)
	}
	s.exec(`UPDATE user_sessions SET created_at = created_at - ?, authenticated_at = authenticated_at - ?, last_seen_at = last_seen_at - ? WHERE id = ?`,
		d.signedIn.Microseconds(), d.signedIn.Microseconds(), d.seen.Microseconds(), current.ID)
	if d.id != "" {
		s.exec("UPDATE user_sessions SET id = ? WHERE id = ?", d.id, current.ID)
		return d.id
	}
	return current.ID
}

func (s *site) exec(query string, args ...any) {
	s.t.Helper()
	if _, err := s.db.Exec(query, args...); err != nil {
		s.t.Fatal(err)
	}
}

// age makes the logins of a user so old that they are asked for the password.
func (s *site) age(user string) {
	s.t.Helper()
	s.exec("UPDATE user_sessions SET authenticated_at = authenticated_at - 600000000 WHERE user_id = ?", user)
}

// live returns how many sessions a user has.
func (s *site) live(user string) int {
	s.t.Helper()
	list, err := s.sessions.ListSessions(s.t.Context(), user)
	if err != nil {
		s.t.Fatal(err)
	}
	return len(list)
}
