package sqldb

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/seed-296ca7ab/usersession/internal/bounded"
)

// Text is an argument that describes, such as a User-Agent. Where the encoding of the
// database or of the connection is without one of its letters, that is written as its
// number, see [Within]. No other argument is ever changed. On MariaDB its placeholder
// is that of hexadecimal digits, which every charset has.
type Text string

// Verbatim is Text that is refused rather than changed.
type Verbatim string

// Within returns a text with letters up to the highest one only. Each other is
// written as its number, as in "<U+201C>".
func Within(s string, highest rune) string {
	over := func(r rune) bool { return r > highest || r > unicode.MaxASCII && r < 0xA0 && highest < unicode.MaxRune }
	if strings.IndexFunc(s, over) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if over(r) {
			fmt.Fprintf(&b, "<U+%04X>", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// encodingsSQL asks a server for the encodings that a text goes through. On MariaDB
// the owner of the table says which columns are for texts, because somebody may have
// converted them.
var encodingsSQL = map[Dialect]string{
	Postgres: "SELECT current_setting('client_encoding'), current_setting('server_encoding')",
	MariaDB:  "@charsets",
}

// texts returns arguments with each Text and Verbatim as the database can hold it. A
// server is asked once for the encodings, when the first letter comes that is not
// ASCII.
func (db *DB) texts(ctx context.Context, on Transaction, args []any) ([]any, error) {
	copied := false
	for i, a := range args {
		t, ok := a.(Text)
		v, verbatim := a.(Verbatim)
		if !ok && !verbatim {
			continue
		}
		if !copied {
			args, copied = slices.Clone(args), true
		}
		text := string(t) + string(v)
		if db.dialect != SQLite && ok && Within(text, unicode.MaxASCII) != text {
			highest := db.highest.Load()
			if highest == 0 {
				var err error
				if highest, err = bounded.Call(ctx, func() (rune, error) { return db.askHighest(ctx, on) }); err != nil {
					return nil, err
				}
				db.highest.Store(highest)
			}
			text = Within(text, highest)
		}
		if db.dialect == MariaDB {
			text = hex.EncodeToString([]byte(text))
		}
		args[i] = text
	}
	return args, nil
}

// singleByte are the encodings of PostgreSQL in which every byte is a letter.
var singleByte = regexp.MustCompile(`^(SQL_ASCII|LATIN|WIN|KOI8|ISO_8859)`)

// askHighest asks for the highest letter that gets through the encodings, with all
// below it.
func (db *DB) askHighest(ctx context.Context, on Transaction) (rune, error) {
	rows, err := on.QueryContext(ctx, db.Expand(encodingsSQL[db.dialect]))
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var encodings [2]string
	if rows.Next() {
		err = rows.Scan(&encodings[0], &encodings[1])
	}
	if err = cmp.Or(err, rows.Err()); err != nil {
		return 0, err
	}
	if db.dialect == MariaDB {
		return min(highestOfCharset(encodings[0]), highestOfCharset(encodings[1])), nil
	}
	return highestOf(encodings[0], encodings[1]), nil
}

// highestOf returns it for encodings of PostgreSQL. Without a conversion between two,
// every byte gets through.
func highestOf(client, server string) rune {
	converted := client != server && client != "SQL_ASCII" && server != "SQL_ASCII"
	switch {
	case !converted && (server == "UTF8" || singleByte.MatchString(server)):
		return unicode.MaxRune
	case client == "UTF8" && (server == "LATIN1" || server == "WIN1252"):
		return unicode.MaxLatin1
	}
	return unicode.MaxASCII
}

// highestOfCharset returns it for a column of MariaDB.
func highestOfCharset(name string) rune {
	switch name {
	case "utf8mb4", "utf16", "utf16le", "utf32", "binary":
		return unicode.MaxRune
	case "utf8", "utf8mb3", "ucs2":
		return 0xFFFF
	case "latin1":
		return unicode.MaxLatin1
	}
	return unicode.MaxASCII
}
