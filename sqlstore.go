package usersession

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/schema"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// SQLStore is a Store in a table of PostgreSQL, SQLite or MariaDB. The table
// has the columns token, data and expiry of scs's own stores. SQLStore is safe
// for concurrent use, and its updates are atomic.
type SQLStore struct {
	db     *sqldb.DB
	table  string // quoted, and with its schema
	tables schema.Tables
}

var (
	_ Store         = (*SQLStore)(nil)
	_ AtomicUpdater = (*SQLStore)(nil)
	_ ExpiryFinder  = (*SQLStore)(nil)
	_ KeyLister     = (*SQLStore)(nil)
	_ Pruner        = (*SQLStore)(nil)
	_ Placer        = (*SQLStore)(nil)
)

// SQLStoreOptions configure a SQLStore. The zero value of every field is its
// default.
type SQLStoreOptions struct {
	// Schema and Table name the table. Default: "sessions" in the schema of
	// the connection.
	Schema, Table string
	// Dialect and NoPreparedStatements are as in IndexOptions.
	Dialect              Dialect
	NoPreparedStatements bool
}

// NewSQLStore returns a Store in db, which may be another database than that of
// the index. If Options.Store is nil, New makes one itself. If opts is nil,
// every option has its default. NewSQLStore reports every error in opts at
// once, and does no I/O. [SQLStore.Migrate] makes the table, and so does
// Manager.Migrate.
func NewSQLStore(db *sqlx.DB, opts *SQLStoreOptions) (*SQLStore, error) {
	if db == nil || db.DB == nil {
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
	resolveTable(db, o.Schema, o.Table, &o.Dialect, refuse(&errs, "SQLStoreOptions."))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	d := sqldb.Dialect(o.Dialect)
	table := d.Quote(o.Schema, o.Table)
	return &SQLStore{
		db:     sqldb.New(db, d, index.DataWords(d, table), !o.NoPreparedStatements),
		table:  table,
		tables: schema.Tables{Dialect: d, Schema: o.Schema, Data: o.Table},
	}, nil
}

// NewSQLStoreFromDB is NewSQLStore for a program that does not use sqlx, as
// [NewFromDB] is New.
func NewSQLStoreFromDB(db *sql.DB, opts *SQLStoreOptions) (*SQLStore, error) {
	return NewSQLStore(sqlx.NewDb(db, ""), opts)
}

const (
	dataColumnsSQL = `
SELECT token, data, expiry
FROM @data
WHERE 1 = 0 AND expiry > @dnow`
	// PostgreSQL would write bytes to a column of text, and read others.
	dataBytesSQL = " AND get_byte(data, 0) = 0"
)

// Place names the table.
func (s *SQLStore) Place() string {
	return strings.TrimSpace("sql " + s.tables.Schema + " " + s.tables.Data)
}

// AtomicUpdates implements AtomicUpdater. Update and Touch are one conditional
// UPDATE each.
func (s *SQLStore) AtomicUpdates() bool { return true }

const dataFindSQL = `
SELECT data
FROM @data
WHERE token = ? AND expiry > @dnow`

// Find implements Store.
func (s *SQLStore) Find(ctx context.Context, key string) ([]byte, bool, error) {
	var data []byte
	found, err := s.db.ReadRow(ctx, dataFindSQL, []any{key}, &data)
	if err != nil {
		return nil, false, err
	}
	return data, found, nil
}

const dataFindExpirySQL = `
SELECT data, @dleft(expiry)
FROM @data
WHERE token = ? AND expiry > @dnow`

// FindExpiry implements ExpiryFinder.
func (s *SQLStore) FindExpiry(ctx context.Context, key string) ([]byte, time.Time, bool, error) {
	var data []byte
	var left int64
	found, err := s.db.ReadRow(ctx, dataFindExpirySQL, []any{key}, &data, &left)
	if err != nil || !found {
		return nil, time.Time{}, false, err
	}
	return data, time.Now().Add(time.Duration(left) * time.Microsecond), true, nil
}

const (
	dataInsertSQL = `
INSERT INTO @data (token, data, expiry)
VALUES (?, ?, @dafter(?))`
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
	if s.db.Dialect() != sqldb.MariaDB {
		n, err := s.db.Exec(ctx, dataInsertSQL+index.DataReplaceExpiredSQL, key, data, left)
		if err == nil && n == 0 {
			return ErrKeyExists
		}
		return err
	}
	_, err := s.db.Exec(ctx, dataInsertSQL, key, data, left)
	if !sqldb.IsDuplicate(err) {
		return err
	}
	if n, err := s.db.Exec(ctx, dataDeleteExpiredSQL, key); err != nil {
		return err
	} else if n == 0 {
		return ErrKeyExists
	}
	if _, err = s.db.Exec(ctx, dataInsertSQL, key, data, left); sqldb.IsDuplicate(err) {
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
	n, err := s.db.Exec(ctx, dataUpdateSQL, data, key)
	return s.changed(ctx, key, n, err)
}

const dataTouchSQL = `
UPDATE @data
SET expiry = @dafter(?)
WHERE token = ? AND expiry > @dnow`

// Touch implements Store.
func (s *SQLStore) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	n, err := s.db.Exec(ctx, dataTouchSQL, time.Until(expiry).Microseconds(), key)
	return s.changed(ctx, key, n, err)
}

// changed tells an UPDATE that found nothing from one that found what it would
// write: MariaDB counts changed rows, not found ones.
func (s *SQLStore) changed(ctx context.Context, key string, n int64, err error) (bool, error) {
	if err != nil || n > 0 || s.db.Dialect() != sqldb.MariaDB {
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
		_, err := s.db.Exec(ctx, dataDeleteOneSQL, keys[0])
		return err
	}
	for len(keys) > 0 {
		n := min(len(keys), index.PageSize)
		if _, err := s.db.Unkept().Exec(ctx, dataDeleteSQL, sqldb.ListOf(keys[:n])); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return ctx.Err()
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
			if err := s.db.Read(ctx, &page, dataKeysSQL, after); err != nil {
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
const dataPruneSQL = `
DELETE FROM @data
WHERE token IN (
	SELECT token
	FROM (SELECT token FROM @data WHERE expiry <= @dnow ORDER BY expiry LIMIT 100) AS expired
) AND expiry <= @dnow`

// Prune implements Pruner.
func (s *SQLStore) Prune(ctx context.Context) (int, error) {
	total, rest := 0, sqldb.Resting(ctx)
	for {
		n, err := s.db.Exec(ctx, dataPruneSQL)
		total += int(n)
		if err != nil || n < index.PruneSize {
			return total, err
		}
		rest()
	}
}
