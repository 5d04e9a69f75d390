package token

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

// What Stores hold and what programs have in their logs depends on these forms.
func TestForms(t *testing.T) {
	sum := sha256.Sum256([]byte("token"))
	if got, want := Key("token"), base64.RawURLEncoding.EncodeToString(sum[:]); got != want {
		t.Errorf("the key is %q, want %q", got, want)
	}
	if got := testing.AllocsPerRun(100, func() { Key("0123456789012345678901234567890123456789012") }); got > 1 {
		t.Errorf("a key takes %v allocations, want that of its text", got)
	}
	seen := make(map[string]bool)
	for range 100 {
		id := NewID()
		if len(id) != 22 || !ValidID(id) || Valid(id) || seen[id] {
			t.Fatalf("%q is no new ID", id)
		}
		seen[id] = true
	}
}

func FuzzValid(f *testing.F) {
	for _, s := range []string{"", "x", strings.Repeat("A", 43), strings.Repeat("A", 42) + "B", strings.Repeat("A", 42) + "\n",
		strings.Repeat("A", 44), strings.Repeat("~", 43), NewID(), Key("x"), "A\r\n" + strings.Repeat("A", 40)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !Valid(s) {
			return
		}
		// A token is 43 characters of one alphabet, and the only text of its
		// bytes.
		if len(s) != 43 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Fatalf("%q is taken for a token", s)
		}
		raw, err := Encoding.DecodeString(s)
		if err != nil || Encoding.EncodeToString(raw) != s {
			t.Fatalf("%q is not canonical", s)
		}
	})
}
