// Package docs tests the documentation: its blocks of code, its links, and the
// Examples of the root module. What needs a driver is built with the requirements
// of compat. The package is in the root module all the same, because the go
// command forgets a result when a file that the test has read changes, but minds
// only files of the test's own module.
package docs_test

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// A docBlock is a fenced block of README.md or of a page in docs. The HTML
// comment on the line before it says what it is:
//
//	<!-- run -->              a program that is built and run
//	<!-- vars: x T, y U -->   statements, compiled with these variables;
//	                          "; returns error" behind them if they return one
//	<!-- file: path -->       that file, which is built and tested where it is
//	<!-- schema: dialect -->  the default migrations
//	<!-- transcript -->       a session with the quick start
//	<!-- test-command -->     the command CI runs
type docBlock struct {
	file    string
	line    int
	lang    string
	comment string
	text    string
}

func (b docBlock) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

// about returns what follows name in the comment of the block.
func (b docBlock) about(name string) (string, bool) {
	rest, ok := strings.CutPrefix(b.comment, name)
	return strings.TrimSpace(strings.TrimPrefix(rest, ":")), ok
}

// inRepository returns how a file is opened from here whose name is given from the root
// of the repository.
func inRepository(name string) string { return filepath.Join("..", "..", name) }

func docFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(inRepository("docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		files[i] = "docs/" + filepath.Base(file)
	}
	return append([]string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}, files...)
}

func docBlocks(t *testing.T) []docBlock {
	t.Helper()
	var blocks []docBlock
	for _, file := range docFiles(t) {
		text, err := os.ReadFile(inRepository(file))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		for i := 0; i < len(lines); i++ {
			lang, ok := strings.CutPrefix(lines[i], "```")
			if !ok {
				continue
			}
			b := docBlock{file: file, line: i + 1, lang: lang}
			if i > 0 && strings.HasPrefix(lines[i-1], "<!-- ") {
				b.comment = strings.TrimSuffix(strings.TrimPrefix(lines[i-1], "<!-- "), " -->")
			}
			end := slices.Index(lines[i+1:], "```")
			if end < 0 {
				t.Fatalf("%v: the block is not closed", b)
			}
			b.text = strings.Join(lines[i+1:i+1+end], "\n") + "\n"
			blocks = append(blocks, b)
			i += end + 1
		}
	}
	return blocks
}

// docModule is a throwaway module, with the requirements of compat, in which the
// blocks of the documentation are compiled.
type docModule struct {
	t   *testing.T
	dir string
}

