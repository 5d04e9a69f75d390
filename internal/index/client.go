package index

import (
	"fmt"
	"strings"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// Client is from where a session was used. The zero value is that of nobody who is
// known, and leaves in the row what is there.
type Client struct {
	Known         bool
	IP, UserAgent string
}

// setClientSQL writes a Client. What is as at login is NULL, so that most rows keep
// their size.
const setClientSQL = `
	last_ip = CASE WHEN ? = 1 AND ip <> '' THEN NULLIF(?, ip) ELSE last_ip END,
	last_user_agent = CASE WHEN ? = 1 AND user_agent <> '' THEN NULLIF(@text(?, 512), user_agent) ELSE last_user_agent END`

func (c Client) args() []any {
	known := 0
	if c.Known {
		known = 1
	}
	return []any{known, c.IP, known, sqldb.Text(c.UserAgent)}
}

// Seen is a user's session that was used.
type Seen struct {
	*trailer.Binding
	By Client
}

// setEachSQL writes the Client of each of many sessions, of clientsJSON.
const setEachSQL = `,
	last_ip = CASE WHEN client.a IS NULL OR ip = '' THEN last_ip ELSE NULLIF(client.a, ip) END,
	last_user_agent = CASE WHEN client.u IS NULL OR user_agent = '' THEN last_user_agent ELSE NULLIF(@cut(client.u), user_agent) END`

// clientsJSON returns the Clients of some sessions as one argument.
func clientsJSON(all []Seen) sqldb.Text {
	var b strings.Builder
	for i, s := range all {
		b.WriteString(map[bool]string{true: "[", false: ","}[i == 0])
		b.WriteString(`{"k":` + quoted(s.Key))
		if s.By.Known {
			b.WriteString(`,"a":` + quoted(s.By.IP) + `,"u":` + quoted(s.By.UserAgent))
		}
		b.WriteString("}")
	}
	b.WriteString("]")
	return sqldb.Text(b.String())
}

// quoted returns valid UTF-8 without NUL as JSON that escapes ASCII only: PostgreSQL
// refuses another escape of a letter that the encoding of the database does not have.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
