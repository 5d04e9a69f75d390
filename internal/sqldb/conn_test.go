package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
)

// fake is a driver whose connections note what they are asked.
type fake struct {
	mu   sync.Mutex
	log  []string
	fail map[string]error // the statement that begins so
	once bool             // each fails once
	hang chan struct{}    // a statement that begins with HANG waits for it
}

func (f *fake) Connect(context.Context) (driver.Conn, error) { return fakeConn{f}, nil }
func (f *fake) Driver() driver.Driver                        { return nil }

func (f *fake) note(what, q string) error {
	f.mu.Lock()
	f.log = append(f.log, what+" "+q)
	f.mu.Unlock()
	if strings.HasPrefix(q, "HANG") {
		<-f.hang
	}
	for begin, err := range f.fail {
		if strings.HasPrefix(q, begin) {
			if f.once {
				delete(f.fail, begin)
			}
			return err
		}
	}
	return nil
}

// took returns what was noted.
func (f *fake) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	log := f.log
	f.log = nil
	return log
}

type fakeConn struct{ f *fake }

func (c fakeConn) Prepare(q string) (driver.Stmt, error) {
	return fakeStmt{c.f, q}, c.f.note("prepare", q)
}
func (c fakeConn) Begin() (driver.Tx, error) { return nil, errors.ErrUnsupported }
func (c fakeConn) Close() error              { return nil }
func (c fakeConn) ExecContext(_ context.Context, q string, _ []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(1), c.f.note("exec", q)
}
func (c fakeConn) QueryContext(_ context.Context, q string, _ []driver.NamedValue) (driver.Rows, error) {
	return &fakeRows{}, c.f.note("query", q)
}

type fakeStmt struct {
	f *fake
	q string
}

func (s fakeStmt) Close() error  { return nil }
func (s fakeStmt) NumInput() int { return -1 }
func (s fakeStmt) Exec([]driver.Value) (driver.Result, error) {
	return driver.RowsAffected(1), s.f.note("kept", s.q)
}
func (s fakeStmt) Query([]driver.Value) (driver.Rows, error) {
	return &fakeRows{}, s.f.note("kept", s.q)
}

// fakeRows is one row of one column, the text "x".
type fakeRows struct{ done bool }

func (*fakeRows) Columns() []string { return []string{"key"} }
func (*fakeRows) Close() error      { return nil }
func (r *fakeRows) Next(dest []driver.Value) error {
	if r.done {
		return io.EOF
	}
	r.done = true
	dest[0] = "x"
	return nil
}

func open(t *testing.T, d Dialect, prepare bool) (*fake, *DB) {
	t.Helper()
	f := &fake{fail: map[string]error{}, hang: make(chan struct{})}
	pool := sqlx.NewDb(sql.OpenDB(f), "fake")
	pool.SetMaxOpenConns(1)
	t.Cleanup(func() { pool.Close() })
	words := func(name, _ string) (string, bool) { return "t", name == "table" }
	db := New(pool, d, words, prepare)
	db.std.checked.Store(true) // the fake has no settings
	return f, db
}

