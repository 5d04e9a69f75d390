// Package sourcetest looks for mistakes of tests in their source, in all modules
// of the repository.
//
// It parses and builds nothing, so that it runs everywhere and at once. It
// imports the standard library only, and is for tests.
package sourcetest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Source is the text of files by their slash-separated paths. Those named
// go.mod say which import path a folder has.
type Source map[string]string

// Read returns the Go files and the go.mod files below a folder, except those of
// testdata.
func Read(root string) (Source, error) {
	s := Source{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if base := entry.Name(); name != root && (base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".")) {
				return fs.SkipDir
			}
			return nil
		}
		if entry.Name() != "go.mod" && filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		s[filepath.ToSlash(rel)] = string(text)
		return err
	})
	return s, err
}

// ElsewhereMark is a line of the comment of a function that runs a function it is
// given on another goroutine, in a way that the source does not show.
const ElsewhereMark = "//sourcetest:goroutine"

// Ends returns the calls that would end or skip a test (Fatal, Fatalf, FailNow,
// Skip, Skipf, SkipNow, or a function that calls one of them) off the goroutine
// of the test, each as its file, line and text.
//
// A function runs off that goroutine if it is started with "go", or is given to
// a method Go, to time.AfterFunc, to a server of httptest, or to a function with
// [ElsewhereMark]. Methods are known by their names alone, one package at a
// time. Of several methods of one name, one that ends tests is enough.
func Ends(s Source) ([]string, error) {
	p := &program{fset: token.NewFileSet(), packages: map[string]*pkg{}, ending: map[string]bool{}, elsewhere: map[string]bool{}}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range s {
			if strings.HasSuffix(name, ".go") && !yield(name) {
				return
			}
		}
	}) {
		f, err := parser.ParseFile(p.fset, name, s[name], parser.ParseComments)
		if err != nil {
			return nil, err
		}
		p.add(s.importPath(path.Dir(name)), f)
	}
	p.spread()
	var found []string
	for _, k := range p.packages {
		for _, f := range k.files {
			found = append(found, p.check(k, f)...)
		}
	}
	slices.Sort(found)
	return found, nil
}

// importPath returns the import path of a folder.
func (s Source) importPath(dir string) string {
	for at, rest := dir, ""; ; at, rest = path.Dir(at), path.Join(path.Base(at), rest) {
		for line := range strings.Lines(s[path.Join(at, "go.mod")]) {
			if module, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
				return path.Join(module, rest)
			}
		}
		if at == "." {
			return dir
		}
	}
}

// program is all packages.
type program struct {
	fset     *token.FileSet
	packages map[string]*pkg
	// ending are the functions that may end a test, elsewhere those that run
	// what they are given on another goroutine: "path.name" or "path.(method)".
	ending, elsewhere map[string]bool
}

// pkg is the files of one folder, those of its tests included.
type pkg struct {
	path  string
	files []*file
	// helper says that the package has test helpers beside its tests. Nothing
	// else of a package but its tests ends a test.
	helper bool
}

type file struct {
	*ast.File
	imports map[string]string // the name in this file: path
	tests   bool
}

func (p *program) add(importPath string, f *ast.File) {
	k := p.packages[importPath]
	if k == nil {
		k = &pkg{path: importPath}
		p.packages[importPath] = k
	}
	tests := strings.HasSuffix(p.fset.Position(f.Pos()).Filename, "_test.go")
	file := &file{f, map[string]string{}, tests}
	for _, spec := range f.Imports {
		target, _ := strconv.Unquote(spec.Path.Value)
		name := path.Base(target)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		file.imports[name] = target
		k.helper = k.helper || target == "testing" && !tests
	}
	k.files = append(k.files, file)
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Doc == nil {
			continue
		}
		for _, line := range fn.Doc.List {
			if line.Text == ElsewhereMark {
				p.elsewhere[keyOf(k, fn)] = true
			}
		}
	}
}

func keyOf(k *pkg, fn *ast.FuncDecl) string {
	if fn.Recv != nil {
		return k.path + ".(" + fn.Name.Name + ")"
	}
	return k.path + "." + fn.Name.Name
}

// spread finds the functions that may end a test, until there are no more.
func (p *program) spread() {
	for more := true; more; {
		more = false
		for _, k := range p.packages {
			for _, f := range k.files {
				if !f.tests && !k.helper {
					continue
				}
				for _, d := range f.Decls {
					fn, ok := d.(*ast.FuncDecl)
					if !ok || fn.Body == nil || p.ending[keyOf(k, fn)] || isTest(fn) {
						continue
					}
					if len(p.endings(k, f, fn.Body, nil)) > 0 {
						p.ending[keyOf(k, fn)], more = true, true
					}
				}
			}
		}
	}
}

// isTest reports whether nobody but the package testing calls a function.
func isTest(fn *ast.FuncDecl) bool {
	name := fn.Name.Name
	return fn.Recv == nil && slices.ContainsFunc([]string{"Test", "Benchmark", "Fuzz", "Example"}, func(prefix string) bool {
		return strings.HasPrefix(name, prefix)
	})
}

// ends are the methods of a test that end it.
var ends = map[string]bool{"Fatal": true, "Fatalf": true, "FailNow": true, "Skip": true, "Skipf": true, "SkipNow": true}

// called returns the key of what a call calls; "" if that is no function of the
// program. ending reports whether it is a method of a test that ends it.
func (p *program) called(k *pkg, f *file, call *ast.CallExpr) (key string, ending bool) {
	switch fn := unindexed(call.Fun).(type) {
	case *ast.Ident:
		return k.path + "." + fn.Name, false
	case *ast.SelectorExpr:
		if x, ok := fn.X.(*ast.Ident); ok && x.Obj == nil && f.imports[x.Name] != "" {
			return f.imports[x.Name] + "." + fn.Sel.Name, false
		}
		return k.path + ".(" + fn.Sel.Name + ")", ends[fn.Sel.Name]
	}
	return "", false
}

