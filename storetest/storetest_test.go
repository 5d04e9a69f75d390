package storetest_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/storetest"
)

// brokenEnv names the broken store that TestBroken hands to the kit.
const brokenEnv = "STORETEST_BROKEN"

func TestCorrectStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) usersession.Store { return newFake() })
}

// A Store that says that its updates are not atomic may lose every race.
func TestStoreWithoutAtomicUpdates(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) usersession.Store {
		f := newFake()
		f.notAtomic = true
		for _, broken := range brokenStores {
			switch broken.name {
			case "Create checks and then writes",
				"Update checks, looks at its context and writes",
				"Touch checks and writes the whole":
				broken.fault(f)
			}
		}
		return f
	})
}

// TestKitCanFail hands broken stores to the kit, each in a process of its own
// because a failed subtest cannot be taken back.
func TestKitCanFail(t *testing.T) {
	t.Parallel()
	// Most of them wait, so that more than t.Parallel allows may run.
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, 4)
	for _, broken := range brokenStores {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			t.Run(strings.ReplaceAll(broken.name, " ", "_"), func(t *testing.T) { kitCatches(t, broken) })
		})
	}
}

func kitCatches(t *testing.T, broken brokenStore) {
	run := "^TestBroken$/^" + broken.caught + "$"
	if os.Getenv(brokenEnv+"_ALL") != "" { // to see what else notices it
		run = "^TestBroken$"
	}
	var output []byte
	var err error
	// A race that no context can force is caught by rounds at full speed: with
	// high probability, and on a busy machine not always the first time.
	for range 5 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run="+run)
		cmd.Env = append(os.Environ(), brokenEnv+"="+broken.name)
		if output, err = cmd.CombinedOutput(); err != nil {
			break
		}
	}
	failed := failures(output)
	if err == nil {
		t.Fatalf("the kit passes it:\n%s", output)
	}
	if !strings.Contains(failed, " "+broken.caught+" ") {
		t.Fatalf("failed are%s, not %s:\n%s", failed, broken.caught, output)
	}
	if !bytes.Contains(output, []byte("the rule: ")) {
		t.Errorf("the rule is not printed:\n%s", output)
	}
	if bytes.Contains(output, []byte("WARNING: DATA RACE")) || bytes.Contains(output, []byte("panic:")) {
		t.Errorf("it failed for another reason:\n%s", output)
	}
	t.Logf("caught by%s", failed)
}

// TestBroken is what TestKitCanFail runs.
func TestBroken(t *testing.T) {
	name := os.Getenv(brokenEnv)
	if name == "" {
		t.Skip("run by TestKitCanFail")
	}
	for _, broken := range brokenStores {
		if broken.name == name {
			storetest.Run(t, func(*testing.T) usersession.Store {
				f := newFake()
				broken.fault(f)
				return f
			})
			return
		}
	}
	t.Fatalf("no broken store %q", name)
}

// failures returns the cases that a run reports as failed.
func failures(output []byte) string {
	failed := " "
	for _, match := range regexp.MustCompile(`--- FAIL: TestBroken/(\w+)`).FindAllSubmatch(output, -1) {
		failed += string(match[1]) + " "
	}
	return failed
}

// TestRulesAreTheContracts compares the rules of the cases with the comments of
// the interface, word by word.
func TestRulesAreTheContracts(t *testing.T) {
	fset := token.NewFileSet()
	source, err := parser.ParseFile(fset, "../store.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var contract strings.Builder
	for _, comment := range source.Comments {
		contract.WriteString(strings.Join(strings.Fields(comment.Text()), " ") + "\n")
	}

	kit, err := parser.ParseFile(fset, "storetest.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	rules := 0
	ast.Inspect(kit, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "rule") || len(spec.Values) != 1 {
			return true
		}
		rule, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		rules++
		if !strings.Contains(contract.String(), rule) {
			t.Errorf("%s is not in the comments of store.go: %s", spec.Names[0].Name, rule)
		}
		return true
	})
	if rules == 0 {
		t.Error("no rules found")
	}
}

// TestImports keeps test libraries out of the kit, which other people's tests
// import.
func TestImports(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		source, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range source.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			ours := strings.HasPrefix(path, "github.com/seed-296ca7ab/usersession")
			if strings.Contains(path, ".") && !ours {
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
}
