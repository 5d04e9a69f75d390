package pqread

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"reflect"
)

// rowTaker takes the rows of a statement.
type rowTaker interface {
	// columns begins anew, row takes a row; values are good until it returns.
	columns(names []string) error
	row(values []driver.Value) error
}

// scanned takes at most one row into dest.
type scanned struct {
	dest  []any
	found bool
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
	case sql.Scanner:
		return d.Scan(v)
	}
	return fmt.Errorf("usersession: a %T cannot be read into a %T", v, dest)
}
