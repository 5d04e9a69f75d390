// Package house holds the rules of this module's layout: which file may refer to
// which, which package may import which, and who may know what. A rule that is
// broken is named with the file and the line.
package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/seed-296ca7ab/usersession"

// order is that of the root's files: a file may refer to those in the lines above it,
// and to no other.
const order = `
doc.go usersession.go errors.go store.go
level.go request.go
adoptoptions.go events.go filter.go indexoptions.go loginoptions.go operation.go privacy.go reuse.go seal.go watchoptions.go
options.go
sqlstore.go
preset.go
place.go
session.go
emit.go
timed.go timeouts.go
codec.go device.go fence.go migrate.go userindex.go stats.go stepup.go protocol_end.go
ended.go policy.go users.go protocol_endkey.go protocol_spoiltdata.go
protocol_reuse.go
login.go logout.go newdevice.go protocol_data.go
impersonate.go reauthenticate.go retention.go revoke.go protocol_adopt.go protocol_login.go protocol_renew.go protocol_touch.go
account.go adoptall.go janitor.go personal.go protocol_commit.go protocol_load.go reconcile.go revoke_tx.go setmeta.go touch.go watch.go
insession.go inside.go adapter.go cookie.go remembered.go
response.go
defaults.go lease.go
middleware.go
new.go
`

// maxLines is how long a file of the root may be.
const maxLines = 300

// imports are the packages behind the walls, with those of this module that each may
// import. None imports the root.
var imports = map[string][]string{
	"adopt":       {"token", "trailer"},
	"agent":       nil,
	"binarycodec": nil,
	"bounded":     nil,
	"bubble":      nil,
	"datatable":   {"index", "sqldb"},
	"decide":      nil,
	"header":      nil,
	"index":       {"sqldb", "token", "trailer"},
	"doctor":      {"inside", "sqldb"},
	"inside":      {"index", "schema", "sqldb", "trailer"},
	"place":       nil,
	"policy":      nil,
	"pqread":      {"bounded"},
	"probe":       nil,
	"reconcile":   {"index", "trailer"},
	"response":    nil,
	"schema":      {"sqldb"},
	"seal":        {"trailer"},
	"sqldb":       {"bounded", "bubble", "pqread"},
	"timeout":     nil,
	"token":       nil,
	"leftover":    nil,
	"lease":       {"index", "token", "trailer"},
	"touch":       {"trailer"},
	"trailer":     {"token"},
	"watch":       nil,
}

// tool is the operator's tool, a module of its own, and mayReach are the packages behind
// the walls that it may import. It holds no SQL.
const tool = "cmd/usersession"

var mayReach = []string{"doctor", "inside", "token"}

// forTests are packages that no product package imports.
var forTests = []string{"depth", "docs", "exampletest", "goroutines", "house", "prosetest", "questions", "softdevice", "sourcetest", "sqlspy", "testreport", "testserver"}

// knows says who may have a text in the code, by the texts that are told from
// others. A folder stands for its files.
var knows = []struct {
	what string
	text *regexp.Regexp // of a string constant
	who  []string
}{
	{"SQL on tables", regexp.MustCompile(`(?:^|\n)\s*(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|CREATE|ALTER|DROP)\s`), []string{"internal/datatable/", "internal/index/", "internal/schema/",
		"internal/sqldb/identity.go", "internal/sqldb/settings.go", "internal/sqldb/text.go", "internal/doctor/server.go"}}, // which ask for settings, and for no table
	{"SQL on the database itself", regexp.MustCompile(`^(?:PRAGMA|BEGIN|COMMIT|ROLLBACK|SET|SHOW)\b`), []string{"internal/schema/", "internal/sqldb/", "internal/doctor/server.go"}},
	{"the package of lib/pq", regexp.MustCompile(`^github\.com/lib/pq`), []string{"internal/pqread/", "pgchannel/"}},
	{"the package of scs", regexp.MustCompile(`^github\.com/alexedwards/scs/`), []string{"adapter.go", "codec.go", "options.go", "defaults.go", "response.go", "session.go", "insession.go", "internal/probe/", "scsstore/", tool + "/adopt.go"}},
	{"a key of scs's values", regexp.MustCompile(`^__(?:usersession|rememberMe)$`), []string{"session.go", "cookie.go"}},
}

