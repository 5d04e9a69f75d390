package database_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/pgchannel"
	"github.com/seed-296ca7ab/usersession/usersessiontest"
)

const (
	streamsEnv = "USERSESSION_TEST_STREAMS" // the DSN of a process that serves streams
	// processInterval is that of both processes, but where times are printed.
	processInterval = 200 * time.Millisecond
)

// startProcess runs a test of this program as a process of its own, and returns where it
// listens. The test is to call serveParent.
func startProcess(t *testing.T, test, env string) (p *exec.Cmd, addr string) {
	t.Helper()
	p = exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v", fmt.Sprint("-streams=", *streams))
	p.Env = append(os.Environ(), env)
	in, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		p.Wait()
	})
	for lines := bufio.NewScanner(out); addr == ""; {
		if !lines.Scan() {
			t.Fatalf("%s has not said where it listens", test)
		}
		_, addr, _ = strings.Cut(lines.Text(), "listening ")
	}
	go io.Copy(io.Discard, out)
	return p, addr
}

// serveParent serves h until the parent has gone.
func serveParent(t *testing.T, h http.Handler) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("listening " + l.Addr().String() + "\n")
	srv := &http.Server{Handler: h}
	go srv.Serve(l)
	io.Copy(io.Discard, os.Stdin)
	srv.Close()
}

// newStreaming returns a Manager with a channel.
func newStreaming(t *testing.T, dsn string) (*usersession.Manager, *sqlx.DB) {
	db := opendb.Connect(t, "postgres", dsn)
	ch, err := pgchannel.New(db.DB, dsn)
	if err != nil {
		t.Fatal(err)
	}
	interval := processInterval
	if *streams > 0 {
		interval = usersession.DefaultWatchInterval
	}
	return opendb.Migrated(t, db, &usersession.Options{Watch: usersession.WatchOptions{Interval: interval, Channel: ch}}), db
}

// TestStreamServer is the process that TestStreamsOfAnotherProcess reads from. The last line
// of a stream is why it ends.
func TestStreamServer(t *testing.T) {
	dsn := os.Getenv(streamsEnv)
	if dsn == "" {
		t.Skip("run by TestStreamsOfAnotherProcess")
	}
	m, _ := newStreaming(t, dsn)
	serveParent(t, m.LoadAndSave(m.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		done := r.Context().Done() // from here on it is watched
		io.WriteString(w, "open\n")
		http.NewResponseController(w).Flush()
		<-done
		io.WriteString(w, context.Cause(r.Context()).Error()+"\n")
	}))))
}

// stream is one that another process serves.
type stream struct {
	user string
	over chan string // gets the reason, or what else there was
}

func openStream(t *testing.T, m *usersession.Manager, addr, user string) *stream {
	t.Helper()
	r, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+"/", nil)
	r.AddCookie(usersessiontest.Login(t, m, user))
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() || lines.Text() != "open" {
		t.Fatalf("the stream of %s begins with %q, %v", user, lines.Text(), lines.Err())
	}
	s := &stream{user, make(chan string, 1)}
	go func() {
		if !lines.Scan() {
			s.over <- fmt.Sprint("cut off: ", lines.Err())
			return
		}
		s.over <- lines.Text()
	}()
	return s
}

// ended waits until a stream is over, for the reason that its session has ended.
func (s *stream) ended(t *testing.T) {
	t.Helper()
	select {
	case why := <-s.over:
		if why != usersession.ErrSessionEnded.Error() {
			t.Errorf("the stream of %s has ended: %s", s.user, why)
		}
	case <-time.After(40 * time.Second): // after a minute each session is looked up by itself
		t.Fatalf("the stream of %s has not ended in 40 seconds", s.user)
	}
}

// Streams of one process end when another process revokes: by the channel, with its
// listener killed, and with PostgreSQL killed in the middle. No other stream does.
func TestStreamsOfAnotherProcess(t *testing.T) {
	depth.OnlyFull(t)
	t.Parallel() // most of it is waiting
	server, dsn := testserver.OwnPostgres(t)
	m, db := newStreaming(t, dsn)
	_, addr := startProcess(t, "TestStreamServer", streamsEnv+"="+dsn)
	revoke := func(s *stream) {
		t.Helper()
		if n, err := m.RevokeAllSessions(t.Context(), s.user); n != 1 || err != nil {
			t.Fatalf("%s: %d sessions have ended, %v", s.user, n, err)
		}
	}
	const listeners = "FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN \"usersession\"'"
	listening := func(want int) {
		t.Helper()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := -1; n != want; <-tick.C {
			if err := db.GetContext(t.Context(), &n, "SELECT count(*) "+listeners); err != nil {
				t.Fatal(err)
			}
		}
	}
	other := openStream(t, m, addr, "other")
	listening(1)
	for _, how := range []string{"with the listener", "with the listener killed each time"} {
		var took []time.Duration
		n := max(*streams, 5)
		if how != "with the listener" {
			n = 5 // after each, the listener comes back after a longer pause
		}
		for i := range n {
			s := openStream(t, m, addr, fmt.Sprint("user", i))
			if how != "with the listener" {
				listening(1)
				db.MustExecContext(t.Context(), "SELECT pg_terminate_backend(pid) "+listeners)
			}
			revoke(s)
			began := time.Now()
			s.ended(t)
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		t.Logf("%d streams %s: p50 %v, p99 %v, max %v", n, how, took[n/2].Round(10*time.Microsecond), took[n*99/100].Round(10*time.Microsecond), took[n-1].Round(10*time.Microsecond))
	}

	var all []*stream
	for i := range 30 {
		all = append(all, openStream(t, m, addr, fmt.Sprint("again", i)))
	}
	for _, s := range all[:10] {
		revoke(s)
	}
	server.Kill()
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	for _, s := range all[10:20] {
		revoke(s)
	}
	for _, s := range all[:20] {
		s.ended(t)
	}
	for _, s := range append(all[20:], other) {
		select {
		case why := <-s.over:
			t.Errorf("the stream of %s, whose session is live, has ended: %s", s.user, why)
		default:
		}
		revoke(s)
		s.ended(t)
	}
}
