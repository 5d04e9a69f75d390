package usersession

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// pageSize bounds how many rows one statement reads or ends.
const pageSize = 500

// selection is a Filter as SQL. It selects every row that Filter.matches does,
// on every database; exact says that it selects no other.
type selection struct {
	cond  string
	args  []any
	exact bool
	// common says that the text is one of a few and its plan does not hang on
	// the arguments, so that it is worth a kept statement. A plan that was kept
	// for one time or network can be hundreds of times too slow for another.
	common bool
}

func (s *selection) add(cond string, args ...any) {
	if s.cond != "" {
		s.cond += " AND "
	}
	s.cond += cond
	s.args = append(s.args, args...)
}

// none makes the selection one of nothing.
func (s *selection) none() { s.add("1 = 0") }

// where writes a Filter as SQL: exceptID is the session that ExceptCurrent
// leaves out.
func (x *userIndex) where(f Filter, exceptID string) (selection, error) {
	var s selection
	if err := f.check(); err != nil {
		return s, err
	}
	s.exact = true
	if len(f.UserIDs) > 0 {
		args := make([]any, len(f.UserIDs))
		for i, u := range f.UserIDs {
			id, err := x.d.userID(u)
			if err != nil {
				return s, err
			}
			args[i] = x.d.userArg(id)
		}
		if len(args) == 1 {
			s.add("user_id = ?", args...)
		} else {
			s.add("user_id IN (?"+strings.Repeat(", ?", len(args)-1)+")", args...)
		}
	}
	s.common = len(f.UserIDs) < 2
	for _, t := range f.times() {
		if !t.at.IsZero() {
			s.add(t.column+" "+t.op+" @at(?)", t.at.UnixMicro())
			s.common = false
		}
	}
	if f.IP.IsValid() {
		s.addIP(unmapped(f.IP).Masked())
		s.common = false
	}
	if f.UserAgent != "" {
		s.addUserAgent(x.d.name, f.UserAgent)
		s.common = false
	}
	if len(f.Meta) > 0 {
		s.addMeta(x.d.name, f.Meta)
		s.common = false
	}
	if f.ExceptCurrent && exceptID != "" {
		s.add("id <> ?", exceptID)
	}
	return s, nil
}

// addIP compares addresses as the texts they are kept as: what all addresses of
// the network begin with.
func (s *selection) addIP(p netip.Prefix) {
	addr, bits := p.Addr(), p.Bits()
	if bits == addr.BitLen() {
		s.add("ip = ?", addr.String())
		return
	}
	begin := ""
	if addr.Is4() {
		s.exact = s.exact && bits > 0 && bits%8 == 0
		four := addr.As4()
		for i := range bits / 8 {
			begin += strconv.Itoa(int(four[i])) + "."
		}
	} else {
		s.exact = s.exact && bits > 0 && bits%16 == 0
		sixteen := addr.As16()
		for i := 0; i < bits/16; i++ {
			group := int(sixteen[2*i])<<8 | int(sixteen[2*i+1])
			if group == 0 { // the text may be shortened from here on
				s.exact = false
				break
			}
			begin += strconv.FormatInt(int64(group), 16) + ":"
		}
	}
	if begin == "" {
		s.add("ip <> ''")
		return
	}
	s.add("ip LIKE ?", begin+"%")
}

var userAgentSQL = map[Dialect]string{
	// Of the collation "C", ILIKE knows the letters A to Z only. What it will
	// find is estimated from the column's statistics, unlike that of lower or
	// position: a rare text is not looked for along the primary key.
	Postgres: `user_agent COLLATE "C" ILIKE ?`,
	// What is not ASCII becomes "?", in the argument as well.
	MariaDB: "LOCATE(CONVERT(? USING ascii), LOWER(CONVERT(user_agent USING ascii))) > 0",
	SQLite:  "instr(lower(user_agent), lower(?)) > 0",
}

