package testserver

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A folder with other binaries counts alone. A wrong one is a failure, and no skip.
func TestPostgresOfOnesOwn(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(binariesEnv, dir)
	if _, _, err := findPostgres("initdb"); err == nil || errors.Is(err, errMissing) {
		t.Errorf("an empty folder: %v", err)
	}
	for i, name := range []string{"postgres", "initdb"} {
		if i > 0 {
			if _, _, err := findPostgres("initdb"); !errors.Is(err, errMissing) {
				t.Errorf("without initdb: %v", err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if server, initdb, err := findPostgres("initdb"); filepath.Dir(server) != dir || filepath.Dir(initdb) != dir || err != nil {
		t.Errorf("%s, %s, %v", server, initdb, err)
	}
}