func (f *fake) want(t *testing.T, want ...string) {
	t.Helper()
	if got := f.took(); !slices.Equal(got, want) {
		t.Errorf("the driver was asked\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeptStatements(t *testing.T) {
	ctx := t.Context()
	f, db := open(t, SQLite, true)
	for range 2 {
		_, err := db.Exec(ctx, "DELETE FROM @table")
		noError(t, err)
	}
	f.want(t, "prepare DELETE FROM t", "kept DELETE FROM t", "kept DELETE FROM t")

	var keys []string
	noError(t, db.Read(ctx, &keys, "SELECT key FROM @table"))
	noError(t, db.Select(ctx, &keys, "SELECT key FROM @table"))
	var key string
	found, err := db.ReadRow(ctx, "SELECT key FROM @table", nil, &key)
	if err != nil || !found || key != "x" || !slices.Equal(keys, []string{"x"}) {
		t.Errorf("%q, %q, %v, %v", keys, key, found, err)
	}
	f.want(t, "prepare SELECT key FROM t", "kept SELECT key FROM t", "kept SELECT key FROM t", "kept SELECT key FROM t")

	// What is not worth it.
	_, err = db.Unkept().Exec(ctx, "DELETE FROM @table WHERE key IN @list", List{"a", "b"})
	noError(t, err)
	noError(t, db.Unkept().Select(ctx, &keys, "SELECT key FROM @table"))
	f.want(t, "exec DELETE FROM t WHERE key IN (?,?)", "query SELECT key FROM t")

	f, db = open(t, SQLite, false)
	_, err = db.Exec(ctx, "DELETE FROM @table")
	noError(t, err)
	f.want(t, "exec DELETE FROM t")
}

func TestTransactions(t *testing.T) {
	ctx := t.Context()
	f, db := open(t, MariaDB, true)
	begin := []string{"exec SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "exec START TRANSACTION"}
	var keys []string
	noError(t, db.Tx(ctx, func(tx Tx) error {
		if err := tx.Select(ctx, &keys, "SELECT key FROM @table"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DELETE FROM @table WHERE key IN @list", ListOf(keys))
		return err
	}))
	f.want(t, append(begin, "query SELECT key FROM t", "exec DELETE FROM t WHERE key IN (?)", "exec COMMIT")...)

	errOwn := errors.New("of the caller")
	if err := db.Tx(ctx, func(Tx) error { return errOwn }); !errors.Is(err, errOwn) {
		t.Errorf("%v, want the caller's error", err)
	}
	f.want(t, append(begin, "exec ROLLBACK")...)

	f.fail["DELETE"] = stateError("40001")
	calls := 0
	err := db.Tx(ctx, func(tx Tx) error {
		calls++
		_, err := tx.Exec(ctx, "DELETE FROM @table")
		return err
	})
	if calls != maxConflicts+1 || !errors.Is(err, stateError("40001")) {
		t.Errorf("a conflict that lasts: %d calls, %v; want %d", calls, err, maxConflicts+1)
	}
}

// A transaction is run again if nothing of it can have been committed.
func TestTransactionsThatFailOnce(t *testing.T) {
	for _, tc := range []struct {
		at    string // the statement that fails
		err   error
		gone  bool // the connection is, too
		again bool
	}{
		{"BEGIN", driver.ErrBadConn, true, true},
		{"DELETE", driver.ErrBadConn, true, true},
		{"DELETE", stateError("57P01"), true, true},
		{"DELETE", stateError("57P02"), true, true},
		{"DELETE", io.ErrUnexpectedEOF, true, true},
		{"DELETE", errors.New("Error 1927 (70100): Connection was killed"), true, true},
		{"DELETE", stateError("26000"), false, true},
		{"DELETE", stateError("0A000"), false, true},
		{"DELETE", stateError("40001"), false, true},
		{"DELETE", stateError("57014"), false, false},
		{"DELETE", errors.New("Error 1317 (70100): Query execution was interrupted"), false, false},
		{"COMMIT", driver.ErrBadConn, true, false},
		{"COMMIT", stateError("57P01"), true, false},
		{"COMMIT", stateError("57P02"), true, false},
		{"COMMIT", io.ErrUnexpectedEOF, true, false},
		{"COMMIT", errors.New("Error 1927 (70100): Connection was killed"), true, false},
		{"COMMIT", stateError("26000"), false, false},
		{"COMMIT", stateError("40001"), false, true},
	} {
		f, db := open(t, Postgres, true)
		f.fail[tc.at], f.once = tc.err, true
		if tc.gone {
			f.fail["ROLLBACK"] = errors.New("the connection is gone")
		}
		calls := 0
		err := db.Tx(t.Context(), func(tx Tx) error {
			calls++
			_, err := tx.Exec(t.Context(), "DELETE FROM @table")
			return err
		})
		if tc.again != (err == nil) || !tc.again && (!errors.Is(err, tc.err) || calls > 1) {
			t.Errorf("%s: %v: %d calls, %v; want it again: %v", tc.at, tc.err, calls, err, tc.again)
		}
	}
}

// What every connection refuses is refused for another reason than what it has kept.
func TestRefusedForGood(t *testing.T) {
	for name, run := range map[string]func(db *DB, ctx context.Context) error{
		"in a transaction": func(db *DB, ctx context.Context) error {
			return db.Tx(ctx, func(tx Tx) error {
				_, err := tx.Exec(ctx, "DELETE FROM @table")
				return err
			})
		},
		"nothing kept": func(db *DB, ctx context.Context) error {
			_, err := db.Unkept().Exec(ctx, "DELETE FROM @table")
			return err
		},
		"kept": func(db *DB, ctx context.Context) error {
			_, err := db.Exec(ctx, "DELETE FROM @table")
			return err
		},
	} {
		f, db := open(t, Postgres, true)
		f.fail["DELETE"] = stateError("0A000")
		err := run(db, t.Context())
		asked := len(slices.DeleteFunc(f.took(), func(s string) bool { return !strings.Contains(s, "DELETE") }))
		if !errors.Is(err, stateError("0A000")) || asked == 0 || asked > 3 {
			t.Errorf("%s: asked %d times, %v", name, asked, err)
		}
	}
}

// In a transaction of the application nothing is begun, committed or tried again.
func TestTransactionOfTheApplication(t *testing.T) {
	ctx := t.Context()
	f, db := open(t, Postgres, true)
	cn, err := db.Pool().Connx(ctx)
	noError(t, err)
	defer cn.Close()
	f.fail["DELETE"] = stateError("40001")
	tx := db.In(cn)
	var keys []string
	noError(t, tx.Select(ctx, &keys, "SELECT key FROM @table WHERE key = ?", "x"))
	if _, err := tx.Exec(ctx, "DELETE FROM @table"); !errors.Is(err, stateError("40001")) {
		t.Errorf("%v, want the conflict", err)
	}
	f.want(t, "query SELECT key FROM t WHERE key = $1", "exec DELETE FROM t")
}

// A driver that does not come back keeps nobody.
func TestHangingDriver(t *testing.T) {
	f, db := open(t, SQLite, false)
	defer close(f.hang)
	db.Pool().SetMaxOpenConns(0) // nobody waits for a connection
	for name, call := range map[string]func(context.Context) error{
		"Exec":   func(ctx context.Context) error { _, err := db.Exec(ctx, "HANG"); return err },
		"Select": func(ctx context.Context) error { return db.Select(ctx, new([]string), "HANG") },
		"Read":   func(ctx context.Context) error { return db.Read(ctx, new([]string), "HANG") },
		"ReadRow": func(ctx context.Context) error {
			_, err := db.ReadRow(ctx, "HANG", nil, new(string))
			return err
		},
		"Unkept": func(ctx context.Context) error { _, err := db.Unkept().Exec(ctx, "HANG"); return err },
		"Tx": func(ctx context.Context) error {
			return db.Tx(ctx, func(tx Tx) error { _, err := tx.Exec(ctx, "HANG"); return err })
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		back := make(chan error, 1)
		go func() { back <- call(ctx) }()
		select {
		case err := <-back:
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v, want that the time is over", name, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s waits for the driver", name)
		}
		cancel()
	}
}

// What the driver may hold longer than its caller is a copy.
func TestArgumentsAreCopied(t *testing.T) {
	data := []byte("one")
	s := statement{args: []any{data, "text"}}.own()
	copy(data, "two")
	if got := s.args[0].([]byte); string(got) != "one" {
		t.Errorf("the driver has %q", got)
	}
}
