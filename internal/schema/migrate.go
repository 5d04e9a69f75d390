package schema

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

const (
	// lockSeconds is how long a change waits for a lock: shorter than a login
	// waits by default, because whoever writes to the table waits behind it.
	lockSeconds = 2
	// concurrentSeconds is how long an index that is made beside writers waits
	// for a transaction. Nobody waits behind that.
	concurrentSeconds = 10
	// patience is how long a look, and another migration, are waited for.
	patience = 30 * time.Second
)

// Migrate makes what is missing of the tables, and nothing else. It looks first:
// if everything is there, it changes nothing and takes no lock that a writer waits
// for. check is a query of every column.
func (t Tables) Migrate(ctx context.Context, db *sqldb.DB, check string) error {
	t, err := t.asUsersColumn(ctx, db.Unkept())
	if err != nil {
		return err
	}
	list, err := t.Migrations()
	if err != nil {
		return err
	}
	c := change{t, db, list, t.wanted(list), check}
	m, err := c.lookPatiently(ctx)
	if err != nil || m.nothing() {
		return err
	}
	if t.Dialect == sqldb.MariaDB {
		err = c.mariaDB(ctx)
	} else {
		err = c.inTransaction(ctx)
	}
	if err != nil {
		return err
	}
	switch m, err = c.look(ctx, db.Unkept()); {
	case err != nil:
		return err
	case len(m.tables) > 0:
		return fmt.Errorf("the table %s was not made: another relation has its name", m.tables[0])
	case len(m.keys) > 0:
		k := m.keys[0]
		return fmt.Errorf("the index %q on (%s) of the table %s was not made: another table's index has its name, or an index on other columns or rows", k.Name, k.Columns, k.Table)
	}
	return nil
}

// change is a run of Migrate that has something to make.
type change struct {
	Tables
	db     *sqldb.DB
	list   []Migration
	wanted wanted
	check  string
}

func (c change) look(ctx context.Context, q sqldb.Querier) (missing, error) {
	return c.Tables.look(ctx, q, c.wanted, c.check)
}

// lookPatiently looks on the pool. Somebody who rebuilds a table may have it locked
// against readers, too.
func (c change) lookPatiently(ctx context.Context) (missing, error) {
	lctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := c.look(lctx, c.db.Unkept())
	if err != nil && lctx.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("the tables could not be read for %v; nothing was changed: %w", patience, err)
	}
	return m, err
}

// inTransaction makes everything in one transaction, but for the indexes of
// tables that PostgreSQL has already. Those are made beside writers.
func (c change) inTransaction(ctx context.Context) error {
	var m missing
	err := oneAtATime(ctx, func() (got bool, err error) {
		err = c.db.Begin(ctx, func(cn *sqlx.Conn) (err error) {
			if got, err = c.begun(ctx, cn); err != nil || !got {
				return err
			}
			if m, err = c.look(ctx, c.db.In(cn)); err != nil {
				return err
			}
			if err := c.makeColumns(ctx, cn, m); err != nil {
				return err
			}
			if err := c.makeTables(ctx, cn, m.tables); err != nil {
				return err
			}
			if !c.beside() {
				return c.makeKeys(ctx, cn, m.keys)
			}
			return nil
		})
		return got, err
	})
	if err != nil || len(m.keys) == 0 || !c.beside() {
		return err
	}
	return alone(ctx, c.db.Pool(), func(cn *sqlx.Conn) error {
		err := oneAtATime(ctx, func() (bool, error) { return tryLock(ctx, cn, "pg_try_advisory_lock") })
		if err != nil {
			return err
		}
		if m, err = c.look(ctx, c.db.In(cn)); err != nil {
			return err
		}
		return c.makeKeys(ctx, cn, m.keys)
	})
}

// begun makes a transaction one of a migration, unless another one has the lock.
func (c change) begun(ctx context.Context, cn *sqlx.Conn) (got bool, err error) {
	if c.Dialect != sqldb.Postgres {
		return true, nil // SQLite has one writer
	}
	if _, err := cn.ExecContext(ctx, fmt.Sprintf("SET LOCAL lock_timeout = '%ds'", lockSeconds)); err != nil {
		return false, err
	}
	return tryLock(ctx, cn, "pg_try_advisory_xact_lock")
}

// beside reports whether indexes of tables that are there can be made beside
// writers: PostgreSQL does that outside a transaction, and a pooler may then have
// given the connection, with its lock and its settings, to somebody else.
func (c change) beside() bool { return c.Dialect == sqldb.Postgres && !c.db.Pooled() }

// mariaDB makes everything under a named lock: the transactions of MariaDB do not
// cover what makes tables.
func (c change) mariaDB(ctx context.Context) error {
	return alone(ctx, c.db.Pool(), func(cn *sqlx.Conn) error {
		var got *int
		if err := cn.GetContext(ctx, &got, "SELECT GET_LOCK(CONCAT('usersession ', LEFT(SHA1(COALESCE(NULLIF(?, ''), DATABASE(), '')), 20)), 30)", c.Schema); err != nil {
			return err
		}
		if got == nil {
			return errors.New("the database gives no named lock (GET_LOCK is NULL)")
		}
		if *got != 1 {
			return errHeld
		}
		if _, err := cn.ExecContext(ctx, fmt.Sprintf("SET SESSION lock_wait_timeout = %d", lockSeconds)); err != nil {
			return err
		}
		m, err := c.look(ctx, c.db.In(cn))
		if err != nil {
			return err
		}
		if err := c.makeColumns(ctx, cn, m); err != nil {
			return err
		}
		if err := c.makeTables(ctx, cn, m.tables); err != nil {
			return err
		}
		return c.makeKeys(ctx, cn, m.keys)
	})
}

