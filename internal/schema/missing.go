package schema

import (
	"context"
	"fmt"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// Missing returns what Migrate would make, in words. It changes nothing. A difference
// that Migrate would not change is the error that Migrate returns.
func (t Tables) Missing(ctx context.Context, db *sqldb.DB, check string) ([]string, error) {
	list, err := t.Migrations()
	if err != nil {
		return nil, err
	}
	m, err := change{t, db, list, t.wanted(list), check}.lookPatiently(ctx)
	if err != nil {
		return nil, err
	}
	var words []string
	for _, table := range m.tables {
		words = append(words, "the table "+table)
	}
	for _, column := range m.columns {
		words = append(words, "the column "+column+" of the table "+t.index())
	}
	for _, k := range m.keys {
		name, mark := k.Name, ""
		if k.ignored != "" {
			name, mark = k.ignored, ", which is marked IGNORED,"
		}
		words = append(words, fmt.Sprintf("the index %q on (%s) of the table %s%s", name, k.Columns, k.Table, mark))
	}
	return words, nil
}
