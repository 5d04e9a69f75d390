//go:build unix

package database_test

import (
	"context"
	"flag"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

var stops = flag.Int("stops", 2, "how often TestStoppedHolder stops the holder, who has no lease for ten seconds after each")

const (
	holderEnv = "USERSESSION_TEST_LEASE_HOLDER" // the DSN of a process that holds a lease
	stopLease = 500 * time.Millisecond
)

// TestLeaseHolder is the process that TestStoppedHolder stops. It prints its address, and
// says of each request who it is, and whether that was read.
func TestLeaseHolder(t *testing.T) {
	dsn := os.Getenv(holderEnv)
	if dsn == "" {
		t.Skip("run by TestStoppedHolder")
	}
	c := newCaching(t, opendb.Connect(t, "postgres", dsn), stopLease, false)
	serveParent(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before := c.loads.Load()
		c.ServeHTTP(w, r)
		if c.loads.Load() == before {
			io.WriteString(w, " from memory")
		}
	}))
}

// TestStoppedHolder stops a process that has a session in memory, at any moment and for any
// time, and ends the session meanwhile. What is asked after that, and answered when the
// process goes on, is not served.
func TestStoppedHolder(t *testing.T) {
	depth.OnlyFull(t)
	t.Parallel() // most of it is waiting
	dsn := opendb.FreshPostgres(t, "postgres")
	db := opendb.Connect(t, "postgres", dsn)
	here := newCaching(t, db, 0, false)
	holder, addr := startProcess(t, "TestLeaseHolder", holderEnv+"="+dsn)
	signal := func(s syscall.Signal) { holder.Process.Signal(s) }
	t.Cleanup(func() { signal(syscall.SIGCONT) })
	ask := func(cookie string) string {
		r, _ := http.NewRequest("GET", "http://"+addr+"/", nil)
		r.Header.Set("Cookie", cookie)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return string(body)
	}
	wait := func(d time.Duration) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		<-ctx.Done()
	}
	trials, served := *stops, 0
	for i := range trials {
		w := here.get("/?user=ann", "")
		cookie := w.Result().Cookies()[0].Name + "=" + w.Result().Cookies()[0].Value
		for deadline := time.Now().Add(30 * time.Second); ask(cookie) != "ann from memory"; wait(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the holder has nothing in memory")
			}
		}
		wait(rand.N(stopLease / 2))
		signal(syscall.SIGSTOP)
		if i%2 == 0 { // its lease is over meanwhile
			wait(rand.N(2 * stopLease))
		}
		began := time.Now()
		if _, err := here.m.RevokeAllSessions(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		answer := make(chan string, 1)
		go func() { answer <- ask(cookie) }()
		wait(rand.N(20 * time.Millisecond))
		signal(syscall.SIGCONT)
		got := <-answer
		if got != "" {
			served++
			t.Errorf("trial %d: %q is served after the revocation has returned, which took %v", i, got, took)
		}
		if took > stopLease+2*time.Second {
			t.Errorf("trial %d: the revocation took %v", i, took)
		}
	}
	t.Logf("%d revocations while the holder was stopped, %d served after that", trials, served)
}
