// Package sqlspy counts and records what a program asks of its database. It
// wraps a database/sql connector. It imports only the standard library.
package sqlspy

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"sync"
)

// A Call is one thing the program asked the database for.
type Call struct {
	Query    string
	Args     []any
	Prepare  bool // the preparation of a statement, not its execution
	Prepared bool // the execution of a prepared statement
}

// A Spy sees every call of the pools opened through it.
type Spy struct {
	// Hook, if set, is called before each call that has a context, and the
	// function it returns is called after that. Nothing is recorded then. It
	// must be safe for concurrent use, and is set before the first pool is
	// opened.
	Hook func(ctx context.Context) (after func())

	// Lost, if set, is asked after each call that has worked whether its answer
	// is lost. The spy then says that the connection was bad, as lib/pq does,
	// so that database/sql asks again. It is set before the first pool is
	// opened.
	Lost func(query string) bool

	mu    sync.Mutex
	calls []Call
}

// Take returns the calls since the last Take.
func (s *Spy) Take() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return slices.Clip(calls)
}

// see notes a call that is about to be made and returns what is to be called
// after it.
func (s *Spy) see(ctx context.Context, c Call) (after func()) {
	if s.Hook != nil {
		return s.Hook(ctx)
	}
	s.note(c)
	return func() {}
}

func (s *Spy) note(c Call) {
	if s.Hook != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, c)
}

// lost reports whether the answer to a query that has worked is lost.
func (s *Spy) lost(query string, err error) bool { return err == nil && s.Lost != nil && s.Lost(query) }

// Open opens a pool of the driver that is registered under a name.
func (s *Spy) Open(name, dsn string) (*sql.DB, error) {
	probe, err := sql.Open(name, dsn)
	if err != nil {
		return nil, err
	}
	defer probe.Close()
	return sql.OpenDB(&connector{s, probe.Driver(), dsn}), nil
}

type connector struct {
	spy    *Spy
	driver driver.Driver
	dsn    string
}

func (c *connector) Driver() driver.Driver { return c.driver }

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	var inner driver.Conn
	var err error
	if d, ok := c.driver.(driver.DriverContext); ok {
		var cn driver.Connector
		if cn, err = d.OpenConnector(c.dsn); err == nil {
			inner, err = cn.Connect(ctx)
		}
	} else {
		inner, err = c.driver.Open(c.dsn)
	}
	if err != nil {
		return nil, err
	}
	return &conn{Conn: inner, spy: c.spy}, nil
}

// conn passes on what database/sql asks for where the driver can do it.
type conn struct {
	driver.Conn
	spy *Spy
}

var (
	_ driver.ConnPrepareContext = (*conn)(nil)
	_ driver.ConnBeginTx        = (*conn)(nil)
	_ driver.ExecerContext      = (*conn)(nil)
	_ driver.QueryerContext     = (*conn)(nil)
	_ driver.SessionResetter    = (*conn)(nil)
	_ driver.Validator          = (*conn)(nil)
	_ driver.NamedValueChecker  = (*conn)(nil)
	_ driver.Pinger             = (*conn)(nil)
)

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	defer c.spy.see(ctx, Call{Query: query, Prepare: true})()
	var inner driver.Stmt
	var err error
	if p, ok := c.Conn.(driver.ConnPrepareContext); ok {
		inner, err = p.PrepareContext(ctx, query)
	} else {
		inner, err = c.Conn.Prepare(query)
	}
	if err != nil {
		return nil, err
	}
	return &stmt{inner, c, query}, nil
}

func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	defer c.spy.see(ctx, Call{Query: "BEGIN"})()
	b, ok := c.Conn.(driver.ConnBeginTx)
	if !ok {
		return nil, errors.New("sqlspy: the driver has no BeginTx")
	}
	inner, err := b.BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &tx{inner, c.spy}, nil
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	e, ok := c.Conn.(driver.ExecerContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	defer c.spy.see(ctx, Call{Query: query, Args: values(args)})()
	res, err := e.ExecContext(ctx, query, args)
	if c.spy.lost(query, err) {
		return nil, driver.ErrBadConn
	}
	return res, err
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	q, ok := c.Conn.(driver.QueryerContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	defer c.spy.see(ctx, Call{Query: query, Args: values(args)})()
	rows, err := q.QueryContext(ctx, query, args)
	if c.spy.lost(query, err) {
		return nil, errors.Join(exhaust(rows), driver.ErrBadConn)
	}
	return rows, err
}

func (c *conn) ResetSession(ctx context.Context) error {
	if r, ok := c.Conn.(driver.SessionResetter); ok {
		return r.ResetSession(ctx)
	}
	return nil
}

func (c *conn) IsValid() bool {
	v, ok := c.Conn.(driver.Validator)
	return !ok || v.IsValid()
}

func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if n, ok := c.Conn.(driver.NamedValueChecker); ok {
		return n.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// Ping is no call of the program's own.
func (c *conn) Ping(ctx context.Context) error {
	if p, ok := c.Conn.(driver.Pinger); ok {
		return p.Ping(ctx)
	}
	return nil
}

type stmt struct {
	driver.Stmt
	conn  *conn
	query string
}

var (
	_ driver.StmtExecContext   = (*stmt)(nil)
	_ driver.StmtQueryContext  = (*stmt)(nil)
	_ driver.NamedValueChecker = (*stmt)(nil)
)

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	defer s.conn.spy.see(ctx, Call{Query: s.query, Args: values(args), Prepared: true})()
	if e, ok := s.Stmt.(driver.StmtExecContext); ok {
		res, err := e.ExecContext(ctx, args)
		if s.conn.spy.lost(s.query, err) {
			return nil, driver.ErrBadConn
		}
		return res, err
	}
	//lint:ignore SA1019 the driver under it may have nothing newer
	return s.Stmt.Exec(plain(args))
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	defer s.conn.spy.see(ctx, Call{Query: s.query, Args: values(args), Prepared: true})()
	if q, ok := s.Stmt.(driver.StmtQueryContext); ok {
		rows, err := q.QueryContext(ctx, args)
		if s.conn.spy.lost(s.query, err) {
			return nil, errors.Join(exhaust(rows), driver.ErrBadConn)
		}
		return rows, err
	}
	//lint:ignore SA1019 the driver under it may have nothing newer
	return s.Stmt.Query(plain(args))
}

func (s *stmt) CheckNamedValue(v *driver.NamedValue) error {
	if n, ok := s.Stmt.(driver.NamedValueChecker); ok {
		return n.CheckNamedValue(v)
	}
	return s.conn.CheckNamedValue(v)
}

// exhaust reads rows to their end: some drivers change nothing before.
func exhaust(rows driver.Rows) error {
	values := make([]driver.Value, len(rows.Columns()))
	var err error
	for err == nil {
		err = rows.Next(values)
	}
	if err == io.EOF {
		err = nil
	}
	return errors.Join(err, rows.Close())
}

type tx struct {
	driver.Tx
	spy *Spy
}

func (t *tx) Commit() error {
	t.spy.note(Call{Query: "COMMIT"})
	return t.Tx.Commit()
}

func (t *tx) Rollback() error {
	t.spy.note(Call{Query: "ROLLBACK"})
	return t.Tx.Rollback()
}

func values(args []driver.NamedValue) []any {
	out := make([]any, len(args))
	for i, a := range args {
		out[i] = a.Value
	}
	return out
}

func plain(args []driver.NamedValue) []driver.Value {
	out := make([]driver.Value, len(args))
	for i, a := range args {
		out[i] = a.Value
	}
	return out
}
