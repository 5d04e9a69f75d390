package pgxdb_test

import (
	"context"
	"net/http"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/pgxdb"
)

// A program with a pool of its own. Its limits count for both.
func Example() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://app@localhost/app?sslmode=verify-full")
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	sessions, err := usersession.New(pgxdb.Open(pool), nil)
	if err != nil {
		panic(err)
	}
	if err := sessions.Migrate(ctx); err != nil {
		panic(err)
	}
	http.ListenAndServe("localhost:8080", sessions.LoadAndSave(http.NewServeMux()))
}
