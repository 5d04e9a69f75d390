package usersession

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/bounded"
)

// querier runs SQL: the pool, one connection in a transaction of ours, or a
// transaction of the application.
type querier interface {
	sqlx.ExecerContext
	sqlx.QueryerContext
}

// unkept is the pool for queries that are not worth a kept statement.
type unkept struct{ *sqlx.DB }

// conn runs the queries of one database: macros expanded once, statements
// prepared once, conflicts retried.
type conn struct {
	db       *sqlx.DB
	d        *dialect
	prepare  bool
	unsplit  atomic.Bool // see [conn.check]
	expanded sync.Map    // query with macros: string
	prepared sync.Map    // expanded query: *sqlx.Stmt

	pq          *pqReader    // nil: the driver is not lib/pq
	uncancelled atomic.Int64 // calls of readRow under way
}

// maxUncancelled bounds the calls of readRow whose context the driver does not
// get, so that it does not tell the server to give up.
const maxUncancelled = 64

func newConn(db *sqlx.DB, d *dialect, prepare bool) *conn {
	c := &conn{db: db, d: d, prepare: prepare}
	if prepare && d.name == Postgres {
		c.pq = newPqReader(db)
	}
	return c
}

func (c *conn) expand(q string) string {
	if s, ok := c.expanded.Load(q); ok {
		return s.(string)
	}
	s := c.d.sql(q)
	c.expanded.Store(q, s)
	return s
}

// stmt returns the kept statement of an expanded query, or nil.
func (c *conn) stmt(ctx context.Context, q string) (*sqlx.Stmt, error) {
	if !c.prepare {
		return nil, nil
	}
	if s, ok := c.prepared.Load(q); ok {
		return s.(*sqlx.Stmt), nil
	}
	// No lock: whoever waits for a database that hangs, waits for itself only.
	s, err := c.db.PreparexContext(ctx, q)
	if err != nil {
		return nil, err
	}
	if kept, loaded := c.prepared.LoadOrStore(q, s); loaded {
		s.Close()
		return kept.(*sqlx.Stmt), nil
	}
	return s, nil
}

// check refuses a connection that would send a statement and then, in another
// round trip, its arguments, where statements are not to be kept: a pooler may
// have put the statement of somebody else between them, which would be executed
// with our arguments.
func (c *conn) check(ctx context.Context) error {
	if c.prepare || c.d.name != Postgres || c.unsplit.Load() {
		return nil
	}
	cn, err := c.db.Connx(ctx)
	if err != nil {
		return err
	}
	defer cn.Close()
	err = cn.Raw(refuseSplit)
	c.unsplit.Store(err == nil)
	return err
}

