package mutants

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A mutant takes a second to run and ten to build. So those that change nothing but the
// bodies of functions share a program for each directory of tests. In it a changed
// function stands beside the real one, which calls it if the environment names the mutant.
const numberEnv = "USERSESSION_MUTANT"

// weaver makes the files of a program that has several mutants.
type weaver struct {
	dir     string              // the root of the repository
	inserts map[string][]insert // by path
	names   map[string]string   // the packages, by their directories
}

type insert struct {
	at   int
	text string
}

// add takes a mutant up, or reports that it changes more than bodies of functions.
func (w *weaver) add(number int, m mutant) bool {
	inserts, names := map[string][]insert{}, map[string]string{}
	byFile := map[string][]edit{}
	for _, e := range append([]edit{{m.file, m.old, m.new}}, m.more...) {
		byFile[e.file] = append(byFile[e.file], e)
	}
	for file, edits := range byFile {
		path := filepath.Join(w.dir, file)
		text, err := os.ReadFile(path)
		if err != nil {
			return false
		}
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
		if err != nil {
			return false
		}
		offset := func(p token.Pos) int { return set.Position(p).Offset }
		changed := map[*ast.FuncDecl][]byte{}
		for _, e := range edits {
			if bytes.Count(text, []byte(e.old)) != 1 {
				return false // which the mutant says when it is run by itself
			}
			start := bytes.Index(text, []byte(e.old))
			end := start + len(e.old)
			i := slices.IndexFunc(tree.Decls, func(d ast.Decl) bool {
				f, ok := d.(*ast.FuncDecl)
				return ok && f.Body != nil && offset(f.Body.Lbrace) < start && end <= offset(f.Body.Rbrace)
			})
			if i < 0 {
				return false
			}
			f := tree.Decls[i].(*ast.FuncDecl)
			if changed[f] == nil {
				changed[f] = text[offset(f.Pos()):offset(f.End())]
			}
			changed[f] = bytes.Replace(changed[f], []byte(e.old), []byte(e.new), 1)
		}
		for f, body := range changed {
			name := fmt.Sprintf("%sMutant%d", f.Name.Name, number)
			call, ok := callOf(f, name)
			if !ok {
				return false
			}
			at := offset(f.Name.Pos()) - offset(f.Pos())
			inserts[path] = append(inserts[path],
				insert{offset(f.Body.Lbrace) + 1, fmt.Sprintf("\nif mutantNumber == \"%d\" {\n%s\n}\n", number, call)},
				insert{len(text), fmt.Sprintf("\n%s%s%s\n", body[:at], name, body[at+len(f.Name.Name):])})
		}
		names[filepath.Dir(path)] = tree.Name.Name
	}
	for path, list := range inserts {
		w.inserts[path] = append(w.inserts[path], list...)
	}
	for dir, name := range names {
		w.names[dir] = name
	}
	return true
}

// callOf returns a statement that leaves a function by another one of the same type.
func callOf(f *ast.FuncDecl, name string) (string, bool) {
	if f.Type.TypeParams != nil {
		return "", false
	}
	var args []string
	for _, p := range f.Type.Params.List {
		if len(p.Names) == 0 {
			return "", false
		}
		for _, n := range p.Names {
			if n.Name == "_" {
				return "", false
			}
			args = append(args, n.Name)
		}
		if _, ok := p.Type.(*ast.Ellipsis); ok {
			args[len(args)-1] += "..."
		}
	}
	if f.Recv != nil {
		if len(f.Recv.List[0].Names) == 0 || f.Recv.List[0].Names[0].Name == "_" {
			return "", false
		}
		name = f.Recv.List[0].Names[0].Name + "." + name
	}
	call := name + "(" + strings.Join(args, ", ") + ")"
	if f.Type.Results == nil {
		return call + "\nreturn", true
	}
	return "return " + call, true
}

// overlay writes the files to a folder and returns the flag that makes go see them.
func (w *weaver) overlay(tmp string) (string, error) {
	replace := map[string]string{}
	write := func(path, text string) error {
		replace[path] = filepath.Join(tmp, fmt.Sprintf("%d.go", len(replace)))
		return os.WriteFile(replace[path], []byte(text), 0o600)
	}
	for path, list := range w.inserts {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		slices.SortStableFunc(list, func(a, b insert) int { return a.at - b.at })
		var woven strings.Builder
		done := 0
		for _, in := range list {
			woven.Write(text[done:in.at])
			woven.WriteString(in.text)
			done = in.at
		}
		woven.Write(text[done:])
		if err := write(path, woven.String()); err != nil {
			return "", err
		}
	}
	for dir, name := range w.names {
		text := "package " + name + "\n\nimport \"os\"\n\nvar mutantNumber = os.Getenv(\"" + numberEnv + "\")\n"
		if err := write(filepath.Join(dir, "mutantnumber.go"), text); err != nil {
			return "", err
		}
	}
	text, _ := json.Marshal(map[string]any{"Replace": replace})
	file := filepath.Join(tmp, "overlay.json")
	return "-overlay=" + file, os.WriteFile(file, text, 0o600)
}

// share builds a program for each directory that has several mutants which can share one,
// and returns the programs of the mutants, by their places in the list. The others have
// none, and so have those of a program that does not build.
func share(t *testing.T, dir string, list []mutant) []string {
	t.Helper()
	programs := make([]string, len(list))
	weavers, members := map[string]*weaver{}, map[string][]int{}
	for i, m := range list {
		if weavers[m.dir] == nil {
			weavers[m.dir] = &weaver{dir, map[string][]insert{}, map[string]string{}}
		}
		if weavers[m.dir].add(i, m) {
			members[m.dir] = append(members[m.dir], i)
		}
	}
	slots := make(chan struct{}, 2) // a link leaves a processor to others
	var building sync.WaitGroup
	shared := 0
	for tests, w := range weavers {
		if len(members[tests]) < 2 {
			continue
		}
		tmp := t.TempDir()
		overlay, err := w.overlay(tmp)
		if err != nil {
			t.Fatal(err)
		}
		shared += len(members[tests])
		building.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			program := filepath.Join(tmp, "mutants.test")
			cmd := exec.Command("go", append([]string{"test", "-c", "-o", program, overlay}, append(quick, ".")...)...)
			cmd.Dir, cmd.Env = filepath.Join(dir, tests), append(os.Environ(), "GOFLAGS=")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("the mutants of %s do not build together: %v\n%s", tests, err, out)
				return
			}
			for _, i := range members[tests] {
				programs[i] = program
			}
		})
	}
	building.Wait()
	t.Logf("%d of %d mutants share a program", shared, len(list))
	return programs
}

// runShared runs the tests of one mutant in a program of several.
func (m mutant) runShared(program, dir string, number int) ([]byte, error) {
	cmd := exec.Command(program, "-test.paniconexit0", "-test.timeout=10m", "-test.v", "-test.run", m.run)
	cmd.Dir = filepath.Join(dir, m.dir)
	cmd.Env = append(os.Environ(), "GOFLAGS=", fmt.Sprintf("%s=%d", numberEnv, number))
	return cmd.CombinedOutput()
}
