package schema

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// standing is a key of a table that is there, or a table without any.
type standing struct {
	key
	Valid      bool `db:"is_valid"`   // it is not the rest of an interrupted CREATE INDEX CONCURRENTLY, and not marked IGNORED
	Partitions int  `db:"partitions"` // of the table; -1 if it is not partitioned
}

// standingSQL asks for the keys of some tables.
var standingSQL = map[sqldb.Dialect]string{
	sqldb.Postgres: `
SELECT c.relname AS table_name,
	CASE c.relkind WHEN 'p' THEN (SELECT count(*) FROM pg_inherits p WHERE p.inhparent = c.oid) ELSE -1 END AS partitions,
	COALESCE(i.relname, '') AS key_name,
	CASE m.amname WHEN 'btree' THEN '' ELSE COALESCE('(' || m.amname || ') ', '') END || COALESCE((
		SELECT string_agg(COALESCE(a.attname, '(expression)'), ', ' ORDER BY k.n)
		FROM unnest(CAST(x.indkey AS int2[])) WITH ORDINALITY AS k (att, n)
		LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.att
		WHERE k.n <= x.indnkeyatts
	), '') AS columns,
	COALESCE(pg_get_expr(x.indpred, x.indrelid), '') AS condition,
	COALESCE(x.indisunique AND x.indimmediate, false) AS is_unique,
	COALESCE(x.indisvalid, false) AS is_valid
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index x ON x.indrelid = c.oid
LEFT JOIN pg_class i ON i.oid = x.indexrelid
LEFT JOIN pg_am m ON m.oid = i.relam
WHERE (:schema = '' AND pg_table_is_visible(c.oid) OR n.nspname = :schema) AND c.relname IN (:names)
	AND c.relkind IN ('r', 'p', 'f', 'v', 'm')`,

	sqldb.SQLite: `
SELECT t.name AS table_name, -1 AS partitions, COALESCE(l.name, '') AS key_name,
	COALESCE((
		SELECT lower(group_concat(COALESCE(k.name, '(expression)'), ', '))
		FROM (SELECT name FROM pragma_index_info(l.name) ORDER BY seqno) k
	), '') AS columns,
	CASE WHEN l.partial = 1 THEN substr(i.dense, instr(upper(i.dense), ')WHERE') + 6) ELSE '' END AS condition,
	COALESCE(l."unique", 0) AS is_unique, 1 AS is_valid
FROM sqlite_master t
LEFT JOIN pragma_index_list(t.name) l
LEFT JOIN (
	SELECT name, replace(replace(replace(replace(sql, ' ', ''), char(9), ''), char(10), ''), char(13), '') AS dense
	FROM sqlite_master WHERE type = 'index'
) i ON i.name = l.name
WHERE t.type = 'table' AND t.name COLLATE NOCASE IN (:names)`,

	// A key on the beginning of a column is not one on the column. No key of ours has
	// more than four, and GROUP_CONCAT is cut off by a setting. What a view of
	// information_schema is joined by does not keep it from opening every table of
	// the server, but a condition in a subquery that is not merged does. The columns
	// "ignored" of MariaDB 10.6 and "is_visible" of MySQL are not there on other servers,
	// and then the names mean those of the table usual.
	sqldb.MariaDB: `
SELECT t.table_name AS table_name, -1 AS partitions, COALESCE(s.index_name, '') AS key_name,
	COALESCE(s.columns, '') AS columns, '' AS ` + "`condition`" + `, COALESCE(s.is_unique, 0) AS is_unique,
	NOT EXISTS (
		SELECT 1 FROM information_schema.statistics i
		WHERE i.table_schema = COALESCE(NULLIF(:schema, ''), DATABASE()) AND i.table_name IN (:names)
			AND i.table_name = t.table_name AND i.index_name = s.index_name AND (ignored = 'YES' OR is_visible = 'NO')
	) AS is_valid
FROM (SELECT 'NO' AS ignored, 'YES' AS is_visible) usual
JOIN information_schema.tables t
LEFT JOIN (
	SELECT table_name, index_name, MAX(non_unique) = 0 AS is_unique,
		LOWER(CONCAT_WS(', ', ` + column(1) + `, ` + column(2) + `, ` + column(3) + `, ` + column(4) + `)) AS columns
	FROM information_schema.statistics
	WHERE table_schema = COALESCE(NULLIF(:schema, ''), DATABASE())
	GROUP BY table_name, index_name
) s ON s.table_name = t.table_name
WHERE t.table_schema = COALESCE(NULLIF(:schema, ''), DATABASE())
	AND t.table_name IN (:names) AND (@@LOWER_CASE_TABLE_NAMES <> 0 OR BINARY t.table_name IN (:names))`,
}

