// Package results keeps the figures that the commands of this module measure, one
// file of JSON lines for each command, and makes RESULTS.md of them.
package results

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// A Figure is one measured number: a line of a file in this folder.
type Figure struct {
	Figure string `json:"figure"` // what was measured; on what follows after ": "
	Value  Number `json:"value"`
	Unit   string `json:"unit"`

	Seed    Number `json:"seed,omitempty"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	CPUs    int    `json:"cpus"`
	Command string `json:"command"`

	file string // it was read from
}

// Number is a number as it stands in the file.
type Number = json.Number

// Int returns n as a Number.
func Int[T ~int | ~int64 | ~uint64](n T) Number { return Number(fmt.Sprint(n)) }

// Write replaces a file of figures. It fills in commit, Go version and CPUs.
// Figures of the same command that keep matches survive: a command that measures a
// part leaves the other parts as they are.
func Write(path string, keep func(Figure) bool, figures []Figure) error {
	all, err := read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all = slices.DeleteFunc(all, func(f Figure) bool { return !keep(f) })
	commit := commit()
	for _, f := range figures {
		f.Commit, f.Go, f.CPUs = commit, runtime.Version(), runtime.NumCPU()
		all = append(all, f)
	}
	var out bytes.Buffer
	for _, f := range all {
		line, err := json.Marshal(f)
		if err != nil {
			return err
		}
		out.Write(append(line, '\n'))
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}

// commit returns the commit that is measured, with a mark if the tree differs.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--exclude=*").Output()
	if err == nil {
		return strings.TrimSpace(string(out))
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}

// read returns the figures of one file.
func read(path string) ([]Figure, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []Figure
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var fig Figure
		if err := json.Unmarshal(lines.Bytes(), &fig); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", filepath.Base(path), n, err)
		}
		fig.file = filepath.Base(path)
		list = append(list, fig)
	}
	return list, lines.Err()
}