// unindexed is a function without its type arguments.
func unindexed(fn ast.Expr) ast.Expr {
	switch x := fn.(type) {
	case *ast.IndexExpr:
		return x.X
	case *ast.IndexListExpr:
		return x.X
	case *ast.ParenExpr:
		return unindexed(x.X)
	}
	return fn
}

// endings returns the calls in a body that may end a test on the goroutine of
// that body. What a test of its own, or another goroutine, does there is its own
// affair. seen are the local functions that are being looked at.
func (p *program) endings(k *pkg, f *file, body ast.Node, seen []*ast.FuncLit) []*ast.CallExpr {
	var found []*ast.CallExpr
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return !hasTest(n.Type)
		case *ast.GoStmt:
			return false
		case *ast.CallExpr:
			if p.startsGoroutine(k, f, n) {
				return false
			}
			key, ends := p.called(k, f, n)
			if lit := local(n.Fun); lit != nil {
				key = ""
				if !slices.Contains(seen, lit) && len(p.endings(k, f, lit.Body, append(seen, lit))) > 0 {
					ends = true
				}
			}
			if ends || p.ending[key] || hasTest(given(n)) {
				found = append(found, n)
			}
		}
		return true
	})
	return found
}

// given returns the tests that a call of a variable is given: what it calls can
// be anything.
func given(call *ast.CallExpr) *ast.FuncType {
	fn := &ast.FuncType{Params: &ast.FieldList{}}
	if id, ok := call.Fun.(*ast.Ident); !ok || id.Obj == nil || id.Obj.Kind != ast.Var || local(id) != nil {
		return fn
	}
	for _, arg := range call.Args {
		if id, ok := arg.(*ast.Ident); ok && id.Obj != nil {
			if field, ok := id.Obj.Decl.(*ast.Field); ok {
				fn.Params.List = append(fn.Params.List, field)
			}
		}
	}
	return fn
}

// local returns the function literal that a local variable was declared with.
func local(fn ast.Expr) *ast.FuncLit {
	id, ok := fn.(*ast.Ident)
	if !ok || id.Obj == nil {
		return nil
	}
	switch d := id.Obj.Decl.(type) {
	case *ast.AssignStmt:
		for i, x := range d.Lhs {
			if v, ok := x.(*ast.Ident); ok && v.Name == id.Name && len(d.Rhs) == len(d.Lhs) {
				lit, _ := d.Rhs[i].(*ast.FuncLit)
				return lit
			}
		}
	case *ast.ValueSpec:
		for i, v := range d.Names {
			if v.Name == id.Name && i < len(d.Values) {
				lit, _ := d.Values[i].(*ast.FuncLit)
				return lit
			}
		}
	}
	return nil
}

// hasTest reports whether a function is given a test of its own.
func hasTest(fn *ast.FuncType) bool {
	return slices.ContainsFunc(fn.Params.List, func(p *ast.Field) bool {
		x := p.Type
		if star, ok := x.(*ast.StarExpr); ok {
			x = star.X
		}
		sel, ok := x.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		of, ok := sel.X.(*ast.Ident)
		return ok && of.Name == "testing"
	})
}

// startsGoroutine reports whether a call runs the functions it is given on
// another goroutine.
func (p *program) startsGoroutine(k *pkg, f *file, call *ast.CallExpr) bool {
	key, _ := p.called(k, f, call)
	if p.elsewhere[key] {
		return true
	}
	switch key {
	case "time.AfterFunc", "net/http/httptest.NewServer", "net/http/httptest.NewTLSServer", "net/http/httptest.NewUnstartedServer":
		return true
	}
	return strings.HasSuffix(key, ".(Go)") // of a WaitGroup or an errgroup.Group
}

// check returns what is wrong in a file.
func (p *program) check(k *pkg, f *file) []string {
	var found []string
	seen := map[token.Pos]bool{}
	report := func(calls ...*ast.CallExpr) {
		for _, c := range calls {
			if !seen[c.Pos()] {
				seen[c.Pos()] = true
				found = append(found, p.fset.Position(c.Pos()).String()+": "+text(c.Fun))
			}
		}
	}
	// off looks at what runs on another goroutine: a literal, or the name of one
	// or of a function.
	off := func(x ast.Expr) {
		lit, ok := x.(*ast.FuncLit)
		if !ok {
			lit = local(x)
		}
		if lit != nil {
			report(p.endings(k, f, lit.Body, []*ast.FuncLit{lit})...)
			return
		}
		call := &ast.CallExpr{Fun: x, Lparen: x.Pos()}
		if key, ends := p.called(k, f, call); ends || p.ending[key] {
			report(call)
		}
	}
	ast.Inspect(f.File, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			off(n.Call.Fun)
			// What it is given is evaluated here.
		case *ast.CallExpr:
			if !p.startsGoroutine(k, f, n) {
				return true
			}
			for _, arg := range n.Args {
				if conversion, ok := arg.(*ast.CallExpr); ok && len(conversion.Args) == 1 && text(conversion.Fun) == "http.HandlerFunc" {
					arg = conversion.Args[0]
				}
				switch arg.(type) {
				case *ast.FuncLit, *ast.Ident, *ast.SelectorExpr:
					off(arg)
				}
			}
		}
		return true
	})
	return found
}

// text is a function as it is written, shortened.
func text(x ast.Expr) string {
	switch x := unindexed(x).(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return text(x.X) + "." + x.Sel.Name
	}
	return "…"
}
