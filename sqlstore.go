package usersession

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/jmoiron/sqlx"
)

// DefaultDataTable is the table of a SQLStore: that of scs's own SQL stores.
const DefaultDataTable = "sessions"

// SQLStore is a Store in a table of PostgreSQL, SQLite or MariaDB. The table has
// the columns of scs's own stores: token, data, expiry. It is safe for
// concurrent use; its updates are atomic.
type SQLStore struct {
	c *conn
}

var (
	_ Store         = (*SQLStore)(nil)
	_ AtomicUpdater = (*SQLStore)(nil)
	_ KeyLister     = (*SQLStore)(nil)
	_ KeyChecker    = (*SQLStore)(nil)
	_ Pruner        = (*SQLStore)(nil)
)

// SQLStoreOptions configure a SQLStore. The zero value of every field is its
// default.
type SQLStoreOptions struct {
	// Schema and Table name the table. Default: "sessions" in the schema of
	// the connection.
	Schema, Table string
	// Dialect and NoPreparedStatements are as in Options.
	Dialect              Dialect
	NoPreparedStatements bool
}

// NewSQLStore returns a Store in db, which may be another database than that of
// the index. Where Options.Store is nil, New makes one itself. Nil opts: all
// defaults. [SQLStore.Migrate] makes the table; so does Manager.Migrate.
func NewSQLStore(db *sqlx.DB, opts *SQLStoreOptions) (*SQLStore, error) {
	if db == nil {
		return nil, errors.New("usersession: NewSQLStore: db is nil")
	}
	var o SQLStoreOptions
	if opts != nil {
		o = *opts
	}
	if o.Table == "" {
		o.Table = DefaultDataTable
	}
	var errs []error
	for field, name := range map[string]string{"Schema": o.Schema, "Table": o.Table} {
		if name != "" && !identifier.MatchString(name) {
			errs = append(errs, fmt.Errorf("usersession: SQLStoreOptions.%s: %q is not a name of at most 48 letters, digits and underscores", field, name))
		}
	}
	if o.Dialect == "" {
		var err error
		if o.Dialect, err = dialectOf(db.DriverName()); err != nil {
			errs = append(errs, err)
		}
	}
	switch o.Dialect {
	case "", Postgres, SQLite, MariaDB:
	default:
		errs = append(errs, fmt.Errorf("usersession: SQLStoreOptions.Dialect: is %q, which is none of postgres, sqlite, mariadb", o.Dialect))
	}
	if o.Schema != "" && o.Dialect == SQLite {
		errs = append(errs, errors.New("usersession: SQLStoreOptions.Schema: SQLite has no schemas"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	d := newDialect(o.Dialect, o.Schema, "", o.Table, 0, Text)
	return &SQLStore{c: newConn(db, d, !o.NoPreparedStatements)}, nil
}

// AtomicUpdates implements AtomicUpdater: one conditional UPDATE each.
func (s *SQLStore) AtomicUpdates() bool { return true }

const dataFindSQL = `
SELECT data
FROM @data
WHERE token = ? AND expiry > @dnow`

// Find implements Store.
func (s *SQLStore) Find(ctx context.Context, key string) ([]byte, bool, error) {
	var data []byte
	found, err := s.c.readRow(ctx, dataFindSQL, []any{key}, &data)
	if err != nil {
		return nil, false, err
	}
	return data, found, nil
}

const (
	dataInsertSQL = `
INSERT INTO @data (token, data, expiry)
VALUES (?, ?, @dafter(?))`
	// What has expired is not there; only the janitor has not been by yet.
	dataReplaceExpiredSQL = `
ON CONFLICT (token) DO UPDATE
SET data = excluded.data, expiry = excluded.expiry
WHERE @data.expiry <= @dnow`
	dataDeleteExpiredSQL = `
DELETE FROM @data
WHERE token = ? AND expiry <= @dnow`
)

// Create implements Store.
func (s *SQLStore) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	if data == nil {
		data = []byte{}
	}
	left := time.Until(expiry).Microseconds()
	if s.c.d.name != MariaDB {
		n, err := s.c.exec(ctx, nil, dataInsertSQL+dataReplaceExpiredSQL, key, data, left)
		if err == nil && n == 0 {
			return ErrKeyExists
		}
		return err
	}
	_, err := s.c.exec(ctx, nil, dataInsertSQL, key, data, left)
	if !isDuplicate(err) {
		return err
	}
	if n, err := s.c.exec(ctx, nil, dataDeleteExpiredSQL, key); err != nil {
		return err
	} else if n == 0 {
		return ErrKeyExists
	}
	if _, err = s.c.exec(ctx, nil, dataInsertSQL, key, data, left); isDuplicate(err) {
		return ErrKeyExists
	}
	return err
}

const dataUpdateSQL = `
UPDATE @data
SET data = ?
WHERE token = ? AND expiry > @dnow`

// Update implements Store.
func (s *SQLStore) Update(ctx context.Context, key string, data []byte) (bool, error) {
	if data == nil {
		data = []byte{}
	}
	n, err := s.c.exec(ctx, nil, dataUpdateSQL, data, key)
	return s.changed(ctx, key, n, err)
}

const dataTouchSQL = `
UPDATE @data
SET expiry = @dafter(?)
WHERE token = ? AND expiry > @dnow`

// Touch implements Store.
func (s *SQLStore) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	n, err := s.c.exec(ctx, nil, dataTouchSQL, time.Until(expiry).Microseconds(), key)
	return s.changed(ctx, key, n, err)
}

// changed tells an UPDATE that found nothing from one that found what it would
// write: MariaDB counts changed rows, not found ones.
func (s *SQLStore) changed(ctx context.Context, key string, n int64, err error) (bool, error) {
	if err != nil || n > 0 || s.c.d.name != MariaDB {
		return n > 0, err
	}
	_, found, err := s.Find(ctx, key)
	return found, err
}

const (
	dataDeleteOneSQL = `
DELETE FROM @data
WHERE token = ?`
	dataDeleteSQL = `
DELETE FROM @data
WHERE token IN @list`
)

// Delete implements Store.
func (s *SQLStore) Delete(ctx context.Context, keys ...string) error {
	if len(keys) == 1 {
		_, err := s.c.exec(ctx, nil, dataDeleteOneSQL, keys[0])
		return err
	}
	for len(keys) > 0 {
		n := min(len(keys), pageSize)
		if _, err := s.c.many(ctx, nil, nil, dataDeleteSQL, keys[:n], nil, nil); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return ctx.Err()
}

const dataExistingSQL = `
SELECT token
FROM @data
WHERE token IN @list AND expiry > @dnow`

// Existing implements KeyChecker.
func (s *SQLStore) Existing(ctx context.Context, keys ...string) ([]string, error) {
	var existing []string
	for len(keys) > 0 {
		n := min(len(keys), pageSize)
		var found []string
		if _, err := s.c.many(ctx, nil, &found, dataExistingSQL, keys[:n], nil, nil); err != nil {
			return nil, err
		}
		existing = append(existing, found...)
		keys = keys[n:]
	}
	return existing, nil
}

const dataKeysSQL = `
SELECT token
FROM @data
WHERE token > ? AND expiry > @dnow
ORDER BY token
LIMIT 500`

// Keys implements KeyLister.
func (s *SQLStore) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		after := ""
		for {
			var page []string
			if err := s.c.read(ctx, &page, dataKeysSQL, after); err != nil {
				yield("", err)
				return
			}
			for _, key := range page {
				if !yield(key, nil) {
					return
				}
				after = key
			}
			if len(page) < pageSize {
				return
			}
		}
	}
}

