// Package compat holds the tests over the drivers and stores that the root
// module does not require: MariaDB, pgx, scs's Redis and PostgreSQL stores,
// goose. It is a module of its own, so that none of them reaches a user's
// go.mod.
package compat
