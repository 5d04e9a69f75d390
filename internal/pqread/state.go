package pqread

import (
	"database/sql/driver"
	"errors"
)

// SQLState returns the SQLSTATE of an error of lib/pq or pgx, or "".
func SQLState(err error) string {
	if err == nil {
		return "" // without what errors.As takes
	}
	var s interface{ SQLState() string }
	if errors.As(err, &s) {
		return s.SQLState()
	}
	return ""
}

// SendsApart reports whether a connection is one of lib/pq that sends a
// statement and its arguments apart, as it does without binary_parameters.
func SendsApart(conn any) bool {
	values, ok := conn.(driver.NamedValueChecker)
	if !ok || !IsLibPQ(conn) {
		return false
	}
	v := driver.NamedValue{Value: binaryProbe{}}
	values.CheckNamedValue(&v)
	return v.Value == any(binaryProbe{})
}

// binaryProbe is a value that lib/pq encodes in binary if it may.
type binaryProbe struct{}

func (binaryProbe) BinaryValue() ([]byte, error) { return nil, nil }
