package system

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// change replaces one piece of a file that the replica is built from.
type change struct{ file, old, new string }

// blindWrites is a broken library: what a request saves is written whether or
// not the session is still there.
func blindWrites(t testing.TB) change {
	return change{filepath.Join(root(t), "redisstore", "redisstore.go"),
		"found, err := s.client.SetXX(ctx, s.prefix+key, data, redis.KeepTTL).Result()\n\tif err != nil {",
		"found, err := true, s.client.Set(ctx, s.prefix+key, data, time.Hour).Err()\n\tif err != nil {"}
}

// shiftedClock makes the clock of the whole program what an environment variable
// says: a Go program asks the kernel without the C library, so that nothing else
// could come in between.
func shiftedClock(t testing.TB) []change {
	t.Helper()
	out, err := goSays("env", "GOROOT")
	if err != nil {
		t.Fatalf("where is the library of Go: %v", err)
	}
	folder := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	return []change{
		{filepath.Join(folder, "time.go"),
			"\tsec, nsec, mono := runtimeNow()\n", "\tsec, nsec, mono := runtimeNow()\n\tsec += clockShift + clockStep.Load()\n"},
		{filepath.Join(folder, "clockshift.go"), "", `package time

import (
	"sync/atomic"
	"syscall"
)

// clockStep is how far the wall clock has been set while the program runs, in seconds.
var clockStep atomic.Int64

func StepClock(seconds int) { clockStep.Store(int64(seconds)) }

// clockShift is in seconds.
var clockShift = func() (shift int64) {
	text, _ := syscall.Getenv("USERSESSION_TEST_CLOCK")
	sign := int64(1)
	for _, c := range []byte(text) {
		if c == '-' {
			sign = -1
		} else {
			shift = 10*shift + int64(c-'0')
		}
	}
	return sign * shift
}()
`},
		{filepath.Join(root(t), "robustness", "system", "replica", "step.go"), "", `package main

import "time"

func init() { stepClock = time.StepClock }
`},
	}
}

// shortWarmUp gives a replica a lease a second after its start, and not ten: else there
// would be none for most of a round in which it is started again.
func shortWarmUp(t testing.TB) change {
	return change{filepath.Join(root(t), "internal", "lease", "memory.go"), "known = 5 * time.Second", "known = 500 * time.Millisecond"}
}

// goSays returns what the go command answers, whatever flags the tests were
// given: those may ask for JSON.
func goSays(args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "GOFLAGS=")
	return cmd.Output()
}

// root returns the directory of the repository.
func root(t testing.TB) string {
	t.Helper()
	out, err := goSays("list", "-f", "{{.Dir}}", "github.com/seed-296ca7ab/usersession")
	if err != nil {
		t.Fatalf("where is the repository: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// build returns the path of a replica with changes, and with a clock that can be
// shifted.
func build(t testing.TB, changes ...change) string {
	t.Helper()
	// The C library has a clock of its own.
	return buildWith(t, append(changes, shiftedClock(t)...), "CGO_ENABLED=0")
}

// buildWith returns the path of a replica with changes, built in an environment.
func buildWith(t testing.TB, changes []change, env ...string) string {
	t.Helper()
	dir := t.TempDir()
	replace := make(map[string]string)
	for i, c := range changes {
		text := []byte(c.new)
		if c.old != "" {
			original, err := os.ReadFile(c.file)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(original, []byte(c.old)); n != 1 {
				t.Fatalf("%s has the text to replace %d times, want once:\n%s", c.file, n, c.old)
			}
			text = bytes.Replace(original, []byte(c.old), text, 1)
		}
		changed := filepath.Join(dir, strings.Repeat("x", i+1)+".go")
		if err := os.WriteFile(changed, text, 0o600); err != nil {
			t.Fatal(err)
		}
		replace[c.file] = changed
	}
	overlay, _ := json.Marshal(map[string]any{"Replace": replace})
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "replica")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-overlay="+overlayFile, "-o", program, "github.com/seed-296ca7ab/usersession/robustness/system/replica")
	cmd.Env = append(append(os.Environ(), "GOFLAGS="), env...) // not the flags of this test
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the replica does not build: %v\n%s", err, out)
	}
	return program
}
