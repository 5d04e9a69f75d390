package place

import (
	"strings"
	"testing"
)

// What this program may think of the data that a row has somewhere.
func TestName(t *testing.T) {
	const (
		has = 1 << iota
		former
		maybe
		misses
	)
	for _, c := range []struct {
		here Name
		row  string
		want int
	}{
		{"sql a", "sql a", has},
		{"sql a", "sql b", misses},
		{"sql a", "", 0}, // a row from before there were places
		{"=sql a", "sql a", has},
		{"sql a", "=sql a", has},
		{"sql a", "=sql b", 0},
		{"memory#1", "memory#1", has},
		{"memory#2", "memory#1", former | misses},
		{"=memory#2", "=memory#1", former},
		{"sql a", "memory#1", misses},
		{"redis x+1", "redis x+1", has | maybe},
		{"redis x+1", "redis x+2", maybe | misses},
		{"redis x", "redis x+2", maybe | misses},
		{"redis x+1", "redis x", misses},
		{"redis y+1", "redis x+1", misses},
		{"=redis x+1", "=redis x+2", maybe},
		{"sql a+db:1", "sql a+db:1", has | maybe},
		{"sql a+db:1", "sql a+db:2", maybe | misses},
		{"sql a+db:1", "sql a", has}, // a row from before there were addresses
		{"sql a+db:1", "sql b", misses},
		{"sql a", "sql a+db:1", maybe | misses}, // an older program
		{"sql a+1", "sql a", misses},
	} {
		got := 0
		for bit, is := range map[int]bool{has: c.here.Has(c.row), former: c.here.MayBeFormer(c.row), maybe: c.here.MayBe(c.row), misses: c.here.Misses(c.row)} {
			if is {
				got |= bit
			}
		}
		if got != c.want {
			t.Errorf("%q of the row %q: %04b, want %04b", c.here, c.row, got, c.want)
		}
	}
	if got := Name("=sql a").Bare().Checked(); got != "=sql a" {
		t.Errorf("checked again it is %q", got)
	}
}

func TestValid(t *testing.T) {
	for n, want := range map[Name]bool{
		"": true, "=sql a b": true, "redis x:+127.0.0.1:6379": true, Name(strings.Repeat("a", 200)): true, Name(strings.Repeat("a", 201)): false,
		"a'b": false, "a\x00": false, "==a": false, "ä": false, "a\n": false,
	} {
		if n.Valid() != want {
			t.Errorf("%q: %v", n, !want)
		}
	}
	if got := OfType(&struct{ a, b map[string]int }{}); !got.Valid() || !strings.HasPrefix(string(got), "store struct ") {
		t.Errorf("%q", got)
	}
	if got := OfType([300]struct{ aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, ccccccccccccccccccccccccccccccccccccccc int }{}); len(got) > 200 || !got.Valid() {
		t.Errorf("%d bytes", len(got))
	}
}
