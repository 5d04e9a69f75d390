package explore

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// strayer is a system whose first operation now and then has fewer steps.
type strayer struct {
	runs  int
	short func(run int) bool
}

func (*strayer) kind() string                         { return "strayer" }
func (s *strayer) reset([]string) error               { s.runs++; return nil }
func (*strayer) label(key string) string              { return key }
func (*strayer) tick()                                {}
func (*strayer) everyStep([]*task) []string           { return nil }
func (*strayer) atEnd([]*task, bool) (wrong []string) { return nil }

func (s *strayer) start(i int) *task {
	n := []int{3, 2}[i]
	if i == 0 && s.short(s.runs) {
		n = 1
	}
	return start("", func(_ context.Context, t *task) func() {
		for range n {
			t.step(step{side: sqlSide, name: "UPDATE", write: true})
		}
		return nil
	})
}

// TestStrayed has a schedule go another way when its beginning is run again. The explorer
// begins it anew. It neither waits for a step that nobody takes, nor leaves an order out.
func TestStrayed(t *testing.T) {
	for name, tt := range map[string]struct {
		short func(run int) bool
		wrong string
	}{
		"once":     {func(run int) bool { return run == 2 }, ""},
		"for ever": {func(run int) bool { return run > 1 }, "goes another way"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &explorer{sys: &strayer{short: tt.short}, names: []string{"a", "b"}}
			v := e.all()
			if v == nil && (tt.wrong != "" || e.schedules != 10) {
				t.Errorf("%d schedules of three steps and two, want 10, and the fault %q", e.schedules, tt.wrong)
			}
			if v != nil && (tt.wrong == "" || !slices.ContainsFunc(v.broken, func(s string) bool { return strings.Contains(s, tt.wrong) })) {
				t.Errorf("the explorer says: %v", v.broken)
			}
		})
	}
}
