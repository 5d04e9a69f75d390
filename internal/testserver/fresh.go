package testserver

import (
	"context"
	"crypto/rand"
	"database/sql"
	"net/url"
	"strings"
	"testing"
	"time"
)

// FreshPostgres returns the DSN of a new, empty PostgreSQL database that is
// dropped when the test ends, connections to it included. The function open
// opens a DSN with the caller's driver. The pools it returns are closed here.
func FreshPostgres(tb testing.TB, open func(dsn string) (*sql.DB, error)) (dsn string) {
	tb.Helper()
	server, name := PostgresServer(tb), freshName()
	lend(tb, open, server, "CREATE DATABASE "+name, "DROP DATABASE "+name+" WITH (FORCE)")
	return postgresDSN(server, name)
}

// FreshMariaDB returns the DSN of a new, empty MariaDB database that is dropped
// when the test ends. A transaction left open in it makes that fail, and the test
// with it. The function open opens a DSN with the caller's driver. The pools it
// returns are closed here.
func FreshMariaDB(tb testing.TB, open func(dsn string) (*sql.DB, error)) (dsn string) {
	tb.Helper()
	server, name := MariaDBServer(tb), freshName()
	lend(tb, open, server, "CREATE DATABASE "+name,
		"SET STATEMENT lock_wait_timeout = 10 FOR DROP DATABASE "+name)
	return mariaDBDSN(server, name)
}

// freshName returns a database name that needs no quotes in SQL or in a DSN.
func freshName() string {
	return "us_" + strings.ToLower(rand.Text())
}

// lend executes one statement on the server now and another when the test ends.
func lend(tb testing.TB, open func(dsn string) (*sql.DB, error), server, create, drop string) {
	tb.Helper()
	exec := func(statement string) {
		tb.Helper()
		db, err := open(server)
		if err != nil {
			tb.Fatalf("open the test server: %v", err)
		}
		defer db.Close()
		// Not on tb.Context: it has ended when cleanups run.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := db.ExecContext(ctx, statement); err != nil {
			tb.Fatalf("%s: %v", statement, err)
		}
	}
	exec(create)
	tb.Cleanup(func() { exec(drop) })
}

// postgresDSN returns dsn, a URL or a list of key=value settings, with another
// database name.
func postgresDSN(dsn, name string) string {
	if u, err := url.Parse(dsn); err == nil && u.Scheme != "" {
		u.Path = "/" + name
		return u.String()
	}
	return dsn + " dbname=" + name // Of equal settings the last one counts.
}

// mariaDBDSN returns dsn, user:password@protocol(address)/database?parameters,
// with another database name.
func mariaDBDSN(dsn, name string) string {
	slash := strings.LastIndex(dsn, "/") // Passwords and socket paths have slashes too.
	server, rest := dsn[:slash+1], dsn[slash+1:]
	_, parameters, found := strings.Cut(rest, "?")
	if found {
		parameters = "?" + parameters
	}
	return server + name + parameters
}
