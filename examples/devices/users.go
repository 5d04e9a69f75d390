package main

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"errors"

	"github.com/jmoiron/sqlx"
)

// adminName is the user who may see the admin page.
const adminName = "admin"

// iterations is what OWASP recommends for PBKDF2 with SHA-256; tests use fewer.
var iterations = 600_000

// users is the table of those who may log in.
type users struct{ db *sqlx.DB }

func (u users) create(ctx context.Context) error {
	blob := "BLOB"
	if u.db.DriverName() == "postgres" {
		blob = "BYTEA"
	}
	_, err := u.db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, salt `+blob+` NOT NULL, hash `+blob+` NOT NULL)`)
	return err
}

// seed gives users that do not exist yet a password, and all of them if one is
// given. It returns the password if it has made one up.
func (u users) seed(ctx context.Context, password string, ids ...string) (made string, err error) {
	for _, id := range ids {
		_, err := u.load(ctx, id)
		switch {
		case err == nil && password == "":
			continue
		case err != nil && !errors.Is(err, sql.ErrNoRows):
			return "", err
		case password == "":
			made = rand.Text()[:12]
			password = made
		}
		if err := u.setPassword(ctx, u.db, id, password); err != nil {
			return "", err
		}
	}
	return made, nil
}

type credentials struct {
	Salt []byte `db:"salt"`
	Hash []byte `db:"hash"`
}

func (u users) load(ctx context.Context, id string) (c credentials, err error) {
	err = u.db.GetContext(ctx, &c, u.db.Rebind(`SELECT salt, hash FROM users WHERE id = ?`), id)
	return c, err
}

var errPassword = errors.New("the name or the password is wrong")

// check returns errPassword unless a password is the user's. An unknown user takes as
// long as a wrong password. A real application also limits how often it is asked.
func (u users) check(ctx context.Context, id, password string) error {
	c, err := u.load(ctx, id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	hash, herr := derive(password, c.Salt)
	if herr != nil {
		return herr
	}
	if err != nil || subtle.ConstantTimeCompare(hash, c.Hash) != 1 {
		return errPassword
	}
	return nil
}

// setPassword makes or changes a user, in a transaction or not.
func (u users) setPassword(ctx context.Context, q sqlx.ExecerContext, id, password string) error {
	salt := make([]byte, 16)
	rand.Read(salt)
	hash, err := derive(password, salt)
	if err != nil {
		return err
	}
	_, err = q.ExecContext(ctx, u.db.Rebind(`
INSERT INTO users (id, salt, hash)
VALUES (?, ?, ?)
ON CONFLICT (id) DO UPDATE SET salt = excluded.salt, hash = excluded.hash`), id, salt, hash)
	return err
}

func derive(password string, salt []byte) ([]byte, error) {
	return pbkdf2.Key(sha256.New, password, salt, iterations, 32)
}
