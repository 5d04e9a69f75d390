package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/seed-296ca7ab/usersession"
)

// narrow is the width below which a table becomes a list of cards.
const narrow = 60

// column is one of a table. Where there is no room, those go first whose rank is
// luxury or above. Then the others are cut down to least, and go, by their rank.
type column struct {
	name  string
	rank  int
	least int // 0: it is never cut
	value func(usersession.UserSession) string
}

const luxury = 4

// columns returns those of a list.
func (a *app) columns(ended bool) []column {
	id := column{"ID", 0, 0, func(s usersession.UserSession) string { return s.ID }}
	user := column{"USER", 0, 12, func(s usersession.UserSession) string { return orDash(s.UserID) }}
	device := column{"DEVICE", 2, 10, func(s usersession.UserSession) string {
		if s.Bound {
			return s.Device() + ", bound"
		}
		return s.Device()
	}}
	ip := column{"IP", 3, 15, func(s usersession.UserSession) string { return address(s.IP) }}
	since := func(name string, rank int, t func(usersession.UserSession) time.Time) column {
		return column{name, rank, 0, func(s usersession.UserSession) string { return short(a.now().Sub(t(s))) }}
	}
	created := since("LOGIN", 4, func(s usersession.UserSession) time.Time { return s.CreatedAt })
	if ended {
		return []column{id, user, since("ENDED", 1, func(s usersession.UserSession) time.Time { return s.EndedAt }),
			{"REASON", 1, 10, func(s usersession.UserSession) string { return orDash(s.Reason) }},
			{"BY", 3, 8, func(s usersession.UserSession) string { return orDash(s.EndedBy) }}, device, ip, created}
	}
	return []column{id, user, since("SEEN", 1, func(s usersession.UserSession) time.Time { return s.LastSeenAt }), device, ip, created,
		{"LEFT", 5, 0, func(s usersession.UserSession) string { return short(s.ExpiresAt.Sub(a.now())) }}}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func address(ip netip.Addr) string {
	if !ip.IsValid() {
		return "-"
	}
	return ip.String()
}

// writeSessions writes a table, or cards.
func (a *app) writeSessions(w io.Writer, width int, list []usersession.UserSession, ended bool) {
	cols := a.columns(ended)
	rows := make([][]string, len(list))
	for i, s := range list {
		for _, c := range cols {
			rows[i] = append(rows[i], printable(c.value(s)))
		}
	}
	if width > 0 && width < narrow {
		writeCards(w, width, cols, rows)
		return
	}
	kept, widths := fit(cols, rows, width)
	t := newTable()
	var header table.Row
	var configs []table.ColumnConfig
	for n, i := range kept {
		header = append(header, cols[i].name)
		configs = append(configs, table.ColumnConfig{Number: n + 1, WidthMax: widths[i], WidthMaxEnforcer: cut})
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(configs)
	for _, r := range rows {
		var row table.Row
		for _, i := range kept {
			row = append(row, r[i])
		}
		t.AppendRow(row)
	}
	writeTable(w, t)
}

func newTable() table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	return t
}

// writeTable writes a table without the spaces at the ends of its lines.
func writeTable(w io.Writer, t table.Writer) {
	for line := range strings.SplitSeq(t.Render(), "\n") {
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

// fit returns the columns that there is room for, and their widths.
func fit(cols []column, rows [][]string, width int) (kept, widths []int) {
	natural := make([]int, len(cols))
	for i, c := range cols {
		natural[i] = len(c.name)
		for _, r := range rows {
			natural[i] = max(natural[i], text.StringWidth(r[i]))
		}
		kept = append(kept, i)
	}
	// A user ID that is cut can be copied by nobody. It is the last to be cut.
	needless := func() bool { return slices.ContainsFunc(kept, func(i int) bool { return cols[i].rank > 1 }) }
	need := func(least bool) int {
		n := -2 // there is nothing behind the last one
		for _, i := range kept {
			w := natural[i]
			if least && cols[i].least > 0 && (cols[i].rank > 0 || !needless()) {
				w = min(w, max(cols[i].least, len(cols[i].name)))
			}
			n += w + 2
		}
		return n
	}
	worst := func() int {
		worst := 0
		for n, i := range kept {
			if cols[i].rank >= cols[kept[worst]].rank {
				worst = n
			}
		}
		return worst
	}
	for width > 0 && (need(true) > width && len(kept) > 2 || need(false) > width && cols[kept[worst()]].rank >= luxury) {
		kept = slices.Delete(kept, worst(), worst()+1)
	}
	for _, i := range slices.SortedFunc(slices.Values(kept), func(i, j int) int { return cols[j].rank - cols[i].rank }) {
		if over := need(false) - width; width > 0 && over > 0 && cols[i].least > 0 {
			natural[i] = max(natural[i]-over, min(natural[i], max(cols[i].least, len(cols[i].name))))
		}
	}
	return kept, natural
}

// cut shortens a text and says that it did.
func cut(s string, width int) string {
	if text.StringWidth(s) <= width {
		return s
	}
	return text.Trim(s, width-1) + "…"
}

// writeCards writes one block for each row.
func writeCards(w io.Writer, width int, cols []column, rows [][]string) {
	for n, r := range rows {
		if n > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, r[0])
		for i, c := range cols[1:] {
			fmt.Fprintf(w, "  %-7s%s\n", strings.ToLower(c.name), cut(r[i+1], max(width-9, 10)))
		}
	}
}

// short is a duration in one unit, two letters or three.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// printable is a text without what a terminal would act upon: clients choose their
// User-Agent, and programs their metadata.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		}
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// writeJSON writes one object on a line.
func writeJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	for _, r := range string(b) { // what JSON allows, and some terminals act upon
		if r >= 0x7f && r <= 0x9f {
			b = bytes.ReplaceAll(b, []byte(string(r)), fmt.Appendf(nil, `\u%04x`, r))
		}
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}

// count is a number of things, in words.
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%s %s", thousands(n), thing)
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
