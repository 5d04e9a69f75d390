package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestReport compares the page on performance and RESULTS.md with the results:
// after a run, or a change of a table, "go run ./bench -report" writes them.
func TestReport(t *testing.T) {
	r, err := readResults("results")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("results", "RESULTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != r.markdown() {
		t.Error("results/RESULTS.md is not what the results say: go run ./bench -report")
	}
	var page []byte
	for _, name := range slices.Backward(pages) { // the one on performance is what follows about
		if page, err = os.ReadFile(filepath.Join("..", "docs", name)); err != nil {
			t.Fatal(err)
		}
		filled, err := r.fill(string(page))
		if err != nil {
			t.Fatal(err)
		}
		if filled != string(page) {
			t.Errorf("docs/%s is not what the results say: go run ./bench -report", name)
		}
	}
	for _, section := range []string{"machine", "targets", "servers", "reads", "writes", "cpu", "sizes", "many", "lease", "device", "janitor", "memory", "bounding", "postgres writes"} {
		if !strings.Contains(string(page), "<!-- bench: "+section+" -->") {
			t.Errorf("docs/performance.md does not show %q", section)
		}
	}
	// The comparison can tell.
	if changed, err := r.fill(strings.Replace(string(page), "<!-- end -->", "| typed by hand |\n<!-- end -->", 1)); err != nil || changed != string(page) {
		t.Errorf("what is typed by hand stays: %v", err)
	}
}

// TestPlots draws.
func TestPlots(t *testing.T) {
	r, err := readResults("results")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := r.writePlots(dir); err != nil {
		t.Fatal(err)
	}
	for _, plot := range plots {
		for _, theme := range themes {
			if plot.draw(r, theme) == nil {
				continue
			}
			name := plot.name + theme.suffix + ".png"
			if s, err := os.Stat(filepath.Join(dir, name)); err != nil || s.Size() < 1000 {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := os.Stat(filepath.Join("..", "docs", "performance", name)); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestLaterRun puts the file of a part behind that of the rest.
func TestLaterRun(t *testing.T) {
	dir := t.TempDir()
	var file []byte
	for _, run := range []results{
		{Machine: Machine{Commit: "a", CPUs: 2}, Records: []Record{{Scenario: "read"}}},
		{Machine: Machine{Commit: "b", CPUs: 2, Command: "go run ./bench -parts=lease", Load: 3}, Records: []Record{{Scenario: "lease"}}},
	} {
		if err := run.write(dir); err != nil {
			t.Fatal(err)
		}
		part, err := os.ReadFile(filepath.Join(dir, resultsFile))
		if err != nil {
			t.Fatal(err)
		}
		file = append(file, part...)
	}
	if err := os.WriteFile(filepath.Join(dir, resultsFile), file, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := readResults(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r.Machine.Commit != "a" || len(r.Later) != 1 || len(r.Records) != 2 || !r.busy() || !strings.Contains(r.machineText(), "`go run ./bench -parts=lease` was run later, on commit b") {
		t.Errorf("%+v\n%s", r, r.machineText())
	}
}
