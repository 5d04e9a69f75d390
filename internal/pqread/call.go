package pqread

import (
	"context"
	"database/sql/driver"
	"sync"
)

// call is one attempt.
type call struct {
	d     *Reader
	ctx   context.Context
	q     string
	args  []any
	to    rowTaker
	conn  driver.Conn
	kept  bool     // the connection was not known
	stale bool     // the statement has to be prepared again
	err   error    // what became of it
	room  struct { // for what most reads need
		args   [2]driver.NamedValue
		values [6]driver.Value
	}

	mu    sync.Mutex
	looks int  // of tick
	ended bool // its context had, at the last tick
	late  bool // its connection has been closed
	back  bool // it is over
}

// run is for sql.Conn.Raw. Its error says that the connection is not to be used
// again.
func (c *call) run(dc any) error {
	if !IsLibPQ(dc) {
		c.d.off.Store(true)
		return driver.ErrSkip
	}
	c.conn = dc.(driver.Conn)
	var on *conn
	on, c.kept = c.d.begin(c)
	defer on.call.Store(nil)
	c.d.watch()
	c.err = c.read(on.stmts)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.back = true
	if c.late || c.err != nil && SQLState(c.err) == "" {
		c.d.forget(c.conn)
		return driver.ErrBadConn // who knows what is left in it
	}
	return nil
}

func (c *call) read(stmts map[string]driver.Stmt) error {
	stmt, ok := stmts[c.q]
	if !ok {
		var err error
		if stmt, err = c.conn.Prepare(c.q); err != nil {
			return err
		}
		stmts[c.q] = stmt
	}
	err := c.rows(stmt)
	if err != nil {
		switch SQLState(err) {
		case "26000", "0A000": // somebody deallocated it, or has altered the table
			c.stale = true
			delete(stmts, c.q)
		}
	}
	return err
}

func (c *call) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.looks++; c.looks > 1 {
		c.d.wary.Store(true)
	}
	switch {
	case c.back, c.late, c.ctx.Err() == nil:
	case c.ended:
		c.late = true
		c.d.distrust()
		go c.conn.Close() // its read comes back then
	default:
		c.ended = true
	}
}

func (c *call) rows(stmt driver.Stmt) error {
	args, err := valuesIn(c.room.args[:0], c.args)
	if err != nil {
		return err
	}
	// Not c.ctx: it costs lib/pq a goroutine.
	rows, err := stmt.(driver.StmtQueryContext).QueryContext(context.Background(), args)
	if err != nil {
		return err
	}
	return drain(rows, c.to, c.room.values[:])
}

// Values returns arguments as a driver takes them.
func Values(args []any) ([]driver.NamedValue, error) {
	return valuesIn(make([]driver.NamedValue, 0, len(args)), args)
}

func valuesIn(values []driver.NamedValue, args []any) ([]driver.NamedValue, error) {
	for i, a := range args {
		v, err := driver.DefaultParameterConverter.ConvertValue(a)
		if err != nil {
			return nil, err
		}
		values = append(values, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return values, nil
}
