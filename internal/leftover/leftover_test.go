package leftover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
)

var errDown = errors.New("down")

func down(context.Context, ...string) error  { return errDown }
func works(context.Context, ...string) error { return nil }

func TestKeys(t *testing.T) {
	var k Keys
	if k.Has("a") {
		t.Error("the zero Keys have one")
	}
	if err := k.Delete(t.Context(), works, "a"); err != nil || k.Has("a") {
		t.Errorf("after a deletion: %v", err)
	}
	for _, key := range []string{"a", "b", "c", "d"} {
		if err := k.Delete(t.Context(), down, key); err != errDown || !k.Has(key) {
			t.Errorf("after a deletion that failed: %v", err)
		}
	}
	if err := k.Delete(t.Context(), works, "d"); err != nil || k.Has("d") {
		t.Errorf("deleted at last: %v", err)
	}
	if more, err := k.Retry(t.Context(), down, 2); more || err != errDown || !k.Has("a") || !k.Has("b") || !k.Has("c") {
		t.Errorf("while the Store is down: %v, %v", more, err)
	}
	func() {
		defer func() { recover() }()
		k.Retry(t.Context(), func(context.Context, ...string) error { panic("the Store") }, 2)
	}()
	var told []string
	note := func(ctx context.Context, keys ...string) error {
		told = append(told, keys...)
		for _, key := range keys {
			if !k.Has(key) {
				t.Errorf("%s is not there while it is deleted", key)
			}
			k.Delete(ctx, works, key)
			if !k.Has(key) {
				t.Errorf("%s is not there while another call deletes it", key)
			}
		}
		if more, err := k.Retry(ctx, works, 2); more || err != nil {
			t.Errorf("two at once: %v, %v", more, err)
		}
		return nil
	}
	if more, err := k.Retry(t.Context(), note, 2); !more || err != nil || len(told) != 2 {
		t.Errorf("the first page: %v, %v, %q", more, err, told)
	}
	if more, err := k.Retry(t.Context(), note, 2); more || err != nil {
		t.Errorf("the second page: %v, %v", more, err)
	}
	if slices.Sort(told); !slices.Equal(told, []string{"a", "b", "c"}) || k.Has("a") {
		t.Errorf("told %q", told)
	}
	if more, err := k.Retry(t.Context(), down, 2); more || err != nil {
		t.Errorf("without keys: %v, %v", more, err)
	}
}

func TestKeysAreBounded(t *testing.T) {
	var k Keys
	for i := range most + 10 {
		k.Delete(t.Context(), down, fmt.Sprint(i))
		k.Delete(t.Context(), down, "x")
	}
	n := 0
	for more := true; more; {
		more, _ = k.Retry(t.Context(), func(_ context.Context, keys ...string) error {
			n += len(keys)
			return nil
		}, 100)
	}
	if n != most {
		t.Errorf("%d keys, want %d", n, most)
	}
}
