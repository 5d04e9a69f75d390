package results

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// row is a line of the table that the promise is measured by.
type row struct {
	figure, target string
	measure        func(all []Figure) (text string, met verdict)
}

type verdict int

const (
	notMeasured verdict = iota
	met
	missed
)

func (v verdict) String() string { return [...]string{"not measured", "yes", "**no**"}[v] }

func verdictOf(ok bool) verdict {
	if ok {
		return met
	}
	return missed
}

// sum adds the figures whose names match; measured is false if there is none.
func sum(all []Figure, pattern string) (n int64, measured bool) {
	re := regexp.MustCompile("^(?:" + pattern + ")$")
	for _, f := range all {
		if re.MatchString(f.Figure) {
			v, err := strconv.ParseInt(string(f.Value), 10, 64)
			if err != nil {
				return 0, false
			}
			n, measured = n+v, true
		}
	}
	return n, measured
}

// part is a number in a line, with what it is.
type part struct {
	pattern string // of the figures it adds up
	unit    string
	ok      func(n int64) bool // nil: whatever it is
}

func zero(n int64) bool                { return n == 0 }
func some(n int64) bool                { return n > 0 }
func atLeast(m int64) func(int64) bool { return func(n int64) bool { return n >= m } }

// parts measures all of them: what one of them is missing for is not measured.
func parts(list ...part) func([]Figure) (string, verdict) {
	return func(all []Figure) (string, verdict) {
		var texts []string
		ok := true
		for _, p := range list {
			n, measured := sum(all, p.pattern)
			if !measured {
				return "", notMeasured
			}
			ok = ok && (p.ok == nil || p.ok(n))
			texts = append(texts, grouped(strconv.FormatInt(n, 10))+" "+p.unit)
		}
		return strings.Join(texts, "; "), verdictOf(ok)
	}
}

// rows are what it must show.
var rows = []row{
	{"explorer: schedules, injected faults, violations", "every pair complete; 0 violations", func(all []Figure) (string, verdict) {
		ours := slices.DeleteFunc(slices.Clone(all), func(f Figure) bool { return strings.HasPrefix(f.Figure, "explorer, plain scs") })
		return parts(
			part{`explorer, .*: schedules`, "schedules", some},
			part{`explorer, .*: schedules with a fault`, "of them with a fault", some},
			part{`explorer, .*: violations`, "violations", zero})(ours)
	}},
	{"explorer on plain scs with an index made by hand", "> 0", parts(
		part{`explorer, plain scs.*: violations`, "violations", some})},
	{"raced revocations", "at least 100,000; 0 served; 0 came back", parts(
		part{`raced revocations, raced: .*`, "raced", atLeast(100_000)},
		part{`raced revocations, served .*`, "served after the revoke returned", zero},
		part{`raced revocations, sessions that came back: .*`, "came back", zero})},
	{"the same load on plain scs with an index made by hand", "> 0", parts(
		part{`plain scs, raced: .*`, "raced", some},
		part{`plain scs, served .*`, "served after the revoke returned", some},
		part{`plain scs, sessions that came back: .*`, "came back", some})},
	{"system test: operations in checked histories, Illegal, Unknown", "at least 200,000; 0; 0", parts(
		part{`system: operations in checked histories`, "operations", atLeast(200_000)},
		part{`system: Illegal`, "Illegal", zero},
		part{`system: Unknown`, "Unknown", zero})},
	{"the same with leases: operations in checked histories, Illegal, Unknown, served after the ending had returned", "at least 200,000; 0; 0; 0", parts(
		part{`system with leases: operations in checked histories`, "operations", atLeast(200_000)},
		part{`system with leases: served from memory`, "of them served from memory", some},
		part{`system with leases: Illegal`, "Illegal", zero},
		part{`system with leases: Unknown`, "Unknown", zero},
		part{`system with leases: served after the ending had returned`, "served after", zero})},
	{"the same load on a plain cache with messages", "> 0", parts(
		part{`system with leases, plain cache.*: operations`, "operations", some},
		part{`system with leases, plain cache.*: Illegal`, "Illegal", some},
		part{`system with leases, plain cache.*: served after the ending had returned`, "served after", some})},
	{"live sessions that no list shows, at any stop-the-world", "0", parts(
		part{`system: live sessions that no list shows`, "sessions", zero})},
	{"cap exceeded, of a hundred logins at once under MaxSessions 3", "0", parts(
		part{`cap races, logins: .*`, "logins", some},
		part{`cap races, checks: .*`, "checks", some},
		part{`cap races, exceeded: .*`, "exceeded", zero})},
	{"mutants killed", "all", func(all []Figure) (string, verdict) {
		total, ok1 := sum(all, `mutants: (all|mutants|total)`)
		killed, ok2 := sum(all, `mutants: killed`)
		if !ok1 || !ok2 {
			return "", notMeasured
		}
		return fmt.Sprintf("%d of %d", killed, total), verdictOf(total > 0 && killed == total)
	}},
	{"calls beyond their timeout, goroutines or connections left", "0; 0", parts(
		part{`hanging, calls: .*`, "calls while a backend hangs", some},
		part{`hanging, beyond their timeout: .*`, "beyond their timeout", zero},
		part{`hanging, left behind: .*`, "left", zero})},
	{"loads with random cancellation: another session than its own", "10,000,000 loads; 0", parts(
		part{`cross-talk, loads: .*`, "loads", atLeast(10_000_000)},
		part{`cross-talk, wrong session: .*`, "wrong", zero},
		part{`cross-talk, nobody without an error: .*`, "nobody without an error", zero})},
	{"random sequences against a map", "0 disagreements", parts(
		part{`model, operations: .*`, "operations", some},
		part{`model, disagreements: .*`, "disagreements", zero})},
}

