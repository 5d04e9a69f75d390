package prosetest_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/prosetest"
)

const root = "../.."

// The limits may only be lowered.
const (
	// pointsOfPages is how many colons and semicolons 100 sentences of a page
	// may have.
	pointsOfPages = 20
	// faultsOfComments and pointsOfComments are the same for the comments of
	// exported names, all together.
	faultsOfComments = 0
	pointsOfComments = 2
)

// The entries of the changelog are lists of names.
var changelog = struct{ faults, points int }{3, 70}

// count returns the faults of paragraphs, and how many colons and semicolons
// there are in 100 sentences.
func count(paragraphs []prosetest.Paragraph) (faults []string, points int) {
	sentences := 0
	for _, p := range paragraphs {
		faults = append(faults, p.Faults()...)
		sentences += len(prosetest.Sentences(p.Text))
		points += prosetest.Points(p.Text)
	}
	return faults, 100 * points / max(sentences, 1)
}

// check reports what is above a limit.
func check(t *testing.T, paragraphs []prosetest.Paragraph, maxFaults, maxPoints int) {
	t.Helper()
	faults, points := count(paragraphs)
	t.Logf("%d faults; %d colons and semicolons in 100 sentences", len(faults), points)
	for _, fault := range faults {
		t.Log(fault)
	}
	if len(faults) > maxFaults {
		t.Errorf("%d faults, at most %d", len(faults), maxFaults)
	}
	if points > maxPoints {
		t.Errorf("%d colons and semicolons in 100 sentences, at most %d", points, maxPoints)
	}
}

// TestPages reads every page but those that a program writes.
func TestPages(t *testing.T) {
	var pages []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "results"):
			return filepath.SkipDir
		case filepath.Ext(path) == ".md" && d.Name() != "RESULTS.md":
			pages = append(pages, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 10 {
		t.Errorf("only these pages were found: %q", pages)
	}
	for _, path := range pages {
		name, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			paragraphs := prosetest.Markdown(name, string(text))
			if name == "CHANGELOG.md" {
				check(t, paragraphs, changelog.faults, changelog.points)
				return
			}
			check(t, paragraphs, 0, pointsOfPages)
		})
	}
}

// TestComments reads the comments of the modules that programs import.
func TestComments(t *testing.T) {
	var all []prosetest.Paragraph
	for _, module := range []string{".", "redisstore", "idp", "cmd/usersession"} {
		paragraphs, err := prosetest.Comments(filepath.Join(root, module))
		if err != nil {
			t.Fatal(err)
		}
		if len(paragraphs) == 0 {
			t.Errorf("module %s has no comments", module)
		}
		for _, p := range paragraphs {
			p.File = filepath.Join(module, p.File)
			all = append(all, p)
		}
	}
	check(t, all, faultsOfComments, pointsOfComments)
}

