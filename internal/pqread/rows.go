package pqread

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"reflect"

	"github.com/jmoiron/sqlx/reflectx"
)

// ReadRow reads at most one row of a driver into dest, and closes rows. It is for
// drivers whose values are those of lib/pq, or strings.
func ReadRow(rows driver.Rows, dest []any) (found bool, err error) {
	row := &scanned{dest: dest}
	err = drain(rows, row, row.values[:])
	return row.found, err
}

// ReadRows is ReadRow for any number of rows. dest is a pointer to a slice of structs
// or of values, which an error leaves as it was.
func ReadRows(rows driver.Rows, mapper *reflectx.Mapper, dest any) error {
	to := reflect.ValueOf(dest).Elem()
	all := &selected{mapper: mapper, slice: reflect.New(to.Type()).Elem()}
	err := drain(rows, all, nil)
	if err == nil {
		to.Set(all.slice)
	}
	return err
}

// drain gives the rows of a statement to who takes them, and closes them. room is for
// the values of a row, if it is enough.
func drain(rows driver.Rows, to rowTaker, room []driver.Value) (err error) {
	defer func() {
		// To the end of the answer, where there may be an error too.
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	names := rows.Columns()
	if err := to.columns(names); err != nil {
		return err
	}
	if len(room) < len(names) {
		room = make([]driver.Value, len(names))
	}
	values := room[:len(names)]
	for {
		if err := rows.Next(values); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := to.row(values); err != nil {
			return err
		}
	}
}

// rowTaker takes the rows of a statement.
type rowTaker interface {
	// columns begins anew, row takes a row; values are good until it returns.
	columns(names []string) error
	row(values []driver.Value) error
}

// scanned takes at most one row into dest.
type scanned struct {
	dest   []any
	found  bool
	values [6]driver.Value // room for drain
}

func (s *scanned) columns(names []string) error {
	if len(names) != len(s.dest) {
		return fmt.Errorf("usersession: %d columns for %d variables", len(names), len(s.dest))
	}
	s.found = false
	return nil
}

func (s *scanned) row(values []driver.Value) error {
	if s.found {
		return nil // as sql.Row does
	}
	s.found = true
	for i, v := range values {
		if err := assign(s.dest[i], v); err != nil {
			return err
		}
	}
	return nil
}

// selected appends rows to a slice of structs or of strings, as sqlx would.
type selected struct {
	mapper interface {
		TraversalsByName(t reflect.Type, names []string) [][]int
	}
	slice  reflect.Value
	fields [][]int // of a struct; nil: the element itself
}

func (s *selected) columns(names []string) error {
	s.slice.SetZero()
	elem := s.slice.Type().Elem()
	if elem.Kind() != reflect.Struct {
		return nil
	}
	s.fields = s.mapper.TraversalsByName(elem, names)
	for i, f := range s.fields {
		if len(f) == 0 {
			return fmt.Errorf("usersession: no field of %v for column %s", elem, names[i])
		}
	}
	return nil
}

func (s *selected) row(values []driver.Value) error {
	row := reflect.New(s.slice.Type().Elem())
	for i, v := range values {
		field := row.Elem()
		if s.fields != nil {
			field = field.FieldByIndex(s.fields[i])
		}
		if err := assign(field.Addr().Interface(), v); err != nil {
			return err
		}
	}
	s.slice.Set(reflect.Append(s.slice, row.Elem()))
	return nil
}

// assign is the part of database/sql's conversions that rows of ours need. It
// keeps nothing of v, which is the driver's buffer.
func assign(dest any, v driver.Value) error {
	switch d := dest.(type) {
	case *[]byte:
		if b, ok := v.([]byte); ok {
			*d = bytes.Clone(b)
			return nil
		}
	case *string:
		switch v := v.(type) {
		case string:
			*d = v
			return nil
		case []byte:
			*d = string(v)
			return nil
		}
	case *int:
		if n, ok := v.(int64); ok {
			*d = int(n)
			return nil
		}
	case *int64:
		if n, ok := v.(int64); ok {
			*d = n
			return nil
		}
	case *bool:
		if b, ok := v.(bool); ok {
			*d = b
			return nil
		}
	case sql.Scanner:
		return d.Scan(v)
	}
	return fmt.Errorf("usersession: a %T cannot be read into a %T", v, dest)
}
