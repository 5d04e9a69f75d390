package explore

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/depth"
)

var (
	literal = flag.Bool("full", false, "try also the orders that lead through the same states")
	replay  = flag.String("replay", "", "the schedule that TestReplay runs, as a failure prints it")
	seed    = flag.Uint64("seed", 1, "seed of the triples")
	triples = flag.Int("triples", 40, "schedules to try of each triple, in each kind of world")
	figures = flag.String("figures", "", "append what was done to this file, a line of JSON for each figure")
)

// newKey is the label of a key that is another one each time.
var newKey = regexp.MustCompile(`new:.{4}`)

var kinds = []string{"atomic", "verified"}

// begin lets a test run beside others. It skips it at the full depth under the race
// detector, because CI runs the explorer at that depth in a step of its own. It is called
// from the test's goroutine.
func begin(t *testing.T) {
	t.Helper()
	if raceEnabled && depth.Full() {
		t.Skip("the explorer runs without the race detector")
	}
	t.Parallel()
}

func openWorld(t *testing.T, kind string) *world {
	t.Helper()
	w, err := newWorld(kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	return w
}

// sum adds up what explorers have done.
type sum struct {
	mu sync.Mutex
	counts
}

// explore runs fn and reports what it finds.
func (s *sum) explore(t *testing.T, e *explorer, fn func() *violation) {
	t.Helper()
	v := fn()
	if v != nil {
		t.Error(v)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.add(e.counts)
}

// TestPairs tries every pair of operations, each also with itself, in every order
// and, at the full depth, with every fault.
func TestPairs(t *testing.T) {
	begin(t)
	full := depth.Full()
	names := slices.Sorted(maps.Keys(operations))
	var total sum
	for k, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			for i, a := range names {
				for j, b := range names[i:] {
					if !full && k > 0 && (i+j)%2 == 0 {
						continue
					}
					t.Run(fmt.Sprintf("%s with %s", a, b), func(t *testing.T) {
						t.Parallel()
						e := &explorer{sys: openWorld(t, kind), names: []string{a, b}, faults: full, literal: *literal}
						total.explore(t, e, e.all)
					})
				}
			}
		})
	}
	what := "every pair"
	if !full {
		what = "every pair in one world and half of them in the other, without faults"
	}
	if *literal {
		what = "every pair, all orders"
	}
	report(t, what, &total, 0)
	reportQuestions(t)
}

// TestTriples tries some orders of every triple of different operations.
func TestTriples(t *testing.T) {
	begin(t)
	depth.OnlyFull(t)
	names := slices.Sorted(maps.Keys(operations))
	t.Logf("seed %d (-seed sets it)", *seed)
	n := *triples
	var total sum
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			for i, a := range names {
				t.Run(a, func(t *testing.T) {
					t.Parallel()
					w := openWorld(t, kind)
					for j, b := range names[i+1:] {
						for k, c := range names[i+1:][j+1:] {
							e := &explorer{sys: w, names: []string{a, b, c}}
							r := rand.New(rand.NewPCG(*seed, uint64(i<<16|j<<8|k)))
							total.explore(t, e, func() *violation { return e.sample(r, n) })
							if t.Failed() {
								return
							}
						}
					}
				})
			}
		})
	}
	report(t, "triples, sampled", &total, *seed)
}

// TestReplay runs the schedule of -replay again. Without one it shows that a
// schedule means the same every time it is run.
func TestReplay(t *testing.T) {
	begin(t)
	text := *replay
	if text == "" {
		text = "atomic: renew + revoke all: 0 0 1 0l 0 1"
	}
	s, err := parseSchedule(text)
	if err != nil {
		t.Fatal(err)
	}
	if s.String() != strings.TrimSpace(text) {
		t.Fatalf("the schedule reads %q when it is written again", s)
	}
	if s.Kind == leaseKind {
		inLeaseWorld(t, s.Operations, func(t *testing.T, e *explorer) { t.Logf("nothing is broken:\n  %s", shown(t, e, s)) })
		return
	}
	var traces []string
	for range 2 {
		e := &explorer{names: s.Operations}
		if s.Kind == controlKind {
			e.sys = openControl(t)
		} else if slices.Contains(adoptingKinds, s.Kind) {
			e.sys = openAdopting(t, s.Kind)
		} else {
			e.sys = openWorld(t, s.Kind)
		}
		text := shown(t, e, s)
		if *replay != "" {
			t.Logf("nothing is broken:\n  %s", text)
			return
		}
		traces = append(traces, newKey.ReplaceAllString(text, "new"))
	}
	if traces[0] != traces[1] {
		t.Errorf("run twice, a schedule is\n  %s\nand\n  %s", traces[0], traces[1])
	}
}

// shown runs a schedule and returns its steps. What it breaks fails the test.
func shown(t *testing.T, e *explorer, s Schedule) (steps string) {
	t.Helper()
	broken, trace := e.replay(s.Choices)
	steps = strings.Join(trace, "\n  ")
	if len(broken) > 0 {
		t.Fatalf("%s\n  %s", strings.Join(broken, "\n"), steps)
	}
	return steps
}

// figure is a line of results/explore.jsonl.
type figure struct {
	Figure  string `json:"figure"`
	Value   int64  `json:"value"`
	Unit    string `json:"unit"`
	Seed    uint64 `json:"seed"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	CPUs    int    `json:"cpus"`
	Command string `json:"command"`
}

// report logs what was done, and writes it down if somebody wants it.
func report(t *testing.T, what string, s *sum, seed uint64) {
	t.Helper()
	t.Logf("%s: %d schedules, %d of them with a fault; %d others lead through the same states; %d steps; %d violations",
		what, s.schedules, s.faulty, s.equivalent, s.steps, s.violations)
	if *figures == "" {
		return
	}
	commit, _ := exec.Command("git", "describe", "--always", "--dirty").Output()
	command := "go test ./explore -run '^" + t.Name() + "$'"
	if depth.Full() {
		command = "USERSESSION_TEST_DEPTH=full " + command
	}
	if *literal {
		command += " -full"
	}
	if seed != 0 {
		command += fmt.Sprintf(" -seed %d -triples %d", seed, *triples)
	}
	f, err := os.OpenFile(*figures, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, v := range []figure{
		{Figure: "schedules", Value: s.schedules, Unit: "schedules"},
		{Figure: "schedules with a fault", Value: s.faulty, Unit: "schedules"},
		{Figure: "schedules left out, same states", Value: s.equivalent, Unit: "schedules"},
		{Figure: "steps", Value: s.steps, Unit: "steps"},
		{Figure: "violations", Value: s.violations, Unit: "violations"},
	} {
		v.Figure = "explorer, " + what + ": " + v.Figure
		v.Seed, v.Commit, v.Go, v.CPUs, v.Command = seed, strings.TrimSpace(string(commit)), runtime.Version(), runtime.NumCPU(), command
		line, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(append(line, '\n')); err != nil {
			t.Fatal(err)
		}
	}
}
