package results_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession/robustness/results"
)

// TestResultsAreThoseMeasured holds RESULTS.md to the figures.
func TestResultsAreThoseMeasured(t *testing.T) {
	want, err := results.Render(".")
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../RESULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("RESULTS.md is not what the figures make: go run ./cmd/results")
	}
}

// TestTrackRecordIsKept looks for the tests that the track record names and that
// reproduce does not run.
func TestTrackRecordIsKept(t *testing.T) {
	bugs, err := results.Bugs(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bugs {
		if b.Run == "" || len(b.Files) > 0 {
			continue
		}
		files, err := filepath.Glob(filepath.Join("../..", b.Dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		name := regexp.MustCompile(`^\^(Test\w+)`).FindStringSubmatch(b.Run)
		if name == nil {
			t.Errorf("%s: %q names no test", b.What, b.Run)
			continue
		}
		if !slices.ContainsFunc(files, func(file string) bool {
			text, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(text), "func "+name[1])
		}) {
			t.Errorf("%s: there is no %s in %s", b.What, name[1], b.Dir)
		}
	}
}

const figure = `{"figure":"%","value":#,"unit":"x","commit":"c","go":"g","cpus":2,"command":"run"}` + "\n"

func write(t *testing.T, dir, name string, figures map[string]string) {
	t.Helper()
	var b strings.Builder
	for name, value := range figures {
		b.WriteString(strings.NewReplacer("%", name, "#", value).Replace(figure))
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRender(t *testing.T) {
	for _, c := range []struct {
		name    string
		figures map[string]string
		want    string
	}{
		{"nothing is measured", nil, "| cap exceeded, of a hundred logins at once under MaxSessions 3 | 0 | not measured | not measured |"},
		{"half is measured", map[string]string{"cap races, exceeded: SQLite": "0"}, "| 0 | not measured | not measured |"},
		{"met", map[string]string{"cap races, exceeded: SQLite": "0", "cap races, checks: SQLite": "1", "cap races, logins: SQLite": "1200", "cap races, logins: MariaDB": "300"}, "| 0 | 1,500 logins; 1 checks; 0 exceeded | yes |"},
		{"missed", map[string]string{"cap races, exceeded: SQLite": "2", "cap races, checks: SQLite": "9", "cap races, logins: SQLite": "1"}, "| 0 | 1 logins; 9 checks; 2 exceeded | **no** |"},
		{"the control's violations are not ours", map[string]string{
			"explorer, pairs: schedules": "5", "explorer, pairs: schedules with a fault": "3", "explorer, pairs: violations": "0", "explorer, plain scs: violations": "7",
		}, "| 5 schedules; 3 of them with a fault; 0 violations | yes |"},
		{"a mutant survives", map[string]string{"mutants: all": "12", "mutants: killed": "11"}, "| all | 11 of 12 | **no** |"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "some.jsonl", c.figures)
			write(t, dir, "bugs.jsonl", nil)
			got, err := results.Render(dir)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("no line has %q:\n%s", c.want, got)
			}
		})
	}
}
