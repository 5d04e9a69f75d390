package sqldb

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// Identity returns a text that tells a database of PostgreSQL or MariaDB from others, of
// the same server and of other ones, as well as its users may know. It is that of the
// tables without a schema in their names. A copy of a server has the same one, or another.
func Identity(ctx context.Context, db *sqlx.DB, d Dialect) (string, error) {
	ask := func(query string) (text string, err error) {
		err = db.GetContext(ctx, &text, query)
		return text, err
	}
	if d != Postgres {
		return ask("SELECT CONCAT_WS('/', @@hostname, @@port, @@datadir, COALESCE(DATABASE(), ''))")
	}
	name, err := ask("SELECT CAST(oid AS text) || '/' || datname || '/' || COALESCE(current_schema(), '') FROM pg_database WHERE datname = current_database()")
	if err != nil {
		return "", err
	}
	server, err := ask("SELECT CAST(system_identifier AS text) FROM pg_control_system()")
	if err != nil && ctx.Err() == nil { // some providers allow nobody that
		server, err = ask("SELECT current_setting('port')")
	}
	return fmt.Sprintf("%s/%s", server, name), err
}
