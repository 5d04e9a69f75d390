package main

import (
	"context"
	"database/sql"
	"net/http"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/pgxdb"
)

// usersessionLibrary is this one, with nothing set.
type usersessionLibrary struct{ *usersession.Manager }

func openUsersessionPq(dsn, _ string) (library, error) {
	connector, err := pq.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return openUsersession(sql.OpenDB(connector), "postgres")
}

func openUsersessionPgx(dsn, _ string) (library, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	return openUsersession(stdlib.OpenDB(*config), "pgx")
}

func openUsersessionNative(dsn, _ string) (library, error) {
	pool, err := openPool(dsn)
	if err != nil {
		return nil, err
	}
	return running(usersession.New(pgxdb.Open(pool), nil))
}

func openUsersession(db *sql.DB, driver string) (library, error) {
	limit(db)
	return running(usersession.New(sqlx.NewDb(db, driver), nil))
}

// running makes the tables and runs the janitor, as a program does.
func running(m *usersession.Manager, err error) (library, error) {
	if err != nil {
		return nil, err
	}
	if err := m.Migrate(context.Background()); err != nil {
		return nil, err
	}
	go m.Run(context.Background())
	return usersessionLibrary{m}, nil
}

func limit(db *sql.DB) {
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
}

func (l usersessionLibrary) wrap(next http.Handler) http.Handler { return l.LoadAndSave(next) }

func (l usersessionLibrary) login(_ http.ResponseWriter, r *http.Request, user string) error {
	values(func(k string, v any) { l.Put(r.Context(), k, v) })
	return l.Login(r.Context(), user)
}

func (l usersessionLibrary) me(r *http.Request) (string, error) { return l.UserID(r.Context()), nil }

func (l usersessionLibrary) list(r *http.Request, user string) (any, error) {
	return l.ListSessions(r.Context(), user)
}

func (l usersessionLibrary) revokeAll(r *http.Request, user string) error {
	_, err := l.RevokeAllSessions(r.Context(), user)
	return err
}