func newDocModule(t *testing.T) *docModule {
	t.Helper()
	root, err := filepath.Abs(inRepository("."))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(inRepository("compat/go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(inRepository("compat/go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	_, requirements, _ := strings.Cut(string(mod), "\n")
	m := &docModule{t, t.TempDir()}
	m.write("go.mod", "module docs\n"+strings.ReplaceAll(requirements, "=> ../", "=> "+root))
	m.write("go.sum", string(sum))
	return m
}

func (m *docModule) write(name, text string) {
	m.t.Helper()
	name = filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *docModule) run(args ...string) {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), "go", args...)
	cmd.Dir = m.dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=") // not those of the test that runs this one
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// docImports are the packages a fragment may name without an import.
var docImports = map[string]string{
	"bytes": "bytes", "expvar": "expvar", "context": "context", "httptest": "net/http/httptest", "synctest": "testing/synctest", "testing": "testing", "errors": "errors", "fmt": "fmt", "fs": "io/fs",
	"http": "net/http", "json": "encoding/json", "log": "log", "netip": "net/netip", "os": "os",
	"slog": "log/slog", "strings": "strings", "sync": "sync", "time": "time",
	"scs": "github.com/alexedwards/scs/v2", "sql": "database/sql", "sqlx": "github.com/jmoiron/sqlx",
	"pgchannel": "github.com/seed-296ca7ab/usersession/pgchannel",
	"memstore":  "github.com/seed-296ca7ab/usersession/memstore", "scsstore": "github.com/seed-296ca7ab/usersession/scsstore",
	"pgxpool": "github.com/jackc/pgx/v5/pgxpool", "stdlib": "github.com/jackc/pgx/v5/stdlib",
	"dbsc": "github.com/seed-296ca7ab/usersession/dbsc", "sessionui": "github.com/seed-296ca7ab/usersession/sessionui", "usersessiontest": "github.com/seed-296ca7ab/usersession/usersessiontest", "usersession": "github.com/seed-296ca7ab/usersession",
}

// fragment makes a file of statements: a function with the variables of the
// block's comment. What the statements declare need not be used.
func fragment(b docBlock, n int) (string, error) {
	vars, ok := b.about("vars")
	if !ok {
		return "", fmt.Errorf("neither a program nor a package, and no <!-- vars --> comment before it")
	}
	vars, results, _ := strings.Cut(vars, "; returns ")
	head := fmt.Sprintf("func Fragment%d(%s) %s {\n", n, vars, results)
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "", "package docs\n"+head+b.text+"}\n", parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	imports := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && docImports[x.Name] != "" {
				imports[x.Name] = true
			}
		}
		return true
	})
	var used []string
	last := len(b.text)
	body := file.Decls[0].(*ast.FuncDecl).Body
	for i, s := range body.List {
		switch s := s.(type) {
		case *ast.AssignStmt:
			for _, x := range s.Lhs {
				if id, ok := x.(*ast.Ident); ok && s.Tok == token.DEFINE && id.Name != "_" && !slices.Contains(used, id.Name) {
					used = append(used, id.Name)
				}
			}
		case *ast.ReturnStmt:
			if i == len(body.List)-1 {
				last = fset.Position(s.Pos()).Offset - len("package docs\n"+head)
			}
		}
	}
	var out strings.Builder
	out.WriteString("package docs\n\n")
	for name := range imports {
		fmt.Fprintf(&out, "import %s %q\n", name, docImports[name])
	}
	fmt.Fprintf(&out, "\n%s//line %s:%d\n%s", head, b.file, b.line+1, b.text[:last])
	for _, name := range used {
		fmt.Fprintf(&out, "\n_ = %s", name)
	}
	out.WriteString("\n" + b.text[last:])
	if results != "" && last == len(b.text) {
		out.WriteString("\nreturn nil\n")
	}
	out.WriteString("}\n")
	return out.String(), nil
}

// TestDocsGo compiles every block of Go in the documentation, and runs those
// that say so.
func TestDocsGo(t *testing.T) {
	t.Parallel()
	m := newDocModule(t)
	programs := map[string]string{} // name: where it listens
	for i, b := range docBlocks(t) {
		if b.lang != "go" {
			continue
		}
		if path, ok := b.about("file"); ok {
			if text, err := os.ReadFile(inRepository(path)); err != nil || string(text) != b.text {
				t.Errorf("%v: is not %s (%v)", b, path, err)
			}
			continue
		}
		if strings.HasPrefix(b.text, "package main\n") {
			name := fmt.Sprintf("program%d", i)
			addr := testserver.FreeAddr(t).String()
			if b.comment == "run" {
				programs[name] = addr
			}
			m.write(name+"/main.go", strings.ReplaceAll(b.text, "127.0.0.1:8080", addr))
			continue
		}
		text, err := fragment(b, i)
		if err != nil {
			t.Errorf("%v: %v", b, err)
			continue
		}
		m.write(fmt.Sprintf("fragment%d.go", i), text)
	}
	if len(programs) == 0 {
		t.Fatal("the README has no program")
	}
	bin := filepath.Join(m.dir, "bin") + string(filepath.Separator)
	m.run("build", ".") // the fragments
	m.run("build", "-ldflags=-s -w", "-o", bin, "./...")

	for name, addr := range programs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runProgram(t, bin+name, nil)
			tryProgram(t, addr)
		})
	}
}

