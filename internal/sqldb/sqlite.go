package sqldb

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
)

// File returns the file of a SQLite database; memory if it is in none, so that each
// connection has one of its own. A driver may tell neither.
func File(ctx context.Context, db *sqlx.DB) (file string, memory bool, err error) {
	var list []struct {
		Seq  int     `db:"seq"`
		Name string  `db:"name"`
		File *string `db:"file"`
	}
	if err := db.SelectContext(ctx, &list, "PRAGMA database_list"); err != nil {
		return "", false, err
	}
	for _, d := range list {
		if d.Name == "main" && d.File != nil {
			file = *d.File
		}
		memory = memory || d.Name == "main" && file == ""
	}
	return file, memory, nil
}

// CheckSQLite refuses what would work until the second connection is opened, names of
// columns under which nothing finds them and, if they are to be heeded, foreign keys that
// are not.
func CheckSQLite(ctx context.Context, db *sqlx.DB, foreignKeys bool) error {
	_, memory, err := File(ctx, db)
	if err == nil && memory && db.Stats().MaxOpenConnections != 1 {
		return errors.New("usersession: New: a :memory: SQLite database is another one on each connection: call db.SetMaxOpenConns(1), or use a file")
	}
	var full []bool
	if err == nil {
		err = db.SelectContext(ctx, &full, "PRAGMA full_column_names")
	}
	heeded := true
	if err == nil && foreignKeys {
		err = db.GetContext(ctx, &heeded, "PRAGMA foreign_keys")
	}
	switch {
	case err != nil:
		return fmt.Errorf("usersession: New: %w", err)
	case slices.Contains(full, true):
		return errors.New("usersession: New: this SQLite connection has the setting full_column_names=1, under which columns get other names than they are read by: take the pragma out of its name")
	case !heeded:
		return errors.New("usersession: Options.UsersTable: foreign keys are off in this SQLite connection: add _pragma=foreign_keys(1) (modernc.org/sqlite) or _foreign_keys=on (mattn/go-sqlite3) to its name")
	}
	return nil
}
