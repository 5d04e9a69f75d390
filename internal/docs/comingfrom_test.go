package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestComingFrom: every name of this module in docs/coming-from.md is exported. Those
// of scs are in the reference of the embedded manager.
func TestComingFrom(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(inRepository("docs/coming-from.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{"Put": true, "Get": true, "Pop": true} // of scs
	files, err := os.ReadDir(inRepository("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), inRepository(f.Name()), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && id.Obj != nil || ok && id.IsExported() {
				names[id.Name] = true
			}
			return true
		})
	}
	found := 0
	for line := range strings.Lines(string(page)) {
		_, here, ok := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		if !ok || !strings.HasPrefix(line, "|") {
			continue
		}
		for _, m := range regexp.MustCompile(`\b(?:sessions|Options|Filter|usersession|UserSession)\.([A-Za-z]+)|\b(With[A-Za-z]+)`).FindAllStringSubmatch(here, -1) {
			if found++; !names[m[1]+m[2]] {
				t.Errorf("there is no %s: %s", m[0], line)
			}
		}
	}
	if found < 80 {
		t.Errorf("%d names were found", found)
	}
}
