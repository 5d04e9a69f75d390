package index

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed-296ca7ab/usersession/internal/sqldb"
	"github.com/seed-296ca7ab/usersession/internal/token"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// FuzzUserID: what is accepted has one form and fits the trailer.
func FuzzUserID(f *testing.F) {
	for _, s := range []string{"", "42", "042", "-0", "+1", "9223372036854775808", "u ", "U", "\x00", "\xff", strings.Repeat("x", 256),
		"6F9619FF-8B86-D011-B42D-00C04FC964FF", "6f9619ff-8b86-d011-b42d-00c04fc964ff"} {
		f.Add(s)
	}
	at := time.UnixMicro(1_700_000_000_000_000).UTC()
	f.Fuzz(func(t *testing.T, s string) {
		if s == "" {
			return
		}
		for _, typ := range []UserIDType{Text, Bigint, UUID} {
			x := &Index{c: Config{UserIDType: typ}}
			id, wrong := x.UserID(s)
			if wrong != "" {
				if len(s) > 3 && strings.Contains(wrong, s) {
					t.Fatalf("%s: what is wrong names the user: %v", typ, wrong)
				}
				continue
			}
			if again, wrong := x.UserID(id); wrong != "" || again != id {
				t.Fatalf("%s: %q is %q is %q, %v", typ, s, id, again, wrong)
			}
			if id == "" || len(id) > 255 || !utf8.ValidString(id) || strings.Contains(id, "\x00") || typ != UUID && id != s {
				t.Fatalf("%s: %q is accepted as %q", typ, s, id)
			}
			b := &trailer.Binding{Key: token.Key("x"), UserID: id, ID: token.NewID(), Deadline: at, AuthenticatedAt: at}
			if _, got := trailer.Split(trailer.Append(nil, b)); !reflect.DeepEqual(got, b) {
				t.Fatalf("%+v comes back as %+v", b, got)
			}
		}
	})
}

func TestUserArg(t *testing.T) {
	for _, tc := range []struct {
		d    sqldb.Dialect
		typ  UserIDType
		want any
	}{
		{sqldb.Postgres, Text, "42"}, {sqldb.SQLite, Text, "42"}, {sqldb.MariaDB, Text, []byte("42")},
		{sqldb.Postgres, Bigint, int64(42)}, {sqldb.MariaDB, UUID, "42"},
	} {
		x := &Index{c: Config{Dialect: tc.d, UserIDType: tc.typ}}
		if got := x.userArg("42"); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s on %s: %#v, want %#v", tc.typ, tc.d, got, tc.want)
		}
	}
}
