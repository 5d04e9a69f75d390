package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/bounded"
	"github.com/seed-296ca7ab/usersession/internal/pqread"
)

// runner is how a statement of one pool is run: sent, bounded by its context,
// kept if that is worth it, and scanned. std is database/sql, on every driver. libPQ,
// direct and native are for those that have a better way. Transactions go through
// database/sql on every driver.
//
// A runner does not outlast ctx, and then its error wraps ctx.Err().
type runner interface {
	// row reads at most one row into dest, by a statement that only reads.
	// found is false if there is none.
	// After an error dest must not be read.
	row(ctx context.Context, s statement, dest []any) (found bool, err error)
	// rows fills the slice that dest points to, which an error leaves as it was.
	rows(ctx context.Context, s statement, dest any) error
	// exec returns how many rows were changed.
	exec(ctx context.Context, s statement) (int64, error)
}

// statement is what is to be run.
type statement struct {
	text string // as the database wants it
	args []any
	kept bool // worth a prepared statement
	read bool // it changes nothing, and waits for no row
}

// own returns the statement with arguments that the driver may hold longer than
// the caller.
func (s statement) own() statement {
	s.args = slices.Clone(s.args)
	for i, a := range s.args {
		if b, ok := a.([]byte); ok {
			s.args[i] = slices.Clone(b)
		}
	}
	return s
}

// std runs statements through database/sql, on every driver. A driver that does
// not heed its context is called from a goroutine, which is left behind if it does
// not come back.
type std struct {
	pool        *sqlx.DB
	heeds       bool // the driver comes back when its context ends, wherever it waits
	prepare     bool
	mayBeSplit  bool         // a pooler may be there, see check
	mayBeSet    bool         // connections may have settings that are refused
	checked     atomic.Bool  // see check
	prepared    sync.Map     // text: *sqlx.Stmt
	replaced    atomic.Int64 // calls that found one stale
	uncancelled atomic.Int64 // calls of row under way
}

// maxUncancelled bounds the calls of row whose context the driver does not get, so
// that it does not tell the server to give up.
const maxUncancelled = 64

// stmt returns the kept statement, or nil if it is to be run without one.
func (d *std) stmt(ctx context.Context, s statement) (*sqlx.Stmt, error) {
	if d.prepare && s.kept {
		if kept, ok := d.prepared.Load(s.text); ok {
			return kept.(*sqlx.Stmt), nil
		}
	}
	if err := d.check(ctx); err != nil || !d.prepare || !s.kept {
		return nil, err
	}
	// No lock: whoever waits for a database that hangs, waits for itself only.
	// The spaces make the text a new one, for pgx names statements by their text.
	stmt, err := d.pool.PreparexContext(ctx, s.text+strings.Repeat(" ", int(d.replaced.Load()%maxSpaces)))
	if err != nil {
		return nil, err
	}
	if kept, loaded := d.prepared.LoadOrStore(s.text, stmt); loaded {
		stmt.Close()
		return kept.(*sqlx.Stmt), nil
	}
	return stmt, nil
}

// stale reports whether a kept statement was refused, and forgets it: the type of a
// column has changed since, or the program has discarded what its connection kept.
// Nothing was executed. The statement is not closed, because other calls may be about
// to run it.
func (d *std) stale(s statement, stmt *sqlx.Stmt, err error) bool {
	if stmt == nil || !refused(err) {
		return false
	}
	d.replaced.Add(1) // first, so that nobody prepares the old text again
	d.prepared.CompareAndDelete(s.text, stmt)
	return true
}

// refused reports whether the server says that a kept statement is gone, or no longer
// fits its table.
func refused(err error) bool {
	state := pqread.SQLState(err)
	return state == "0A000" || state == "26000"
}

// maxSpaces bounds what is added to a text.
const maxSpaces = 1000

// again runs fn with the kept statement, and once more if that was stale.
func (d *std) again(ctx context.Context, s statement, fn func(*sqlx.Stmt) error) error {
	stmt, err := d.stmt(ctx, s)
	if err != nil {
		return err
	}
	err = fn(stmt)
	if stmt == nil && refused(err) {
		return undone{err} // the driver has kept it itself, on each connection
	}
	if !d.stale(s, stmt, err) {
		return err
	}
	if stmt, err = d.stmt(ctx, s); err != nil {
		return err
	}
	return fn(stmt)
}

