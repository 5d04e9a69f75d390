// Package schema makes the tables, and returns the statements that make them.
//
// The .sql files are the one copy of it. What must be there is read from their
// statements (wanted.go) and compared with the catalog of the database (look.go).
// Then what is missing is made (migrate.go). It may import the package sqldb. It must
// never change a column, a partition or a row of a table that is there.
package schema

import (
	"cmp"
	"embed"
	"regexp"
	"strings"
	"text/template"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// Statements end with a semicolon at the end of a line. Every one of them may run
// twice, so that an interrupted migration is finished by the next.
//
//go:embed *.sql
var files embed.FS

// Tables says which tables of one database are ours to make, and how.
type Tables struct {
	Dialect sqldb.Dialect
	Schema  string // that of the connection if it is ""
	Index   string // the name of the index, or "" if it is not ours
	Data    string // the name of the table of the session data, or "" if it is not ours

	UserIDType string // text, bigint or uuid
	Users      Users  // what a foreign key of the index refers to
	Partitions int    // of the index, if it has any
}

// Users is a column of the users table. Without a table there is no foreign key.
type Users struct {
	Schema, Table, Column string
	Definition            string // of a column that refers to it; "" if that of the type of user IDs does
}

var usersPattern = regexp.MustCompile(`^(?:([^.()]+)\.)?([^.()]+?)(?:\(([^.()]+)\))?$`)

// ParseUsers reads table, table(column) or schema.table(column). It reports false for
// anything else, and for what are no names. The column is id if none is named.
func ParseUsers(s string) (Users, bool) {
	p := usersPattern.FindStringSubmatch(s)
	if p == nil {
		return Users{}, false
	}
	u := Users{Schema: p[1], Table: p[2], Column: cmp.Or(p[3], "id")}
	for _, name := range []string{cmp.Or(u.Schema, u.Table), u.Table, u.Column} {
		if !sqldb.Identifier.MatchString(name) {
			return Users{}, false
		}
	}
	return u, true
}

// Migration creates one table with what belongs to it.
type Migration struct {
	Table    string
	Up, Down []string
}

var userIDColumn = map[sqldb.Dialect]map[string]string{
	sqldb.Postgres: {"text": "text", "bigint": "bigint", "uuid": "uuid"},
	sqldb.SQLite:   {"text": "TEXT", "bigint": "INTEGER", "uuid": "TEXT"},
	// Its text collations call 'u' and 'u ' equal; bytes are bytes.
	sqldb.MariaDB: {"text": "VARBINARY(255)", "bigint": "BIGINT", "uuid": "UUID"},
}

// Migrations returns the migrations of the tables.
func (t Tables) Migrations() ([]Migration, error) {
	text, err := files.ReadFile(string(t.Dialect) + ".sql")
	if err != nil {
		return nil, err
	}
	tmpl, err := template.New(string(t.Dialect)).Parse(string(text))
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	err = tmpl.Execute(&out, map[string]any{
		"Table": t.Index, "Index": t.index(), "Lock": t.Dialect.Quote(t.Schema, t.Index+"_locks"), "Fence": t.Dialect.Quote(t.Schema, t.Index+"_fences"),
		"SignOut":   t.Dialect.Quote(t.Schema, t.Index+"_signouts"),
		"Replica":   t.Dialect.Quote(t.Schema, t.Index+"_replicas"),
		"Inbox":     t.Dialect.Quote(t.Schema, t.Index+"_inbox"),
		"DataTable": t.Data, "Data": t.Dialect.Quote(t.Schema, t.Data),
		"UserIDType": cmp.Or(t.Users.Definition, userIDColumn[t.Dialect][t.UserIDType]), "Users": t.users(),
		"Partitions": t.partitions(),
	})
	if err != nil {
		return nil, err
	}
	var list []Migration
	for _, section := range strings.Split(out.String(), "-- name: ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		up, down, _ := strings.Cut(body, "-- down\n")
		m := Migration{Table: name, Up: statements(up), Down: statements(down)}
		if m.Table != "" { // else that of a table which is not ours to make
			list = append(list, m)
		}
	}
	return list, nil
}

func (t Tables) index() string { return t.Dialect.Quote(t.Schema, t.Index) }

// users returns what the foreign key refers to, or "".
func (t Tables) users() string {
	if t.Users.Table == "" {
		return ""
	}
	return t.Dialect.Quote(t.Users.Schema, t.Users.Table) + " (" + t.Dialect.Quote(t.Users.Column) + ")"
}

func statements(text string) []string {
	var list []string
	for _, s := range strings.Split(text, ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			list = append(list, s)
		}
	}
	return list
}
