package index

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

var dialects = []sqldb.Dialect{sqldb.Postgres, sqldb.SQLite, sqldb.MariaDB}

func TestWords(t *testing.T) {
	c := Config{Table: "ix", Locks: "lx", Fences: "fx", SignOut: "sx", Data: "dx", Touch: 2 * time.Second, Idle: 3 * time.Second, Retention: 4 * time.Second}
	for _, tc := range []struct {
		d         sqldb.Dialect
		name, arg string
		want      string
	}{
		{sqldb.Postgres, "index", "", "ix"},
		{sqldb.Postgres, "lock", "", "lx"},
		{sqldb.Postgres, "data", "", "dx"},
		{sqldb.Postgres, "due", "", "last_seen_at <= @after(-2000000)"},
		{sqldb.Postgres, "live", "", "(ended_at IS NULL AND expires_at > @now AND last_seen_at > @after(CASE WHEN idle_timeout IS NULL THEN -3000000 ELSE -idle_timeout END))"},
		{sqldb.Postgres, "current", "", "(expires_at > @now AND last_seen_at > @after(CASE WHEN idle_timeout IS NULL THEN -3000000 ELSE -idle_timeout END))"},
		{sqldb.Postgres, "seen", "?", "GREATEST(last_seen_at, @after(?))"},
		{sqldb.SQLite, "seen", "?", "max(last_seen_at, @after(?))"},
		{sqldb.SQLite, "firstpass", "", "(ended_at + 60000000)"},
		{sqldb.SQLite, "again", "", "(ended_at + 59999999)"},
		{sqldb.SQLite, "retried", "", "(ended_at + 59999998)"},
		{sqldb.MariaDB, "keepuntil", "", "GREATEST(expires_at, TIMESTAMPADD(MICROSECOND, 4000000, ended_at))"},
		{sqldb.SQLite, "dnow", "", "(2440587.5 + @now / 86400000000.0)"},
		{sqldb.SQLite, "dafter", "?", "(2440587.5 + @after(?) / 86400000000.0)"},
		{sqldb.MariaDB, "dafter", "?", "@after(?)"},
		{sqldb.SQLite, "text", "?, 512", "?"},
		{sqldb.MariaDB, "text", "?", "CONVERT(UNHEX(?) USING utf8mb4)"},
		{sqldb.MariaDB, "text", "?, 512", "LEFT(CONVERT(UNHEX(?) USING utf8mb4), 512)"},
		{sqldb.MariaDB, "cut", "c", "LEFT(c, 512)"},
	} {
		c.Dialect = tc.d
		if got, ok := c.words()(tc.name, tc.arg); !ok || got != tc.want {
			t.Errorf("@%s(%s) on %s: %q, %v; want %q", tc.name, tc.arg, tc.d, got, ok, tc.want)
		}
	}
	if _, ok := c.words()("now", ""); ok {
		t.Error("a word of the dialect is taken")
	}
	c.Idle = 0
	if got, _ := c.words()("current", ""); got != "(expires_at > @now AND (idle_timeout IS NULL OR last_seen_at > @after(-idle_timeout)))" {
		t.Errorf("without an idle timeout: %q", got)
	}
}

// TestEveryMacroIsKnown expands every text of this package that has a macro in it,
// for every database: one that nobody knows panics only when it is run.
func TestEveryMacroIsKnown(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			lit, ok := node.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING || !strings.Contains(lit.Value, "@") || strings.Contains(lit.Value, "@>") {
				return true
			}
			for _, d := range dialects {
				db := New(nil, Config{Dialect: d, Table: "ix", Locks: "lx", Fences: "fx", SignOut: "sx", Data: "dx", Idle: time.Hour}).DB()
				if q := db.Expand(lit.Value); strings.Contains(strings.ReplaceAll(q, "@list", ""), "@") {
					t.Errorf("%s on %s: a macro is left: %s", f.Name(), d, q)
				}
			}
			n++
			return true
		})
	}
	if n < 20 {
		t.Errorf("%d texts with macros were found", n)
	}
}
