package usersession

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/schema"
	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// tables says how the index is made.
func (m *Manager) tables() schema.Tables {
	return schema.Tables{
		Dialect: m.index.DB().Dialect(), Schema: m.opts.Index.Schema, Index: m.opts.Index.Table,
		UserIDType: string(m.opts.UserIDType), Users: m.users(), Partitions: m.opts.Index.Partitions,
	}
}

// users says what a foreign key refers to, if there is one.
func (m *Manager) users() schema.Users {
	if m.opts.UsersTable == "" {
		return schema.Users{}
	}
	u, _ := parseUsersTable(m.opts.UsersTable) // checked by resolve
	if u.schema == "" {
		u.schema = m.opts.Index.Schema
	}
	return schema.Users{Schema: u.schema, Table: u.table, Column: u.column}
}

// Migrate creates the tables and indexes that are missing. They are those of the
// index, and those of the Store if it has a table and can make it. It is safe to
// call at each start, in any number of replicas at once. If everything is there, it
// only looks. It then makes no writer wait and needs no right to create. Otherwise
// it finishes what an interrupted run began. If it does not get a lock within 30
// seconds, it returns an error.
//
// To an index that was made without the columns place, idle_timeout, last_ip,
// last_user_agent and those that begin with idp_ or device_, it adds those. It never changes
// another column, a constraint or a partition of a table that is there.
// If they are not as the Options say, the error names the option. If a column is
// missing, the error wraps ErrNotMigrated.
func (m *Manager) Migrate(ctx context.Context) error {
	if err := m.tables().Migrate(ctx, m.index.DB(), index.ColumnsSQL); err != nil {
		return fmt.Errorf("usersession: Migrate: %w", err)
	}
	if s, ok := m.opts.Store.(interface{ Migrate(context.Context) error }); ok {
		return s.Migrate(ctx)
	}
	return nil
}

// Migrate creates the table of the Store and its index if they are missing, as
// Manager.Migrate does. It may run in any number of replicas at once.
func (s *SQLStore) Migrate(ctx context.Context) error {
	check := dataColumnsSQL
	if s.db.Dialect() == sqldb.Postgres {
		check += dataBytesSQL
	}
	if err := s.tables.Migrate(ctx, s.db, check); err != nil {
		return fmt.Errorf("usersession: SQLStore.Migrate: %w", err)
	}
	return nil
}

// Migrations returns the statements of Migrate as files for a migration tool.
// There is one 0000N_<table>.sql for each table, with goose's "+goose Up" and
// "+goose Down" marks. The files hold the names and the user ID type of this
// Manager's Options. The table of the Store is among them if it is in the same
// database.
func (m *Manager) Migrations() (fs.FS, error) {
	list, err := m.tables().Migrations()
	if err != nil {
		return nil, fmt.Errorf("usersession: Migrations: %w", err)
	}
	if m.data.table != nil {
		data, err := m.data.table.tables.Migrations()
		if err != nil {
			return nil, fmt.Errorf("usersession: Migrations: %w", err)
		}
		list = append(list, data...)
	}
	// A zip in memory is the one read-only fs.FS of the standard library that
	// can be made of strings.
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for i, mig := range list {
		f, err := w.Create(fmt.Sprintf("%05d_%s.sql", i+1, mig.Table))
		if err != nil {
			return nil, fmt.Errorf("usersession: Migrations: %w", err)
		}
		fmt.Fprintf(f, "-- +goose Up\n%s;\n\n-- +goose Down\n%s;\n", strings.Join(mig.Up, ";\n\n"), strings.Join(mig.Down, ";\n\n"))
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("usersession: Migrations: %w", err)
	}
	return zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
}
