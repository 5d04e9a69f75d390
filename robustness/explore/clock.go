package explore

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
)

// clock is the time of a database or of a Store. It moves when the scheduler
// says so, and not by itself, so that a schedule always means the same.
type clock struct {
	id      int64
	us      atomic.Int64 // since 1970
	bubbled bool         // it shows the time of the program instead, which is that of a bubble
}

var clocks struct {
	sync.Mutex
	all []*clock
}

func newClock() *clock {
	clocks.Lock()
	defer clocks.Unlock()
	c := &clock{id: int64(len(clocks.all))}
	c.us.Store(time.Now().UnixMicro())
	clocks.all = append(clocks.all, c)
	return c
}

func (c *clock) now() int64 {
	if c.bubbled {
		return time.Now().UnixMicro()
	}
	return c.us.Load()
}

func (c *clock) advance(d time.Duration) { c.us.Add(d.Microseconds()) }

// sql makes a query read this clock instead of SQLite's.
func (c *clock) sql(q string) string {
	q = strings.ReplaceAll(q, "CAST(unixepoch('subsec') * 1000000 AS INTEGER)", fmt.Sprintf("explore_clock(%d)", c.id))
	if strings.Contains(q, "unixepoch") || strings.Contains(q, "'now'") {
		panic("explore: a query reads a clock that is not the scheduler's: " + q)
	}
	return q
}

// sqliteDriver is the driver as it was registered: only that one has the
// function.
var sqliteDriver = sync.OnceValue(func() driver.Driver {
	sqlite.MustRegisterScalarFunction("explore_clock", 1, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		clocks.Lock()
		defer clocks.Unlock()
		return clocks.all[args[0].(int64)].now(), nil
	})
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		panic(err)
	}
	defer db.Close()
	return db.Driver()
})
