package mutants

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/robustness/results"
)

// mutant replaces one piece of one file of the root module, and more where one
// is not enough.
type mutant struct {
	name     string
	file     string
	old, new string
	// dir and run say which tests are to kill it: a directory below the
	// repository, and a pattern for -run.
	dir, run string
	more     []edit
}

type edit struct{ file, old, new string }

const explore = "robustness/explore"

func pair(a, b string) string {
	return "^TestPairs$/^atomic$/^" + strings.ReplaceAll(a+" with "+b, " ", "_") + "$"
}

// cell names a cell of the table of backends, with the index in SQLite.
func cell(store, behaviour string) string {
	return "^TestBackends$/^SQLite$/^" + store + "$/^" + strings.ReplaceAll(behaviour, " ", "_") + "$"
}

// root returns the directory of the root module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var figures = flag.String("figures", "", "write how many there are, and were killed, to this file")

// few are the mutants of the fast depth: one that the explorer kills and one that
// another test does. Each takes as long as building its test.
var few = []string{"no confirm", "the token is the key"}

// TestMutants runs every mutant, at the fast depth a few, and wants its tests to
// fail, and to build. It prints what killed which.
func TestMutants(t *testing.T) {
	dir := root(t)
	list := list
	if !depth.Full() {
		list = slices.DeleteFunc(slices.Clone(list), func(m mutant) bool { return !slices.Contains(few, m.name) })
	}
	killers := make([]string, len(list)) // "" of one that survived
	t.Cleanup(func() { report(t, list, killers) })
	programs := share(t, dir, list)
	for i, m := range list {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel() // the tests of some wait, and a link leaves a processor to others
			var out death
			if programs[i] == "" {
				out = m.run1(t, dir)
			} else {
				text, err := m.runShared(programs[i], dir, i)
				out = m.died(t, text, err)
			}
			killers[i] = out.killer
			if out.replay != "" {
				t.Log(out.violation)
			}
		})
	}
}

// report prints which test has killed which mutant, and writes the figures.
func report(t *testing.T, list []mutant, killers []string) {
	killed := 0
	var table strings.Builder
	for i, m := range list {
		if killers[i] != "" {
			killed++
			fmt.Fprintf(&table, "%-62s | %s\n", m.name, killers[i])
		}
	}
	t.Logf("mutant | killed by\n%s", table.String())
	if *figures == "" {
		return
	}
	command := "USERSESSION_TEST_DEPTH=full go test ./mutants -run '^TestMutants$'"
	if err := results.Write(*figures, func(results.Figure) bool { return false }, []results.Figure{
		{Figure: "mutants: all", Value: results.Int(len(list)), Unit: "mutants", Command: command},
		{Figure: "mutants: killed", Value: results.Int(killed), Unit: "mutants", Command: command},
	}); err != nil {
		t.Error(err)
	}
}

// death is how a mutant died.
type death struct {
	killer    string // the test that failed
	output    string
	violation string // what the explorer says: the invariant and the schedule
	replay    string // the schedule, for -replay
}

var (
	failed     = regexp.MustCompile(`(?m)^ *--- FAIL: (\S+)`)
	replayable = regexp.MustCompile(`(?s)_test\.go:\d+: ([^\n]*\n.*?-replay '([^']+)')`)
)

// overlay writes the mutant's files beside the real ones and returns the flag
// that makes go see them.
func (m mutant) overlay(t *testing.T, dir string) string {
	t.Helper()
	texts := map[string][]byte{}
	for _, e := range append([]edit{{m.file, m.old, m.new}}, m.more...) {
		path := filepath.Join(dir, e.file)
		if texts[path] == nil {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = text
		}
		if n := bytes.Count(texts[path], []byte(e.old)); n != 1 {
			t.Fatalf("%s has the text to replace %d times, want once:\n%s", e.file, n, e.old)
		}
		texts[path] = bytes.Replace(texts[path], []byte(e.old), []byte(e.new), 1)
	}
	tmp := t.TempDir()
	replace := map[string]string{}
	for path, text := range texts {
		changed := filepath.Join(tmp, filepath.Base(path))
		if err := os.WriteFile(changed, text, 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = changed
	}
	overlay, _ := json.Marshal(map[string]any{"Replace": replace})
	file := filepath.Join(tmp, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return "-overlay=" + file
}

// quick are flags of go test. Without vet, inlining and debug information the program
// is there sooner.
var quick = []string{"-vet=off", "-gcflags=-l", "-ldflags=-s -w"}

// goTest runs tests of a directory and returns what they print.
func goTest(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", slices.Concat([]string{"test", "-count=1", "-v"}, quick, args)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=") // not those of the test that runs this one
	return cmd.CombinedOutput()
}

// run1 runs one mutant by itself.
func (m mutant) run1(t *testing.T, dir string) death {
	t.Helper()
	out, err := goTest(filepath.Join(dir, m.dir), m.overlay(t, dir), "-run", m.run, ".")
	return m.died(t, out, err)
}

// died wants the tests of a mutant to have failed, and says how.
func (m mutant) died(t *testing.T, out []byte, err error) death {
	t.Helper()
	switch {
	case bytes.Contains(out, []byte("[build failed]")), bytes.Contains(out, []byte("no tests to run")):
		t.Fatalf("the tests did not run:\n%s", out)
	case err == nil && bytes.Contains(out, []byte("--- SKIP")):
		t.Skip("the test that is to kill it needs a server that is not there")
	case err == nil:
		t.Fatalf("survived %s -run '%s'\n%s", m.dir, m.run, out)
	case !bytes.Contains(out, []byte("--- FAIL")):
		t.Fatalf("the tests did not fail, they broke:\n%s", out)
	}
	d := death{output: string(out)}
	for _, f := range failed.FindAllStringSubmatch(d.output, -1) {
		if len(f[1]) > len(d.killer) {
			d.killer = f[1]
		}
	}
	if r := replayable.FindStringSubmatch(d.output); r != nil {
		d.violation, d.replay = r[1], r[2]
	}
	return d
}

// TestReplayReproduces runs the command that a failure of the explorer prints: it
// fails again on the library that failed, and on the real one nothing is broken.
func TestReplayReproduces(t *testing.T) {
	depth.OnlyFull(t)
	dir := root(t)
	var m mutant
	for _, m = range list {
		if m.name == "no confirm" {
			break
		}
	}
	d := m.run1(t, dir)
	if d.replay == "" {
		t.Fatalf("no command to replay it:\n%s", d.output)
	}
	args := []string{"-run", "^TestReplay$", ".", "-replay", d.replay}
	if out, err := goTest(filepath.Join(dir, m.dir), append([]string{m.overlay(t, dir)}, args...)...); err == nil || !bytes.Contains(out, []byte("I1 Listed")) {
		t.Errorf("the mutant, replayed: %v\n%s", err, out)
	}
	if out, err := goTest(filepath.Join(dir, m.dir), args...); err != nil || !bytes.Contains(out, []byte("nothing is broken")) {
		t.Errorf("the library, replayed: %v\n%s", err, out)
	}
}
