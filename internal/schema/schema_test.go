package schema

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

func TestMigrations(t *testing.T) {
	for _, d := range []sqldb.Dialect{sqldb.Postgres, sqldb.SQLite, sqldb.MariaDB} {
		for _, tc := range []struct {
			name  string
			t     Tables
			names []string
			in    []string // what the index or data are made with
		}{
			{"the index", Tables{Index: "ix", Schema: "s", UserIDType: "bigint"}, []string{"ix"}, []string{d.Quote("s", "ix"), "session_key", userIDColumn[d]["bigint"]}},
			{"with users", Tables{Index: "ix", UserIDType: "text", Users: Users{Table: "u", Column: "id"}}, []string{"ix"}, []string{"REFERENCES " + d.Quote("u") + " (" + d.Quote("id") + ")", "ON DELETE SET NULL"}},
			{"the data", Tables{Data: "data"}, []string{"data"}, []string{d.Quote("data"), "token", "expiry"}},
		} {
			tc.t.Dialect = d
			list, err := tc.t.Migrations()
			if err != nil {
				t.Fatalf("%s on %s: %v", tc.name, d, err)
			}
			var names []string
			var up string
			for _, m := range list {
				names = append(names, m.Table)
				up += strings.Join(m.Up, "\n")
				if len(m.Up) == 0 || len(m.Down) == 0 {
					t.Errorf("%s on %s: %s has %d statements up, %d down", tc.name, d, m.Table, len(m.Up), len(m.Down))
				}
				for _, s := range slices.Concat(m.Up, m.Down) {
					if strings.Contains(s, "{{") || strings.Contains(s, "<no value>") {
						t.Errorf("%s on %s: a statement with a hole: %s", tc.name, d, s)
					}
				}
			}
			if !slices.Equal(names, tc.names) {
				t.Errorf("%s on %s: the tables %q, want %q", tc.name, d, names, tc.names)
			}
			for _, part := range tc.in {
				if !strings.Contains(strings.ToLower(up), strings.ToLower(part)) {
					t.Errorf("%s on %s: no %s in\n%s", tc.name, d, part, up)
				}
			}
		}
	}
}

func TestPartitions(t *testing.T) {
	list, err := Tables{Dialect: sqldb.Postgres, Schema: "s", Index: "ix", UserIDType: "text", Partitions: 2}.Migrations()
	if err != nil || len(list) != 1 {
		t.Fatalf("%d migrations, %v", len(list), err)
	}
	up := strings.Join(list[0].Up, "\n")
	for _, part := range []string{`PARTITION BY HASH (user_id)`, `"s"."ix_p0" PARTITION OF "s"."ix"`, `"s"."ix_p1"`, "MODULUS 2, REMAINDER 1"} {
		if !strings.Contains(up, part) {
			t.Errorf("no %s in\n%s", part, up)
		}
	}
	if strings.Contains(up, "ix_p2") {
		t.Error("there is a third partition")
	}
}

// TestWanted wants the keys that Migrate looks for to be those that the statements
// make, on every database.
func TestWanted(t *testing.T) {
	for _, d := range []sqldb.Dialect{sqldb.Postgres, sqldb.SQLite, sqldb.MariaDB} {
		for _, tc := range []struct {
			t    Tables
			want map[string]string // columns: name
		}{
			{Tables{Index: "ix", UserIDType: "text"}, map[string]string{"id": "", "session_key": "", "user_id, ended_at": "ix_user", "purge_at": "ix_purge"}},
			{Tables{Data: "data"}, map[string]string{"token": "", "expiry": "data_expiry_idx"}},
		} {
			tc.t.Dialect = d
			list, err := tc.t.Migrations()
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range list {
				for _, s := range m.Up {
					if tableOf(s) == "" {
						t.Errorf("%s: a statement of no known form: %s", d, s)
					}
				}
			}
			have := map[string]key{}
			for _, k := range tc.t.wanted(list).keys {
				have[k.Columns] = k
			}
			for columns, name := range tc.want {
				if k, ok := have[columns]; !ok || k.Unique != (name == "") || name != "" && k.Name != name {
					t.Errorf("%s: the key on (%s) is %+v, %v", d, columns, k, ok)
				}
			}
		}
	}
	p := Tables{Dialect: sqldb.Postgres, Schema: "s", Index: "ix", UserIDType: "text", Partitions: 2}
	list, err := p.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	if k := p.wanted(list).keys[4]; k.Table != `"s"."ix_p0"` || k.Name != "ix_p0_user" {
		t.Errorf("the first index of a partition is %+v", k)
	}
}

