package pqread

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"
	"time"
)

// connector makes connections that can do nothing, and notes whether the contexts
// it is given have ended.
type connector struct{ ended []bool }

func (c *connector) Driver() driver.Driver { return nil }

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	c.ended = append(c.ended, ctx.Err() != nil)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return idleConn{}, nil
}

type idleConn struct{}

func (idleConn) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }
func (idleConn) Begin() (driver.Tx, error)           { return nil, errors.ErrUnsupported }
func (idleConn) Close() error                        { return nil }

// TestIdleOnly is the canary of onlyIdle, which hangs on the order in which
// database/sql asks a context: once before it takes an idle connection, and again
// before it waits or connects. If a version of Go changes that, this fails, and
// Reader.idle must be written anew.
func TestIdleOnly(t *testing.T) {
	take := func(t *testing.T, db *sql.DB) (*sql.Conn, error) {
		t.Helper()
		type answer struct {
			cn  *sql.Conn
			err error
		}
		back := make(chan answer, 1)
		go func() {
			cn, err := db.Conn(&onlyIdle{Context: context.Background()})
			back <- answer{cn, err}
		}()
		select {
		case a := <-back:
			return a.cn, a.err
		case <-time.After(10 * time.Second):
			t.Fatal("it waits for a connection")
			return nil, nil
		}
	}
	open := func(t *testing.T) (*connector, *sql.DB, *sql.Conn) {
		t.Helper()
		c := &connector{}
		db := sql.OpenDB(c)
		t.Cleanup(func() { db.Close() })
		cn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c, db, cn
	}

	t.Run("one is idle", func(t *testing.T) {
		c, db, cn := open(t)
		cn.Close()
		got, err := take(t, db)
		if err != nil {
			t.Fatalf("the idle connection is not given: %v", err)
		}
		got.Close()
		if len(c.ended) != 1 {
			t.Errorf("%d connections were made, want the first alone", len(c.ended))
		}
	})
	t.Run("none is idle", func(t *testing.T) {
		c, db, cn := open(t)
		defer cn.Close()
		if got, err := take(t, db); err == nil {
			got.Close()
			t.Error("a connection is given that was not idle")
		}
		if len(c.ended) != 2 || !c.ended[1] {
			t.Errorf("contexts that had ended when it connects: %v, want the second", c.ended)
		}
	})
	t.Run("all are in use", func(t *testing.T) {
		c, db, cn := open(t)
		defer cn.Close()
		db.SetMaxOpenConns(1)
		if got, err := take(t, db); err == nil {
			got.Close()
			t.Error("a connection is given that was not idle")
		}
		if len(c.ended) != 1 {
			t.Errorf("%d connections were made, want one", len(c.ended))
		}
	})
}
