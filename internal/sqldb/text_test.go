package sqldb

import (
	"testing"
	"unicode"
)

func TestWithin(t *testing.T) {
	for _, tc := range []struct {
		highest  rune
		in, want string
	}{
		{unicode.MaxASCII, "Firefox", "Firefox"},
		{unicode.MaxASCII, "é“😀", "<U+00E9><U+201C><U+1F600>"},
		{unicode.MaxLatin1, "é“", "é<U+201C>"},
		{unicode.MaxLatin1, "\u0081", "<U+0081>"}, // which WIN1252 does not have
		{unicode.MaxRune, "é“😀\u0081", "é“😀\u0081"},
	} {
		if got := Within(tc.in, tc.highest); got != tc.want {
			t.Errorf("%q up to %U is %q, want %q", tc.in, tc.highest, got, tc.want)
		}
	}
}
