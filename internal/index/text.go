package index

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Clip cuts s to at most n bytes of valid UTF-8 without NUL.
func Clip(s string, n int) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Storable reports whether the index can hold a text at all.
func Storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// lowerASCII is strings.ToLower for the letters A to Z only, which every
// database can do alike.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

var likeLiteral = strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`)

// MetaOf returns the metadata of a row, never nil. They are a convenience. A row that
// somebody edited by hand must not make a user's sessions impossible to list and revoke.
func MetaOf(text string) map[string]string {
	var meta map[string]string
	if text != "" && json.Unmarshal([]byte(text), &meta) != nil || meta == nil {
		meta = map[string]string{}
	}
	return meta
}

// MetaJSON returns metadata as the index keeps them.
func MetaJSON(meta map[string]string) string {
	if len(meta) == 0 {
		return "{}"
	}
	b, _ := json.Marshal(meta) // a map of strings always marshals
	return string(b)
}