// noRows is a database that has no rows for any query.
type noRows struct{}

func (noRows) Connect(context.Context) (driver.Conn, error) { return noRows{}, nil }
func (noRows) Driver() driver.Driver                        { return noRows{} }
func (noRows) Open(string) (driver.Conn, error)             { return noRows{}, nil }
func (noRows) Prepare(string) (driver.Stmt, error)          { return nil, errors.ErrUnsupported }
func (noRows) Begin() (driver.Tx, error)                    { return nil, errors.ErrUnsupported }
func (noRows) Close() error                                 { return nil }
func (noRows) Columns() []string                            { return nil }
func (noRows) Next([]driver.Value) error                    { return io.EOF }
func (noRows) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return noRows{}, nil
}

// TestDocsSchema compares the schema in the documentation with the migrations.
func TestDocsSchema(t *testing.T) {
	t.Parallel()
	shown := map[string]string{}
	for _, b := range docBlocks(t) {
		if dialect, ok := b.about("schema"); ok {
			shown[dialect] = b.text
		}
	}
	for _, dialect := range []usersession.Dialect{usersession.DialectPostgres, usersession.DialectSQLite, usersession.DialectMariaDB} {
		// Nothing but the dialect is asked for the migrations.
		pool := sql.OpenDB(noRows{})
		defer pool.Close()
		m, err := usersession.New(sqlx.NewDb(pool, "sqlite"), &usersession.Options{Index: usersession.IndexOptions{Dialect: dialect}})
		if err != nil {
			t.Fatal(err)
		}
		files, err := m.Migrations()
		if err != nil {
			t.Fatal(err)
		}
		names, err := fs.Glob(files, "*.sql")
		if err != nil {
			t.Fatal(err)
		}
		var ups []string
		for _, name := range names {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				t.Fatal(err)
			}
			up, _, ok := strings.Cut(strings.TrimPrefix(string(text), "-- +goose Up\n"), "\n\n-- +goose Down\n")
			if !ok {
				t.Fatalf("%s has no down part", name)
			}
			ups = append(ups, up)
		}
		if want := strings.Join(ups, "\n\n") + "\n"; shown[string(dialect)] != want {
			t.Errorf("docs/databases.md shows another schema of %s than\n%s", dialect, want)
		}
	}
}

// TestDocsReadme keeps the README short and CI's command findable.
func TestDocsReadme(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(inRepository("README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n > 200 {
		t.Errorf("README.md has %d lines, at most 200", n)
	}
	commands := 0
	for _, b := range docBlocks(t) {
		if b.comment == "test-command" {
			commands++
			if !strings.HasPrefix(b.text, "go test ") || strings.Count(b.text, "\n") != 1 {
				t.Errorf("%v: want one line with go test, have\n%s", b, b.text)
			}
		}
	}
	if commands != 1 || bytes.Count(text, []byte("\n<!-- test-command -->\n")) != 1 {
		t.Errorf("README.md has %d test commands, want 1", commands)
	}
}

var (
	docLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	docHeading = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// TestDocsLinks resolves the relative links.
func TestDocsLinks(t *testing.T) {
	t.Parallel()
	for _, file := range docFiles(t) {
		text, err := os.ReadFile(inRepository(file))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range docLink.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(l[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(l[1], "#")
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			page, err := os.ReadFile(inRepository(target))
			if err != nil {
				t.Errorf("%s: link %s: %v", file, l[1], err)
				continue
			}
			if anchor != "" && !hasHeading(string(page), anchor) {
				t.Errorf("%s: link %s: no such heading", file, l[1])
			}
		}
	}
}

func hasHeading(page, anchor string) bool {
	for _, h := range docHeading.FindAllStringSubmatch(page, -1) {
		slug := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(h[1]), "")
		if strings.ReplaceAll(slug, " ", "-") == anchor {
			return true
		}
	}
	return false
}
