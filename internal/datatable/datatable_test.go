package datatable

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// statements are the SQL constants of the package, by their names.
func statements(t *testing.T) map[string]string {
	f, err := parser.ParseFile(token.NewFileSet(), "datatable.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && strings.HasSuffix(v.Names[0].Name, "SQL") {
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			all[v.Names[0].Name] = text
		}
		return true
	})
	return all
}

// What has expired is never found, changed or brought back. Only a deletion by its key,
// which says that the session is over, does not ask.
func TestExpired(t *testing.T) {
	all := statements(t)
	maps.DeleteFunc(all, func(name, text string) bool {
		return name == "insertSQL" || name == "deleteOneSQL" || name == "deleteSQL" || name == "bytesSQL"
	})
	if len(all) < 8 {
		t.Fatalf("there are %d statements", len(all))
	}
	for name, text := range all {
		if want := "expiry > @dnow"; !strings.Contains(text, want) && !strings.Contains(text, "expiry <= @dnow") {
			t.Errorf("%s lacks %s:%s", name, want, text)
		}
		if strings.Contains(text, "expiry <= @dnow") && !strings.HasPrefix(text, "\nDELETE") {
			t.Errorf("%s asks for what has expired:%s", name, text)
		}
	}
}

// Each statement is one on every database, with the words that the table has.
func TestDialects(t *testing.T) {
	for _, d := range []sqldb.Dialect{sqldb.Postgres, sqldb.SQLite, sqldb.MariaDB} {
		words := index.DataWords(d, d.Quote("s", "data"))
		for name, text := range statements(t) {
			for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !strings.ContainsRune("@abcdefghijklmnopqrstuvwxyz", r) }) {
				macro, is := strings.CutPrefix(word, "@")
				if _, known := words(macro, "1"); is && !known && macro != "list" {
					t.Errorf("%s on %s: the word %s means nothing", name, d, word)
				}
			}
		}
		if bytes := strings.Contains(CheckSQL(d), "get_byte"); bytes != (d == sqldb.Postgres) {
			t.Errorf("the check on %s asks for bytes: %v", d, bytes)
		}
	}
}
