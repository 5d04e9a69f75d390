package index

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzClip(f *testing.F) {
	f.Add("", 0)
	f.Add("üüü", 3)
	f.Add("\x00\xff\x80", 2)
	f.Add(strings.Repeat("€", 200), 512)
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 0 || n > 1<<16 {
			return
		}
		got := Clip(s, n)
		switch {
		case len(got) > n:
			t.Fatalf("%d bytes, at most %d", len(got), n)
		case !utf8.ValidString(got) || strings.Contains(got, "\x00"):
			t.Fatalf("%q is not UTF-8 text without NUL", got)
		case utf8.ValidString(s) && !strings.Contains(s, "\x00") && !strings.HasPrefix(s, got):
			t.Fatalf("%q does not begin with %q", s, got)
		case utf8.ValidString(s) && !strings.Contains(s, "\x00") && len(s) <= n && got != s:
			t.Fatalf("%q was cut to %q", s, got)
		case Clip(got, n) != got:
			t.Fatalf("%q is cut twice", got)
		}
	})
}

// FuzzMeta: what is noted is JSON that says the same.
func FuzzMeta(f *testing.F) {
	f.Add("auth_method", "passkey")
	f.Add(`"}`, "<\u2028>")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, k, v string) {
		if !Storable(k) || !Storable(v) {
			return
		}
		var got map[string]string
		if err := json.Unmarshal([]byte(MetaJSON(map[string]string{k: v})), &got); err != nil || len(got) != 1 || got[k] != v {
			t.Fatalf("%q: %q comes back as %q, %v", k, v, got, err)
		}
	})
}

func TestStorable(t *testing.T) {
	for s, want := range map[string]bool{"": true, "ü": true, "a\x00b": false, "\xff": false} {
		if Storable(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

func TestLowerASCII(t *testing.T) {
	if got := lowerASCII("AZaz09 Ä\u212a"); got != "azaz09 Ä\u212a" {
		t.Errorf("%q", got)
	}
}
