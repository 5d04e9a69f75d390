package schema

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// userColumn is how the column user_id stands, and that of the users table which it
// is to refer to.
type userColumn struct {
	Type      string `db:"type"`       // "" if it is not there
	UsersType string `db:"users_type"` // likewise
	UsersAs   string `db:"users_as"`   // how MariaDB wants a column that refers to it
	Refers    string `db:"refers"`     // to what it does refer; "" if to nothing
	ToUsers   bool   `db:"to_users"`   // that is the users table
	SetsNull  bool   `db:"sets_null"`  // when the user is deleted
	Columns   string `db:"columns"`    // that the index has, laterColumns at least, with spaces between
}

// laterColumns are those that an index of an older version may lack.
var laterColumns = []string{
	"place", "idle_timeout", "last_ip", "last_user_agent", "idp_issuer", "idp_subject", "idp_session",
	"device_key", "device_bound_at", "device_secret", "device_challenge", "device_challenge_before", "renewed_at",
}

// anyOfLater are those of laterColumns that are among the rows, each with a space. A
// setting may cut what GROUP_CONCAT returns.
func anyOfLater() string {
	var terms []string
	for _, c := range laterColumns {
		terms = append(terms, "MAX(IF(column_name = '"+c+"', '"+c+" ', ''))")
	}
	return strings.Join(terms, ", ")
}

