package pqread

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx/reflectx"
)

func TestAssign(t *testing.T) {
	for _, tc := range []struct {
		v    driver.Value
		dest any // a pointer
		want any // what it points to; nil: an error
	}{
		{[]byte("ab"), new([]byte), []byte("ab")},
		{[]byte("ab"), new(string), "ab"},
		{"ab", new(string), "ab"},
		{int64(7), new(int), 7},
		{int64(7), new(int64), int64(7)},
		{"ab", new(sql.NullString), sql.NullString{String: "ab", Valid: true}},
		{nil, new(sql.NullString), sql.NullString{}},
		{nil, new(string), nil},
		{nil, new([]byte), nil},
		{"7", new(int), nil},
		{int64(7), new(string), nil},
		{true, new(bool), true},
		{"t", new(bool), nil},
		{1.5, new(float64), nil},
	} {
		err := assign(tc.dest, tc.v)
		if tc.want == nil {
			if err == nil {
				t.Errorf("%T into %T: no error", tc.v, tc.dest)
			}
			continue
		}
		if got := reflect.ValueOf(tc.dest).Elem().Interface(); err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%T into %T: %#v, %v; want %#v", tc.v, tc.dest, got, err, tc.want)
		}
	}
}

// A driver reuses its buffers from row to row.
func TestAssignKeepsNothing(t *testing.T) {
	buffer := []byte("one")
	var data []byte
	var text string
	for _, dest := range []any{&data, &text} {
		if err := assign(dest, buffer); err != nil {
			t.Fatal(err)
		}
	}
	copy(buffer, "two")
	if string(data) != "one" || text != "one" {
		t.Errorf("%q and %q, want what the buffer held before", data, text)
	}
}

func TestScanned(t *testing.T) {
	var a string
	var b int
	s := &scanned{dest: []any{&a, &b}}
	if err := s.columns([]string{"a"}); err == nil {
		t.Error("one column for two variables: no error")
	}
	if err := s.columns([]string{"a", "b"}); err != nil || s.found {
		t.Fatalf("%v, found %v", err, s.found)
	}
	for i, want := range []string{"first", "first"} { // the second row is left out, as sql.Row does
		if err := s.row([]driver.Value{fmt.Sprint([]string{"first", "second"}[i]), int64(i)}); err != nil {
			t.Fatal(err)
		}
		if a != want || b != 0 || !s.found {
			t.Errorf("row %d: %q, %d, %v", i, a, b, s.found)
		}
	}
}

func TestSelected(t *testing.T) {
	type inner struct {
		ID string `db:"id"`
	}
	type row struct {
		inner
		N int `db:"n"`
	}
	var rows []row
	s := &selected{mapper: reflectx.NewMapperFunc("db", strings.ToLower), slice: reflect.ValueOf(&rows).Elem()}
	if err := s.columns([]string{"id", "unknown"}); err == nil || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("a column without a field: %v", err)
	}
	for range 2 { // a statement that is run again begins anew
		if err := s.columns([]string{"n", "id"}); err != nil {
			t.Fatal(err)
		}
		for i, id := range []string{"a", "b"} {
			if err := s.row([]driver.Value{int64(i), id}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := []row{{inner{"a"}, 0}, {inner{"b"}, 1}}; !reflect.DeepEqual(rows, want) {
		t.Errorf("%+v, want %+v", rows, want)
	}

	var texts []string
	s = &selected{slice: reflect.ValueOf(&texts).Elem()}
	if err := s.columns([]string{"key"}); err != nil {
		t.Fatal(err)
	}
	if err := s.row([]driver.Value{[]byte("a")}); err != nil || len(texts) != 1 || texts[0] != "a" {
		t.Errorf("%q, %v", texts, err)
	}
}
