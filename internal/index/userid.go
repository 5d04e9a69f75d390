package index

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
)

// UserIDType is the column type of user IDs.
type UserIDType string

// The types of user IDs.
const (
	Text   UserIDType = "text"
	Bigint UserIDType = "bigint"
	UUID   UserIDType = "uuid"
)

// UserID checks a user ID that is not empty. It returns the one canonical form of
// it, or what is wrong with it.
func (x *Index) UserID(id string) (canonical, wrong string) {
	if len(id) > 255 {
		return "", fmt.Sprintf("%d bytes, at most 255", len(id))
	}
	if !Storable(id) {
		return "", "not UTF-8 text without NUL"
	}
	switch x.c.UserIDType {
	case Bigint:
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != id {
			return "", "not a decimal 64-bit integer"
		}
	case UUID:
		id = strings.ToLower(id)
		if !isUUID(id) {
			return "", "not a UUID"
		}
	}
	return id, ""
}

// IsUserID reports whether an ID is the canonical form of one, as every row has it. What
// session data claim may be something else, which the database would refuse or take for
// another ID.
func (x *Index) IsUserID(id string) bool {
	canonical, wrong := x.UserID(id)
	return wrong == "" && canonical == id
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}

// userArg returns a checked user ID as an argument of its column's type.
func (x *Index) userArg(id string) any {
	switch {
	case x.c.UserIDType == Bigint:
		n, _ := strconv.ParseInt(id, 10, 64)
		return n
	case x.c.UserIDType == Text && x.c.Dialect == sqldb.MariaDB:
		return []byte(id) // the column is VARBINARY
	}
	return id
}
