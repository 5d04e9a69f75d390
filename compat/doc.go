// Package compat holds the tests over the drivers and stores that the root
// module does not require: MariaDB, pgx, every store written for scs that can be
// had, goose. It is a module of its own, so that none of them reaches a user's
// go.mod.
package compat
