// Package sqldb runs statements on an SQL database, on its pool, in a
// transaction of ours or in one of the application.
//
// It expands the macros in which databases differ, keeps prepared statements,
// comes back when a context ends, and tries again after a conflict. It may import
// internal/pqread, internal/bounded and internal/bubble. It must never name a table. The owner of a
// table hands in its words.
package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/jmoiron/sqlx/reflectx"

	"github.com/seed-296ca7ab/usersession/internal/bounded"
	"github.com/seed-296ca7ab/usersession/internal/bubble"
	"github.com/seed-296ca7ab/usersession/internal/pqread"
)

// Querier runs statements. It is a [DB], an [Unkept] or a [Tx].
//
// Exec returns how many rows a statement has changed. Select fills the slice that
// dest points to, of structs or of values, which an error leaves as it was.
type Querier interface {
	Exec(ctx context.Context, q string, args ...any) (int64, error)
	Select(ctx context.Context, dest any, q string, args ...any) error
}

// List is an argument that is many. "@list" becomes its placeholders. It must not
// be empty. Lists have all lengths, so that an [Unkept] and a [Tx] take them and a
// [DB] does not.
type List []any

// ListOf returns a List of texts.
func ListOf(texts []string) List {
	list := make(List, len(texts))
	for i, t := range texts {
		list[i] = t
	}
	return list
}

// DB runs statements on the pool. Their texts are constants or one of a few,
// because their expansion is kept, and a prepared statement of each. It is safe for
// concurrent use.
type DB struct {
	pool     *sqlx.DB
	dialect  Dialect
	words    Words
	inBubble bool // the clock is that of the program, see package bubble
	std      *std
	runner   runner
	highest  atomic.Int32 // letter of a [Text], once it was asked for
	expanded sync.Map     // query with macros: string
}

// New returns a DB on a pool. words are those of the tables, and may be nil. If
// prepare is false, no prepared statements are kept.
func New(pool *sqlx.DB, d Dialect, words Words, prepare bool) *DB {
	s := &std{pool: pool, prepare: prepare, mayBeSplit: !prepare && d == Postgres, mayBeSet: d == MariaDB}
	var on Native
	if pool != nil {
		on, _ = pool.Driver().(Native)
		s.heeds = on != nil || heedful[driverPackage(pool.Driver())]
	}
	db := &DB{pool: pool, dialect: d, words: words, std: s, runner: s, inBubble: pool != nil && bubble.Of(pool.DB) != nil}
	if prepare && d == Postgres && !db.inBubble {
		if on != nil {
			db.runner = &native{on, pool.Mapper}
		} else if r := pqread.New(pool); r != nil {
			db.runner = &libPQ{s, r}
		} else if s.heeds {
			db.runner = &direct{std: s}
		}
	}
	return db
}

// Pool returns the pool.
func (db *DB) Pool() *sqlx.DB { return db.pool }

// Dialect returns the dialect of the database.
func (db *DB) Dialect() Dialect { return db.dialect }

// Pooled reports whether a pooler may give each transaction another connection of
// the server. It may where no prepared statements are kept.
func (db *DB) Pooled() bool { return !db.std.prepare }

// Expand returns a query without macros. A query with a list keeps "@list" and its
// question marks, because its text depends on the list.
func (db *DB) Expand(q string) string {
	if db.inBubble {
		return db.expand(q)
	}
	if s, ok := db.expanded.Load(q); ok {
		return s.(string)
	}
	s := db.expand(q)
	db.expanded.Store(q, s)
	return s
}

// expand is Expand, and keeps nothing.
func (db *DB) expand(q string) string {
	c := clockSQL[db.dialect]
	if db.inBubble {
		c = c.standing(time.Now())
	}
	return db.dialect.expand(q, db.words, c)
}

// kept returns a statement of which the text is kept, and a prepared one with it. In a
// bubble each text has its time.
func (db *DB) kept(q string, args []any) statement {
	return statement{text: db.Expand(q), args: args, kept: !db.inBubble}
}

// Exec implements Querier.
func (db *DB) Exec(ctx context.Context, q string, args ...any) (int64, error) {
	return db.exec(ctx, db.kept(q, args))
}

