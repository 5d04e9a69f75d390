package adopt_test

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// An scs program adopts the library with at most six changed lines: a line that
// is replaced counts once, and so does one that is added or removed. Blank lines
// and comments count like any other. The import block is counted by itself.
func TestSixLines(t *testing.T) {
	beforeImports, before := source(t, "before/main.go")
	afterImports, after := source(t, "after/main.go")

	n := changed(before, after)
	imports := changed(beforeImports, afterImports)
	t.Logf("%d changed lines, and %d imports", n, imports)
	if n == 0 || n > 6 {
		t.Errorf("%d changed lines, want 1 to 6", n)
	}
	if imports != 2 {
		t.Errorf("%d changed imports, want 2: usersession and scsstore", imports)
	}
}

// source returns the lines of the import block of a Go file, and those behind it.
// What stands above is the package comment, which is about the example.
func source(t *testing.T, name string) (imports, program []string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok1 := strings.Cut(string(b), "\nimport (\n")
	block, rest, ok2 := strings.Cut(rest, "\n)\n")
	if !ok1 || !ok2 {
		t.Fatalf("%s has no import block", name)
	}
	return strings.Split(block, "\n"), strings.Split(rest, "\n")
}

// changed counts the lines that an edit from a to b has to touch: the smallest
// number of replacements, insertions and deletions.
func changed(a, b []string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j, y := range b {
			cost := diagonal
			if x != y {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

func TestChanged(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a b c", "a b c", 0}, {"a b c", "a x c", 1}, {"a b c", "a x y c", 2},
		{"a b c", "b c", 1}, {"a b", "b a", 2}, {"a", "x y z a", 3},
	} {
		a, b := strings.Fields(test.a), strings.Fields(test.b)
		if got := changed(a, b); got != test.want {
			t.Errorf("%q to %q: %d, want %d", a, b, got, test.want)
		}
		slices.Reverse(a)
		slices.Reverse(b)
		if got := changed(b, a); got != test.want {
			t.Errorf("%q to %q: %d, want %d", b, a, got, test.want)
		}
	}
}
