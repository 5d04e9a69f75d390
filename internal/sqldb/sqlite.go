package sqldb

import (
	"context"
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
