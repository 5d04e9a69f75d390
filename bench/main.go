// Command bench measures this library and its peers side by side: in one process,
// round by round in turns, on the same throwaway servers. It prints how each
// compares with the limit and with the others, says which targets are met, and
// writes results/.
//
//	go run ./bench -rows=1000000    # from the root of the repository; about ten minutes
//	go run ./bench -quick           # every part with tiny counts: does it run?
//	go run ./bench -parts requests  # a part
//	go run ./bench -report          # tables and plots of docs/performance.md, from results/
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// bench is one run.
type bench struct {
	*place
	config
	results
	counter atomic.Int64 // of operations
	source  string       // of the whole servers
	binary  string       // those in Go
}

// config is what the flags say.
type config struct {
	parts      []string
	clients    []int // of those a scenario asks for
	rounds     int
	roundTime  time.Duration
	sessions   int // open sessions in each application
	sizes      []int
	expired    int    // rows for the janitor
	wholePages string // PostgreSQL's full_page_writes
	window     time.Duration
	// Of whole servers: how many users, who have five sessions each, how many of them
	// revoke them all in a round, and whether programs take part that are not Go.
	users, leavers, serverRounds int
	serverTime                   time.Duration
	foreign                      bool
	lease                        time.Duration
	leaseWarm                    time.Duration // how long nobody has a lease; 0: there is never one
	seed                         uint64
	out                          string
	quiet                        bool
}

var parts = []struct {
	name string
	run  func(*bench) error
}{
	{"writes", (*bench).postgresWrites}, // first: WAL is that of the whole server, autovacuum included
	{"requests", (*bench).requests},
	{"servers", (*bench).wholeServers},
	{"sizes", (*bench).bySize},
	{"many", (*bench).many},
	{"lease", (*bench).leases},
	{"device", (*bench).devices},
	{"bounding", (*bench).bounding},
	{"janitor", (*bench).janitor},
	{"memory", (*bench).memory},
}

// full is what the figures of docs/performance.md come from.
func full() config {
	return config{
		clients: []int{1, 8}, rounds: 9, roundTime: 150 * time.Millisecond, sessions: 500,
		sizes:   []int{10_000, 100_000, 1_000_000, 10_000_000},
		expired: 1_000_000, window: 4 * time.Second,
		users: 20_000, leavers: 450, serverRounds: 7, serverTime: 350 * time.Millisecond, foreign: true,
		lease: 3 * time.Second, leaseWarm: 15 * time.Second, wholePages: "on",
	}
}

// quick runs everything and measures nothing.
func quick() config {
	return config{
		clients: []int{1, 8}, rounds: 1, roundTime: 2 * time.Millisecond, sessions: 10,
		sizes: []int{1000, 2000}, expired: 2000, window: 100 * time.Millisecond,
		users: 500, leavers: 16, serverRounds: 1, serverTime: 2 * time.Millisecond, foreign: true,
		lease: 100 * time.Millisecond, wholePages: "on",
	}
}

