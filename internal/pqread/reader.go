// Package pqread runs reads on connections of the driver lib/pq itself, without a
// goroutine for each.
//
// It may import internal/bounded. It is the only package that knows lib/pq, by the
// name of its types, and it must never import a driver. It must never run a
// statement that writes, because the server goes on with a statement after its
// connection was closed.
package pqread

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
)

// Reader runs reads on a connection of lib/pq itself, with statements kept there.
//
// lib/pq waits for a server that does not answer as long as the connection lasts,
// whatever its context says. There are two ways to come back earlier. One
// leaves a goroutine behind, which costs every statement the hand-over to it
// (internal/bounded). The other closes the connection under the wait, which
// costs only those that wait too long. It has to speak to the driver, because
// database/sql does not say which connection a statement is on. lib/pq's own
// Listener closes connections from another goroutine, too.
//
// A statement has no timer of its own, which would wake another thread each
// time. While statements are under way, one timer looks at all of them now and
// then.
//
// A Reader runs reads only. The server goes on with a statement that it was
// sent, and a write would be done long after it was reported as failed.
type Reader struct {
	db       *sqlx.DB
	conns    sync.Map // driver.Conn: *conn
	kept     atomic.Int64
	taking   atomic.Int64 // calls that are about to take a connection
	watching atomic.Bool
	start    time.Time
	heard    atomic.Int64 // when the server last answered, since start
	growAt   atomic.Int64 // when the pool may be made to grow, since start
	// wary is set while the server may be hanging, which a statement says that
	// takes longer than a tick, and at first. Statements are then run in the usual
	// way, until one is answered, and for hold if a connection was closed: those
	// that wait for a lock on the table are cancelled there, instead of left to
	// the server, which would run out of connections.
	wary atomic.Bool
	off  atomic.Bool // the connections are not lib/pq's own after all

	mu      sync.Mutex
	hold    time.Duration // how long it stays wary after it closed a connection
	waryTil time.Duration // since start
}

// A connection that is closed leaves its statement to the server: one that waits
// for a lock, of a table that few reads need, would fill it up with others like
// it while the rest are answered. So whoever has closed one stays wary, twice as
// long each time.
const (
	firstHold = 10 * time.Second
	mostHold  = 10 * time.Minute
)

// recent is how long ago the server may have answered for a read to be run here:
// the pool may have to close a connection before it gives one, and waits for the
// server when it does.
const recent = time.Second

// conn is what is kept of a connection. Only who has put a call there uses it.
type conn struct {
	call  atomic.Pointer[call] // under way
	stmts map[string]driver.Stmt
	used  bool // since the last sweep
}

// tick is how often statements under way are looked at. One whose context has
// ended has until the next time to come back by itself: a client that hangs up is
// not worth a connection.
const tick = 50 * time.Millisecond

const libPQ = "github.com/lib/pq"

// IsLibPQ reports whether a driver, or a connection of one, is lib/pq's own and not
// that of a package around it.
func IsLibPQ(v any) bool {
	t := reflect.TypeOf(v)
	return t != nil && t.Kind() == reflect.Pointer && t.Elem().PkgPath() == libPQ
}

// New returns nil for the pool of another driver.
func New(db *sqlx.DB) *Reader {
	if !IsLibPQ(db.Driver()) {
		return nil
	}
	d := &Reader{db: db, start: time.Now()}
	d.wary.Store(true)
	return d
}

// Row reads at most one row into dest. found is false if there is none. After an
// error dest must not be read.
//
// done is false if the statement has to be run in the usual way. Then nothing
// is known of the server, or no connection is idle, and lib/pq heeds no context
// while it connects either.
func (d *Reader) Row(ctx context.Context, q string, args, dest []any) (found, done bool, err error) {
	row := &scanned{dest: dest}
	done, err = d.read(ctx, q, args, row)
	return row.found, done, err
}

// Rows is Row for any number of rows. dest is a pointer to a slice of structs or
// of strings, which an error leaves as it was.
func (d *Reader) Rows(ctx context.Context, q string, args []any, dest any) (done bool, err error) {
	to := reflect.ValueOf(dest).Elem()
	rows := &selected{mapper: d.db.Mapper, slice: reflect.New(to.Type()).Elem()}
	if done, err = d.read(ctx, q, args, rows); done && err == nil {
		to.Set(rows.slice)
	}
	return done, err
}

func (d *Reader) read(ctx context.Context, q string, args []any, to rowTaker) (done bool, err error) {
	if d.Wary() || d.off.Load() || time.Since(d.start)-time.Duration(d.heard.Load()) > recent {
		return false, nil
	}
	if err := ctx.Err(); err != nil {
		return true, err
	}
	for range 2 { // a connection that was idle may be dead
		cn := d.idle(ctx)
		if cn == nil {
			return false, nil
		}
		call := call{d: d, ctx: ctx, q: q, args: args, to: to}
		bad := cn.Raw(call.run)
		cn.Close()
		if call.kept {
			d.sweep()
		}
		switch {
		case call.late:
			return true, fmt.Errorf("no answer: %w", ctx.Err())
		case call.err == nil && bad != nil: // not begun
		case errors.Is(call.err, driver.ErrBadConn), call.stale: // once more
		default:
			d.hear()
			return true, call.err
		}
	}
	return false, nil
}