// pkg is a package as the go command lists it.
type pkg struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	// The go command forgets the result of this test when a folder that it has read
	// gets another file.
	for _, folders := range []string{"../../*", "../../*/*.go", "../../internal/*/*.go", "../../" + tool + "/*.go"} {
		if _, err := filepath.Glob(folders); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Export,GoFiles"}, args...)...)
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func (p pkg) parse(t *testing.T, fset *token.FileSet) []*ast.File {
	t.Helper()
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

// at names a place by its file, relative to the root, and line.
func at(t *testing.T, fset *token.FileSet, pos token.Pos) (file, place string) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	p := fset.Position(pos)
	if file, err = filepath.Rel(root, p.Filename); err != nil {
		t.Fatal(err)
	}
	file = filepath.ToSlash(file)
	return file, fmt.Sprintf("%s:%d", file, p.Line)
}

// The root's files form a strict order. So there is no cycle, and who reads a file
// has to know only those before it.
func TestOrderOfFiles(t *testing.T) {
	exports := make(map[string]string)
	var root pkg
	for _, p := range list(t, "-export", "-deps", ".") {
		if exports[p.ImportPath] = p.Export; p.ImportPath == module {
			root = p
		}
	}
	level := make(map[string]int)
	for i, line := range strings.Split(strings.TrimSpace(order), "\n") {
		for name := range strings.FieldsSeq(line) {
			if level[name] = i + 1; !slices.Contains(root.GoFiles, name) {
				t.Errorf("%s is in the order of the root's files and not in the root", name)
			}
		}
	}
	fset := token.NewFileSet()
	files := root.parse(t, fset)
	for i, f := range files {
		name := root.GoFiles[i]
		if level[name] == 0 {
			t.Errorf("%s:1: is not in the order of the root's files", name)
		}
		if n := fset.File(f.Pos()).LineCount() - 1; n > maxLines {
			t.Errorf("%s:%d: the file has %d lines, at most %d", name, maxLines+1, n, maxLines)
		}
	}
	info := types.Info{Uses: make(map[*ast.Ident]types.Object)}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	this, err := conf.Check(module, fset, files, &info)
	if err != nil {
		t.Fatal(err)
	}
	broken := make(map[string]bool)
	for id, o := range info.Uses {
		if o.Pkg() != this || !o.Pos().IsValid() {
			continue
		}
		from, place := at(t, fset, id.Pos())
		to, _ := at(t, fset, o.Pos())
		if from != to && level[from] > 0 && level[to] >= level[from] {
			broken[fmt.Sprintf("%s: refers to %s of %s, which does not stand above it", place, o.Name(), to)] = true
		}
	}
	for _, text := range slices.Sorted(maps.Keys(broken)) {
		t.Error(text)
	}
}

func TestImports(t *testing.T) {
	seen := make(map[string]bool)
	fset := token.NewFileSet()
	for _, p := range list(t, "-e", "./...", "./"+tool+"/...", "./pgxdb") {
		name, behind := strings.CutPrefix(p.ImportPath, module+"/internal/")
		if behind && slices.Contains(forTests, name) || strings.Contains(p.ImportPath, "/examples/") {
			continue
		}
		allowed, known := imports[name]
		if seen[name] = true; behind && !known {
			t.Errorf("%s: nothing says what it may import", p.ImportPath)
		}
		for _, f := range p.parse(t, fset) {
			for _, spec := range f.Imports {
				_, place := at(t, fset, spec.Pos())
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if path != module && !strings.HasPrefix(path, module+"/") {
					continue
				}
				of, inner := strings.CutPrefix(path, module+"/internal/")
				switch {
				case inner && slices.Contains(forTests, of):
					t.Errorf("%s: imports internal/%s, which is for tests", place, of)
				case behind && !inner:
					t.Errorf("%s: internal/%s imports %s: nothing behind the walls imports what is before them", place, name, path)
				case inner && strings.HasPrefix(p.ImportPath, module+"/"+tool) && !slices.Contains(mayReach, of):
					t.Errorf("%s: %s may not import internal/%s", place, tool, of)
				case inner && p.ImportPath == module+"/pgxdb" && of != "sqldb":
					t.Errorf("%s: pgxdb may not import internal/%s", place, of)
				case behind && !slices.Contains(allowed, of):
					t.Errorf("%s: internal/%s may not import internal/%s", place, name, of)
				}
			}
		}
	}
	for name := range imports {
		if !seen[name] {
			t.Errorf("internal/%s may import something and is not there", name)
		}
	}
}

func TestWhoKnows(t *testing.T) {
	fset := token.NewFileSet()
	used := make(map[string]bool)
	for _, p := range list(t, "-e", "./...", "./"+tool+"/...") {
		name, behind := strings.CutPrefix(p.ImportPath, module+"/internal/")
		if behind && slices.Contains(forTests, name) || strings.Contains(p.ImportPath, "/examples/") {
			continue
		}
		for _, f := range p.parse(t, fset) {
			ast.Inspect(f, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					return true // the tag of a field
				}
				file, place := at(t, fset, lit.Pos())
				for _, k := range knows {
					if !k.text.MatchString(text) {
						continue
					}
					i := slices.IndexFunc(k.who, func(who string) bool {
						return file == who || strings.HasSuffix(who, "/") && strings.HasPrefix(file, who)
					})
					if i < 0 {
						t.Errorf("%s: knows %s, which is for %s", place, k.what, strings.Join(k.who, ", "))
						continue
					}
					used[k.what+" "+k.who[i]] = true
				}
				return true
			})
		}
	}
	for _, k := range knows {
		for _, who := range k.who {
			if !used[k.what+" "+who] {
				t.Errorf("%s may know %s and does not", who, k.what)
			}
		}
	}
}

// maxLinesElsewhere is how long any other file may be, tests included.
const maxLinesElsewhere = 500

// TestLengthOfFiles keeps all files, of every module, readable in one piece.
func TestLengthOfFiles(t *testing.T) {
	root, files := os.DirFS(filepath.Join("..", "..")), 0
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") {
			return err
		}
		text, err := fs.ReadFile(root, name)
		if n := bytes.Count(text, []byte("\n")); n > maxLinesElsewhere {
			t.Errorf("%s:%d: the file has %d lines, at most %d", name, maxLinesElsewhere+1, n, maxLinesElsewhere)
		}
		files++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 500 {
		t.Errorf("%d files were seen", files)
	}
}
