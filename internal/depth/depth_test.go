package depth

import (
	"strings"
	"testing"
)

func TestFull(t *testing.T) {
	for value, want := range map[string]bool{"": false, "full": true} {
		t.Setenv(env, value)
		if got := Full(); got != want {
			t.Errorf("%s=%q: full is %v, want %v", env, value, got, want)
		}
	}
	t.Setenv(env, "ful")
	defer func() {
		if r, _ := recover().(string); !strings.Contains(r, env) || !strings.Contains(r, "ful") {
			t.Errorf("panicked with %q, want the variable and its value", r)
		}
	}()
	Full()
	t.Error("a misspelt depth is accepted")
}

// skipping is a test that notes why it is skipped, and goes on.
type skipping struct {
	testing.TB
	why string
}

func (*skipping) Helper()            {}
func (s *skipping) Skip(args ...any) { s.why, _ = args[0].(string) }

func TestOnlyFull(t *testing.T) {
	for value, want := range map[string]string{"": "runs at the full depth: USERSESSION_TEST_DEPTH=full", "full": ""} {
		t.Setenv(env, value)
		var s skipping
		OnlyFull(&s)
		if s.why != want {
			t.Errorf("%s=%q: skipped with %q, want %q", env, value, s.why, want)
		}
	}
}
