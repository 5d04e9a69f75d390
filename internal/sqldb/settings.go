package sqldb

import (
	"context"
	"fmt"
	"strings"
)

// settingsSQL asks MariaDB for settings. The name of a column says whether the
// driver puts the name of the table before it.
const settingsSQL = `
SELECT settings.autocommit, settings.completion, settings.most, settings.mode
FROM (
	SELECT @@autocommit AS autocommit, @@completion_type AS completion, @@sql_select_limit AS most, @@sql_mode AS mode
) AS settings`

// leastRows is how many rows a statement may read, of which each counts.
const leastRows = 1000

// checkSettings refuses settings of MariaDB that make statements of ours wrong, or
// do their work by half. It asks one connection, once. Those of a pool are alike,
// because they come from the connection string or from the server.
func (d *std) checkSettings(ctx context.Context, on Transaction) error {
	if !d.mayBeSet || d.checked.Load() {
		return nil
	}
	rows, err := on.QueryContext(ctx, settingsSQL)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	var autocommit bool
	var completion, mode string
	var most uint64
	if rows.Next() {
		err = rows.Scan(&autocommit, &completion, &most, &mode)
	}
	if err == nil {
		err = rows.Err()
	}
	if err != nil {
		return err
	}
	for _, s := range []struct {
		bad                bool
		setting, harm, fix string
	}{
		{strings.Contains(columns[0], "."), "columnsWithAlias=true", "columns get other names than they are read by", "false"},
		{!autocommit, "autocommit=0", "what the library writes would not be committed", "1"},
		{completion != "NO_CHAIN", "completion_type=" + completion, "a transaction would not end with its COMMIT", "NO_CHAIN"},
		{most < leastRows, fmt.Sprintf("sql_select_limit=%d", most), "a revocation would end some of the sessions only", fmt.Sprintf("at least %d", leastRows)},
		{strings.Contains(mode, "EMPTY_STRING_IS_NULL"), "sql_mode=" + mode, "a revocation would find no session, because an empty text would be NULL", "one without EMPTY_STRING_IS_NULL"},
	} {
		if s.bad {
			return fmt.Errorf("usersession: the connection has the setting %s, under which %s: set it to %s in the connection string", s.setting, s.harm, s.fix)
		}
	}
	d.checked.Store(true)
	return nil
}