// Select implements Querier.
func (db *DB) Select(ctx context.Context, dest any, q string, args ...any) error {
	return db.rows(ctx, db.kept(q, args), dest)
}

// Read is Select for a statement that changes nothing and waits for no lock of a
// row.
func (db *DB) Read(ctx context.Context, dest any, q string, args ...any) error {
	s := db.kept(q, args)
	s.read = true
	return db.rows(ctx, s, dest)
}

// ReadRow is Read for at most one row, which is scanned into dest. That costs every
// request less than filling a slice of structs. found is false if there is none.
// After an error dest must not be read.
func (db *DB) ReadRow(ctx context.Context, q string, args []any, dest ...any) (found bool, err error) {
	s := db.kept(q, args)
	s.read = true
	if found, err = db.runner.row(ctx, s, dest); err == nil {
		return found, nil // without the closures of what follows, in each request
	}
	return db.rowAgain(ctx, s, dest, s.lost(err))
}

// rowAgain goes on with a ReadRow that has failed.
func (db *DB) rowAgain(ctx context.Context, s statement, dest []any, failed error) (found bool, err error) {
	err = db.retry(ctx, func() (err error) {
		if err, failed = failed, nil; err == nil {
			found, err = db.runner.row(ctx, s, dest)
			err = s.lost(err)
		}
		return err
	})
	return found, explain(ctx, err)
}

func (db *DB) exec(ctx context.Context, s statement) (n int64, err error) {
	err = db.retry(ctx, func() (err error) {
		if s.args, err = db.texts(ctx, db.pool, s.args); err != nil {
			return err
		}
		n, err = db.runner.exec(ctx, s)
		return err
	})
	return n, explain(ctx, err)
}

func (db *DB) rows(ctx context.Context, s statement, dest any) error {
	return explain(ctx, db.retry(ctx, func() (err error) {
		if s.args, err = db.texts(ctx, db.pool, s.args); err != nil {
			return err
		}
		return s.lost(db.runner.rows(ctx, s, dest))
	}))
}

// Unkept is the pool for statements of which nothing is kept. There are too
// many texts, or the plan of one must not outlive its arguments.
type Unkept struct{ db *DB }

// Unkept returns the pool for statements of which nothing is kept.
func (db *DB) Unkept() Unkept { return Unkept{db} }

// Exec implements Querier.
func (u Unkept) Exec(ctx context.Context, q string, args ...any) (int64, error) {
	return u.db.exec(ctx, u.statement(q, args))
}

// Select implements Querier.
func (u Unkept) Select(ctx context.Context, dest any, q string, args ...any) error {
	return u.db.rows(ctx, u.statement(q, args), dest)
}

func (u Unkept) statement(q string, args []any) statement {
	q, args = u.db.dialect.fill(u.db.expand(q), args)
	return statement{text: q, args: args}
}

// Tx runs statements in a transaction. A statement in it is not tried again, and
// does not come back before the driver does. The code that opened the transaction
// sees to both.
type Tx struct {
	db *DB
	on Transaction
}

// Transaction can execute and query. It is a *sql.Tx, a *sqlx.Tx, or a
// connection with a transaction under way.
type Transaction interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// In returns a transaction that the application has opened.
func (db *DB) In(tx Transaction) Tx { return Tx{db, tx} }

// Exec implements Querier.
func (tx Tx) Exec(ctx context.Context, q string, args ...any) (int64, error) {
	q, args, err := tx.ready(ctx, q, args)
	if err != nil {
		return 0, explain(ctx, err)
	}
	n, err := changed(tx.on.ExecContext(ctx, q, args...))
	return n, explain(ctx, err)
}

// Select implements Querier.
func (tx Tx) Select(ctx context.Context, dest any, q string, args ...any) error {
	q, args, err := tx.ready(ctx, q, args)
	if err != nil {
		return explain(ctx, err)
	}
	return explain(ctx, sqlx.SelectContext(ctx, queryer{tx.on, tx.db.pool.Mapper}, dest, q, args...))
}

