package pgchannel_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/lib/pq"

	"github.com/seed-296ca7ab/usersession/pgchannel"
)

func TestNewRefuses(t *testing.T) {
	connector, err := pq.NewConnector("postgres://127.0.0.1:1/db")
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	for _, c := range []struct {
		db        *sql.DB
		dsn, want string
	}{
		{nil, "postgres://127.0.0.1:1/db", "db is nil"},
		{db, "", "connection string"},
		{db, "postgres://u:secret@[::1:1/db", "connection string"},
	} {
		if _, err := pgchannel.New(c.db, c.dsn); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q", c.dsn, err, c.want)
		}
	}
	c, err := pgchannel.New(db, "postgres://u:secret@127.0.0.1:1/db")
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(text, "secret") {
		t.Errorf("it prints its password: %s", text)
	}
	for _, id := range []string{"", "a'; DROP TABLE sessions; --", "a,b", "ä"} {
		if err := c.Publish(t.Context(), []string{"good", id}); err == nil || !strings.Contains(err.Error(), "no ID") {
			t.Errorf("%q is published: %v", id, err)
		}
	}
}
