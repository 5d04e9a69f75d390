package schema

import (
	"regexp"
	"strings"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// wanted is what migrations make. It is read from their statements, so that the
// .sql files stay the one copy.
type wanted struct {
	tables []string // quoted, and with their schema
	keys   []key
}

// key is a constraint or an index, and what it is good for.
type key struct {
	Table   string `db:"table_name"` // quoted and with its schema, unless it was read
	Name    string `db:"key_name"`   // "" if the database chooses it
	Columns string `db:"columns"`    // "user_id, ended_at"
	Where   string `db:"condition"`  // which rows are in it; "" if all
	Unique  bool   `db:"is_unique"`
}

// The forms of the .sql files. A test wants every statement to have one of them.
var (
	createTable = regexp.MustCompile(`^CREATE TABLE IF NOT EXISTS (\S+)`)
	createIndex = regexp.MustCompile(`^CREATE INDEX IF NOT EXISTS (\S+) ON (\S+) \(([^)]+)\)(?: WHERE (.+))?$`)
	keyOfColumn = regexp.MustCompile(`(?m)^\t([a-z_]+) .*\b(?:PRIMARY KEY|UNIQUE)\b`)
	keyOfTable  = regexp.MustCompile(`(?m)^\t(PRIMARY KEY|UNIQUE KEY|UNIQUE|KEY)(?: (\S+))? \(([^)]+)\)`)
)

// tableOf returns the table that a statement makes or is about.
func tableOf(statement string) string {
	if m := createIndex.FindStringSubmatch(statement); m != nil {
		return m[2]
	}
	if m := createTable.FindStringSubmatch(statement); m != nil {
		return m[1]
	}
	return ""
}

// wanted returns what the migrations make.
func (t Tables) wanted(list []Migration) wanted {
	var w wanted
	for _, m := range list {
		for _, s := range m.Up {
			table := tableOf(s)
			if index := createIndex.FindStringSubmatch(s); index != nil {
				k := key{Table: table, Name: unquote(index[1]), Columns: index[3], Where: index[4]}
				// An index of a partitioned table is one of each partition, and is
				// made there first, where that stops nobody.
				for _, p := range t.partitions() {
					if table != t.index() {
						break
					}
					of := k
					of.Table, of.Name = p.Name, strings.Replace(k.Name, t.Index, unquote(p.Name), 1)
					w.keys = append(w.keys, of)
				}
				w.keys = append(w.keys, k)
				continue
			}
			w.tables = append(w.tables, table)
			for _, c := range keyOfColumn.FindAllStringSubmatch(s, -1) {
				w.keys = append(w.keys, key{Table: table, Columns: c[1], Unique: true})
			}
			for _, c := range keyOfTable.FindAllStringSubmatch(s, -1) {
				w.keys = append(w.keys, key{Table: table, Name: unquote(c[2]), Columns: c[3], Unique: c[1] != "KEY"})
			}
		}
	}
	return w
}

// unquote returns the last part of a quoted name.
func unquote(name string) string {
	return strings.Trim(name[strings.LastIndex(name, ".")+1:], "\"`")
}

// create returns the statement that makes an index.
func (k key) create(d sqldb.Dialect, concurrently string) string {
	s := "CREATE INDEX " + concurrently
	if d != sqldb.MariaDB { // MySQL has no IF NOT EXISTS here
		s += "IF NOT EXISTS "
	}
	s += d.Quote(k.Name) + " ON " + k.Table + " (" + k.Columns + ")"
	if k.Where != "" {
		s += " WHERE " + k.Where
	}
	return s
}

// servedBy reports whether a key that is there does what k is for, whoever made
// it and under whatever name.
func (k key) servedBy(have key) bool {
	if k.Unique {
		// A table that is distributed by user has the user in its unique keys.
		return have.Unique && have.Where == "" && (have.Columns == k.Columns || have.Columns == k.Columns+", user_id")
	}
	return strings.HasPrefix(have.Columns+", ", k.Columns+", ") &&
		(have.Where == "" || condition(have.Where) == condition(k.Where))
}

var notCondition = strings.NewReplacer("(", "", ")", "", " ", "", "\n", "", "\t", "", `"`, "", "`", "")

// condition makes two spellings of a condition equal.
func condition(s string) string { return strings.ToLower(notCondition.Replace(s)) }
