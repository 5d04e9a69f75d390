// Package mutants breaks the library in one place at a time and runs the tests
// that must notice. A mutant that survives is a promise without a test.
package mutants

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutant replaces one piece of one file of the root module.
type mutant struct {
	name     string
	file     string
	old, new string
	// dir and run say which tests are to kill it: a directory below the
	// repository, and a pattern for -run.
	dir, run string
}

const explore = "robustness/explore"

func pair(a, b string) string {
	return "^TestPairs$/^all$/^" + strings.ReplaceAll(a+" with "+b, " ", "_") + "$"
}

var list = []mutant{
	// Each mechanism of the protocol, taken away.
	{"no confirm", "protocol.go",
		"if err != nil || !ok {\n\t\tm.discard(ctx, nb.key)\n\t\tif err == nil {\n\t\t\terr = ErrSessionEnded\n\t\t}\n\t\treturn err\n\t}",
		"_ = ok\n\tif err != nil {\n\t\treturn err\n\t}",
		explore, pair("login", "revoke all")},
	{"a renewal does not note its key first", "indexbind.go",
		"n, err := x.exec(ctx, nil, renewBeginSQL, bindingMark+to, id, from, how.reason())\n\treturn n == 1, err",
		"return true, nil", explore, pair("list", "renew")},
	{"endings forget the other key", "indexend.go",
		`if other := strings.TrimPrefix(r.OtherKey, bindingMark); other != "" {`,
		`if other := strings.TrimPrefix(r.OtherKey, bindingMark); false {`,
		explore, pair("renew", "revoke")},
	{"a renewal at once is not taken over", "protocol.go",
		"if err == nil && !ok {\n\t\tok, err = m.takeOver(ctx, nb.id, from.key, key, how)\n\t}",
		"", explore, pair("renew", "renew")},
	{"no second delete", "janitor.go",
		"if err := m.store.Delete(ctx, keysOf(rows)...); err != nil {\n\t\treturn false, err\n\t}",
		"", explore, pair("list", "revoke")},
	{"a login writes no row before the store", "indexbind.go",
		"return x.insert(ctx, q, r)", "return nil", explore, pair("list", "login")},
	{"a revocation that finds the rows ended says it is done", "indexend.go",
		"endableSQL = `(ended_at IS NULL OR purge_at <= @firstpass)`",
		"endableSQL = `(ended_at IS NULL)`", explore, pair("revoke all", "revoke all")},
}

// root returns the directory of the root module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestMutants runs every mutant and wants its tests to fail, and to build.
func TestMutants(t *testing.T) {
	for _, m := range list {
		t.Run(m.name, func(t *testing.T) {
			dir := root(t)
			path := filepath.Join(dir, m.file)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(text, []byte(m.old)); n != 1 {
				t.Fatalf("%s has the text to replace %d times, want once", m.file, n)
			}
			changed := filepath.Join(t.TempDir(), "mutant.go")
			if err := os.WriteFile(changed, bytes.Replace(text, []byte(m.old), []byte(m.new), 1), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay, _ := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
			overlayFile := filepath.Join(t.TempDir(), "overlay.json")
			if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("go", "test", "-overlay="+overlayFile, "-count=1", "-run", m.run, ".")
			cmd.Dir = filepath.Join(dir, m.dir)
			out, err := cmd.CombinedOutput()
			switch {
			case bytes.Contains(out, []byte("[build failed]")), bytes.Contains(out, []byte("no tests to run")):
				t.Fatalf("the tests did not run:\n%s", out)
			case err == nil:
				t.Fatalf("survived %s -run '%s'\n%s", m.dir, m.run, out)
			case !bytes.Contains(out, []byte("--- FAIL")):
				t.Fatalf("the tests did not fail, they broke:\n%s", out)
			}
		})
	}
}
