package index

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// words returns the macros of the index, beside those of a [sqldb.Dialect] and of
// [DataWords]:
//
//	@index @lock @fence  the tables, quoted and with their schema
//	@signout             likewise
//	@replica @inbox      likewise
//	@message(x, y)       the ID of the message x to the replica y
//	@seen(x)             x microseconds from now, but not before last_seen_at
//	@live                the row is live: not ended, not expired, not idle
//	@current             the same without "not ended"
//	@due                 the row was not touched for Config.Touch
//	@firstpass @again    when the data of an ended session are deleted a second time
//	@retried             the same, of one whose deletion was pending
//	@endedin(x)          when they are, of one that was ended to be deleted x later
//	@here                Config.Here
//	@bigint              what CAST calls a column of 64 bits
//	@text(x)             a sqldb.Text or Verbatim, whatever the charset of the connection is
//	@text(x, n)          the same, cut to n letters where the column takes no more: a
//	                     letter that is written as its number is longer
//	@cut(x)              a User-Agent that is cut likewise
//	@bytes(x)            the column x of texts, which is read likewise
//	@lastagent           the User-Agent of the last touch, likewise
//	@bound               whether the session is bound to a device, after a comma, with Config.Devices
//	@renewed             notes when a session was renewed, before a comma. Without Config.Reuse
//	                     it takes away what another replica has noted of the renewal before
//	@charsets            asks MariaDB for the charsets of User-Agents, and of actors and reasons
//	@keepuntil           when the row of an ended session may be deleted
//	@endpage             how many sessions a page of an ending has
func (c Config) words() sqldb.Words {
	data := DataWords(c.Dialect, c.Data)
	return func(name, arg string) (string, bool) {
		switch name {
		case "endedin":
			return fmt.Sprintf(afterEndSQL[c.Dialect], arg), true
		case "text":
			arg, limit, limited := strings.Cut(arg, ", ")
			switch {
			case c.Dialect != sqldb.MariaDB:
				return arg, true
			case limited:
				return "LEFT(CONVERT(UNHEX(" + arg + ") USING utf8mb4), " + limit + ")", true
			}
			return "CONVERT(UNHEX(" + arg + ") USING utf8mb4)", true
		case "cut":
			if c.Dialect == sqldb.MariaDB {
				return "LEFT(" + arg + ", 512)", true
			}
			return arg, true
		case "bytes":
			if c.Dialect == sqldb.MariaDB {
				return "CAST(CONVERT(" + arg + " USING utf8mb4) AS BINARY) AS " + arg, true
			}
			return arg, true
		case "lastagent":
			text := "COALESCE(last_user_agent, user_agent)"
			if c.Dialect == sqldb.MariaDB {
				text = "CAST(CONVERT(" + text + " USING utf8mb4) AS BINARY)"
			}
			return text + " AS last_user_agent", true
		case "bound":
			if c.Devices {
				return ", CASE WHEN device_key IS NULL THEN 0 ELSE 1 END AS bound", true
			}
			return "", true
		case "renewed":
			if c.Reuse {
				return " renewed_at = @now,", true
			}
			return " renewed_at = NULL,", true
		case "bigint":
			if c.Dialect == sqldb.MariaDB {
				return "SIGNED", true
			}
			return "bigint", true
		case "charsets":
			return "SELECT CHARSET(MAX(user_agent)), CHARSET(CONCAT(MAX(ended_by), MAX(reason))) FROM " + c.Table + " WHERE 1 = 0", true
		case "here":
			return "'" + c.Here + "'", true
		case "index":
			return c.Table, true
		case "lock":
			return c.Locks, true
		case "signout":
			return c.SignOut, true
		case "replica":
			return c.Replica, true
		case "inbox":
			return c.Inbox, true
		case "message":
			name, replica, _ := strings.Cut(arg, ", ")
			if c.Dialect == sqldb.MariaDB {
				return "CONCAT(" + name + ", " + replica + ")", true
			}
			return "(" + name + " || " + replica + ")", true
		case "fence":
			return c.Fences, true
		case "firstpass":
			return c.afterEnd(0), true
		case "again":
			return c.afterEnd(1), true
		case "retried":
			return c.afterEnd(2), true
		case "endpage":
			return strconv.Itoa(c.endPage()), true
		case "keepuntil":
			return fmt.Sprintf(keepUntilSQL[c.Dialect], c.Retention.Microseconds()), true
		case "seen":
			greatest := "GREATEST"
			if c.Dialect == sqldb.SQLite {
				greatest = "max"
			}
			return greatest + "(last_seen_at, @after(" + arg + "))", true
		case "due":
			return "last_seen_at <= " + ago(c.Touch), true
		case "current":
			return "(" + c.current() + ")", true
		case "live":
			return "(ended_at IS NULL AND " + c.current() + ")", true
		}
		return data(name, arg)
	}
}

func (c Config) current() string {
	if c.Idle > 0 {
		return "expires_at > @now AND last_seen_at > @after(CASE WHEN idle_timeout IS NULL THEN " + micros(-c.Idle) + " ELSE -idle_timeout END)"
	}
	return "expires_at > @now AND (idle_timeout IS NULL OR last_seen_at > @after(-idle_timeout))"
}

func ago(d time.Duration) string { return "@after(" + micros(-d) + ")" }

func micros(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }

// firstPass is how long after the end of a session the janitor deletes its data
// again.
const firstPass = time.Minute

// afterEnd returns that time, but for a few microseconds, which tell how the
// session ended.
func (c Config) afterEnd(sooner int64) string {
	return fmt.Sprintf(afterEndSQL[c.Dialect], strconv.FormatInt(firstPass.Microseconds()-sooner, 10))
}

var afterEndSQL = map[sqldb.Dialect]string{
	sqldb.Postgres: "(ended_at + (%s)::bigint * interval '1 microsecond')",
	sqldb.MariaDB:  "TIMESTAMPADD(MICROSECOND, %s, ended_at)",
	sqldb.SQLite:   "(ended_at + %s)",
}

// A row is kept until the session's deadline, and for the retention after its
// end.
var keepUntilSQL = map[sqldb.Dialect]string{
	sqldb.Postgres: "GREATEST(expires_at, ended_at + %d * interval '1 microsecond')",
	sqldb.MariaDB:  "GREATEST(expires_at, TIMESTAMPADD(MICROSECOND, %d, ended_at))",
	sqldb.SQLite:   "max(expires_at, ended_at + %d)",
}
