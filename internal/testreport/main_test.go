package main

import (
	"regexp"
	"strings"
	"testing"
)

func events(lines ...string) string { return strings.Join(lines, "\n") + "\n" }

const (
	passed = `{"Action":"pass","Package":"p","Test":"TestA","Elapsed":1.5}`
	ok     = `{"Action":"pass","Package":"p","Elapsed":2}`
)

func TestReport(t *testing.T) {
	for _, c := range []struct {
		name, in, accept string
		want             []string
		wantErr          string
	}{
		{"green", events(passed, ok), "",
			[]string{"0 skipped", "pass     2.0 s     1 passed   0 failed   0 skipped  p", "    1.5 s  p TestA"}, ""},
		{"a failure with what it printed", events(
			`{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:3: got \"<1>\"\n"}`,
			`{"Action":"fail","Package":"p","Test":"TestB"}`, `{"Action":"fail","Package":"p"}`), "",
			[]string{`b_test.go:3: got "<1>"`, "1 failed"}, "tests failed"},
		{"a test that never ended", events(
			`{"Action":"output","Package":"p","Test":"TestC","Output":"panic: test timed out\n"}`,
			`{"Action":"fail","Package":"p","Elapsed":600}`), "",
			[]string{"panic: test timed out"}, "tests failed"},
		{"a build error", events(`{"Action":"build-output","ImportPath":"p","Output":"p/a.go:1:1: no\n"}`,
			`{"Action":"fail","Package":"p"}`), "", []string{"p/a.go:1:1: no"}, "tests failed"},
		{"a reason that is accepted", events(passed,
			`{"Action":"output","Package":"p","Test":"TestD","Output":"=== RUN   TestD\n"}`,
			`{"Action":"output","Package":"p","Test":"TestD","Output":"    d_test.go:9: no Redis: redis-server is not installed\n"}`,
			`{"Action":"output","Package":"p","Test":"TestD","Output":"--- SKIP: TestD (0.00s)\n"}`,
			`{"Action":"skip","Package":"p","Test":"TestD"}`, ok), "^no Redis",
			[]string{"1 skipped\n  p TestD: no Redis: redis-server is not installed\n"}, ""},
		{"a reason that is not", events(passed,
			`{"Action":"output","Package":"p","Test":"TestD","Output":"    d_test.go:9: not today\n"}`,
			`{"Action":"skip","Package":"p","Test":"TestD"}`, ok), "^no Redis",
			[]string{"REJECTED p TestD: not today"}, "1 tests were skipped that must not be"},
		{"no test at all", events(`{"Action":"skip","Package":"p"}`), "", nil, "no test ran"},
		{"a line that is no event", events("go: downloading", passed, ok), "", []string{"go: downloading"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := read(strings.NewReader(c.in))
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			err = r.write(&out, regexp.MustCompile(c.accept), 3)
			if got := errText(err); got != c.wantErr {
				t.Errorf("error %q, want %q", got, c.wantErr)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("does not say %q:\n%s", want, out.String())
				}
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
