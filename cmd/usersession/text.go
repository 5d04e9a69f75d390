package main

import (
	"fmt"
	"io"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

func sortedKeys[V any](m map[string]V) iter.Seq[string] {
	return slices.Values(slices.Sorted(maps.Keys(m)))
}

// writeWrapped writes a text behind its label. Its further lines begin below the first.
func (a *app) writeWrapped(w io.Writer, width int, label, s string) {
	indent := text.StringWidthWithoutEscSequences(label)
	if width > indent+10 {
		var wrapped []string
		for line := range strings.SplitSeq(s, "\n") { // which it would join
			wrapped = append(wrapped, text.WrapSoft(line, width-indent))
		}
		s = strings.Join(wrapped, "\n")
	}
	for i, line := range strings.Split(s, "\n") {
		if i > 0 {
			label = strings.Repeat(" ", indent)
		}
		fmt.Fprintln(w, strings.TrimRight(label+line, " "))
	}
}

// shellWord is a text as a shell reads it back: users may choose their IDs, and who reads
// a command copies it.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

var plainWord = regexp.MustCompile(`^[\pL\pN_@%+=:,./-]+$`)

// lines writes what has a name each, below each other.
func (a *app) lines(list [][2]string) {
	wide := 9
	for _, l := range list {
		wide = max(wide, len(l[0]))
	}
	for _, l := range list {
		a.writeWrapped(a.out, a.width, fmt.Sprintf("%-*s ", wide, l[0]), printable(l[1]))
	}
}
