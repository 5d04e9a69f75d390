package usersession

import (
	"reflect"
	"slices"

	"github.com/jmoiron/sqlx"
)

// UserIDType is the column type of user IDs in the index.
type UserIDType string

const (
	// UserIDText is 1 to 255 bytes of UTF-8, compared byte by byte on every
	// database. So "u" and "U" and "u " are three users.
	UserIDText UserIDType = "text"
	// UserIDBigint is a decimal 64-bit integer, "42" for instance.
	UserIDBigint UserIDType = "bigint"
	// UserIDUUID is a UUID. Upper case is accepted and stored as lower case.
	UserIDUUID UserIDType = "uuid"
)

// Dialect names the SQL of a database.
type Dialect string

const (
	DialectPostgres Dialect = "postgres"
	DialectSQLite   Dialect = "sqlite"
	DialectMariaDB  Dialect = "mariadb"
)

// IndexOptions are about the index table and its database. The zero value of
// every field is its default.
type IndexOptions struct {
	// Schema holds the tables. On MariaDB it is the name of a database. It must
	// exist. SQLite has none. The default is that of the connection.
	Schema string

	// Table is the name of the index table. Default: "user_sessions".
	Table string

	// Partitions divides the index into that many hash partitions by user, on
	// PostgreSQL only. A call about one user then touches one of them, and Prune
	// goes through them one by one. There are at most 256. Migrate makes them
	// and never changes their number. With the default Store, data and row are
	// then read by two statements instead of one. By default the index is one
	// plain table.
	Partitions int

	// ReadReplica is a database that follows db, from which ListSessions,
	// ListEndedSessions, ListMatching, ListUsers and CountMatching read, and nothing else.
	// Requests are verified, and sessions found and revoked, in db. A list lags
	// behind by as much as the replica does. It may miss a session that was just
	// logged in, the current one among them. It may show one that was just
	// revoked and that no request is served by any more. How far the replica may
	// lag is for its operator to watch. A replica that cannot be read is an
	// error, and db is not asked instead. SQLite has none. If nil, lists are
	// read from db.
	ReadReplica *sqlx.DB

	// Dialect names the SQL of db. By default the driver's name tells it
	// (postgres, pgx, sqlite, sqlite3, mysql), or else the driver's type. A
	// driver that another package wraps needs it set.
	Dialect Dialect

	// NoPreparedStatements turns prepared statements off, for connection
	// poolers that cannot hold them, such as PgBouncer in transaction mode.
	// lib/pq then needs binary_parameters=yes in its connection string, and pgx
	// default_query_exec_mode=exec. The first error says so. Set it before the
	// first request goes through such a pooler, because it may execute another
	// client's statement.
	NoPreparedStatements bool
}

func isNilPointer(v any) bool {
	r := reflect.ValueOf(v)
	return slices.Contains([]reflect.Kind{reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice}, r.Kind()) && r.IsNil()
}
