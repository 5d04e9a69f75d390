package explore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"

	"github.com/jmoiron/sqlx"
	"modernc.org/sqlite"
)

// openGated opens a SQLite file whose statements are steps. A transaction is one
// step, at its BEGIN: nobody else can write before its end.
func openGated(dsn string) *sqlx.DB {
	return sqlx.NewDb(sql.OpenDB(connector{dsn}), "sqlite")
}

type connector struct{ dsn string }

func (c connector) Driver() driver.Driver { return &sqlite.Driver{} }

func (c connector) Connect(context.Context) (driver.Conn, error) {
	cn, err := (&sqlite.Driver{}).Open(c.dsn)
	if err != nil {
		return nil, err
	}
	return &gateConn{cn}, nil
}

// gateConn passes everything on to the connection of the driver.
type gateConn struct{ driver.Conn }

// title is how a statement is called in a trace.
func title(q string) string {
	f := strings.Fields(q)
	switch {
	case len(f) > 2 && strings.EqualFold(f[0], "UPDATE"):
		rest := strings.Join(f[3:min(len(f), 12)], " ")
		return "sql UPDATE " + rest
	case len(f) > 0:
		return "sql " + strings.Join(f[:min(len(f), 6)], " ")
	}
	return "sql"
}

func gated(ctx context.Context, q string, call func() error) error {
	t := taskOf(ctx)
	if t == nil {
		return call()
	}
	word := strings.ToUpper(strings.TrimSpace(q))
	switch {
	case strings.HasPrefix(word, "BEGIN"):
		ok, err := t.step("sql transaction")
		if !ok {
			return err
		}
		t.inTx, t.lost = true, err // the answer that is lost is that of COMMIT
		return call()
	case t.inTx && (strings.HasPrefix(word, "COMMIT") || strings.HasPrefix(word, "ROLLBACK")):
		t.inTx = false
		if err := call(); err != nil {
			return err
		}
		return t.lost
	case strings.HasPrefix(word, "ROLLBACK"):
		return call()
	case t.inTx:
		return call()
	}
	ok, err := t.step(title(q))
	if !ok {
		return err
	}
	if cerr := call(); cerr != nil {
		return cerr
	}
	return err
}

func (c *gateConn) ExecContext(ctx context.Context, q string, args []driver.NamedValue) (res driver.Result, err error) {
	err = gated(ctx, q, func() (err error) {
		res, err = c.Conn.(driver.ExecerContext).ExecContext(ctx, q, args)
		return err
	})
	return res, err
}

func (c *gateConn) QueryContext(ctx context.Context, q string, args []driver.NamedValue) (rows driver.Rows, err error) {
	err = gated(ctx, q, func() (err error) {
		rows, err = c.Conn.(driver.QueryerContext).QueryContext(ctx, q, args)
		return err
	})
	if err != nil && rows != nil {
		drain(rows)
		rows = nil
	}
	return rows, err
}

// drain reads all rows, so that a statement whose answer is lost has run.
func drain(rows driver.Rows) {
	dest := make([]driver.Value, len(rows.Columns()))
	for rows.Next(dest) == nil {
	}
	rows.Close()
}

func (c *gateConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
}

func (c *gateConn) PrepareContext(ctx context.Context, q string) (driver.Stmt, error) {
	// Preparing is no step: it changes nothing and happens once.
	st, err := c.Conn.(driver.ConnPrepareContext).PrepareContext(context.WithoutCancel(ctx), q)
	if err != nil {
		return nil, err
	}
	return &gateStmt{st, q}, nil
}

type gateStmt struct {
	driver.Stmt
	q string
}

func (s *gateStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (res driver.Result, err error) {
	err = gated(ctx, s.q, func() (err error) {
		res, err = s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
		return err
	})
	return res, err
}

func (s *gateStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (rows driver.Rows, err error) {
	err = gated(ctx, s.q, func() (err error) {
		rows, err = s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
		return err
	})
	if err != nil && rows != nil {
		drain(rows)
		rows = nil
	}
	return rows, err
}
