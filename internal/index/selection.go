package index

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// Selection says which rows are meant. As SQL it selects every row that it should, on
// every database. If it is exact, it selects no other.
type Selection struct {
	x     *Index
	cond  string
	args  []any
	exact bool
	users []string // the users whose rows they are; nil: everybody's
	// common says that the text is one of a few and its plan does not hang on
	// the arguments, so that it is worth a kept statement. A plan that was kept
	// for one time or network can be hundreds of times too slow for another.
	common bool

	// For Matches. They select nothing if they are zero.
	ip        netip.Prefix
	userAgent string
	meta      map[string]string
}

func (s *Selection) add(cond string, args ...any) {
	if s.cond != "" {
		s.cond += " AND "
	}
	s.cond += cond
	s.args = append(s.args, args...)
}

// none makes the selection one of nothing.
func (s *Selection) none() { s.add("1 = 0") }

// Select returns a selection of every row, for the following methods to narrow.
func (x *Index) Select() *Selection { return &Selection{x: x, exact: true, common: true} }

// Exact reports whether the SQL selects no row that it should not. If it is not exact,
// Matches has the last word on each row.
func (s *Selection) Exact() bool { return s.exact }

// Matches reports whether a row that the SQL has selected is meant. It has the last word
// on networks, case and metadata, so that they mean the same on every database.
func (s *Selection) Matches(r Row) bool {
	if s.ip.IsValid() {
		if ip, err := netip.ParseAddr(r.IP); err != nil || !s.ip.Contains(ip) {
			return false
		}
	}
	if s.userAgent != "" && !strings.Contains(letters(r.UserAgent), letters(s.userAgent)) {
		return false
	}
	if len(s.meta) == 0 {
		return true
	}
	of := MetaOf(r.Meta)
	for k, v := range s.meta {
		if got, ok := of[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// letters returns a text as all databases compare it, with the letters of ASCII in lower
// case, and others as they are where a column has them no longer.
func letters(text string) string { return lowerASCII(sqldb.Within(text, unicode.MaxASCII)) }

// Users selects the rows of these users. There must be one, and all in canonical
// form.
func (s *Selection) Users(ids []string) {
	s.users = slices.Sorted(slices.Values(ids))
	if len(ids) == 1 {
		s.add("user_id = ?", s.x.userArg(ids[0]))
		return
	}
	s.common = false
	list := make(sqldb.List, len(ids))
	for i, id := range ids {
		list[i] = s.x.userArg(id)
	}
	s.add("user_id IN @list", list)
}

// Created selects by the time of the login, between two times. The zero time is
// no bound.
func (s *Selection) Created(before, after time.Time) { s.between("created_at", before, after) }

// Until returns the selection of those rows that were there at a time of the
// database, in microseconds since 1970.
func (s *Selection) Until(us int64) *Selection {
	narrowed := *s
	narrowed.args = slices.Clone(s.args)
	narrowed.add("created_at <= @at(?)", us)
	narrowed.common = false
	return &narrowed
}

// Seen selects by the time of the last request, likewise.
func (s *Selection) Seen(before, after time.Time) { s.between("last_seen_at", before, after) }

func (s *Selection) between(column string, before, after time.Time) {
	if !before.IsZero() {
		s.add(column+" < @at(?)", before.UnixMicro())
		s.common = false
	}
	if !after.IsZero() {
		s.add(column+" > @at(?)", after.UnixMicro())
		s.common = false
	}
}

// Authenticated selects by the time of the last proof, before a time, likewise.
func (s *Selection) Authenticated(before time.Time) {
	s.between("authenticated_at", before, time.Time{})
}

// EndedAfter selects rows of sessions that ended after a time.
func (s *Selection) EndedAfter(after time.Time) { s.between("ended_at", time.Time{}, after) }

// Except leaves out one row.
func (s *Selection) Except(id string) { s.add("id <> ?", id) }

// IP selects by the network that the login came from.
func (s *Selection) IP(p netip.Prefix) {
	s.common = false
	s.ip = unmapped(p).Masked()
	s.addIP(s.ip)
}

// addIP compares addresses as the texts they are kept as: what all addresses of
// the network begin with.
func (s *Selection) addIP(p netip.Prefix) {
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

var userAgentSQL = map[sqldb.Dialect]string{
	// Of the collation "C", ILIKE knows the letters A to Z only. What it will
	// find is estimated from the column's statistics, unlike that of lower or
	// position: a rare text is not looked for along the primary key.
	sqldb.Postgres: `user_agent COLLATE "C" ILIKE ?`,
	sqldb.MariaDB:  "LOCATE(CONVERT(? USING ascii), LOWER(CONVERT(user_agent USING ascii))) > 0",
	sqldb.SQLite:   "instr(lower(user_agent), lower(?)) > 0",
}

// UserAgent selects rows whose User-Agent contains a text, upper and lower case of
// the letters A to Z alike.
func (s *Selection) UserAgent(part string) {
	s.common, s.userAgent = false, part
	if !Storable(part) {
		s.none() // the column has no such text
		return
	}
	part = lowerASCII(part)
	var arg any = sqldb.Text(part)
	switch s.x.c.Dialect {
	case sqldb.Postgres:
		arg = sqldb.Text("%" + likeLiteral.Replace(part) + "%")
	case sqldb.MariaDB:
		// The database looks for the longest piece in ASCII, and the program has the
		// last word: a column that somebody has converted has other letters as their
		// numbers.
		longest := ""
		for _, piece := range strings.FieldsFunc(part, func(r rune) bool { return r >= utf8.RuneSelf }) {
			if len(piece) > len(longest) {
				longest = piece
			}
		}
		s.exact = s.exact && longest == part && !strings.Contains(part, "?") // which is also what they become
		arg = longest
	}
	s.add(userAgentSQL[s.x.c.Dialect], arg)
}

// IdP selects rows by the session at an identity provider, and by the subject. With
// both, the subject selects only rows without a session.
func (s *Selection) IdP(p IdP) {
	bySession, bySubject := "idp_session = ? AND idp_issuer = ?", "idp_subject = ? AND idp_issuer = ?"
	switch {
	case p.Subject == "":
		s.add(bySession, p.Session, p.Issuer)
	case p.Session == "":
		s.add(bySubject, p.Subject, p.Issuer)
	default:
		s.add("("+bySession+" OR "+bySubject+" AND idp_session IS NULL)", p.Session, p.Issuer, p.Subject, p.Issuer)
	}
}

// Meta selects rows that have all of these pairs.
func (s *Selection) Meta(pairs map[string]string) {
	s.common, s.meta = false, pairs
	for k, v := range pairs {
		if !Storable(k) || !Storable(v) {
			s.none()
			return
		}
		switch s.x.c.Dialect {
		case sqldb.Postgres:
			s.add("meta @> (?)::jsonb", MetaJSON(map[string]string{k: v}))
		case sqldb.MariaDB:
			s.add("JSON_CONTAINS(meta, @text(?))", sqldb.Verbatim(MetaJSON(map[string]string{k: v})))
		case sqldb.SQLite:
			s.add("CASE WHEN json_valid(meta) THEN EXISTS (SELECT 1 FROM json_each(meta) WHERE key = ? AND value = ? AND type = 'text') ELSE 0 END", k, v)
		}
	}
}

// unmapped returns an IPv4 prefix in the form in which addresses are kept.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}
