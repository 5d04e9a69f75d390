// Package datatable is the table of session data: every statement on data alone. Those on
// data and their row together are of package index.
//
// The package may import the packages index and sqldb and nothing else of this module. No
// statement brings a key back that was deleted or has expired.
package datatable

import (
	"context"
	"iter"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// Table has the methods of a Store of usersession, whose contract says what they do. It is
// safe for concurrent use.
type Table struct {
	db     *sqldb.DB
	exists error
}

// New returns the table that the words of db name. exists is what Create returns for a key
// that exists.
func New(db *sqldb.DB, exists error) *Table { return &Table{db, exists} }

const (
	// ColumnsSQL fails if a column is missing.
	ColumnsSQL = `
SELECT token, data, expiry
FROM @data
WHERE 1 = 0 AND expiry > @dnow`

	// PostgreSQL would write bytes to a column of text, and read others.
	bytesSQL = " AND get_byte(data, 0) = 0"
)

// CheckSQL fails if a column is missing, or cannot hold what it is for.
func CheckSQL(d sqldb.Dialect) string {
	if d == sqldb.Postgres {
		return ColumnsSQL + bytesSQL
	}
	return ColumnsSQL
}

const findSQL = `
SELECT data
FROM @data
WHERE token = ? AND expiry > @dnow`

// Find implements Store.
func (t *Table) Find(ctx context.Context, key string) ([]byte, bool, error) {
	var data []byte
	found, err := t.db.ReadRow(ctx, findSQL, []any{key}, &data)
	if err != nil {
		return nil, false, err
	}
	return data, found, nil
}

const findExpirySQL = `
SELECT data, @dleft(expiry)
FROM @data
WHERE token = ? AND expiry > @dnow`

// FindExpiry implements ExpiryFinder.
func (t *Table) FindExpiry(ctx context.Context, key string) ([]byte, time.Time, bool, error) {
	var data []byte
	var left int64
	found, err := t.db.ReadRow(ctx, findExpirySQL, []any{key}, &data, &left)
	if err != nil || !found {
		return nil, time.Time{}, false, err
	}
	return data, time.Now().Add(time.Duration(left) * time.Microsecond), true, nil
}

const (
	insertSQL = `
INSERT INTO @data (token, data, expiry)
VALUES (?, ?, @dafter(?))`
	deleteExpiredSQL = `
DELETE FROM @data
WHERE token = ? AND expiry <= @dnow`
)

// Create implements Store.
func (t *Table) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	if data == nil {
		data = []byte{}
	}
	left := time.Until(expiry).Microseconds()
	if t.db.Dialect() != sqldb.MariaDB {
		n, err := t.db.Exec(ctx, insertSQL+index.DataReplaceExpiredSQL, key, data, left)
		if err == nil && n == 0 {
			return t.exists
		}
		return err
	}
	_, err := t.db.Exec(ctx, insertSQL, key, data, left)
	if !sqldb.IsDuplicate(err) {
		return err
	}
	if n, err := t.db.Exec(ctx, deleteExpiredSQL, key); err != nil {
		return err
	} else if n == 0 {
		return t.exists
	}
	if _, err = t.db.Exec(ctx, insertSQL, key, data, left); sqldb.IsDuplicate(err) {
		return t.exists
	}
	return err
}

const updateSQL = `
UPDATE @data
SET data = ?
WHERE token = ? AND expiry > @dnow`

// Update implements Store.
func (t *Table) Update(ctx context.Context, key string, data []byte) (bool, error) {
	if data == nil {
		data = []byte{}
	}
	n, err := t.db.Exec(ctx, updateSQL, data, key)
	return t.changed(ctx, key, n, err)
}

const touchSQL = `
UPDATE @data
SET expiry = @dafter(?)
WHERE token = ? AND expiry > @dnow`

// Touch implements Store.
func (t *Table) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	n, err := t.db.Exec(ctx, touchSQL, time.Until(expiry).Microseconds(), key)
	return t.changed(ctx, key, n, err)
}

// changed tells an UPDATE that found nothing from one that found what it would
// write: MariaDB counts changed rows, not found ones.
func (t *Table) changed(ctx context.Context, key string, n int64, err error) (bool, error) {
	if err != nil || n > 0 || t.db.Dialect() != sqldb.MariaDB {
		return n > 0, err
	}
	_, found, err := t.Find(ctx, key)
	return found, err
}

const (
	deleteOneSQL = `
DELETE FROM @data
WHERE token = ?`
	deleteSQL = `
DELETE FROM @data
WHERE token IN @list`
)

// Delete implements Store.
func (t *Table) Delete(ctx context.Context, keys ...string) error {
	if len(keys) == 1 {
		_, err := t.db.Exec(ctx, deleteOneSQL, keys[0])
		return err
	}
	for len(keys) > 0 {
		n := min(len(keys), index.PageSize)
		if _, err := t.db.Unkept().Exec(ctx, deleteSQL, sqldb.ListOf(keys[:n])); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return ctx.Err()
}

const keysSQL = `
SELECT token
FROM @data
WHERE token > ? AND expiry > @dnow
ORDER BY token
LIMIT 500`

// Keys implements KeyLister.
func (t *Table) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		after := ""
		for {
			var page []string
			if err := t.db.Read(ctx, &page, keysSQL, after); err != nil {
				yield("", err)
				return
			}
			for _, key := range page {
				if !yield(key, nil) {
					return
				}
				after = key
			}
			if len(page) < index.PageSize {
				return
			}
		}
	}
}

// Expired rows are deleted in steps, so that no statement locks a table full
// of them. The alias keeps MariaDB, which cannot limit a subquery of IN, happy.
const pruneSQL = `
DELETE FROM @data
WHERE token IN (
	SELECT token
	FROM (SELECT token FROM @data WHERE expiry <= @dnow ORDER BY expiry LIMIT 100) AS expired
) AND expiry <= @dnow`

// Prune implements Pruner.
func (t *Table) Prune(ctx context.Context) (int, error) {
	total, rest := 0, sqldb.Resting(ctx)
	for {
		n, err := t.db.Exec(ctx, pruneSQL)
		total += int(n)
		if err != nil || n < index.PruneSize {
			return total, err
		}
		rest()
	}
}