// ready returns a statement and its arguments as the database wants them.
func (tx Tx) ready(ctx context.Context, q string, args []any) (string, []any, error) {
	if err := tx.db.std.checkSettings(ctx, tx.on); err != nil {
		return "", nil, err
	}
	args, err := tx.db.texts(ctx, tx.on, args)
	q, args = tx.db.dialect.fill(tx.db.Expand(q), args)
	return q, args, err
}

// queryer has sqlx scan the rows of a Transaction.
type queryer struct {
	Transaction
	mapper *reflectx.Mapper
}

func (q queryer) QueryxContext(ctx context.Context, query string, args ...any) (*sqlx.Rows, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return &sqlx.Rows{Rows: rows, Mapper: q.mapper}, nil
}

func (queryer) QueryRowxContext(context.Context, string, ...any) *sqlx.Row {
	panic("usersession: sqlx.SelectContext asks for rows")
}

var beginSQL = map[Dialect][]string{
	Postgres: {"BEGIN ISOLATION LEVEL READ COMMITTED"},
	MariaDB:  {"SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION"},
	// Taking the write lock at once: a transaction that reads first and then
	// writes fails with SQLITE_BUSY, which no waiting can cure.
	SQLite: {"BEGIN IMMEDIATE"},
}

// Tx runs fn in a transaction of its own and retries the whole on conflicts, and if
// its connection is lost before COMMIT was sent. It does not outlast ctx, but fn may.
// So the variables that fn writes to must not be read after an error.
func (db *DB) Tx(ctx context.Context, fn func(Tx) error) error {
	return explain(ctx, db.retry(ctx, func() error {
		_, err := bounded.Call(ctx, func() (struct{}, error) {
			return struct{}{}, db.once(ctx, func(cn *sqlx.Conn) error { return fn(Tx{db, cn}) })
		})
		return err
	}))
}

// retry is retry for what may ail each connection of the pool, by what the driver has
// kept on it or because it was cut. If every one fails, there is another reason.
func (db *DB) retry(ctx context.Context, fn func() error) error {
	stale := -1 // connections that may be ill; -1: not known
	return retry(ctx, func() error {
		err := fn()
		u, again := errors.AsType[undone](err)
		if !again || !refused(err) && !cut(err) {
			return err
		}
		if stale < 0 {
			stale = db.pool.Stats().OpenConnections + 1
			if d, ok := db.runner.(*native); ok {
				stale += d.on.Conns()
			}
		}
		if stale--; stale < 0 {
			return u.error
		}
		return err
	})
}

// Begin is Tx for migrations. fn gets the connection itself, its errors are
// returned as they are, and Begin lasts as long as the driver does.
func (db *DB) Begin(ctx context.Context, fn func(*sqlx.Conn) error) error {
	return retry(ctx, func() error { return db.once(ctx, fn) })
}

func (db *DB) once(ctx context.Context, fn func(*sqlx.Conn) error) (err error) {
	if err := db.std.check(ctx); err != nil {
		return err
	}
	cn, err := db.pool.Connx(ctx)
	if err != nil {
		return err
	}
	defer cn.Close()
	begun, committing, done := false, false, false
	defer func() {
		if done {
			return
		}
		// The context may be what failed; the connection must not go back to
		// the pool inside a transaction.
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, rerr := cn.ExecContext(rctx, "ROLLBACK")
		if rerr != nil && (begun || ctx.Err() != nil) {
			cn.Raw(func(any) error { return driver.ErrBadConn })
		}
		// Drivers have many words for a connection that is gone. On SQLite, which
		// has none, the transaction may have ended by itself.
		gone := rerr != nil && rctx.Err() == nil && db.dialect != SQLite
		if err != nil && !committing && refused(err) {
			// Its next statement may be as old. A new connection has kept none.
			cn.Raw(func(any) error { return driver.ErrBadConn })
			gone = true
		}
		if err != nil && !committing && gone {
			err = undone{err}
		}
	}()
	for _, q := range beginSQL[db.dialect] {
		if _, err := cn.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	begun = true
	if err := fn(cn); err != nil {
		return err
	}
	committing = true
	if _, err := cn.ExecContext(ctx, "COMMIT"); err != nil {
		return unknownOutcome{err}
	}
	done = true
	return nil
}

// changed returns how many rows a statement has changed.
func changed(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// Pause waits for d, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
