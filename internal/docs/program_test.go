package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// runProgram starts a program in an empty directory and ends it with the test.
func runProgram(t *testing.T, name string, env []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(name), &out)
		}
	})
}

// awaitProgram waits until a program answers.
func awaitProgram(t *testing.T, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the program does not listen: %v", err)
		case <-tick.C:
		}
	}
}

// tryProgram logs in to the program of the README and reads its list.
func tryProgram(t *testing.T, addr string) {
	t.Helper()
	awaitProgram(t, addr)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Timeout: time.Minute}
	for _, step := range []struct {
		method, path string
		code         int
		contains     string
	}{
		{"GET", "/sessions", 401, ""},
		{"POST", "/login", 200, ""},
		{"GET", "/sessions", 200, `"user_id":"alice"`},
	} {
		r, err := http.NewRequestWithContext(t.Context(), step.method, "http://"+addr+step.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != step.code || !strings.Contains(string(body), step.contains) {
			t.Fatalf("%s %s: %d %s, want %d and %s", step.method, step.path, res.StatusCode, body, step.code, step.contains)
		}
	}
}

// TestDocsTranscript types the commands of the README's transcripts at the
// quick start and compares what it answers. "…" stands for anything.
func TestDocsTranscript(t *testing.T) {
	t.Parallel()
	const program = "examples/quickstart"
	if _, err := os.Stat(inRepository(program)); err != nil {
		t.Skipf("%s is not there", program)
	}
	var script strings.Builder
	var want []string
	const mark = "@@@"
	for _, b := range docBlocks(t) {
		if b.comment != "transcript" {
			continue
		}
		for line := range strings.Lines(b.text) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				fmt.Fprintf(&script, "%s\necho %s\n", strings.TrimSuffix(command, "\n"), mark)
				want = append(want, "")
			} else {
				want[len(want)-1] += line
			}
		}
	}
	if len(want) == 0 {
		t.Fatal("README.md has no transcript")
	}
	source, err := os.ReadFile(inRepository(program + "/main.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range regexp.MustCompile(`127\.0\.0\.1:8080(/[a-z]+)`).FindAllStringSubmatch(script.String(), -1) {
		if !strings.Contains(string(source), p[1]) {
			t.Errorf("%s has no path %s", program, p[1])
		}
	}
	for _, tool := range []string{"bash", "curl", "sed"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not there", tool)
		}
	}

	dir := t.TempDir()
	bin := filepath.Join(dir, "quickstart")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", bin, ".")
	build.Dir = inRepository(program) // a module of its own
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	addr := testserver.FreeAddr(t).String()
	runProgram(t, bin, []string{"ADDR=" + addr, "DATABASE_URL="})
	awaitProgram(t, addr)

	cmd := exec.CommandContext(t.Context(), "bash", "-c", strings.ReplaceAll(script.String(), "127.0.0.1:8080", addr))
	cmd.Dir = t.TempDir()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	got := strings.Split(string(out), mark+"\n")
	space := regexp.MustCompile(`\s+`)
	for i, w := range want {
		pattern := regexp.QuoteMeta(space.ReplaceAllString(w, ""))
		pattern = "^(?s:" + strings.ReplaceAll(pattern, "…", ".*") + ")$"
		if g := space.ReplaceAllString(got[i], ""); !regexp.MustCompile(pattern).MatchString(g) {
			t.Errorf("command %d answers\n%s\nwant\n%s", i+1, got[i], w)
		}
	}
}
