package sqldb

import (
	"database/sql"
	"reflect"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
)

func TestExpand(t *testing.T) {
	words := func(name, arg string) (string, bool) {
		switch name {
		case "table":
			return "t", true
		case "late":
			return "(seen <= @after(" + arg + "))", true
		}
		return "", false
	}
	for _, tc := range []struct {
		d    Dialect
		q    string
		want string
	}{
		{Postgres, "SELECT 1 FROM @table WHERE a = ? AND b = ?", "SELECT 1 FROM t WHERE a = $1 AND b = $2"},
		{SQLite, "SELECT 1 FROM @table WHERE a = ?", "SELECT 1 FROM t WHERE a = ?"},
		{Postgres, "@now", "statement_timestamp()"},
		{MariaDB, "@now", "UTC_TIMESTAMP(6)"},
		{Postgres, "@at(?)", "(timestamptz 'epoch' + ($1)::bigint * interval '1 microsecond')"},
		{SQLite, "@at(?)", "?"},
		{MariaDB, "@after(-5)", "TIMESTAMPADD(MICROSECOND, -5, UTC_TIMESTAMP(6))"},
		{SQLite, "@us(seen) AS seen", "seen AS seen"},
		{Postgres, "@us(seen)", "(extract(epoch FROM seen) * 1000000)::bigint"},
		{MariaDB, "@late(?)", "(seen <= TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)))"},
		{Postgres, "a = ? AND id IN @list", "a = ? AND id IN @list"}, // for fill to finish
	} {
		if got := tc.d.expand(tc.q, words, clockSQL[tc.d]); got != tc.want {
			t.Errorf("%s: %s\n\tis   %s\n\twant %s", tc.d, tc.q, got, tc.want)
		}
	}
}

func TestUnknownMacro(t *testing.T) {
	for _, q := range []string{"@nothing", "@table", "@now2x @lists(?)"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", q)
				}
			}()
			Postgres.expand(q, nil, clockSQL[Postgres])
		}()
	}
}

func TestFill(t *testing.T) {
	for _, tc := range []struct {
		d    Dialect
		q    string
		args []any
		want string
		flat []any
	}{
		{Postgres, "a = $1", []any{1}, "a = $1", []any{1}},
		{Postgres, "a = ? AND id IN @list AND b = ?", []any{1, List{2, 3}, 4}, "a = $1 AND id IN ($2,$3) AND b = $4", []any{1, 2, 3, 4}},
		{SQLite, "id IN @list AND (user IN @list)", []any{ListOf([]string{"a"}), List{5, 6}}, "id IN (?) AND (user IN (?,?))", []any{"a", 5, 6}},
	} {
		q, flat := tc.d.fill(tc.q, tc.args)
		if q != tc.want || !reflect.DeepEqual(flat, tc.flat) {
			t.Errorf("%s: %s\n\tis   %s %v\n\twant %s %v", tc.d, tc.q, q, flat, tc.want, tc.flat)
		}
	}
}

func TestQuote(t *testing.T) {
	for _, tc := range []struct {
		d     Dialect
		names []string
		want  string
	}{
		{Postgres, []string{"s", "t"}, `"s"."t"`}, {SQLite, []string{"", "t"}, `"t"`}, {MariaDB, []string{"s", "t"}, "`s`.`t`"}, {Postgres, []string{"", ""}, ""},
	} {
		if got := tc.d.Quote(tc.names...); got != tc.want {
			t.Errorf("%s %q: %s, want %s", tc.d, tc.names, got, tc.want)
		}
	}
}

func TestDialectOf(t *testing.T) {
	pool := sql.OpenDB(&fake{})
	defer pool.Close()
	for driver, want := range map[string]Dialect{"postgres": Postgres, "PGX": Postgres, "sqlite3": SQLite, "mysql": MariaDB, "oracle": "", "": ""} {
		if got, ok := DialectOf(sqlx.NewDb(pool, driver)); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", driver, got, ok)
		}
	}
}

// FuzzIdentifier: what is taken for a name needs no quotes.
func FuzzIdentifier(f *testing.F) {
	for _, s := range []string{"user_sessions", "a b", `a"`, "a`", "1a", "", "a\n", "ä", strings.Repeat("a", 49)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if Identifier.MatchString(s) && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			t.Fatalf("%q is taken for a name", s)
		}
	})
}
