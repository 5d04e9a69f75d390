package testserver

import (
	"errors"
	"net/url"
	"path/filepath"
	"testing"
)

// PostgresStandby starts a server that follows that of [PostgresServer] by
// streaming replication and returns the URL of its maintenance database. It is
// the caller's alone and lives as long as the process does.
func PostgresStandby(tb testing.TB) (dsn string) {
	tb.Helper()
	primary := PostgresServer(tb)
	s := &server{
		name:    "PostgreSQL standby",
		env:     "USERSESSION_TEST_POSTGRES_STANDBY",
		example: "postgres://user:password@host:5433/postgres",
		start:   func() (string, error) { return startPostgresStandby(primary) },
	}
	return s.address(tb)
}

func startPostgresStandby(primary string) (dsn string, err error) {
	from, err := url.Parse(primary)
	if err != nil || from.Host == "" {
		return "", errors.Join(errors.New("the address of the primary is no URL"), err)
	}
	binary, backup, err := findPostgres("pg_basebackup")
	if err != nil {
		return "", err
	}
	p, err := newProcess("standby", "postgres")
	if err != nil {
		return "", err
	}
	data := filepath.Join(p.dir, "data")
	err = p.run(backup, "--pgdata="+data, "--dbname="+primary, "--write-recovery-conf",
		"--checkpoint=fast", "--wal-method=stream", "--no-sync")
	if err != nil {
		return "", err
	}
	port, err := p.serve(postgresService(binary, data, "read-only connections", "synchronous_commit=off"))
	if err != nil {
		return "", err
	}
	from.Host = "127.0.0.1:" + port
	return from.String(), nil
}