// makeColumns adds the columns to an index that was made without them. No database
// rewrites the rows for that.
func (c change) makeColumns(ctx context.Context, cn *sqlx.Conn, m missing) error {
	for _, name := range m.columns {
		column := regexp.MustCompile(`(?m)^\t` + name + ` +(.+?),?$`).FindStringSubmatch(c.list[0].Up[0])[1]
		if _, err := cn.ExecContext(ctx, "ALTER TABLE "+c.index()+" ADD COLUMN "+name+" "+column); err != nil {
			return fmt.Errorf("table %s: %w", c.index(), waited(err, c.index(), lockSeconds, "the column "+name+" was not added"))
		}
	}
	return nil
}

// makeTables makes tables with their indexes.
func (c change) makeTables(ctx context.Context, cn *sqlx.Conn, tables []string) error {
	missing := make(map[string]bool)
	for _, table := range tables {
		missing[table] = true
	}
	for _, mig := range c.list {
		for _, s := range mig.Up {
			table := tableOf(s)
			if !missing[table] {
				continue
			}
			if _, err := cn.ExecContext(ctx, s); err != nil {
				on, left := table, "nothing was changed"
				if strings.Contains(s, "REFERENCES") {
					on = c.users()
				}
				if c.Dialect == sqldb.MariaDB { // which has no transaction to roll back
					left = "the table was not made"
				}
				return fmt.Errorf("table %s: %w", table, waited(err, on, lockSeconds, left))
			}
		}
	}
	return nil
}

// makeKeys makes indexes of tables that are there.
func (c change) makeKeys(ctx context.Context, cn *sqlx.Conn, keys []missingKey) error {
	for _, k := range keys {
		if k.ignored != "" {
			var version string
			if err := cn.GetContext(ctx, &version, "SELECT VERSION()"); err != nil {
				return err
			}
			unmarked := " NOT IGNORED"
			if !strings.Contains(version, "MariaDB") {
				unmarked = " VISIBLE" // in the words of MySQL
			}
			if _, err := cn.ExecContext(ctx, "ALTER TABLE "+k.Table+" ALTER INDEX "+c.Dialect.Quote(k.ignored)+unmarked); err != nil {
				return fmt.Errorf("index %s of the table %s: %w", k.ignored, k.Table, waited(err, k.Table, lockSeconds, "it is still marked IGNORED"))
			}
			continue
		}
		concurrently, seconds, left := "", lockSeconds, "the index was not made"
		if c.beside() && !k.partitioned { // its partitions come first, and are then only attached
			concurrently, seconds, left = "CONCURRENTLY ", concurrentSeconds, "the index is not usable, nobody had to wait, and the next Migrate makes it again"
		}
		var list []string
		if c.beside() {
			list = append(list, fmt.Sprintf("SET lock_timeout = '%ds'", seconds))
		}
		if k.invalid {
			list = append(list, "DROP INDEX "+concurrently+"IF EXISTS "+c.Dialect.Quote(c.Schema, k.Name))
		}
		for _, s := range append(list, k.create(c.Dialect, concurrently)) {
			if _, err := cn.ExecContext(ctx, s); err != nil {
				return fmt.Errorf("index %s: %w", k.Name, waited(err, k.Table, seconds, left))
			}
		}
	}
	return nil
}

// waited says of an error that comes from a lock what was waited for.
func waited(err error, table string, seconds int, left string) error {
	if !sqldb.IsLockTimeout(err) {
		return err
	}
	return fmt.Errorf("waited %d seconds for transactions that have the table %s in use; %s: %w", seconds, table, left, err)
}

var errHeld = fmt.Errorf("another migration holds the lock for more than %v", patience)

// oneAtATime calls try until it has had the lock of migrations. It asks again and
// again, and try leaves no transaction open: CREATE INDEX CONCURRENTLY, of whoever
// has the lock, waits for every transaction that may still look at something.
func oneAtATime(ctx context.Context, try func() (bool, error)) error {
	for end := time.Now().Add(patience); ; {
		if got, err := try(); err != nil || got {
			return err
		}
		if time.Now().After(end) {
			return errHeld
		}
		sqldb.Pause(ctx, 20*time.Millisecond)
	}
}

// tryLock takes the advisory lock of migrations by a function of PostgreSQL, or
// reports that somebody has it.
func tryLock(ctx context.Context, cn *sqlx.Conn, function string) (got bool, err error) {
	err = cn.GetContext(ctx, &got, "SELECT "+function+"(hashtextextended('usersession migrations', 0))")
	return got, err
}

// alone runs fn on a connection that is closed then: its locks and its settings
// end with it.
func alone(ctx context.Context, pool *sqlx.DB, fn func(*sqlx.Conn) error) error {
	cn, err := pool.Connx(ctx)
	if err != nil {
		return err
	}
	defer cn.Close()
	defer cn.Raw(func(any) error { return driver.ErrBadConn })
	return fn(cn)
}
