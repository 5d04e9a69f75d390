package explore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"strings"
	"sync"

	"github.com/jmoiron/sqlx"
)

// gatedDB is a SQLite database in memory whose statements are steps. A
// transaction is one step, at its BEGIN: nobody else can write before its end.
//
// It has one real connection, however many database/sql thinks there are: only
// one operation moves at a time, and none stops inside a transaction.
type gatedDB struct {
	clock *clock

	mu   sync.Mutex
	conn driver.Conn
	kept map[string]driver.Stmt
}

// openGated opens an empty database. Close of the result closes it.
func openGated(c *clock) (*sqlx.DB, *gatedDB, error) {
	conn, err := sqliteDriver().Open(":memory:")
	if err != nil {
		return nil, nil, err
	}
	d := &gatedDB{clock: c, conn: conn, kept: map[string]driver.Stmt{}}
	db := sqlx.NewDb(sql.OpenDB(d), "sqlite")
	db.SetMaxIdleConns(16)
	return db, d, nil
}

// Connect implements driver.Connector.
func (d *gatedDB) Connect(context.Context) (driver.Conn, error) { return &gateConn{d}, nil }

// Driver implements driver.Connector.
func (d *gatedDB) Driver() driver.Driver { return sqliteDriver() }

// Close is called by sql.DB.Close.
func (d *gatedDB) Close() error {
	for _, st := range d.kept {
		st.Close()
	}
	return d.conn.Close()
}

// stmt returns the kept statement of a query. The caller has locked d.
func (d *gatedDB) stmt(q string) (driver.Stmt, error) {
	if st, ok := d.kept[q]; ok {
		return st, nil
	}
	if q == "PRAGMA database_list" {
		// New refuses a database in memory, of which each connection would have
		// another one. Here all have the same.
		q = "SELECT 0 AS seq, 'main' AS name, 'shared' AS file"
	}
	st, err := d.conn.Prepare(d.clock.sql(q))
	if err == nil {
		d.kept[q] = st
	}
	return st, err
}

func (d *gatedDB) exec(q string, args []driver.NamedValue) (driver.Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := strings.Count(q, ";"); n > 1 { // a script: not one statement
		return d.conn.(driver.ExecerContext).ExecContext(context.Background(), d.clock.sql(q), args)
	}
	st, err := d.stmt(q)
	if err != nil {
		return nil, err
	}
	return st.(driver.StmtExecContext).ExecContext(context.Background(), args)
}

// query reads all rows at once, so that a statement whose answer is lost has run,
// and nothing stays open when somebody else moves.
func (d *gatedDB) query(q string, args []driver.NamedValue) (driver.Rows, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	st, err := d.stmt(q)
	if err != nil {
		return nil, err
	}
	rows, err := st.(driver.StmtQueryContext).QueryContext(context.Background(), args)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := &readRows{columns: rows.Columns()}
	for {
		dest := make([]driver.Value, len(all.columns))
		switch err := rows.Next(dest); err {
		case nil:
			all.rows = append(all.rows, dest)
		case io.EOF:
			return all, nil
		default:
			return nil, err
		}
	}
}

type readRows struct {
	columns []string
	rows    [][]driver.Value
}

func (r *readRows) Columns() []string { return r.columns }
func (r *readRows) Close() error      { return nil }
func (r *readRows) Next(dest []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	copy(dest, r.rows[0])
	r.rows = r.rows[1:]
	return nil
}

// gateConn is a connection of the pool.
type gateConn struct{ db *gatedDB }

// gated makes a call a step of the operation that makes it, if there is one.
func gated(ctx context.Context, q string, call func() error) error {
	t := taskOf(ctx)
	if t == nil || t.owns != nil && !t.owns(q) {
		return call()
	}
	word, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(q)), " ")
	word, _, _ = strings.Cut(word, "\n")
	switch {
	case word == "BEGIN":
		ok, err := t.step(step{side: sqlSide, name: q, write: true})
		if !ok {
			return err
		}
		t.inTx, t.lost = true, err // the answer that is lost is that of COMMIT
		return call()
	case t.inTx && (word == "COMMIT" || word == "ROLLBACK"):
		t.inTx = false
		if err := call(); err != nil {
			return err
		}
		return t.lost
	case word == "ROLLBACK", t.inTx:
		return call()
	}
	s := step{side: sqlSide, name: q, write: word != "SELECT"}
	ok, err := t.step(s)
	if !ok {
		return err
	}
	if cerr := call(); cerr != nil {
		return cerr
	}
	if t.late != nil && t.late(s) {
		t.step(step{side: timeSide, name: "the answer comes"})
	}
	return err
}

func (c *gateConn) ExecContext(ctx context.Context, q string, args []driver.NamedValue) (res driver.Result, err error) {
	err = gated(ctx, q, func() (err error) {
		res, err = c.db.exec(q, args)
		return err
	})
	return res, err
}

func (c *gateConn) QueryContext(ctx context.Context, q string, args []driver.NamedValue) (rows driver.Rows, err error) {
	err = gated(ctx, q, func() (err error) {
		rows, err = c.db.query(q, args)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// Preparing is no step: it changes nothing and happens once.
func (c *gateConn) Prepare(q string) (driver.Stmt, error) { return &gateStmt{c, q}, nil }

func (c *gateConn) Close() error { return nil }
func (c *gateConn) Begin() (driver.Tx, error) {
	panic("explore: the library begins transactions in SQL")
}

type gateStmt struct {
	c *gateConn
	q string
}

func (s *gateStmt) Close() error  { return nil }
func (s *gateStmt) NumInput() int { return -1 }

func (s *gateStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.c.ExecContext(ctx, s.q, args)
}

func (s *gateStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.c.QueryContext(ctx, s.q, args)
}

func (s *gateStmt) Exec([]driver.Value) (driver.Result, error) { panic("explore: no context") }
func (s *gateStmt) Query([]driver.Value) (driver.Rows, error)  { panic("explore: no context") }
