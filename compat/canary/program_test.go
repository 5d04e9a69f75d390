package canary

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// TestCanaryProgram runs examples/devices as its users do, with passwords that are
// known, and ends it with the stacks of all goroutines. Nothing that it prints, answers
// or leaves in its file holds a password or a token.
func TestCanaryProgram(t *testing.T) {
	depth.OnlyFull(t)
	program, file := filepath.Join(t.TempDir(), "devices"), filepath.Join(t.TempDir(), "devices.db")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = "../../examples/devices"
	build.Env = append(os.Environ(), "GOFLAGS=") // those of the tests are not its own
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	var p places
	var secrets []secret
	password := func(what string) string {
		text := newToken()
		secrets = append(secrets, newSecret(what, text, []byte(text), false))
		return text
	}
	first, wrong, second := password("password"), password("wrong password"), password("new password")

	cmd := exec.CommandContext(t.Context(), program, "-addr", "127.0.0.1:0", "-database", file)
	cmd.Env = append(os.Environ(), "DEMO_PASSWORD="+first, "GOTRACEBACK=all")
	cmd.Stderr = p.of("stderr")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	printed := bufio.NewReader(io.TeeReader(stdout, p.of("stdout")))
	line, err := printed.ReadString('\n')
	_, address, ok := strings.Cut(strings.TrimSpace(line), "Listening on ")
	if err != nil || !ok {
		t.Fatalf("it does not listen: %q, %v", line, err)
	}

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	base, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	do := func(path string, form ...string) {
		t.Helper()
		values := url.Values{}
		for i := 0; i+1 < len(form); i += 2 {
			values.Set(form[i], form[i+1])
		}
		var res *http.Response
		var err error
		if len(form) == 0 {
			res, err = client.Get(address + path)
		} else {
			res, err = client.PostForm(address+path, values)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(p.of("answers"), "%s %d %s\n", res.Request.URL, res.StatusCode, body)
		for _, c := range jar.Cookies(base) {
			if !seen[c.Value] {
				seen[c.Value] = true
				secrets = append(secrets, tokenSecrets(c.Value)...)
			}
		}
	}
	do("/login", "name", "ada", "password", wrong)
	do("/login", "name", "ada", "password", first)
	do("/devices/")
	do("/reauth", "password", wrong)
	do("/reauth", "password", first)
	do("/password", "password", wrong, "new", second)
	do("/password", "password", first, "new", "short")
	do("/password", "password", first, "new", second)
	do("/devices/revoke-others")
	do("/logout", "x", "x")
	do("/login", "name", "admin", "password", first)
	do("/admin/sessions/")
	do("/admin/sessions/users/ada")
	if tokens := len(seen); tokens < 3 {
		t.Errorf("%d tokens were seen, want those of two logins and of what came before", tokens)
	}

	if err := cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(printed)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Wait() // it has been told to fail
	for _, end := range []string{"", "-wal"} {
		raw, err := os.ReadFile(file + end)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		p.of("stored in the file").Write(raw)
	}
	if err := p.tables(opendb.Connect(t, "sqlite", "file:"+file)); err != nil {
		t.Fatal(err)
	}
	if found := p.hits(secrets); len(found) > 0 {
		t.Errorf("%d hits:\n%s", len(found), strings.Join(found, "\n"))
	}
	for place, want := range map[string]string{"stderr": "goroutine ", "answers": "Your devices", "stored in SQL": "ada", "stored in the file": "SQLite format"} {
		if b := p.all[place]; b == nil || !strings.Contains(b.String(), want) {
			t.Errorf("%s has no %q, so that nothing was read there", place, want)
		}
	}
	t.Logf("%d secrets looked for in %d places; after SIGQUIT %d bytes of stdout", len(secrets), len(p.all), len(rest))
}
