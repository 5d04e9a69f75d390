package usersession

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// dialect writes the SQL of one database. Queries are constants beside the
// method that runs them, in standard SQL with macros where databases differ:
//
//	@index @data @lock   the tables, quoted and with their schema
//	@now                 the database's clock (clocks of programs are not compared)
//	@at(x)               microseconds since 1970 as a time of the index
//	@after(x)            x microseconds from now
//	@seen(x)             x microseconds from now, but not before last_seen_at
//	@us(x)               a time of the index as microseconds since 1970
//	@live                the row is live: not ended, not expired, not idle
//	@current             the same without "not ended"
//	@due                 the row was not touched for Options.TouchInterval
//	@firstpass @again    when the data of an ended session are deleted a second time
//	@retried             the same, of one whose deletion was pending
//	@keepuntil           when the row of an ended session may be deleted
//	@dnow @dafter(x)     as above, for the data table
//	@list                see [conn.many]
type dialect struct {
	name                  Dialect
	index, lock, data     string // quoted
	tablePlain, dataPlain string // the tables that are ours to make, "" for others
	schema                string
	idle, retention       time.Duration
	partitions            int           // of the index
	touch                 time.Duration // Options.TouchInterval
	userIDType            UserIDType
}

func quoteName(d Dialect, names ...string) string {
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

func newDialect(name Dialect, schema, table, data string, idle time.Duration, userIDType UserIDType) *dialect {
	return &dialect{
		name:  name,
		index: quoteName(name, schema, table), lock: quoteName(name, schema, table+"_locks"),
		data: quoteName(name, schema, data), tablePlain: table, dataPlain: data,
		schema: schema, idle: idle, userIDType: userIDType,
	}
}

var macro = regexp.MustCompile(`@([a-z]+)(?:\(([^()]*)\))?`)

// sql expands the macros of q and its placeholders.
func (d *dialect) sql(q string) string {
	q = macro.ReplaceAllStringFunc(q, func(m string) string {
		p := macro.FindStringSubmatch(m)
		return d.expand(p[1], p[2])
	})
	if d.name == Postgres {
		q = sqlx.Rebind(sqlx.DOLLAR, q)
	}
	return q
}

func (d *dialect) expand(name, arg string) string {
	switch name {
	case "index":
		return d.index
	case "data":
		return d.data
	case "lock":
		return d.lock
	case "firstpass":
		return fmt.Sprintf(afterEndSQL[d.name], firstPass.Microseconds())
	case "again":
		return fmt.Sprintf(afterEndSQL[d.name], firstPass.Microseconds()-1)
	case "retried":
		return fmt.Sprintf(afterEndSQL[d.name], firstPass.Microseconds()-2)
	case "keepuntil":
		return fmt.Sprintf(keepUntilSQL[d.name], d.retention.Microseconds())
	case "seen":
		greatest := "GREATEST"
		if d.name == SQLite {
			greatest = "max"
		}
		return greatest + "(last_seen_at, " + d.expand("after", arg) + ")"
	case "due":
		return "last_seen_at <= " + d.expand("after", strconv.FormatInt(-d.touch.Microseconds(), 10))
	case "current", "live":
		s := "expires_at > " + d.expand("now", "")
		if d.idle > 0 {
			s += " AND last_seen_at > " + d.expand("after", strconv.FormatInt(-d.idle.Microseconds(), 10))
		}
		if name == "live" {
			s = "ended_at IS NULL AND " + s
		}
		return "(" + s + ")"
	}
	return clockSQL[d.name].expand(name, arg)
}

// firstPass is how long after the end of a session the janitor deletes its data
// again.
const firstPass = time.Minute

var afterEndSQL = map[Dialect]string{
	Postgres: "(ended_at + %d * interval '1 microsecond')",
	MariaDB:  "TIMESTAMPADD(MICROSECOND, %d, ended_at)",
	SQLite:   "(ended_at + %d)",
}

// A row is kept until the session's deadline, and for the retention after its
// end.
var keepUntilSQL = map[Dialect]string{
	Postgres: "GREATEST(expires_at, ended_at + %d * interval '1 microsecond')",
	MariaDB:  "GREATEST(expires_at, TIMESTAMPADD(MICROSECOND, %d, ended_at))",
	SQLite:   "max(expires_at, ended_at + %d)",
}

// clock is how one database writes times. The data table's are those of scs's
// own store for that database, so that both can use the same table.
type clock struct{ now, at, after, us, dnow, dafter string }

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
		dnow:  "julianday('now')", dafter: "(julianday('now') + (%s) / 86400000000.0)",
	},
}

func (c clock) expand(name, arg string) string {
	if c.dnow == "" {
		c.dnow, c.dafter = c.now, c.after
	}
	format, ok := map[string]string{
		"now": c.now, "at": c.at, "after": c.after, "us": c.us, "dnow": c.dnow, "dafter": c.dafter,
	}[name]
	if !ok {
		panic("usersession: unknown SQL macro @" + name)
	}
	if strings.Contains(format, "%s") {
		return fmt.Sprintf(format, arg)
	}
	return format
}

// dialectOf tells the dialect from a driver's name.
func dialectOf(driver string) (Dialect, error) {
	switch strings.ToLower(driver) {
	case "postgres", "pgx", "pgx/v5", "cloudsqlpostgres", "nrpostgres":
		return Postgres, nil
	case "sqlite", "sqlite3":
		return SQLite, nil
	case "mysql", "mariadb", "nrmysql":
		return MariaDB, nil
	}
	return "", fmt.Errorf("usersession: Options.Dialect: the driver's name %q does not tell the SQL dialect; set it to postgres, sqlite or mariadb", driver)
}
