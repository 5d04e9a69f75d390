package results

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Bug is a line of bugs.jsonl: something that a test found in this library, and
// how to see it again on the commit before it was fixed.
type Bug struct {
	Found string   `json:"found"` // by what
	What  string   `json:"what"`
	Fixed string   `json:"fixed"` // the commit
	From  string   `json:"from"`  // the commit that has the test; "": Fixed
	Files []string `json:"files"` // the test, from there; none: it does not build on the commit before Fixed
	Dir   string   `json:"dir"`
	Run   string   `json:"run"` // the pattern for go test -run; "": no test of that time shows it

	Mutant string `json:"mutant"` // that brings it back, where no test of that time shows it
}

// Bugs returns the track record of a folder of results.
func Bugs(dir string) ([]Bug, error) {
	text, err := os.ReadFile(filepath.Join(dir, "bugs.jsonl"))
	if err != nil {
		return nil, err
	}
	var list []Bug
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		d := json.NewDecoder(strings.NewReader(lines.Text()))
		d.DisallowUnknownFields()
		var b Bug
		if err := d.Decode(&b); err != nil {
			return nil, fmt.Errorf("bugs.jsonl:%d: %w", n, err)
		}
		if b.From == "" {
			b.From = b.Fixed
		}
		if b.Found == "" || b.What == "" || b.Fixed == "" || b.Run != "" && b.Mutant != "" {
			return nil, fmt.Errorf("bugs.jsonl:%d: a bug has found, what and fixed, and at most one of run and mutant", n)
		}
		list = append(list, b)
	}
	return list, lines.Err()
}

// Reproduce runs the test of a bug on the commit before its fix, in a work tree of
// its own, and returns what it printed. It is an error if the test does not fail.
func (b Bug) Reproduce() (output string, err error) {
	if b.Run == "" {
		return "", fmt.Errorf("no test of that time shows it; a mutant may bring it back: %q", b.Mutant)
	}
	if len(b.Files) == 0 {
		return "", fmt.Errorf("the test that finds it now does not build on %s^", b.Fixed)
	}
	dir, err := os.MkdirTemp("", "reproduce-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	tree := filepath.Join(dir, "tree")
	git := func(in string, args ...string) error {
		cmd := exec.Command("git", args...)
		cmd.Dir = in
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := git("", "worktree", "add", "--quiet", "--detach", tree, b.Fixed+"^"); err != nil {
		return "", err
	}
	defer git("", "worktree", "remove", "--force", tree)
	if err := git(tree, append([]string{"checkout", b.From, "--"}, b.Files...)...); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "test", "-count=1", "-run", b.Run, ".")
	cmd.Dir = filepath.Join(tree, b.Dir)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return string(out), fmt.Errorf("the test passes on %s^", b.Fixed)
	case bytes.Contains(out, []byte("[build failed]")), bytes.Contains(out, []byte("[setup failed]")), !bytes.Contains(out, []byte("--- FAIL")):
		return string(out), fmt.Errorf("the test did not run on %s^: %w", b.Fixed, err)
	}
	return string(out), nil
}