// check refuses a connection that would send a statement and then, in another
// round trip, its arguments, where statements are not to be kept: a pooler may
// have put the statement of somebody else between them, which would be executed
// with our arguments. It also refuses settings, see checkSettings.
func (d *std) check(ctx context.Context) error {
	if !d.mayBeSplit && !d.mayBeSet || d.checked.Load() {
		return nil
	}
	cn, err := d.pool.Connx(ctx)
	if err != nil {
		return err
	}
	defer cn.Close()
	if !d.mayBeSplit {
		return d.checkSettings(ctx, cn)
	}
	err = cn.Raw(refuseSplit)
	d.checked.Store(err == nil)
	return err
}

// call calls fn, which does not outlast ctx then.
func call[T any](ctx context.Context, d *std, fn func() (T, error)) (T, error) {
	if d.heeds {
		return fn()
	}
	return bounded.Call(ctx, fn)
}

func (d *std) exec(ctx context.Context, s statement) (int64, error) {
	if !d.heeds {
		s = s.own()
	}
	return call(ctx, d, func() (n int64, err error) {
		err = d.again(ctx, s, func(stmt *sqlx.Stmt) (err error) {
			if stmt != nil {
				n, err = changed(stmt.ExecContext(ctx, s.args...))
			} else {
				n, err = changed(d.pool.ExecContext(ctx, s.text, s.args...))
			}
			return err
		})
		return n, err
	})
}

func (d *std) rows(ctx context.Context, s statement, dest any) error {
	if !s.read && !d.heeds {
		s = s.own()
	}
	to := reflect.ValueOf(dest).Elem()
	rows, err := call(ctx, d, func() (reflect.Value, error) {
		fresh := reflect.New(to.Type())
		err := d.again(ctx, s, func(stmt *sqlx.Stmt) error {
			fresh.Elem().SetZero()
			if stmt != nil {
				return stmt.SelectContext(ctx, fresh.Interface(), s.args...)
			}
			return d.pool.SelectContext(ctx, fresh.Interface(), s.text, s.args...)
		})
		return fresh.Elem(), err
	})
	if err == nil {
		to.Set(rows)
	}
	return err
}

// row, in the usual way, while few calls are under way, does not tell a driver that
// may not heed it when ctx ends: a context that can be cancelled costs database/sql
// and some drivers a goroutine each, which is more than the statement itself. The
// call comes back in any case.
func (d *std) row(ctx context.Context, s statement, dest []any) (bool, error) {
	return d.rowOf(ctx, s, dest, d.heeds)
}

// rowOf is row. If cancel is set, the driver is told.
func (d *std) rowOf(ctx context.Context, s statement, dest []any, cancel bool) (bool, error) {
	return call(ctx, d, func() (bool, error) {
		to := ctx
		if !cancel {
			if d.uncancelled.Add(1) <= maxUncancelled {
				to = context.WithoutCancel(ctx)
			}
			defer d.uncancelled.Add(-1)
		}
		stmt, err := d.stmt(ctx, s)
		for attempt := 1; err == nil; attempt++ { // as again does, without a func in each request
			if stmt == nil {
				err = d.pool.QueryRowContext(to, s.text, s.args...).Scan(dest...)
				break
			}
			err = stmt.Stmt.QueryRowContext(to, s.args...).Scan(dest...)
			if attempt > 1 || !d.stale(s, stmt, err) {
				break
			}
			stmt, err = d.stmt(ctx, s)
		}
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		return err == nil, err
	})
}

// libPQ is std, but that reads speak to lib/pq itself where they can.
type libPQ struct {
	*std
	reader *pqread.Reader
}

func (d *libPQ) row(ctx context.Context, s statement, dest []any) (bool, error) {
	if found, done, err := d.reader.Row(ctx, s.text, s.args, dest); done {
		return found, err
	}
	found, err := d.rowOf(ctx, s, dest, d.reader.Wary())
	if err == nil {
		d.reader.Trust()
	}
	return found, err
}

func (d *libPQ) rows(ctx context.Context, s statement, dest any) error {
	if !s.read {
		return d.std.rows(ctx, s, dest)
	}
	if done, err := d.reader.Rows(ctx, s.text, s.args, dest); done {
		return err
	}
	err := d.std.rows(ctx, s, dest)
	if err == nil {
		d.reader.Trust()
	}
	return err
}