func (s *selection) addUserAgent(d Dialect, part string) {
	if !storable(part) {
		s.none() // the column has no such text
		return
	}
	part = lowerASCII(part)
	switch d {
	case Postgres:
		part = "%" + likeLiteral.Replace(part) + "%"
	case MariaDB:
		part = strings.Map(func(r rune) rune {
			if r >= utf8.RuneSelf {
				return '?'
			}
			return r
		}, part)
		s.exact = s.exact && !strings.Contains(part, "?")
	}
	s.add(userAgentSQL[d], part)
}

var likeLiteral = strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`)

func (s *selection) addMeta(d Dialect, pairs map[string]string) {
	for k, v := range pairs {
		if !storable(k) || !storable(v) {
			s.none()
			return
		}
		switch d {
		case Postgres:
			s.add("meta @> (?)::jsonb", metaJSON(map[string]string{k: v}))
		case MariaDB:
			s.add("JSON_CONTAINS(meta, ?)", metaJSON(map[string]string{k: v}))
		case SQLite:
			s.add("CASE WHEN json_valid(meta) THEN EXISTS (SELECT 1 FROM json_each(meta) WHERE key = ? AND value = ? AND type = 'text') ELSE 0 END", k, v)
		}
	}
}

// storable reports whether the index can hold a text at all.
func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// page returns at most limit rows whose ID comes after the given one, in the
// order of their IDs. The condition state says which: live, ended, or not ended.
func (x *userIndex) page(ctx context.Context, q querier, s selection, state, after string, limit int) ([]indexRow, error) {
	var rows []indexRow
	text, args := s.rows("SELECT"+rowColumns, state, after)
	text += "\nORDER BY id\nLIMIT " + strconv.Itoa(limit)
	var err error
	switch {
	case q != nil:
		err = x.query(ctx, q, &rows, text, args...)
	case s.common && x.keeps(text):
		err = x.read(ctx, &rows, text, args...)
	default:
		err = x.query(ctx, unkept{x.db}, &rows, text, args...)
	}
	return rows, inTime(ctx, err)
}

// inTime says of an error that comes from the end of ctx that it does: drivers
// have words of their own for it.
func inTime(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return errors.Join(ctx.Err(), err)
	}
	return err
}

// count counts rows, up to limit if that is not 0.
func (x *userIndex) count(ctx context.Context, s selection, state, after string, limit int) (int, error) {
	text, args := s.rows("SELECT COUNT(*)", state, after)
	if limit > 0 {
		text, args = s.rows("SELECT 1", state, after)
		text = "SELECT COUNT(*) FROM (\n" + text + "\nLIMIT " + strconv.Itoa(limit) + "\n) AS counted"
	}
	var n []int
	if err := x.query(ctx, unkept{x.db}, &n, text, args...); err != nil {
		return 0, inTime(ctx, err)
	}
	if len(n) != 1 {
		return 0, fmt.Errorf("usersession: %d answers to a count", len(n))
	}
	return n[0], nil
}

// rows writes a query of the selected rows without its end.
func (s selection) rows(columns, state, after string) (string, []any) {
	conds, args := make([]string, 0, 3), s.args[:len(s.args):len(s.args)]
	if s.cond != "" {
		conds = append(conds, s.cond)
	}
	conds = append(conds, state)
	if after != "" {
		conds = append(conds, "id > ?")
		args = append(args, after)
	}
	return columns + "\nFROM @index\nWHERE " + strings.Join(conds, " AND "), args
}

// keptPages bounds how many forms of a page are kept as statements: callers
// choose their length.
const keptPages = 32

// keeps reports whether a page is one of the first forms that were asked for.
func (x *userIndex) keeps(text string) bool {
	if _, ok := x.pages.Load(text); ok {
		return true
	}
	if x.pageForms.Add(1) > keptPages {
		x.pageForms.Add(-1)
		return false
	}
	x.pages.Store(text, nil)
	return true
}
