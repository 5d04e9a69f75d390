package docs_test

import (
	"encoding/json"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	// A change in them is to make a cached result void.
	_ "github.com/seed-296ca7ab/usersession/dbsc"
	_ "github.com/seed-296ca7ab/usersession/memstore"
	_ "github.com/seed-296ca7ab/usersession/scsstore"
	_ "github.com/seed-296ca7ab/usersession/sessionui"
	_ "github.com/seed-296ca7ab/usersession/usersessiontest"
)

// withExamples are the packages of the root module, by folder, whose Examples
// need a driver that their module does not require.
var withExamples = []string{".", "dbsc", "memstore", "scsstore", "sessionui", "usersessiontest"}

// TestExamples runs the Examples of the root module with a driver: one more test
// file, laid over each package, imports it. Every Example that says what it
// prints is to run and to print that.
func TestExamples(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs(inRepository("."))
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	overlay := map[string]string{}
	want := map[string][]string{} // import path: Examples
	for _, dir := range withExamples {
		name, examples := examplesOf(t, filepath.Join(root, dir))
		if len(examples) == 0 {
			t.Errorf("%s has no Example that says what it prints", dir)
			continue
		}
		driver := filepath.Join(tmp, strings.ReplaceAll(dir, "/", "_")+".go")
		if err := os.WriteFile(driver, []byte("package "+name+"\n\nimport _ \"modernc.org/sqlite\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay[filepath.Join(root, dir, "driver_of_examples_test.go")] = driver
		path := "github.com/seed-296ca7ab/usersession"
		if dir != "." {
			path += "/" + dir
		}
		want[path] = examples
	}
	file := filepath.Join(tmp, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	// Run in a module whose requirements have the driver. A package is vetted, and linked
	// with what a debugger needs, where it is tested.
	args := append([]string{"test", "-overlay", file, "-vet=off", "-ldflags=-s -w", "-count=1", "-run", "^Example", "-v"}, slices.Sorted(maps.Keys(want))...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = filepath.Join(root, "compat")
	cmd.Env = append(os.Environ(), "GOFLAGS=") // not those of the test that runs this one
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// The packages print one after the other.
	printed := strings.SplitAfter(string(out), "\nok  \t")
	for i, path := range slices.Sorted(maps.Keys(want)) {
		for _, name := range want[path] {
			if i >= len(printed) || !strings.Contains(printed[i], "--- PASS: "+name+" (") {
				t.Errorf("%s: %s has not passed:\n%s", path, name, out)
			}
		}
	}
}

// withoutExample are the exported functions and methods that no Example names, with
// the reason.
var withoutExample = map[string]string{
	"Manager.Destroy":           "it is Logout under the name of scs",
	"Manager.Format":            "fmt calls it, and it hides the keys",
	"Revocation.Format":         "fmt calls it, and it hides the keys",
	"Store.Format":              "fmt calls it, and it hides the keys",
	"Seal.Format":               "fmt calls it, and it hides the keys",
	"NotMeOptions.Format":       "fmt calls it, and it hides the keys",
	"NotMeHandler.ServeHTTP":    "net/http calls it",
	"Seal.MarshalText":          "encoding/json calls it, and it hides the keys",
	"Store.FindAny":             "Options.Adopt calls it",
	"Store.KeysOfAny":           "Options.Adopt calls it",
	"UserSession.UnmarshalJSON": "encoding/json calls it, in the Example of MarshalJSON",
}

// TestWhatHasAnExample wants every exported function and method of the root module
// to be named in an Example of its package. It goes by names alone, and by what a
// reader sees: a call in a helper does not count. What a Store has to have is shown
// once, by memstore. The package redisstore is left out, as a module of its own.
func TestWhatHasAnExample(t *testing.T) {
	t.Parallel()
	contract := map[string]bool{} // the methods of the interfaces about a Store
	exceptions := maps.Clone(withoutExample)
	for _, dir := range slices.Concat(withExamples, []string{"storetest"}) { // the first has the interfaces
		named := map[string]bool{}
		var exported []*ast.FuncDecl
		files, err := filepath.Glob(filepath.Join(inRepository(dir), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(file, "_test.go") {
				for _, e := range doc.Examples(f) {
					for word := range strings.SplitSeq(e.Name, "_") {
						named[word] = true
					}
					ast.Inspect(e.Code, func(n ast.Node) bool {
						if s, ok := n.(*ast.SelectorExpr); ok {
							named[s.Sel.Name] = true
						}
						return true
					})
				}
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.InterfaceType:
					for _, method := range n.Methods.List {
						for _, name := range method.Names {
							contract[name.Name] = true
						}
					}
				case *ast.FuncDecl:
					if n.Name.IsExported() {
						exported = append(exported, n)
					}
				}
				return true
			})
		}
		for _, fn := range exported {
			name, of := fn.Name.Name, receiver(fn)
			switch {
			case of != "" && !ast.IsExported(of):
				continue
			case contract[name] && strings.HasSuffix(of, "Store") && dir != "memstore":
				continue
			case of != "":
				name = of + "." + name
			}
			_, excepted := exceptions[name]
			delete(exceptions, name)
			if excepted == named[fn.Name.Name] {
				t.Errorf("%s: %s: named in an Example: %v, an exception: %v", dir, name, excepted, excepted)
			}
		}
	}
	for name := range exceptions {
		t.Errorf("%s is an exception and is not there", name)
	}
}

// receiver returns the name of the type of a method; "" for a function.
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return ""
	}
	x := fn.Recv.List[0].Type
	if star, ok := x.(*ast.StarExpr); ok {
		x = star.X
	}
	return x.(*ast.Ident).Name
}

// examplesOf returns the names of the Examples in a folder that say what they
// print, and that of the package they are in.
func examplesOf(t *testing.T, dir string) (pkg string, names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range doc.Examples(f) {
			if e.Output != "" || e.EmptyOutput {
				pkg, names = f.Name.Name, append(names, "Example"+e.Name)
			}
		}
	}
	return pkg, names
}
