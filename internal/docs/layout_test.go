package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestWhichFileHoldsWhat: CONTRIBUTING.md shows the rules that the test in
// internal/house has, and names every file of the root and every package behind
// internal.
func TestWhichFileHoldsWhat(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(inRepository("CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## Which file holds what\n")
	if section, _, _ = strings.Cut(section, "\n## "); !found {
		t.Fatal("CONTRIBUTING.md has no such section")
	}
	house, err := os.ReadFile(inRepository("internal/house/house_test.go"))
	if err != nil {
		t.Fatal(err)
	}

	_, order, _ := strings.Cut(string(house), "const order = `\n")
	order, _, _ = strings.Cut(order, "`")
	_, shown, _ := strings.Cut(section, "```text\n")
	shown, _, _ = strings.Cut(shown, "```\n")
	shown = regexp.MustCompile(`(?m)^ *\d+ +`).ReplaceAllString(shown, "")
	if order == "" || shown != order {
		t.Errorf("the order of the files is\n%s, CONTRIBUTING.md has\n%s", order, shown)
	}
	for name := range strings.FieldsSeq(order) {
		if !strings.Contains(section, "| "+name) && !strings.Contains(section, ", "+name) {
			t.Errorf("nothing says what is in %s", name)
		}
	}

	rules := regexp.MustCompile(`(?m)^\t"(\w+)": +(?:nil|\{(.*)\}),$`).FindAllStringSubmatch(string(house), -1)
	if len(rules) == 0 {
		t.Error("internal/house has no rule of imports")
	}
	for _, rule := range rules {
		may := strings.ReplaceAll(rule[2], `"`, "`")
		if may == "" {
			may = "nothing"
		}
		if row := regexp.MustCompile("(?m)^\\| `" + rule[1] + "` \\|.*\\| " + may + " \\|$"); !row.MatchString(section) {
			t.Errorf("no row says that %s may import %s", rule[1], may)
		}
	}
	packages, err := filepath.Glob(inRepository("internal/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range packages {
		if name := filepath.Base(dir); !strings.Contains(section, "`"+name+"`") {
			t.Errorf("nothing says what internal/%s is", name)
		}
	}
}
