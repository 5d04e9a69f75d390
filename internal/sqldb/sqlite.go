package sqldb

import (
	"context"
	"slices"

	"github.com/jmoiron/sqlx"
)

// File returns the file of a SQLite database; "" if it is in memory, where each
// connection has one of its own.
func File(ctx context.Context, db *sqlx.DB) (string, error) {
	var list []struct {
		Seq  int     `db:"seq"`
		Name string  `db:"name"`
		File *string `db:"file"`
	}
	if err := db.SelectContext(ctx, &list, "PRAGMA database_list"); err != nil {
		return "", err
	}
	for _, d := range list {
		if d.Name == "main" && d.File != nil {
			return *d.File, nil
		}
	}
	return "", nil
}

// FullColumnNames reports whether a connection of a SQLite database puts the table
// before the names of columns, under which nothing finds them.
func FullColumnNames(ctx context.Context, db *sqlx.DB) (bool, error) {
	var on []bool
	err := db.SelectContext(ctx, &on, "PRAGMA full_column_names")
	return slices.Contains(on, true), err
}

// ForeignKeys reports whether a connection of a SQLite database heeds foreign keys.
func ForeignKeys(ctx context.Context, db *sqlx.DB) (bool, error) {
	var on bool
	err := db.GetContext(ctx, &on, "PRAGMA foreign_keys")
	return on, err
}