// idle takes a connection if one is idle, and sees to it that one will be.
//
// A pool made of a connection string asks no context before it connects. So the
// last idle connection is left alone, unless the pool may not connect: by the time
// it is asked for it may be somebody else's.
func (d *Reader) idle(ctx context.Context) *sql.Conn {
	n := int(d.taking.Add(1))
	defer d.taking.Add(-1)
	s := d.db.Stats()
	if full := s.MaxOpenConnections > 0 && s.OpenConnections >= s.MaxOpenConnections; !full && s.Idle <= n {
		d.grow(n+1, s)
		return nil
	}
	if s.Idle == 0 {
		return nil
	}
	cn, err := d.db.Conn(&onlyIdle{Context: ctx})
	if err != nil {
		return nil
	}
	return cn
}

// grow has the pool open connections until n are idle, if there is room: beside
// the requests, and at most once a second. While one is opened it holds those that
// are idle, for growHold at most.
func (d *Reader) grow(n int, s sql.DBStats) {
	if s.MaxOpenConnections > 0 && s.InUse+n > s.MaxOpenConnections {
		return
	}
	now := time.Since(d.start)
	at := d.growAt.Load()
	// A minute, if it does not come back, or does not keep them.
	if now < time.Duration(at) || !d.growAt.CompareAndSwap(at, int64(now+time.Minute)) {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), growHold)
		defer cancel()
		var conns []*sql.Conn
		for range n {
			cn, err := d.db.Conn(ctx)
			if err != nil {
				break
			}
			time.AfterFunc(growHold, func() { cn.Close() }) // connecting may hang
			conns = append(conns, cn)
		}
		for _, cn := range conns {
			cn.Close()
		}
		if d.db.Stats().MaxIdleClosed == s.MaxIdleClosed {
			d.growAt.Store(int64(time.Since(d.start) + time.Second))
		}
	}()
}

const growHold = 100 * time.Millisecond

// watch sees to it that somebody looks at the calls under way.
func (d *Reader) watch() {
	if !d.watching.Load() && d.watching.CompareAndSwap(false, true) {
		time.AfterFunc(tick, d.tick)
	}
}

func (d *Reader) tick() {
	if d.look() {
		time.AfterFunc(tick, d.tick)
		return
	}
	d.watching.Store(false)
	if d.look() { // one that began before it could know
		d.watch()
	}
}

// look interrupts the calls that are late and reports whether any are under way.
func (d *Reader) look() (busy bool) {
	d.conns.Range(func(_, known any) bool {
		if c := known.(*conn).call.Load(); c != nil && c != swept {
			busy = true
			c.look()
		}
		return true
	})
	return busy
}

// begin notes that a call is under way and returns what is kept of its
// connection, and whether that is new.
func (d *Reader) begin(call *call) (c *conn, kept bool) {
	if known, ok := d.conns.Load(call.conn); ok {
		c := known.(*conn)
		if c.call.CompareAndSwap(nil, call) {
			c.used = true
			return c, false
		}
	}
	c = &conn{stmts: make(map[string]driver.Stmt), used: true}
	c.call.Store(call)
	if _, ok := d.conns.Swap(call.conn, c); !ok {
		d.kept.Add(1)
	}
	return c, true
}

// swept stands for the call of a connection that is about to be forgotten.
var swept = new(call)

// sweep forgets connections that were not used since the last time, if more are
// kept than can be open: nobody tells when the pool closes one. If it is open
// after all, its statements are prepared again.
func (d *Reader) sweep() {
	if d.kept.Load() <= int64(2*d.db.Stats().OpenConnections+8) {
		return
	}
	d.conns.Range(func(dc, known any) bool {
		c := known.(*conn)
		if !c.call.CompareAndSwap(nil, swept) {
			return true
		}
		if c.used {
			c.used = false
			c.call.Store(nil)
		} else if d.conns.CompareAndDelete(dc, known) {
			d.kept.Add(-1)
		}
		return true
	})
}

func (d *Reader) forget(dc driver.Conn) {
	if _, ok := d.conns.LoadAndDelete(dc); ok {
		d.kept.Add(-1)
	}
}

// Wary reports whether the server may be hanging, so that statements are to be
// cancelled there.
func (d *Reader) Wary() bool { return d.wary.Load() }

// Trust says that the server has answered a read in the usual way.
func (d *Reader) Trust() {
	d.hear()
	if !d.wary.Load() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.start) >= d.waryTil {
		d.wary.Store(false)
	}
}

// hear notes that the server has answered.
func (d *Reader) hear() { d.heard.Store(int64(time.Since(d.start))) }

// distrust notes that a connection is closed.
func (d *Reader) distrust() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wary.Store(true)
	now := time.Since(d.start)
	switch {
	case now < d.waryTil:
		return // of several at once
	case d.hold == 0, now-d.waryTil > mostHold:
		d.hold = firstHold
	default:
		d.hold = min(2*d.hold, mostHold)
	}
	d.waryTil = now + d.hold
}

// onlyIdle is a context in which sql.DB.Conn gives an idle connection or none:
// asked a second time whether it has ended, by who waits for a connection or makes
// one, it has.
type onlyIdle struct {
	context.Context
	asked bool
}

var ended = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (c *onlyIdle) Done() <-chan struct{} {
	if c.asked {
		return ended
	}
	c.asked = true
	return nil
}

func (c *onlyIdle) Err() error {
	if c.asked {
		return context.DeadlineExceeded
	}
	return nil
}

func (c *onlyIdle) Deadline() (time.Time, bool) { return time.Unix(1, 0), true }