// Render returns the text of RESULTS.md for a folder of results.
func Render(dir string) (string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return "", err
	}
	var all []Figure
	for _, path := range paths {
		if filepath.Base(path) == "bugs.jsonl" {
			continue
		}
		list, err := read(path)
		if err != nil {
			return "", err
		}
		all = append(all, list...)
	}
	bugs, err := Bugs(dir)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# Results\n")
	p("Made by `go run ./cmd/results` from the files in `results/`; a test compares. Commands are run in the folder `robustness`.\n")
	p("## What it must show\n")
	p("| figure | target | measured | met |\n|---|---|---|---|")
	for _, r := range rows {
		text, v := r.measure(all)
		if v == notMeasured {
			text = "not measured"
		}
		p("| %s | %s | %s | %s |", r.figure, r.target, text, v)
	}
	p("\nNo failure in n trials bounds the rate of failures at 3/n, with a confidence of 95%%.\n")
	notes, err := os.ReadFile(filepath.Join(dir, "notes.md"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	b.Write(notes)
	beside(p, all)
	commands(p, all)
	trackRecord(p, bugs)
	everything(p, all)
	return b.String(), nil
}

// beside shows the raced revocations of this library and of plain scs together.
func beside(p func(string, ...any), all []Figure) {
	p("## Raced revocations, beside plain scs\n")
	p("A request is in flight while its session is revoked: stopped in its handler, stopped before or behind one of its calls to a backend, or running freely. It reads, writes, touches, renews, reauthenticates or logs in again; the session is ended by `RevokeSession`, `RevokeAllSessions`, `RevokeOtherSessions`, `RevokeMatching` or `Logout`. Plain scs has a table of users and tokens beside it, filled by login and renewal.\n")
	p("| | raced | requests sent after the revoke returned | served in | came back in |\n|---|--:|--:|--:|--:|")
	n := 0
	for _, kind := range []struct{ prefix, name string }{{"raced revocations", "usersession"}, {"plain scs", "plain scs"}} {
		for _, f := range all {
			on, ok := strings.CutPrefix(f.Figure, kind.prefix+", raced: ")
			if !ok {
				continue
			}
			n++
			value := func(what string) string {
				v, measured := sum(all, regexp.QuoteMeta(kind.prefix+", "+what+": "+on))
				if !measured {
					return "not measured"
				}
				return grouped(strconv.FormatInt(v, 10))
			}
			p("| %s: %s | %s | %s | %s | %s |", kind.name, on, value("raced"), value("requests sent after the revoke returned"),
				value("served after the revoke returned"), value("sessions that came back"))
		}
	}
	if n == 0 {
		p("| not measured | | | | |")
	}
	p("")
}

// commands shows what was run, on which commit and machine.
func commands(p func(string, ...any), all []Figure) {
	p("## What was run\n")
	p("| command | commit | seed | machine |\n|---|---|---|---|")
	seen := map[string]bool{}
	for _, f := range all {
		line := fmt.Sprintf("| `%s` | %s | %s | %s, %d CPUs |", f.Command, f.Commit, f.Seed, f.Go, f.CPUs)
		if f.Seed == "" || f.Seed == "0" {
			line = fmt.Sprintf("| `%s` | %s | | %s, %d CPUs |", f.Command, f.Commit, f.Go, f.CPUs)
		}
		if !seen[line] {
			seen[line] = true
			p("%s", line)
		}
	}
	p("")
}

func trackRecord(p func(string, ...any), bugs []Bug) {
	p("## Track record\n")
	p("What these tests, and those who attacked the library with them in hand, have found in it. `go run ./cmd/reproduce N` runs the test on the commit before the fix, where it fails. Where there is no such test on an old commit, the mutant that brings the bug back is named, or the test that looks for it now.\n")
	p("| | found by | what | fixed | reproduce |\n|--:|---|---|---|---|")
	for i, b := range bugs {
		how := fmt.Sprintf("`go run ./cmd/reproduce %d`", i+1)
		switch {
		case b.Mutant != "":
			how = fmt.Sprintf("`go test ./mutants -run \"TestMutants/^%s\"`", strings.ReplaceAll(b.Mutant, " ", "_"))
		case b.Run == "":
			how = "no committed test shows it on an old commit"
		case len(b.Files) == 0:
			how = fmt.Sprintf("`%s` in `%s`", b.Run, cmp.Or(b.Dir, "."))
		}
		p("| %d | %s | %s | %s | %s |", i+1, b.Found, b.What, b.Fixed, how)
	}
	p("")
}

// everything lists all figures, one table for each file.
func everything(p func(string, ...any), all []Figure) {
	p("## Every figure\n")
	file := ""
	for _, f := range slices.Clone(all) {
		if f.file != file {
			file = f.file
			p("### %s\n", file)
			p("| figure | value | unit |\n|---|--:|---|")
		}
		p("| %s | %s | %s |", f.Figure, grouped(cmp.Or(string(f.Value), "?")), f.Unit)
	}
}

// grouped puts commas into a whole number.
func grouped(n string) string {
	if strings.Contains(n, ".") || len(n) < 4 {
		return n
	}
	var b strings.Builder
	for i, digit := range n {
		if i > 0 && (len(n)-i)%3 == 0 && n[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}
