package mutants

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestQuotes wants every text that a mutant replaces to be there once. It builds
// nothing, so that whoever moves code learns of it at once.
func TestQuotes(t *testing.T) {
	dir := root(t)
	for _, m := range list {
		for _, e := range append([]edit{{m.file, m.old, m.new}}, m.more...) {
			text, err := os.ReadFile(filepath.Join(dir, e.file))
			if err != nil {
				t.Errorf("%s: %v", m.name, err)
				continue
			}
			if n := bytes.Count(text, []byte(e.old)); n != 1 {
				t.Errorf("%s: %s has the text to replace %d times, want once:\n%s", m.name, e.file, n, e.old)
			}
		}
	}
}