// userColumnSQL asks for it, with one row for each foreign key.
var userColumnSQL = map[sqldb.Dialect]string{
	sqldb.Postgres: `
WITH col AS (
	SELECT n.nspname, c.relname, a.attrelid, a.attnum, a.attname, pg_table_is_visible(c.oid) AS visible,
		replace(format_type(CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END, NULL), '"', '') AS type
	FROM pg_class c
	JOIN pg_namespace n ON n.oid = c.relnamespace
	JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
	JOIN pg_type t ON t.oid = a.atttypid
	WHERE c.relname IN (:table, :users_table) AND a.attname IN ('user_id', :users_column)
)
SELECT COALESCE(x.type, '') AS type, COALESCE(u.type, '') AS users_type, '' AS users_as,
	COALESCE(r.relname || '(' || ra.attname || ')', '') AS refers,
	COALESCE(f.confrelid = u.attrelid AND f.confkey[1] = u.attnum, false) AS to_users,
	COALESCE(f.confdeltype = 'n', false) AS sets_null,
	COALESCE((SELECT string_agg(a.attname, ' ') FROM pg_attribute a WHERE a.attrelid = x.attrelid AND NOT a.attisdropped), '') AS columns
FROM (SELECT 1) AS one
LEFT JOIN col x ON (:schema = '' AND x.visible OR x.nspname = :schema) AND x.relname = :table AND x.attname = 'user_id'
LEFT JOIN col u ON (:users_schema = '' AND u.visible OR u.nspname = :users_schema) AND u.relname = :users_table AND u.attname = :users_column
LEFT JOIN pg_constraint f ON f.contype = 'f' AND f.conrelid = x.attrelid AND f.conkey = ARRAY[x.attnum]
LEFT JOIN pg_class r ON r.oid = f.confrelid
LEFT JOIN pg_attribute ra ON ra.attrelid = f.confrelid AND ra.attnum = f.confkey[1]`,

	// A foreign key that names no column refers to the primary key.
	sqldb.SQLite: `
SELECT COALESCE(lower(x.type), '') AS type, COALESCE(lower(u.type), '') AS users_type, '' AS users_as,
	COALESCE(f."table" || COALESCE('(' || f."to" || ')', ''), '') AS refers,
	COALESCE(f."table" = :users_table COLLATE NOCASE AND COALESCE(f."to" = :users_column COLLATE NOCASE, u.pk = 1), 0) AS to_users,
	COALESCE(f.on_delete = 'SET NULL', 0) AS sets_null,
	COALESCE((SELECT group_concat(lower(name), ' ') FROM pragma_table_info(:table)), '') AS columns
FROM (SELECT 1) AS one
LEFT JOIN pragma_table_info(:table) x ON x.name = 'user_id' COLLATE NOCASE
LEFT JOIN pragma_table_info(:users_table) u ON u.name = :users_column COLLATE NOCASE
LEFT JOIN pragma_foreign_key_list(:table) f ON f."from" = 'user_id' COLLATE NOCASE`,

	// What a foreign key does is shown to those only who may change the table. The
	// limits keep the subqueries from being merged.
	sqldb.MariaDB: `
SELECT COALESCE(x.data_type, '') AS type, COALESCE(u.data_type, '') AS users_type, COALESCE(u.definition, '') AS users_as,
	COALESCE(CONCAT(f.referenced_table_name, '(', f.referenced_column_name, ')'), '') AS refers,
	COALESCE(f.referenced_table_schema = COALESCE(NULLIF(:users_schema, ''), DATABASE())
		AND f.referenced_table_name = :users_table AND f.referenced_column_name = :users_column, 0) AS to_users,
	f.constraint_name IS NOT NULL AND COALESCE(r.delete_rule = 'SET NULL', 1) AS sets_null,
	COALESCE((
		SELECT CONCAT(` + anyOfLater() + `)
		FROM information_schema.columns
		WHERE table_schema = COALESCE(NULLIF(:schema, ''), DATABASE()) AND table_name = :table
	), '') AS columns
FROM (SELECT 1) AS one
LEFT JOIN (
	SELECT IF(column_type IN ('char(36)', 'varchar(36)'), column_type, data_type) AS data_type
	FROM information_schema.columns
	WHERE table_schema = COALESCE(NULLIF(:schema, ''), DATABASE()) AND table_name = :table AND column_name = 'user_id'
	LIMIT 1
) x ON TRUE
LEFT JOIN (
	SELECT IF(column_type IN ('char(36)', 'varchar(36)'), column_type, data_type) AS data_type,
		CONCAT(column_type, COALESCE(CONCAT(' CHARACTER SET ', character_set_name, ' COLLATE ', collation_name), '')) AS definition
	FROM information_schema.columns
	WHERE table_schema = COALESCE(NULLIF(:users_schema, ''), DATABASE()) AND table_name = :users_table AND column_name = :users_column
	LIMIT 1
) u ON TRUE
LEFT JOIN (
	SELECT constraint_name, referenced_table_schema, referenced_table_name, referenced_column_name
	FROM information_schema.key_column_usage
	WHERE table_schema = COALESCE(NULLIF(:schema, ''), DATABASE()) AND table_name = :table AND column_name = 'user_id'
		AND referenced_table_name IS NOT NULL
	LIMIT 1000
) f ON TRUE
LEFT JOIN (
	SELECT constraint_name, delete_rule
	FROM information_schema.referential_constraints
	WHERE constraint_schema = COALESCE(NULLIF(:schema, ''), DATABASE()) AND table_name = :table
	LIMIT 1000
) r ON r.constraint_name = f.constraint_name`,
}

// checkUserID returns an error if the column user_id is there and is not what the
// Options say, or if it cannot refer to the users table. It returns the columns that an
// index of an older version lacks.
func (t Tables) checkUserID(ctx context.Context, q sqldb.Querier) (lacks []string, err error) {
	rows, err := t.userColumns(ctx, q)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	there := strings.Fields(rows[0].Columns)
	for _, column := range laterColumns {
		if rows[0].Type != "" && !slices.Contains(there, column) {
			lacks = append(lacks, column)
		}
	}
	return lacks, t.checkUserColumn(rows)
}

// userColumns asks how the column user_id and that of the users table stand.
func (t Tables) userColumns(ctx context.Context, q sqldb.Querier) (rows []userColumn, err error) {
	if t.Index == "" {
		return nil, nil
	}
	err = ask(ctx, q, &rows, userColumnSQL[t.Dialect], map[string]any{
		"schema": t.Schema, "table": t.Index,
		"users_schema": t.Users.Schema, "users_table": t.Users.Table, "users_column": t.Users.Column,
	})
	return rows, err
}

