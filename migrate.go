package usersession

import (
	"archive/zip"
	"bytes"
	"context"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"text/template"
	"time"
)

// The one copy of the schema. Statements end with a semicolon at the end of a
// line; every one of them may run twice, so that an interrupted migration is
// finished by the next.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration creates one table with what belongs to it.
type migration struct {
	table    string
	up, down []string
}

var userIDColumn = map[Dialect]map[UserIDType]string{
	Postgres: {Text: "text", Bigint: "bigint", UUID: "uuid"},
	SQLite:   {Text: "TEXT", Bigint: "INTEGER", UUID: "TEXT"},
	// Its text collations call 'u' and 'u ' equal; bytes are bytes.
	MariaDB: {Text: "VARBINARY(255)", Bigint: "BIGINT", UUID: "UUID"},
}

// migrations returns the migrations of one database: that of the index if
// d.tablePlain is set, that of the data if d.dataPlain is.
func (d *dialect) migrations(users string) ([]migration, error) {
	text, err := migrationFiles.ReadFile("migrations/" + string(d.name) + ".sql")
	if err != nil {
		return nil, err
	}
	t, err := template.New(string(d.name)).Parse(string(text))
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	err = t.Execute(&out, map[string]any{
		"Table": d.tablePlain, "Index": d.index, "Lock": d.lock,
		"DataTable": d.dataPlain, "Data": quoteName(d.name, d.schema, d.dataPlain),
		"UserIDType": userIDColumn[d.name][d.userIDType], "Users": users,
		"Partitions": d.partitionList(),
	})
	if err != nil {
		return nil, err
	}
	var list []migration
	for _, section := range strings.Split(out.String(), "-- name: ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		up, down, _ := strings.Cut(body, "-- down\n")
		m := migration{table: name, up: statements(up), down: statements(down)}
		if m.table != "" { // else that of a table which is not ours to make
			list = append(list, m)
		}
	}
	return list, nil
}

func statements(text string) []string {
	var list []string
	for _, s := range strings.Split(text, ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			list = append(list, s)
		}
	}
	return list
}

// usersReference returns what a foreign key refers to, or "".
func (m *Manager) usersReference() string {
	if m.opts.UsersTable == "" {
		return ""
	}
	u, _ := parseUsersTable(m.opts.UsersTable) // checked by resolve
	schema := u.schema
	if schema == "" {
		schema = m.opts.Schema
	}
	return quoteName(m.index.d.name, schema, u.table) + " (" + quoteName(m.index.d.name, u.column) + ")"
}

// Migrate creates the tables that are missing: the index, and that of the Store
// if it has one and can make it. It is idempotent, finishes what an interrupted
// run began, and may run in any number of replicas at once. It never changes the
// columns or the partitions of a table that is there; if one is missing, the
// error says so.
func (m *Manager) Migrate(ctx context.Context) error {
	list, err := m.index.d.migrations(m.usersReference())
	if err != nil {
		return fmt.Errorf("usersession: Migrate: %w", err)
	}
	if err := m.index.migrate(ctx, list, "SELECT"+rowColumns+", purge_at\nFROM @index\nWHERE 1 = 0"); err != nil {
		return fmt.Errorf("usersession: Migrate: %w", err)
	}
	if s, ok := m.store.(interface{ Migrate(context.Context) error }); ok {
		return s.Migrate(ctx)
	}
	return nil
}

// Migrate creates the table of the Store if it is missing. It is idempotent and
// may run in any number of replicas at once.
func (s *SQLStore) Migrate(ctx context.Context) error {
	list, err := s.c.d.migrations("")
	if err == nil {
		err = s.c.migrate(ctx, list, "SELECT token, data, expiry\nFROM @data\nWHERE 1 = 0")
	}
	if err != nil {
		return fmt.Errorf("usersession: SQLStore.Migrate: %w", err)
	}
	return nil
}

// migrate runs migrations under a lock and then checks the result with a query
// of every column.
func (c *conn) migrate(ctx context.Context, list []migration, check string) error {
	run := func(q querier) error {
		if err := c.d.checkPartitions(ctx, q); err != nil {
			return err
		}
		for _, m := range list {
			for _, s := range m.up {
				if _, err := q.ExecContext(ctx, s); err != nil {
					return fmt.Errorf("table %s: %w", m.table, err)
				}
			}
		}
		rows, err := q.QueryxContext(ctx, c.expand(check))
		if err != nil {
			return fmt.Errorf("a table is there but is not as the migrations make it: %w", err)
		}
		return rows.Close()
	}
	if c.d.name == MariaDB {
		return c.locked(ctx, run)
	}
	return retry(ctx, func() error {
		return c.txOnce(ctx, func(q querier) error {
			if c.d.name == Postgres {
				if _, err := q.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('usersession migrations', 0))"); err != nil {
					return err
				}
			}
			return run(q)
		})
	})
}

// locked runs fn under a named lock of MariaDB, whose transactions do not cover
// CREATE TABLE.
func (c *conn) locked(ctx context.Context, fn func(querier) error) error {
	cn, err := c.db.Connx(ctx)
	if err != nil {
		return err
	}
	defer cn.Close()
	var got *int
	if err := cn.GetContext(ctx, &got, "SELECT GET_LOCK(CONCAT('usersession ', LEFT(SHA1(DATABASE()), 20)), 30)"); err != nil {
		return err
	}
	if got == nil || *got != 1 {
		return errors.New("another migration holds the lock for more than 30 seconds")
	}
	defer func() {
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if _, err := cn.ExecContext(rctx, "DO RELEASE_LOCK(CONCAT('usersession ', LEFT(SHA1(DATABASE()), 20)))"); err != nil {
			cn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}()
	return fn(cn)
}

// Migrations returns what Migrate runs as files for a migration tool: one
// 0000N_<table>.sql for each table, with goose's "+goose Up" and "+goose Down"
// marks. They hold the names and the user ID type of this Manager's Options. The
// table of the Store is among them if it is in the same database.
func (m *Manager) Migrations() (fs.FS, error) {
	list, err := m.index.d.migrations(m.usersReference())
	if err != nil {
		return nil, fmt.Errorf("usersession: Migrations: %w", err)
	}
	if m.local != nil {
		data, err := m.local.c.d.migrations("")
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
		f, err := w.Create(fmt.Sprintf("%05d_%s.sql", i+1, mig.table))
		if err != nil {
			return nil, fmt.Errorf("usersession: Migrations: %w", err)
		}
		fmt.Fprintf(f, "-- +goose Up\n%s;\n\n-- +goose Down\n%s;\n", strings.Join(mig.up, ";\n\n"), strings.Join(mig.down, ";\n\n"))
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("usersession: Migrations: %w", err)
	}
	return zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
}