// Expired rows are deleted in steps, so that no statement locks a table full
// of them. The alias keeps MariaDB, which cannot limit a subquery of IN, happy.
const dataPruneSQL = `
DELETE FROM @data
WHERE token IN (
	SELECT token
	FROM (SELECT token FROM @data WHERE expiry <= @dnow ORDER BY expiry LIMIT 100) AS expired
) AND expiry <= @dnow`

// Prune implements Pruner.
func (s *SQLStore) Prune(ctx context.Context) (int, error) {
	total := 0
	for {
		began := time.Now()
		n, err := s.c.exec(ctx, nil, dataPruneSQL)
		total += int(n)
		if err != nil || n < pruneSize {
			return total, err
		}
		pause(ctx, time.Since(began))
	}
}

// findLive reads the data of a key and its row of the index in one statement.
// The index and the data must be in the same database.
const findLiveSQL = `
SELECT data, ` + liveColumns + `
FROM @data
LEFT JOIN @index ON session_key = token
WHERE token = ? AND expiry > @dnow`

func (x *userIndex) findLive(ctx context.Context, key string) ([]byte, liveRow, bool, error) {
	f := &struct { // one allocation for what every request needs
		data []byte
		row  liveRow
		args [1]any
		dest [4]any
	}{args: [1]any{key}}
	f.dest = [4]any{&f.data, &f.row.id, &f.row.userID, &f.row.state}
	found, err := x.readRow(ctx, findLiveSQL, f.args[:], f.dest[:]...)
	if err != nil {
		return nil, liveRow{}, false, err
	}
	return f.data, f.row, found, nil
}
