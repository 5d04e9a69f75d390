package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"

	"github.com/jmoiron/sqlx/reflectx"
)

// Native is the driver of a pool that runs statements without database/sql, on the
// same connections. It heeds its context, and keeps a statement whose text comes
// again. It is safe for concurrent use. An error wraps
// driver.ErrBadConn if nothing was sent.
type Native interface {
	driver.Driver
	// Query runs a statement and gives take each row, which is good until take
	// returns. An error of take ends it.
	Query(ctx context.Context, text string, args []any, take func(Row) error) error
	// Row is Query for at most one row, which is scanned into dest.
	Row(ctx context.Context, text string, args, dest []any) (found bool, err error)
	// Exec runs a statement and returns how many rows it has changed.
	Exec(ctx context.Context, text string, args []any) (int64, error)
	// Conns returns how many connections are open.
	Conns() int
}

// Row is a row of a [Native].
type Row interface {
	Columns() []string
	Scan(dest ...any) error
}

// native runs statements on a Native.
type native struct {
	on     Native
	mapper *reflectx.Mapper
}

func (d *native) row(ctx context.Context, s statement, dest []any) (found bool, err error) {
	found, err = d.on.Row(ctx, s.text, s.args, dest)
	return found, again(err)
}

func (d *native) rows(ctx context.Context, s statement, dest any) error {
	to := reflect.ValueOf(dest).Elem()
	all := reflect.New(to.Type()).Elem()
	elem := to.Type().Elem()
	var fields [][]int // of a struct; nil: the element itself
	var into []any
	err := d.on.Query(ctx, s.text, s.args, func(r Row) error {
		if into == nil {
			names := r.Columns()
			into = make([]any, len(names))
			if elem.Kind() == reflect.Struct {
				fields = d.mapper.TraversalsByName(elem, names)
			}
			for i, f := range fields {
				if len(f) == 0 {
					return fmt.Errorf("usersession: no field of %v for column %s", elem, names[i])
				}
			}
		}
		row := reflect.New(elem)
		for i := range into {
			field := row.Elem()
			if fields != nil {
				field = field.FieldByIndex(fields[i])
			}
			into[i] = field.Addr().Interface()
		}
		if err := r.Scan(into...); err != nil {
			return err
		}
		all = reflect.Append(all, row.Elem())
		return nil
	})
	if err != nil {
		return again(err)
	}
	to.Set(all)
	return nil
}

func (d *native) exec(ctx context.Context, s statement) (int64, error) {
	n, err := d.on.Exec(ctx, s.text, s.args)
	return n, again(err)
}

// again marks the error of a statement that was not executed, because its connection
// was dead or had kept one that is stale by now, which pgx forgets.
func again(err error) error {
	if errors.Is(err, driver.ErrBadConn) || refused(err) {
		return undone{err}
	}
	return err
}