// asUsersColumn returns the tables with a column user_id that can refer to the users
// table as it is. A foreign key of MariaDB refers to a column of the very same type.
func (t Tables) asUsersColumn(ctx context.Context, q sqldb.Querier) (Tables, error) {
	if t.Dialect != sqldb.MariaDB || t.Users.Table == "" {
		return t, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	rows, err := t.userColumns(ctx, q)
	if err != nil || len(rows) == 0 {
		return t, err
	}
	if t.fits(t.UserIDType, rows[0].UsersType) && rows[0].UsersType != "varbinary" { // whose length may differ
		t.Users.Definition = rows[0].UsersAs
	}
	return t, nil
}

func (t Tables) checkUserColumn(rows []userColumn) error {
	column, users := rows[0], t.Users.Table+"("+t.Users.Column+")"
	if fits := t.fitting(column.UsersType); fits != "" && !t.fits(t.UserIDType, column.UsersType) {
		return fmt.Errorf("Options.UserIDType: is %s, but %s of Options.UsersTable is %s: set UserIDType to %s", t.UserIDType, users, column.UsersType, fits)
	}
	if t.Dialect == sqldb.MariaDB && column.Type == "" && column.UsersType != "" && !t.fits(t.UserIDType, column.UsersType) {
		return fmt.Errorf("Options.UsersTable: %s is %s, to which user_id cannot refer: the integers, UUID, CHAR(36), VARCHAR(36) and VARBINARY fit; change it, or leave UsersTable empty and end the sessions of a user before you delete the user", users, column.UsersAs)
	}
	if column.Type == "" {
		return nil
	}
	there := fmt.Sprintf("the column user_id of the table %s is there", t.index())
	if !t.fits(t.UserIDType, column.Type) {
		return fmt.Errorf("Options.UserIDType: is %s, but %s and is %s: set UserIDType, or change the column", t.UserIDType, there, column.Type)
	}
	if t.Users.Table == "" || slices.ContainsFunc(rows, func(c userColumn) bool { return c.ToUsers && c.SetsNull }) {
		return nil
	}
	switch i := slices.IndexFunc(rows, func(c userColumn) bool { return c.ToUsers }); {
	case i >= 0:
		return fmt.Errorf("Options.UsersTable: is %s, but %s and its foreign key has no ON DELETE SET NULL", users, there)
	case column.Refers != "":
		return fmt.Errorf("Options.UsersTable: is %s, but %s and its foreign key refers to %s", users, there, column.Refers)
	}
	return fmt.Errorf("Options.UsersTable: is %s, but %s without a foreign key to it: add one with ON DELETE SET NULL", users, there)
}

// columnTypes are the types of a column that hold a type of user IDs.
var columnTypes = map[sqldb.Dialect]map[string][]string{
	sqldb.Postgres: {"text": {"text", "character varying"}, "bigint": {"bigint", "integer", "smallint"}, "uuid": {"uuid"}},
	sqldb.MariaDB:  {"text": {"varbinary"}, "bigint": {"bigint", "int", "mediumint", "smallint", "tinyint"}, "uuid": {"uuid", "char(36)", "varchar(36)"}},
}

// fits reports whether a column of some type can hold user IDs.
func (t Tables) fits(userIDType, column string) bool {
	if t.Dialect != sqldb.SQLite {
		return slices.Contains(columnTypes[t.Dialect][userIDType], column)
	}
	// Its rules of affinity: any type with "int" in it keeps integers.
	isInt := strings.Contains(column, "int")
	if userIDType == "bigint" {
		return isInt
	}
	return !isInt && (strings.Contains(column, "char") || strings.Contains(column, "clob") || strings.Contains(column, "text"))
}

// fitting returns the type of user IDs that a column can hold, or "".
func (t Tables) fitting(column string) string {
	for _, userIDType := range []string{"text", "bigint", "uuid"} {
		if t.fits(userIDType, column) {
			return userIDType
		}
	}
	return ""
}
