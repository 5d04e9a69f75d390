package testserver

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Chromium returns the path of the Chromium to look at pages with.
func Chromium(tb testing.TB) (program string) {
	tb.Helper()
	return chromium.address(tb)
}

// AxeCore returns the path of axe.min.js, the script of axe-core that looks for
// what keeps people from using a page. npm gets the package, in the version and
// with the content that are named here. It is not part of this repository.
func AxeCore(tb testing.TB) (script string) {
	tb.Helper()
	return axeCore.address(tb)
}

var (
	chromium = &server{
		name:    "Chromium",
		env:     "USERSESSION_TEST_CHROMIUM",
		example: "/usr/bin/chromium",
		start: sync.OnceValues(func() (string, error) {
			return find([]string{"/usr/lib/chromium"}, "chromium")
		}),
	}
	axeCore = &server{
		name:    "axe-core " + axeVersion,
		env:     "USERSESSION_TEST_AXE",
		example: "axe.min.js",
		start:   sync.OnceValues(fetchAxeCore),
	}
)

const (
	axeVersion   = "4.14.1"
	axeIntegrity = "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)

// fetchAxeCore has npm put the package into a directory of its own and unpacks
// the script.
func fetchAxeCore() (script string, err error) {
	npm, err := find(nil, "npm")
	if err != nil {
		return "", err
	}
	p, err := newProcess("axe", "nobody")
	if err != nil {
		return "", err
	}
	// Not p.run: npm's settings are in the environment and the home of the caller.
	cmd := exec.Command(npm, "pack", "--silent", "--prefer-offline", "axe-core@"+axeVersion)
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: npm pack: %w: %s", errMissing, err, strings.TrimSpace(string(out)))
	}
	pack, err := os.ReadFile(filepath.Join(p.dir, "axe-core-"+axeVersion+".tgz"))
	if err != nil {
		return "", err
	}
	sum := sha512.Sum512(pack)
	if got := "sha512-" + base64.StdEncoding.EncodeToString(sum[:]); got != axeIntegrity {
		return "", fmt.Errorf("axe-core %s has the integrity %s, want %s", axeVersion, got, axeIntegrity)
	}
	script = filepath.Join(p.dir, "axe.min.js")
	return script, unpack(pack, "package/axe.min.js", script)
}

// unpack writes one file of a .tgz.
func unpack(pack []byte, name, to string) error {
	zip, err := gzip.NewReader(strings.NewReader(string(pack)))
	if err != nil {
		return err
	}
	for files := tar.NewReader(zip); ; {
		h, err := files.Next()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if h.Name != name {
			continue
		}
		f, err := os.Create(to)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, files)
		return errors.Join(err, f.Close())
	}
}