func TestSentences(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", " ", nil},
		{"one without an end", "a list: one", []string{"a list: one"}},
		{"three ends", "Is it? It is. Good!", []string{"Is it?", "It is.", "Good!"}},
		{"a name in small letters begins a sentence", "Take it as it is. scs holds the lock.", []string{"Take it as it is.", "scs holds the lock."}},
		{"a version", "scs 2.9.0 is taken. So is Go 1.26.", []string{"scs 2.9.0 is taken.", "So is Go 1.26."}},
		{"an abbreviation", "A header, e.g. Accept, counts. So does (i.e. also) this.", []string{"A header, e.g. Accept, counts.", "So does (i.e. also) this."}},
		{"a quotation inside", `It asks "whose?" and answers. It goes on.`, []string{`It asks "whose?" and answers.`, "It goes on."}},
		{"brackets inside", "It ends (does it?) here. (It does.) It did.", []string{"It ends (does it?) here.", "(It does.)", "It did."}},
		{"an ellipsis", "From a … to b. End.", []string{"From a … to b.", "End."}},
		{"lines", "One\nsentence.\nAnother.", []string{"One sentence.", "Another."}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := prosetest.Sentences(c.text); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	long := strings.Repeat("word ", prosetest.MaxLength/5)
	for _, c := range []struct {
		name, text string
		want       int
	}{
		{"a colon", "It has two: a and b.", 0},
		{"a colon and a semicolon", "It has two: a; and b.", 1},
		{"two semicolons", "It is; it was; it will be.", 1},
		{"one in each sentence", "It has two: a and b. They are: c; d is none.", 1},
		{"times, addresses and names", "From 10:30 to 11:30 at ::1 with std::vec: none.", 0},
		{"at the end and before a bracket", "It says (a;) and b:", 1},
		{"as long as it may be", long[:prosetest.MaxLength], 0},
		{"too long", long + "x", 1},
		{"both", long + "a: b; c", 2},
		{"characters are not bytes", strings.Repeat("ä", prosetest.MaxLength), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (prosetest.Paragraph{Text: c.text}).Faults(); len(got) != c.want {
				t.Errorf("%q, want %d", got, c.want)
			}
		})
	}
}

func TestMarkdown(t *testing.T) {
	const page = "# A heading: with; points\n\nA paragraph\nof two lines.\n" +
		"- An item\n  of two lines.\n- `a: b; c.` [a link](https://example.com/a:b) <https://example.com/>\n\n" +
		"1. **First.** An &amp; and ![a picture](a.png) none.\n\n| a table: | b; |\n|---|---|\n" +
		"```go\na := 1 // code: no; prose\n\n```\nAfter the code.\n<!-- a comment: none -->\n<!--\nof lines: none\n-->\n" +
		"<picture>none</picture>\n\n<!-- bench: machine -->\n\nWritten: by; a program.\n\n<!-- end -->\nA `span\nof code` over lines."
	var got []string
	lines := map[string]int{}
	for _, p := range prosetest.Markdown("a.md", page) {
		got = append(got, p.Text)
		lines[p.Text] = p.Line
	}
	want := []string{
		"A paragraph of two lines.", "An item of two lines.", "a_ b_ c_ a link address",
		"First. An x and none.", "After the code.", "A span of code over lines.",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if lines["After the code."] != 17 {
		t.Errorf("line %d, want 17", lines["After the code."])
	}
}

func TestCommentsOfAModule(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module a\n",
		"a.go": `// Package a is shown.
//
// # A heading: none; at all
//
//   - An item of [T].
//
// A paragraph: it goes on in the
// next line.
//
//	a := 1 // code
package a

// T is shown.
type T struct {
	// F is shown.
	F, g int // F too
	// g2 is not.
	g2 int
}

// M is shown.
func (t *T) M() {}

// m is not.
func (t T) m() {}

// t is not.
type t struct {
	// F is not.
	F int
}

// M is not.
func (t t) M() {}

// I is shown.
type I interface {
	// N is shown.
	N()
}

// Group is shown.
const (
	// C is shown.
	C = 1
	// c is not.
	c = 2
)

// group is not.
var (
	// v is not.
	v = 1
)
`,
		"a_test.go":     "package a\n\n// TestT is not shown.\nfunc TestT() {}\n",
		"b/b.go":        "// Package b is shown.\npackage b\n",
		"testdata/c.go": "// Package c is not.\npackage c\n",
		".hidden/c.go":  "// Package c is not.\npackage c\n",
		"other/go.mod":  "module other\n",
		"other/c.go":    "// Package c is not.\npackage c\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	paragraphs, err := prosetest.Comments(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range paragraphs {
		got = append(got, p.Text)
	}
	want := []string{
		"Package a is shown.", "An item of [T].", "A paragraph: it goes on in the next line.", "F is shown.", "F too", "T is shown.", "M is shown.",
		"N is shown.", "I is shown.", "C is shown.", "Group is shown.", "Package b is shown.",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
