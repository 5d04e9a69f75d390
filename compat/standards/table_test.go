package standards

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write "+page)

const page = "../../docs/standards.md"

// how says how a row is met.
type how string

const byDefault how = "by default"

// byOption is for a row that is met where the program sets an option or calls a method.
func byOption(call string) how { return how("with " + call) }

// byApp is for a row that only the program can meet. with is what it is given for it.
func byApp(with string) how { return how("the program's duty; it is given " + with) }

// notMet is for a row that is not met. The test shows what happens today.
func notMet(why string) how { return how("**not met:** " + why) }

// meets says which row of a standard a test shows, in our words. It is the first
// statement of the test, with literals only, because the table is made from the source.
// The test is named after the row.
func meets(t *testing.T, id, level string, _ how, text string) {
	t.Helper()
	if prefix := testName(id); !strings.HasPrefix(t.Name(), prefix) {
		t.Errorf("the test of %s begins with %s", id, prefix)
	}
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9]+`)

func testName(id string) string { return "Test" + notInName.ReplaceAllString(id, "_") + "_" }

type row struct{ id, level, how, text, test, file string }

// sources are the standards, in the order of the page. A row belongs to the first whose
// name its ID begins with.
var sources = []struct{ prefix, title, levels, link string }{
	{"ASVS 7", "OWASP ASVS 5.0, chapter V7, session management", "L", "https://github.com/OWASP/ASVS/tree/v5.0.0/5.0/en"},
	{"ASVS 3", "OWASP ASVS 5.0, chapter V3, web frontend", "L", "https://github.com/OWASP/ASVS/tree/v5.0.0/5.0/en"},
	{"ASVS 14", "OWASP ASVS 5.0, chapter V14, data protection", "L", "https://github.com/OWASP/ASVS/tree/v5.0.0/5.0/en"},
	{"ASVS 16", "OWASP ASVS 5.0, chapter V16, logs and errors", "L", "https://github.com/OWASP/ASVS/tree/v5.0.0/5.0/en"},
	{"WSTG", "OWASP Web Security Testing Guide, WSTG-SESS", "", "https://owasp.org/www-project-web-security-testing-guide/"},
	{"NIST", "NIST SP 800-63B-4, section 5", "", "https://pages.nist.gov/800-63-4/sp800-63b/session/"},
	{"RFC6265bis", "RFC 6265bis, cookies", "", "https://datatracker.ietf.org/doc/draft-ietf-httpbis-rfc6265bis/"},
	{"CVE", "Vulnerabilities of others", "", "https://www.cve.org/"},
	{"GHSA", "Vulnerabilities of others that GitHub has numbered", "", "https://github.com/advisories"},
}

// declared reads the rows from the tests of this folder.
func declared(t *testing.T) (rows []row) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") || f.Name.Name == "TestSecurityTable" {
				continue
			}
			r, err := rowOf(f)
			if err != nil {
				t.Errorf("%s: %s: %v", fset.Position(f.Pos()), f.Name.Name, err)
				continue
			}
			if bytes.Contains(src[f.Pos()-file.FileStart:f.End()-file.FileStart], []byte(".Skip")) {
				t.Errorf("%s: %s: a row that is claimed cannot be skipped", fset.Position(f.Pos()), f.Name.Name)
			}
			r.test, r.file = f.Name.Name, name
			rows = append(rows, r)
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return compare(a.id, b.id) })
	return rows
}

// rowOf returns what the first statement of a test says.
func rowOf(f *ast.FuncDecl) (r row, err error) {
	wrong := fmt.Errorf("its first statement is not meets with literals")
	if len(f.Body.List) < 2 {
		return r, fmt.Errorf("it has %d statements", len(f.Body.List))
	}
	s, _ := f.Body.List[0].(*ast.ExprStmt)
	if s == nil {
		return r, wrong
	}
	call, _ := s.X.(*ast.CallExpr)
	if call == nil || len(call.Args) != 5 || nameOf(call.Fun) != "meets" {
		return r, wrong
	}
	for i, to := range map[int]*string{1: &r.id, 2: &r.level, 4: &r.text} {
		if *to, err = literal(call.Args[i]); err != nil {
			return r, wrong
		}
	}
	ways := map[string]func(string) how{"byOption": byOption, "byApp": byApp, "notMet": notMet}
	if way, ok := call.Args[3].(*ast.CallExpr); ok && ways[nameOf(way.Fun)] != nil {
		text, err := literal(way.Args[0])
		if err != nil {
			return r, wrong
		}
		r.how = string(ways[nameOf(way.Fun)](text))
	} else if nameOf(call.Args[3]) == "byDefault" {
		r.how = string(byDefault)
	} else {
		return r, wrong
	}
	if !strings.HasPrefix(f.Name.Name, testName(r.id)) {
		return r, fmt.Errorf("the test of %s begins with %s", r.id, testName(r.id))
	}
	if r.text == "" || r.level == "" || strings.ContainsAny(r.text+r.how, "|\n") {
		return r, fmt.Errorf("a text or a level that a table cannot show")
	}
	return r, nil
}

func nameOf(x ast.Expr) string {
	if id, ok := x.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

func literal(x ast.Expr) (string, error) {
	lit, ok := x.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", fmt.Errorf("not a literal")
	}
	return strconv.Unquote(lit.Value)
}

var number = regexp.MustCompile(`\d+|\D+`)

// compare sorts 7.10 behind 7.9.
func compare(a, b string) int {
	return slices.CompareFunc(number.FindAllString(a, -1), number.FindAllString(b, -1), func(a, b string) int {
		m, errA := strconv.Atoi(a)
		n, errB := strconv.Atoi(b)
		if errA == nil && errB == nil {
			return m - n
		}
		return strings.Compare(a, b)
	})
}

const head = `# Standards, line by line

