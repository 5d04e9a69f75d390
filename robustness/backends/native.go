package backends

import (
	"context"
	"database/sql"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/pgxdb"
)

// Native is PostgreSQL through the pool of pgx. It is no part of List, whose Backends
// have figures.
var Native = Backend{"PostgreSQL through pgxdb", func(tb testing.TB) *sqlx.DB {
	tb.Helper()
	dsn := testserver.FreshPostgres(tb, func(dsn string) (*sql.DB, error) { return sql.Open("postgres", dsn) })
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	config.MaxConns = poolSize
	config.ConnConfig.Tracer = stopper{}
	pool, err := pgxpool.NewWithConfig(tb.Context(), config)
	if err != nil {
		tb.Fatal(err)
	}
	db := pgxdb.Open(pool)
	tb.Cleanup(func() { db.Close(); pool.Close() })
	return db
}, nil}

// stopper stops the statements of pgx.
type stopper struct{}

type afterKey struct{}

func (stopper) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, afterKey{}, pass(ctx))
}

func (stopper) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if after, ok := ctx.Value(afterKey{}).(func()); ok {
		after()
	}
}
