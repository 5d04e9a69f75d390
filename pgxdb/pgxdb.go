// Package pgxdb lets usersession use the pool of a program that speaks to PostgreSQL
// through pgx itself, so that nobody opens a second pool.
//
//	sessions, err := usersession.New(pgxdb.Open(pool), nil)
//
// Statements go through the native protocol of pgx, on the connections of that pool.
// Transactions and migrations go through database/sql, on the same connections.
package pgxdb

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// Open returns the database of a pool, for [usersession.New] and for all else that
// takes a *sqlx.DB. It does no I/O, and keeps no connection that nothing uses. The
// limits of the pool hold for both, and so do its hooks and its tracer. Closing the
// database does not close the pool. The database is safe for concurrent use.
//
// A revocation in a transaction of the program needs one of this database. Within it
// the *pgx.Conn is reached by sql.Conn.Raw, as that of a [stdlib.Conn].
//
// If the pool does not keep prepared statements, for it is behind a pooler, set
// usersession.IndexOptions.NoPreparedStatements. All statements then go through
// database/sql, on its connections.
func Open(pool *pgxpool.Pool) *sqlx.DB {
	c := stdlib.GetPoolConnector(pool)
	if pool.Config().ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		c = connector{c, &native{c.Driver(), pool}}
	}
	db := sql.OpenDB(c)
	db.SetMaxIdleConns(0) // the pool has them
	return sqlx.NewDb(db, "pgx")
}

// connector is that of pgx, whose driver runs statements by itself.
type connector struct {
	driver.Connector
	driver driver.Driver
}

func (c connector) Driver() driver.Driver { return c.driver }

// native is the driver of a pool.
type native struct {
	driver.Driver
	pool *pgxpool.Pool
}

var _ sqldb.Native = (*native)(nil)

// Query implements sqldb.Native.
func (n *native) Query(ctx context.Context, text string, args []any, take func(sqldb.Row) error) error {
	rows, err := n.pool.Query(ctx, text, args...)
	if err != nil {
		return unsent(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := take(row{rows}); err != nil {
			return err
		}
	}
	return unsent(rows.Err())
}

// Row implements sqldb.Native.
func (n *native) Row(ctx context.Context, text string, args, dest []any) (found bool, err error) {
	rows, err := n.pool.Query(ctx, text, args...)
	if err != nil {
		return false, unsent(err)
	}
	defer rows.Close()
	if rows.Next() {
		found, err = true, rows.Scan(dest...)
	}
	rows.Close() // to the end of the answer, where there may be an error too
	return found, cmp.Or(err, unsent(rows.Err()))
}

// Exec implements sqldb.Native.
func (n *native) Exec(ctx context.Context, text string, args []any) (int64, error) {
	tag, err := n.pool.Exec(ctx, text, args...)
	return tag.RowsAffected(), unsent(err)
}

// Conns implements sqldb.Native.
func (n *native) Conns() int { return int(n.pool.Stat().TotalConns()) }

// unsent marks the error of a connection that was dead before anything was sent on it.
func unsent(err error) error {
	if _, connecting := errors.AsType[*pgconn.ConnectError](err); err == nil || connecting || !pgconn.SafeToRetry(err) {
		return err
	}
	return errors.Join(driver.ErrBadConn, err)
}

// row is the row at which rows are.
type row struct{ pgx.Rows }

// Columns implements sqldb.Row.
func (r row) Columns() []string {
	fields := r.FieldDescriptions()
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}