// exec runs a query on x, or as a kept statement on the pool if x is nil, and
// returns how many rows it changed.
func (c *conn) exec(ctx context.Context, x querier, q string, args ...any) (int64, error) {
	args = slices.Clone(args)
	for i, a := range args {
		if b, ok := a.([]byte); ok {
			args[i] = slices.Clone(b) // the driver may hold it longer than the caller
		}
	}
	return wait(ctx, x, func() (n int64, err error) {
		err = c.run(ctx, x, q, func(ctx context.Context, stmt *sqlx.Stmt, x querier, q string) error {
			var res sql.Result
			var err error
			if stmt != nil {
				res, err = stmt.ExecContext(ctx, args...)
			} else {
				res, err = x.ExecContext(ctx, q, args...)
			}
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		return n, err
	})
}

// query is exec for rows: dest is a pointer to a slice, which an error leaves as
// it was.
func (c *conn) query(ctx context.Context, x querier, dest any, q string, args ...any) error {
	return into(ctx, x, dest, func(dest any) error {
		return c.run(ctx, x, q, func(ctx context.Context, stmt *sqlx.Stmt, x querier, q string) error {
			if stmt != nil {
				return stmt.SelectContext(ctx, dest, args...)
			}
			return sqlx.SelectContext(ctx, x, dest, q, args...)
		})
	})
}

// read is query on the pool for a statement that waits for no row: lib/pq is then
// spoken to directly, if possible.
func (c *conn) read(ctx context.Context, dest any, q string, args ...any) error {
	if c.pq != nil {
		to := reflect.ValueOf(dest).Elem()
		rows := &selected{mapper: c.db.Mapper, slice: reflect.New(to.Type()).Elem()}
		if done, err := c.readPq(ctx, q, args, rows); done {
			if err == nil {
				to.Set(rows.slice)
			}
			return err
		}
	}
	err := c.query(ctx, nil, dest, q, args...)
	if err == nil {
		c.pq.trust()
	}
	return err
}

// readRow is read for at most one row, which is scanned into dest: that costs
// every request less than filling a slice of structs. found is false if there is
// none. After an error dest is not to be read.
//
// In the usual way, while few calls are under way, the driver is not told when ctx
// ends: a context that can be cancelled costs database/sql and some drivers a
// goroutine each, which is more than the statement itself. The call comes back in
// any case.
func (c *conn) readRow(ctx context.Context, q string, args []any, dest ...any) (found bool, err error) {
	if c.pq != nil {
		row := &scanned{dest: dest}
		if done, err := c.readPq(ctx, q, args, row); done {
			return row.found, err
		}
	}
	found, err = bounded.Call(ctx, func() (found bool, err error) {
		uncancelled := ctx
		if !c.pq.isWary() {
			if c.uncancelled.Add(1) <= maxUncancelled {
				uncancelled = context.WithoutCancel(ctx)
			}
			defer c.uncancelled.Add(-1)
		}
		err = c.run(ctx, nil, q, func(ctx context.Context, stmt *sqlx.Stmt, x querier, q string) error {
			var err error
			if stmt != nil {
				err = stmt.Stmt.QueryRowContext(uncancelled, args...).Scan(dest...)
			} else {
				err = x.QueryRowxContext(uncancelled, q, args...).Scan(dest...)
			}
			if found = err == nil; errors.Is(err, sql.ErrNoRows) {
				return nil
			}
			return err
		})
		return found, err
	})
	if err == nil {
		c.pq.trust()
	}
	return found, err
}

func (c *conn) readPq(ctx context.Context, q string, args []any, to rowTaker) (done bool, err error) {
	q = c.expand(q)
	err = retry(ctx, func() (err error) {
		done, err = c.pq.read(ctx, q, args, to)
		return err
	})
	return done, c.explain(err)
}

// wait calls fn and does not outlast ctx. Inside a transaction it waits for fn:
// the connection is in use, and whoever opened the transaction does not outlast
// its context.
func wait[T any](ctx context.Context, x querier, fn func() (T, error)) (T, error) {
	if _, pool := x.(unkept); x != nil && !pool {
		return fn()
	}
	return bounded.Call(ctx, fn)
}

// into is wait for what fills a slice.
func into(ctx context.Context, x querier, dest any, fn func(dest any) error) error {
	to := reflect.ValueOf(dest).Elem()
	rows, err := wait(ctx, x, func() (reflect.Value, error) {
		fresh := reflect.New(to.Type())
		err := fn(fresh.Interface())
		return fresh.Elem(), err
	})
	if err == nil {
		to.Set(rows)
	}
	return err
}

func (c *conn) run(ctx context.Context, x querier, q string, fn func(context.Context, *sqlx.Stmt, querier, string) error) error {
	q = c.expand(q)
	pool, ok := x.(unkept)
	if x != nil && !ok { // inside a transaction: whoever opened it retries
		return c.explain(fn(ctx, nil, x, q))
	}
	if err := c.check(ctx); err != nil {
		return err
	}
	if ok {
		return c.explain(retry(ctx, func() error { return fn(ctx, nil, pool, q) }))
	}
	return c.explain(retry(ctx, func() error {
		stmt, err := c.stmt(ctx, q)
		if err != nil {
			return err
		}
		return fn(ctx, stmt, c.db, q)
	}))
}

// many runs a query with a list in it: "@list" becomes the placeholders of list.
// It is never kept as a statement, because lists have all lengths.
func (c *conn) many(ctx context.Context, x querier, dest any, q string, list []string, before, after []any) (int64, error) {
	q = c.expand(strings.Replace(q, "@list", "("+strings.TrimSuffix(strings.Repeat("?,", len(list)), ",")+")", 1))
	args := append([]any(nil), before...)
	for _, v := range list {
		args = append(args, v)
	}
	args = append(args, after...)
	if dest != nil {
		return 0, into(ctx, x, dest, func(dest any) error {
			return c.onPool(ctx, x, func(y querier) error { return sqlx.SelectContext(ctx, y, dest, q, args...) })
		})
	}
	return wait(ctx, x, func() (n int64, err error) {
		err = c.onPool(ctx, x, func(y querier) error {
			res, err := y.ExecContext(ctx, q, args...)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		return n, err
	})
}

// onPool runs fn on x, or on the pool if x is nil, where conflicts are retried.
func (c *conn) onPool(ctx context.Context, x querier, fn func(querier) error) error {
	if x != nil {
		return c.explain(fn(x))
	}
	if err := c.check(ctx); err != nil {
		return err
	}
	return c.explain(retry(ctx, func() error { return fn(c.db) }))
}

var beginSQL = map[Dialect][]string{
	Postgres: {"BEGIN ISOLATION LEVEL READ COMMITTED"},
	MariaDB:  {"SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION"},
	// Taking the write lock at once: a transaction that reads first and then
	// writes fails with SQLITE_BUSY, which no waiting can cure.
	SQLite: {"BEGIN IMMEDIATE"},
}

// tx runs fn in a transaction of its own and retries the whole on conflicts. It
// does not outlast ctx, but fn may: what fn writes to is not to be read after an
// error.
func (c *conn) tx(ctx context.Context, fn func(querier) error) error {
	_, err := bounded.Call(ctx, func() (struct{}, error) {
		return struct{}{}, c.explain(retry(ctx, func() error { return c.txOnce(ctx, fn) }))
	})
	return err
}

func (c *conn) txOnce(ctx context.Context, fn func(querier) error) (err error) {
	if err := c.check(ctx); err != nil {
		return err
	}
	cn, err := c.db.Connx(ctx)
	if err != nil {
		return err
	}
	defer cn.Close()
	begun, done := false, false
	defer func() {
		if done {
			return
		}
		// The context may be what failed; the connection must not go back to
		// the pool inside a transaction.
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if _, rerr := cn.ExecContext(rctx, "ROLLBACK"); rerr != nil && (begun || ctx.Err() != nil) {
			cn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}()
	for _, q := range beginSQL[c.d.name] {
		if _, err := cn.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	begun = true
	if err := fn(cn); err != nil {
		return err
	}
	if _, err := cn.ExecContext(ctx, "COMMIT"); err != nil {
		return err
	}
	done = true
	return nil
}
