package usersession

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/datatable"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/schema"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// SQLStore is a Store in a table of PostgreSQL, SQLite or MariaDB. The table
// has the columns token, data and expiry of scs's own stores. SQLStore is safe
// for concurrent use, and its updates are atomic. Its methods are those of a [Store],
// and of an [ExpiryFinder], a [KeyLister] and a [Pruner].
type SQLStore struct {
	*dataTable // the other methods of a Store, an ExpiryFinder, a KeyLister and a Pruner
	db         *sqldb.DB
	table      string // quoted, and with its schema
	tables     schema.Tables
}

var (
	_ Store         = (*SQLStore)(nil)
	_ AtomicUpdater = (*SQLStore)(nil)
	_ ExpiryFinder  = (*SQLStore)(nil)
	_ KeyLister     = (*SQLStore)(nil)
	_ Pruner        = (*SQLStore)(nil)
	_ Placer        = (*SQLStore)(nil)
)

type dataTable = datatable.Table

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
	sdb := sqldb.New(db, d, index.DataWords(d, table), !o.NoPreparedStatements)
	return &SQLStore{datatable.New(sdb, ErrKeyExists), sdb, table, schema.Tables{Dialect: d, Schema: o.Schema, Data: o.Table}}, nil
}

// NewSQLStoreFromDB is NewSQLStore for a program that does not use sqlx, as
// [NewFromDB] is New.
func NewSQLStoreFromDB(db *sql.DB, opts *SQLStoreOptions) (*SQLStore, error) {
	return NewSQLStore(sqlx.NewDb(db, ""), opts)
}

// refuse returns what adds to errs why a field of some options is refused.
func refuse(errs *[]error, options string) func(field, format string, args ...any) {
	return func(field, format string, args ...any) {
		*errs = append(*errs, fmt.Errorf("usersession: %s%s: %s", options, field, fmt.Sprintf(format, args...)))
	}
}

// resolveTable refuses names and a dialect that a table cannot have. If no dialect is
// given, the database tells it.
func resolveTable(db *sqlx.DB, schema, table string, dialect *Dialect, bad func(field, format string, args ...any)) {
	for _, named := range [][2]string{{"Schema", schema}, {"Table", table}} {
		if named[1] != "" && !sqldb.Identifier.MatchString(named[1]) {
			bad(named[0], "%q is not a name of at most 48 letters, digits and underscores", named[1])
		}
	}
	if *dialect == "" && db != nil && db.DB != nil {
		d, ok := sqldb.DialectOf(db)
		if *dialect = Dialect(d); !ok {
			bad("Dialect", "the driver %T does not tell the SQL dialect; set it to postgres, sqlite or mariadb", db.Driver())
		}
	}
	switch *dialect {
	case "", DialectPostgres, DialectMariaDB:
	case DialectSQLite:
		if schema != "" {
			bad("Schema", "SQLite has no schemas")
		}
	default:
		bad("Dialect", "is %q, which is none of postgres, sqlite, mariadb", *dialect)
	}
}

// Place names the table.
func (s *SQLStore) Place() string {
	return strings.TrimSpace("sql " + s.tables.Schema + " " + s.tables.Data)
}

// AtomicUpdates implements AtomicUpdater. Update and Touch are one conditional
// UPDATE each.
func (s *SQLStore) AtomicUpdates() bool { return true }