func main() {
	log.SetFlags(log.Ltime)
	c := full()
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	list := flag.String("parts", strings.Join(names, ","), "what to measure")
	tiny := flag.Bool("quick", false, "tiny counts: does it run?")
	most := flag.Int("rows", 10_000_000, "the largest table")
	profiles := flag.String("profiles", "", "write CPU and allocation profiles of requests to this folder, and nothing else")
	report := flag.Bool("report", false, "write tables and plots from the results of an earlier run, and measure nothing")
	flag.IntVar(&c.rounds, "rounds", c.rounds, "rounds of each scenario")
	flag.IntVar(&c.sessions, "sessions", c.sessions, "open sessions of each application")
	flag.DurationVar(&c.roundTime, "time", c.roundTime, "the length of one round")
	flag.Uint64Var(&c.seed, "seed", uint64(time.Now().UnixNano())%1e9, "of the random choices")
	flag.StringVar(&c.wholePages, "full-page-writes", c.wholePages, "PostgreSQL's setting of that name")
	flag.StringVar(&c.out, "out", "", "where results go (default: the folder results beside this program's source)")
	flag.Parse()
	if *tiny {
		given := c
		c = quick()
		c.seed, c.out, c.wholePages = given.seed, given.out, given.wholePages
	}
	c.parts = strings.Split(*list, ",")
	c.sizes = slices.DeleteFunc(c.sizes, func(n int) bool { return n > *most })
	dir, err := sourceDir()
	if err != nil {
		log.Fatal(err)
	}
	if c.out == "" {
		c.out = filepath.Join(dir, "results")
	}
	switch {
	case *report:
		err = writeReport(c.out, filepath.Join(dir, "..", "docs"))
	case *profiles != "":
		err = withServers(c, func(b *bench) error { return b.profiles(*profiles) })
	default:
		err = withServers(c, (*bench).all)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// sourceDir is the folder of this module, from it or from the repository's root.
func sourceDir() (string, error) {
	for _, dir := range []string{".", "bench"} {
		if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.Contains(string(mod), "usersession/bench\n") {
			return dir, nil
		}
	}
	return "", errors.New("bench: run it in the root of the repository or in bench")
}

// withServers runs f on new servers.
func withServers(c config, f func(b *bench) error) error {
	return testserver.Command("bench", func(tb testing.TB) {
		if err := f(newBench(tb, c)); err != nil {
			tb.Fatal(err)
		}
	})
}

func newBench(tb testing.TB, c config) *bench {
	b := &bench{place: startServers(tb, c.wholePages), config: c}
	b.Machine = Machine{
		Commit: commit(), Command: "go run ./bench", Seed: c.seed,
		CPUs: runtime.NumCPU(), Memory: memoryGiB(), Go: runtime.Version(), Load: load(),
		Settings: "fsync=on synchronous_commit=on full_page_writes=" + c.wholePages + " autovacuum=on shared_buffers=1GB; MariaDB innodb_flush_log_at_trx_commit=1; SQLite in WAL mode; TCP on the loopback interface; Redis without persistence",
	}
	flag.Visit(func(f *flag.Flag) {
		if f.Name != "out" { // a path of this machine
			b.Machine.Command += fmt.Sprintf(" -%s=%s", f.Name, f.Value)
		}
	})
	b.Machine.Postgres, b.Machine.Redis, b.Machine.MariaDB = b.versions(context.Background())
	return b
}

// all runs the parts and writes what they measured.
func (b *bench) all() error {
	start := time.Now()
	for _, name := range b.parts {
		i := slices.IndexFunc(parts, func(p struct {
			name string
			run  func(*bench) error
		}) bool {
			return p.name == name
		})
		if i < 0 {
			return fmt.Errorf("-parts: there is no part %q", name)
		}
		at := time.Now()
		if err := parts[i].run(b); err != nil {
			return err
		}
		log.Printf("%s: %.0f s", name, time.Since(at).Seconds())
		b.Machine.Seconds = int(time.Since(start).Seconds())
		if err := b.results.write(b.out); err != nil { // a later part may fail
			return err
		}
	}
	text := b.results.markdown()
	if !b.quiet {
		fmt.Println(text)
	}
	return os.WriteFile(filepath.Join(b.out, "RESULTS.md"), []byte(text), 0o644)
}

// note keeps a record and prints it.
func (b *bench) note(r Record) {
	b.Records = append(b.Records, r)
	if b.quiet {
		return
	}
	what := fmt.Sprintf("%-20s %-9s", r.Scenario, r.Backend)
	if r.Rows > 0 {
		what += fmt.Sprintf(" %9d rows", r.Rows)
	}
	if r.Figure != "" {
		fmt.Printf("%s  %-42s %s: %.4g %s\n", what, r.Subject, r.Figure, r.Value, r.Unit)
		return
	}
	fmt.Printf("%s %2d clients  %-42s p50 %9.1f us  p99 %9.1f us  %8.0f/s  cpu %7.1f us  %6.0f allocs\n",
		what, r.Clients, r.Subject, r.P50, r.P99, r.PerSecond, r.CPU, r.Allocs)
}

// noteTrips adds the round trips to the records of a subject.
func (b *bench) noteTrips(sc scenario, name string, trips float64) {
	for i, r := range b.Records {
		if r.Figure == "" && r.Scenario == sc.name && r.Backend == sc.backend && r.Subject == name && r.Rows == sc.rows {
			b.Records[i].Trips = &trips
		}
	}
	if !b.quiet {
		fmt.Printf("%-20s %-9s  %-42s %.1f round trips\n", sc.name, sc.backend, name, trips)
	}
}

// clientsOf leaves out counts of clients that this run does without.
func (c config) clientsOf(clients []int) []int {
	return slices.DeleteFunc(slices.Clone(clients), func(n int) bool { return !slices.Contains(c.clients, n) })
}

func commit() string {
	out, err := exec.Command("git", "rev-parse", "--short=10", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	id := strings.TrimSpace(string(out))
	// Of files that are no results: those are written by this very run.
	changed, err := exec.Command("git", "status", "--porcelain", "--", ":/*.go", ":/*.sql", ":/*.mod").Output()
	if err != nil || len(changed) > 0 {
		id += " with changes"
	}
	return id
}

// load is the machine's load average of one minute, where it can be read.
func load() float64 {
	var l float64
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Sscan(string(text), &l)
	}
	return l
}

func memoryGiB() int {
	var kib int
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		fmt.Sscanf(string(text), "MemTotal: %d kB", &kib)
	}
	return (kib + 1<<19) >> 20
}
