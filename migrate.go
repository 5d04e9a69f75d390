package usersession

import (
	"cmp"
	"context"
	"io/fs"

	"github.com/seed-296ca7ab/usersession/internal/datatable"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/schema"
)

// tables says how the index is made.
func (m *Manager) tables() schema.Tables {
	users, _ := schema.ParseUsers(m.opts.UsersTable) // checked by New
	users.Schema = cmp.Or(users.Schema, m.opts.Index.Schema)
	return schema.Tables{
		Dialect: m.index.DB().Dialect(), Schema: m.opts.Index.Schema, Index: m.opts.Index.Table,
		UserIDType: string(m.opts.UserIDType), Users: users, Partitions: m.opts.Index.Partitions,
	}
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
		return wrap("Migrate", err)
	}
	if s, ok := m.opts.Store.(interface{ Migrate(context.Context) error }); ok {
		return s.Migrate(ctx)
	}
	return nil
}

// Migrate creates the table of the Store and its index if they are missing, as
// Manager.Migrate does. It may run in any number of replicas at once.
func (s *SQLStore) Migrate(ctx context.Context) error {
	return wrap("SQLStore.Migrate", s.tables.Migrate(ctx, s.db, datatable.CheckSQL(s.db.Dialect())))
}

// Migrations returns the statements of Migrate as files for a migration tool.
// There is one 0000N_<table>.sql for each table, with goose's "+goose Up" and
// "+goose Down" marks. The files hold the names and the user ID type of this
// Manager's Options. The table of the Store is among them if it is in the same
// database.
func (m *Manager) Migrations() (fs.FS, error) {
	tables := []schema.Tables{m.tables()}
	if m.data.table != nil {
		tables = append(tables, m.data.table.tables)
	}
	files, err := schema.Files(tables...)
	return files, wrap("Migrations", err)
}