<!-- written by TestSecurityTable, in compat/standards -->

Each row is a requirement of a standard, or a vulnerability of another program that a session library could have as well. The words are ours. The test behind a row drives a program over HTTP, as a browser or an attacker does. The page is made from the tests, and CI fails if it is not as they say.

- *By default* is what a program has that sets nothing.
- *With* names an option that the program sets, or a method that it calls.
- *The program's duty* is what only the program can do. The row says what it is given for it, and the test shows that this works.
- *Not met* is what the library does not do. The test shows what happens instead.

To meet every row of a chapter is not to be certified. OWASP and NIST certify no library, and most chapters have rows that no session library touches. Those are left out here.

`

// render returns the page.
func render(t *testing.T, rows []row) string {
	var counts, tables strings.Builder
	left := rows
	for _, s := range sources {
		var mine []row
		mine, left = partition(left, func(r row) bool {
			rest, ok := strings.CutPrefix(r.id, s.prefix)
			return ok && !regexp.MustCompile(`^\d`).MatchString(rest)
		})
		ids := make(map[string]int) // the last of the ways in which its tests meet it
		for _, r := range mine {
			ids[r.id] = max(ids[r.id], slices.IndexFunc([]string{"by", "wi", "th", "**"}, func(p string) bool { return strings.HasPrefix(r.how, p) }))
		}
		var met [4]int
		for _, way := range ids {
			met[way]++
		}
		fmt.Fprintf(&counts, "| [%s](%s) | %d | %d | %d | %d | %d |\n", s.title, s.link, len(ids), met[0], met[1], met[2], met[3])
		fmt.Fprintf(&tables, "\n## %s\n\n| requirement | level | how it is met | test |\n|---|---|---|---|\n", s.title)
		for _, r := range mine {
			name := strings.TrimPrefix(r.test, testName(r.id))
			fmt.Fprintf(&tables, "| **%s** %s | %s%s | %s | [%s](../compat/standards/%s) |\n", strings.TrimPrefix(r.id, "ASVS "), r.text, s.levels, r.level, r.how, name, r.file)
		}
	}
	for _, r := range left {
		t.Errorf("%s: no standard has a row %s", r.test, r.id)
	}
	return head + "| standard | rows | by default | with an option or a call | the program's duty | not met |\n|---|---|---|---|---|---|\n" + counts.String() + tables.String()
}

func partition(rows []row, mine func(row) bool) (in, out []row) {
	for _, r := range rows {
		if mine(r) {
			in = append(in, r)
		} else {
			out = append(out, r)
		}
	}
	return in, out
}

// TestSecurityTable compares docs/standards.md with what the tests declare, and writes
// it with -update. With -v it prints how many rows there are for each standard.
func TestSecurityTable(t *testing.T) {
	rows := declared(t)
	want := render(t, rows)
	_, counts, _ := strings.Cut(want, "| standard |")
	counts, _, _ = strings.Cut(counts, "\n\n")
	t.Log("\n| standard |" + counts)
	if t.Failed() {
		return
	}
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil || string(got) != want {
		t.Errorf("docs/standards.md is not as the tests say (%v): go test ./standards -run TestSecurityTable -update, in compat", err)
	}
}
