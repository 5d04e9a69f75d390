package leftover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestKeys(t *testing.T) {
	var k Keys
	errDown := errors.New("down")
	for i, step := range []struct {
		keys string // to be deleted, by a page of 2
		down bool
		want string // what the Store is told
		more bool
	}{
		{"", false, "", false},
		{"a", false, "a", false},
		{"b c d", true, "b c d", false},
		{"e", true, "e b c", false},
		{"", false, "d e", true},
		{"f", false, "f b c", false},
		{"", false, "", false},
	} {
		var told []string
		more, err := k.Delete(t.Context(), func(_ context.Context, keys ...string) error {
			told = slices.Clone(keys)
			if step.down {
				return errDown
			}
			return nil
		}, 2, strings.Fields(step.keys)...)
		if got := strings.Join(told, " "); got != step.want || more != step.more || errors.Is(err, errDown) != step.down {
			t.Errorf("step %d: told %q, more %v, %v; want %q, more %v", i, got, more, err, step.want, step.more)
		}
	}
}

func TestKeysAreBounded(t *testing.T) {
	var k Keys
	for i := range most + 10 {
		k.Delete(t.Context(), func(context.Context, ...string) error { return errors.New("down") }, 0, fmt.Sprint(i), "x")
	}
	n := 0
	for more := true; more; {
		more, _ = k.Delete(t.Context(), func(_ context.Context, keys ...string) error {
			n += len(keys)
			return nil
		}, 100)
	}
	if n != most {
		t.Errorf("%d keys, want %d", n, most)
	}
}
