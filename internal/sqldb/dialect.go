package sqldb

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/pqread"
)

// Dialect is the SQL of one database. Queries are constants beside the method
// that runs them, in standard SQL with macros where databases differ:
//
//	@now       the database's clock (clocks of programs are not compared)
//	@at(x)     microseconds since 1970 as a time
//	@after(x)  x microseconds from now
//	@us(x)     a time as microseconds since 1970
//	@list      the placeholders of a [List]
type Dialect string

// The dialects.
const (
	Postgres Dialect = "postgres"
	SQLite   Dialect = "sqlite"
	MariaDB  Dialect = "mariadb"
)

// Words are the macros of the owner of a table. The text of one may hold macros of
// the dialect.
type Words func(name, arg string) (text string, ok bool)

// driverPackages are the packages of drivers, beside lib/pq.
var driverPackages = map[string]Dialect{
	"github.com/jackc/pgx/v5/stdlib": Postgres,
	"modernc.org/sqlite":             SQLite,
	"github.com/mattn/go-sqlite3":    SQLite,
	"github.com/go-sql-driver/mysql": MariaDB,
}

// heedful are the packages of drivers that come back when their context ends, whatever
// the server does. lib/pq does not, and of a driver that another package wraps nobody
// knows.
var heedful = map[string]bool{
	"github.com/jackc/pgx/v5/stdlib": true,
	"github.com/go-sql-driver/mysql": true,
}

// driverPackage returns the package of a driver's type, or "".
func driverPackage(driver any) string {
	t := reflect.TypeOf(driver)
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return ""
	}
	return t.PkgPath()
}

// DialectOf tells the dialect from the driver's name, or else from its type.
func DialectOf(pool *sqlx.DB) (d Dialect, ok bool) {
	switch strings.ToLower(pool.DriverName()) {
	case "postgres", "pgx", "pgx/v5", "cloudsqlpostgres", "nrpostgres":
		return Postgres, true
	case "sqlite", "sqlite3":
		return SQLite, true
	case "mysql", "mariadb", "nrmysql":
		return MariaDB, true
	}
	driver := pool.Driver()
	if _, native := driver.(Native); native || pqread.IsLibPQ(driver) {
		return Postgres, true
	}
	d, ok = driverPackages[driverPackage(driver)]
	return d, ok
}

// Identifier matches the names that a table, schema or column may have. Other
// names are refused rather than escaped. A name that passes is quoted as well.
var Identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,47}$`)

// Quote returns a name in quotes, of those parts that are not empty.
func (d Dialect) Quote(names ...string) string {
	q := `"`
	if d == MariaDB {
		q = "`"
	}
	var parts []string
	for _, n := range names {
		if n != "" {
			parts = append(parts, q+n+q)
		}
	}
	return strings.Join(parts, ".")
}

var macro = regexp.MustCompile(`@([a-z]+)(?:\(([^()]*)\))?`)

const listMacro = "@list"

// expand expands the macros of q and its placeholders. A query with a list is for
// fill to finish.
func (d Dialect) expand(q string, words Words, c clock) string {
	if words != nil {
		q = replace(q, words)
	}
	q = replace(q, func(name, arg string) (string, bool) {
		if "@"+name == listMacro {
			return "", false
		}
		return c.expand(name, arg), true
	})
	if strings.Contains(q, listMacro) {
		return q
	}
	return d.rebind(q)
}

// replace expands the macros that words know.
func replace(q string, words Words) string {
	return macro.ReplaceAllStringFunc(q, func(m string) string {
		p := macro.FindStringSubmatch(m)
		if text, ok := words(p[1], p[2]); ok {
			return text
		}
		return m
	})
}

// fill expands the lists of an expanded query, and those among its arguments.
func (d Dialect) fill(q string, args []any) (string, []any) {
	if !strings.Contains(q, listMacro) {
		return q, args
	}
	var flat []any
	for _, a := range args {
		list, ok := a.(List)
		if !ok {
			flat = append(flat, a)
			continue
		}
		q = strings.Replace(q, listMacro, placeholders(len(list)), 1)
		flat = append(flat, list...)
	}
	return d.rebind(q), flat
}

// placeholders returns n of them, as a list.
func placeholders(n int) string {
	return "(" + strings.TrimSuffix(strings.Repeat("?,", n), ",") + ")"
}

func (d Dialect) rebind(q string) string {
	if d == Postgres {
		return sqlx.Rebind(sqlx.DOLLAR, q)
	}
	return q
}

// clock is how one database writes times.
type clock struct{ now, at, after, us string }

var clockSQL = map[Dialect]clock{
	Postgres: {
		now: "statement_timestamp()", at: "(timestamptz 'epoch' + (%s)::bigint * interval '1 microsecond')",
		after: "(statement_timestamp() + (%s)::bigint * interval '1 microsecond')",
		us:    "(extract(epoch FROM %s) * 1000000)::bigint",
	},
	MariaDB: {
		now: "UTC_TIMESTAMP(6)", at: "TIMESTAMPADD(MICROSECOND, %s, '1970-01-01 00:00:00')",
		after: "TIMESTAMPADD(MICROSECOND, %s, UTC_TIMESTAMP(6))",
		us:    "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', %s)",
	},
	SQLite: {
		now: "CAST(unixepoch('subsec') * 1000000 AS INTEGER)", at: "%s",
		after: "(CAST(unixepoch('subsec') * 1000000 AS INTEGER) + %s)",
		us:    "%s",
	},
}

// standing returns a clock that stands still.
func (c clock) standing(t time.Time) clock {
	now := fmt.Sprintf(c.at, strconv.FormatInt(t.UnixMicro(), 10))
	return clock{now: now, at: c.at, after: strings.ReplaceAll(c.after, c.now, now), us: c.us}
}

func (c clock) expand(name, arg string) string {
	format, ok := map[string]string{"now": c.now, "at": c.at, "after": c.after, "us": c.us}[name]
	if !ok {
		panic("usersession: unknown SQL macro @" + name)
	}
	if strings.Contains(format, "%s") {
		return fmt.Sprintf(format, arg)
	}
	return format
}
