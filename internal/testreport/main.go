// Command testreport reads the events of "go test -json" and says in a page
// what happened. The page has the tests that failed and what they printed, a
// line for each package, the slowest tests, and a line for each test that was
// skipped, with its reason.
//
//	go test -json work | go run ./internal/testreport -slowest 10
//
// Its exit status is 1 if a test failed or was skipped for a reason that -accept
// does not match, or if the input holds no test.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

func main() {
	accept := flag.String("accept", "", "the reasons for which a test may be skipped, a regular `expression`; empty accepts every reason")
	slowest := flag.Int("slowest", 0, "print that many of the slowest tests")
	flag.Parse()
	reasons, err := regexp.Compile(*accept)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport: -accept:", err)
		os.Exit(2)
	}
	r, err := read(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(2)
	}
	if err := r.write(os.Stdout, reasons, *slowest); err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
}

// event is what test2json documents, as far as it is needed here.
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of build-output
	Elapsed                       float64
}

// key names a test, or a package by an empty test.
type key struct{ pkg, test string }

type outcome struct {
	action  string
	elapsed float64
}

// report is what the events add up to.
type report struct {
	packages []string // in the order in which they ended
	ended    map[key]outcome
	tests    []key // in the order in which they ended
	output   map[key][]string
	other    []string // lines that belong to no test, build errors for instance
}

// read reads the events. A line that is not an event is kept as it is.
func read(in io.Reader) (*report, error) {
	r := &report{ended: map[key]outcome{}, output: map[key][]string{}}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.add(line)
		}
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (r *report) add(line []byte) {
	var e event
	if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &e) != nil {
		r.other = append(r.other, string(line))
		return
	}
	k := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		r.other = append(r.other, e.Output)
	case "output":
		r.output[k] = append(r.output[k], e.Output)
	case "pass", "fail", "skip":
		r.ended[k] = outcome{e.Action, e.Elapsed}
		if e.Test == "" {
			r.packages = append(r.packages, e.Package)
		} else {
			r.tests = append(r.tests, k)
		}
	}
}

// at is what go test puts before a line that a test prints.
var at = regexp.MustCompile(`^\s*[^ ]+\.go:\d+: `)

// reason returns the one line in which a skipped test says why.
func (r *report) reason(k key) string {
	var said []string
	for _, line := range r.output[k] {
		if text := strings.TrimSpace(line); text != "" && !strings.HasPrefix(text, "===") && !strings.HasPrefix(text, "---") {
			said = append(said, at.ReplaceAllString(text, ""))
		}
	}
	return strings.Join(said, " ")
}

// write prints the report and says in an error what must not be.
func (r *report) write(out io.Writer, accept *regexp.Regexp, slowest int) error {
	for _, line := range r.other {
		fmt.Fprint(out, line)
	}
	count := map[key]map[string]int{}
	var failed, rejected int
	var skips []string
	for _, k := range r.tests {
		action, p := r.ended[k].action, key{pkg: k.pkg}
		if count[p] == nil {
			count[p] = map[string]int{}
		}
		count[p][action]++
		switch {
		case action == "fail":
			failed++
			r.print(out, k)
		case action == "skip":
			line := fmt.Sprintf("%s %s: %s", short(k.pkg), k.test, r.reason(k))
			if !accept.MatchString(r.reason(k)) {
				rejected++
				line = "REJECTED " + line
			}
			skips = append(skips, line)
		}
	}
	for _, p := range r.packages {
		if k := (key{pkg: p}); r.ended[k].action == "fail" {
			failed++
			r.print(out, k)
			r.printUnended(out, p)
		}
	}
	if slowest > 0 {
		r.writeSlowest(out, slowest)
	}
	fmt.Fprintf(out, "\n%d skipped\n", len(skips))
	for _, line := range skips {
		fmt.Fprintln(out, "  "+line)
	}
	fmt.Fprintln(out)
	for _, p := range r.packages {
		k := key{pkg: p}
		if o := r.ended[k]; count[k] != nil || o.action != "skip" {
			fmt.Fprintf(out, "%-4s %7.1f s %5d passed %3d failed %3d skipped  %s\n",
				o.action, o.elapsed, count[k]["pass"], count[k]["fail"], count[k]["skip"], p)
		}
	}
	switch {
	case failed > 0:
		return errors.New("tests failed")
	case rejected > 0:
		return fmt.Errorf("%d tests were skipped that must not be", rejected)
	case len(r.tests) == 0:
		return errors.New("no test ran")
	}
	return nil
}

// print prints what a test, or a package, had printed.
func (r *report) print(out io.Writer, k key) {
	fmt.Fprintf(out, "\n--- %s %s\n%s", short(k.pkg), k.test, strings.Join(r.output[k], ""))
}

// printUnended prints what tests had printed that neither passed nor failed: the
// program ended before them.
func (r *report) printUnended(out io.Writer, pkg string) {
	var unended []key
	for k := range r.output {
		if _, ok := r.ended[k]; k.pkg == pkg && k.test != "" && !ok {
			unended = append(unended, k)
		}
	}
	slices.SortFunc(unended, func(a, b key) int { return strings.Compare(a.test, b.test) })
	for _, k := range unended {
		r.print(out, k)
	}
}

func (r *report) writeSlowest(out io.Writer, most int) {
	var top []key
	for _, k := range r.tests {
		if !strings.Contains(k.test, "/") {
			top = append(top, k)
		}
	}
	slices.SortStableFunc(top, func(a, b key) int { return cmp.Compare(r.ended[b].elapsed, r.ended[a].elapsed) })
	fmt.Fprintln(out, "\nslowest tests")
	for _, k := range top[:min(most, len(top))] {
		fmt.Fprintf(out, "%7.1f s  %s %s\n", r.ended[k].elapsed, short(k.pkg), k.test)
	}
}

// short leaves out the part of a path that all packages share.
func short(pkg string) string {
	const module = "github.com/seed-296ca7ab/usersession"
	if pkg == module {
		return "."
	}
	return strings.TrimPrefix(pkg, module+"/")
}