func TestServedBy(t *testing.T) {
	unique := key{Columns: "token", Unique: true}
	partial := key{Columns: "purge_at", Where: "purge_at IS NOT NULL"}
	for _, tc := range []struct {
		want, have key
		ok         bool
	}{
		{unique, unique, true},
		{unique, key{Columns: "token"}, false},
		{unique, key{Columns: "token", Unique: true, Where: "(expiry > 0)"}, false},
		{unique, key{Columns: "token, expiry", Unique: true}, false},
		{unique, key{Columns: "token, user_id", Unique: true}, true},
		{partial, key{Columns: "purge_at", Where: "(purge_at IS NOT NULL)"}, true},
		{partial, key{Columns: "purge_at, id"}, true},
		{partial, key{Columns: "purge_at_2"}, false},
		{partial, key{Columns: "id, purge_at"}, false},
		{partial, key{Columns: "purge_at", Where: "(purge_at IS NULL)"}, false},
	} {
		if got := tc.want.servedBy(tc.have); got != tc.ok {
			t.Errorf("%+v is served by %+v: %v", tc.want, tc.have, got)
		}
	}
}

// FuzzStatements: of a text nothing is lost but what stands between statements.
func FuzzStatements(f *testing.F) {
	for _, s := range []string{"", ";\n", "a;\nb;\n", "a; b;\n", "\n\n a \n;\n\n", ";;\n;", "a"} {
		f.Add(s)
	}
	squeeze := func(s string) string { return strings.Join(strings.Fields(strings.ReplaceAll(s, ";\n", " ")), " ") }
	f.Fuzz(func(t *testing.T, s string) {
		list := statements(s)
		for _, one := range list {
			if one == "" || one != strings.TrimSpace(one) || strings.Contains(one, ";\n") {
				t.Fatalf("%q is no statement", one)
			}
		}
		if got, want := squeeze(strings.Join(list, " ")), squeeze(s); got != want {
			t.Fatalf("%q became %q", s, list)
		}
	})
}

func TestParseUsers(t *testing.T) {
	for s, want := range map[string]Users{
		"users": {Table: "users", Column: "id"}, "users(user_id)": {Table: "users", Column: "user_id"},
		"accounts.users(id)": {Schema: "accounts", Table: "users", Column: "id"}, "a.users": {Schema: "a", Table: "users", Column: "id"},
		"": {}, "users()": {}, "a.b.c": {}, ".users": {}, "users(id); DROP TABLE x": {}, `us"ers`: {}, `u"s.users`: {},
	} {
		if got, ok := ParseUsers(s); got != want || ok != (want != Users{}) {
			t.Errorf("%q is %+v, %v", s, got, ok)
		}
	}
}

// FuzzParseUsers: nothing but names gets through to SQL.
func FuzzParseUsers(f *testing.F) {
	for _, s := range []string{"users", "users(id)", "a.users(id)", `us"ers`, "users(id); DROP TABLE x", "a.b.c", "users()", "()", ".users", "users(id))"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, ok := ParseUsers(s)
		for _, name := range []string{u.Table, u.Column, u.Schema} {
			if strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" {
				t.Fatalf("%q gives the name %q", s, name)
			}
		}
		if ok != (u.Table != "" && u.Column != "") {
			t.Fatalf("%q gives %+v, %v", s, u, ok)
		}
	})
}

// The files are numbered across the tables, and each can be taken back.
func TestFiles(t *testing.T) {
	index := Tables{Dialect: sqldb.SQLite, Index: "ix", UserIDType: "text"}
	files, err := Files(index, Tables{Dialect: sqldb.SQLite, Data: "data"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"00001_ix.sql", "00002_data.sql"} {
		text, err := fs.ReadFile(files, name)
		up, down, both := strings.Cut(string(text), ";\n\n-- +goose Down\n")
		if err != nil || !both || !strings.HasPrefix(up, "-- +goose Up\nCREATE") || !strings.HasSuffix(down, ";\n") {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	if _, err := Files(Tables{Dialect: "other"}); err == nil {
		t.Error("another dialect has files")
	}
}