// column returns the column of a key of MariaDB at a place, which counts from 1.
func column(n int) string {
	return fmt.Sprintf("MAX(IF(seq_in_index = %d, CONCAT(column_name, IF(sub_part IS NULL, '', CONCAT('(', sub_part, ')'))), NULL))", n)
}

// missing is what the migrations make, can be made, and is not there.
type missing struct {
	tables  []string
	keys    []missingKey
	columns []string // of an index that was made without them
}

func (m missing) nothing() bool { return len(m.tables) == 0 && len(m.keys) == 0 && len(m.columns) == 0 }

// missingKey is an index of a table that is there.
type missingKey struct {
	key
	partitioned bool   // the table is
	invalid     bool   // an index of its name is there, which nobody can use
	ignored     string // the name of an index that would do, if it were not marked IGNORED
}

// look compares the tables that are there with those that the migrations make. A
// difference that no migration may change is an error. It takes no lock that a
// writer waits for.
func (t Tables) look(ctx context.Context, q sqldb.Querier, w wanted, check string) (missing, error) {
	lacks, err := t.checkUserID(ctx, q)
	if err != nil {
		return missing{}, err
	}
	var names []string
	for _, table := range w.tables {
		names = append(names, unquote(table))
	}
	var all []standing
	if err := ask(ctx, q, &all, standingSQL[t.Dialect], map[string]any{"schema": t.Schema, "names": names}); err != nil {
		return missing{}, err
	}
	of := func(table string) []standing {
		return slices.DeleteFunc(slices.Clone(all), func(s standing) bool { return !strings.EqualFold(s.Table, unquote(table)) })
	}
	m := missing{columns: lacks}
	for i, table := range w.tables {
		there := of(table)
		if len(there) == 0 {
			m.tables = append(m.tables, table)
			continue
		}
		if i > 0 { // the check and the partitions are about the first table
			continue
		}
		if err := t.checkPartitions(there[0].Partitions); err != nil {
			return missing{}, err
		}
		if len(lacks) > 0 { // the next look has the rest
			continue
		}
		if _, err := q.Exec(ctx, check); err != nil {
			return missing{}, fmt.Errorf("the table %s is there but is not as the migrations make it: %w", table, err)
		}
	}
	for _, k := range w.keys {
		there := of(k.Table)
		if len(there) == 0 || slices.ContainsFunc(there, func(s standing) bool { return s.Valid && k.servedBy(s.key) }) {
			continue
		}
		partitioned := there[0].Partitions >= 0
		ignored := slices.IndexFunc(there, func(s standing) bool { return t.Dialect == sqldb.MariaDB && k.servedBy(s.key) })
		if ignored >= 0 {
			m.keys = append(m.keys, missingKey{key: k, ignored: there[ignored].Name})
			continue
		}
		if k.Unique {
			if partitioned { // each partition has its own
				continue
			}
			return missing{}, fmt.Errorf("the table %s is there, but it has no unique key on (%s)", k.Table, k.Columns)
		}
		invalid := slices.ContainsFunc(there, func(s standing) bool { return !s.Valid && s.Name == k.Name })
		m.keys = append(m.keys, missingKey{key: k, partitioned: partitioned, invalid: invalid})
	}
	return m, nil
}

func ask(ctx context.Context, q sqldb.Querier, dest any, query string, args map[string]any) error {
	query, list, err := sqlx.Named(query, args)
	if err == nil {
		query, list, err = sqlx.In(query, list...)
	}
	if err != nil {
		return err
	}
	return q.Select(ctx, dest, query, list...)
}
