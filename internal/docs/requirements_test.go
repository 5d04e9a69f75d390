package docs_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRequirements: the root module requires what docs/design.md gives a reason
// for, and no other module, because it would reach the go.sum of every user.
func TestRequirements(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile(inRepository("go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(inRepository("docs/design.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Dependencies of the root module\n")
	section, _, _ = strings.Cut(section, "\n## ")
	first := func(pattern, text string) (all []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			all = append(all, m[1])
		}
		slices.Sort(all)
		return all
	}
	required := first(`(?m)^(?:require |\t)(\S+) v\S+`, string(mod))
	explained := first("(?m)^\\| `([^`]+)` \\|", section)
	if len(required) == 0 || !slices.Equal(required, explained) {
		t.Errorf("go.mod requires %q, docs/design.md explains %q", required, explained)
	}
}
