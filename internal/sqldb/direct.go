package sqldb

import (
	"context"
	"database/sql/driver"
	"sync/atomic"

	"github.com/seed-296ca7ab/usersession/internal/pqread"
)

// direct is std for pgx, but that rows come from the driver itself. It heeds its
// context and keeps its statements. So nothing is left to database/sql but the pool:
// its rows would have a goroutine each, which waits for the end of the context.
type direct struct {
	*std
	mode atomic.Int32
}

// What direct.mode knows of the connections, which are of one configuration.
const (
	modeUnknown = iota
	modeKeeps   // a text that comes again is a prepared statement
	modeOther
)

func (d *direct) row(ctx context.Context, s statement, dest []any) (found bool, err error) {
	if d.mode.Load() == modeOther {
		return d.std.row(ctx, s, dest)
	}
	done, err := d.query(ctx, s, func(rows driver.Rows) (err error) {
		found, err = pqread.ReadRow(rows, dest)
		return err
	})
	if !done {
		return d.std.row(ctx, s, dest)
	}
	return found, err
}

func (d *direct) rows(ctx context.Context, s statement, dest any) error {
	if d.mode.Load() == modeOther {
		return d.std.rows(ctx, s, dest)
	}
	done, err := d.query(ctx, s, func(rows driver.Rows) error {
		return pqread.ReadRows(rows, d.pool.Mapper, dest)
	})
	if !done {
		return d.std.rows(ctx, s, dest)
	}
	return err
}

// query runs a statement. done is false if that has to be done in the usual way, and
// nothing was sent.
func (d *direct) query(ctx context.Context, s statement, read func(driver.Rows) error) (done bool, err error) {
	args, err := pqread.Values(s.args)
	if err != nil {
		return true, err
	}
	cn, err := d.pool.DB.Conn(ctx)
	if err != nil {
		return true, err
	}
	defer cn.Close()
	err = cn.Raw(func(dc any) error {
		if d.mode.Load() == modeUnknown {
			mode := int32(modeOther)
			if _, ok := dc.(driver.QueryerContext); ok && pgxMode(dc) == "cache statement" {
				mode = modeKeeps
			}
			d.mode.Store(mode)
		}
		if d.mode.Load() == modeOther {
			return driver.ErrSkip
		}
		rows, err := dc.(driver.QueryerContext).QueryContext(ctx, s.text, args)
		if err != nil {
			return err
		}
		return read(rows)
	})
	if err == driver.ErrSkip {
		return false, nil
	}
	return true, again(err)
}
