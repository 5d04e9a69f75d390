package backendtest

import (
	"context"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
)

var usersTableBehaviours = []behaviour{
	{"users table: unknown users cannot log in", usersTableUnknown},
	{"users table: deleting a user ends their sessions", usersTableDelete},
	{"users table: another column", usersTableColumn},
}

// startUsers starts a program with a users table of two users, 1 and 2.
func (b backend) startUsers(t *testing.T, column, option string) *env {
	t.Helper()
	db := b.open(t)
	exec(t, db, "CREATE TABLE people ("+column+" BIGINT NOT NULL PRIMARY KEY)")
	exec(t, db, "INSERT INTO people ("+column+") VALUES (1), (2)")
	return b.startOn(t, db, nil, func(o *usersession.Options) {
		o.UserIDType, o.UsersTable = usersession.UserIDBigint, option
	})
}

func usersTableUnknown(t *testing.T, b backend) {
	e := b.startUsers(t, "id", "people")
	laptop := e.browser()
	laptop.put("cart", 7)
	laptop.do(func(ctx context.Context) { e.want(e.m.Login(ctx, "3"), usersession.ErrUnknownUser) })
	laptop.wantUser("")
	if got := laptop.get("cart"); got != 7 {
		t.Errorf("cart %v, want 7", got)
	}
	laptop.login("1")
	laptop.do(func(ctx context.Context) { e.want(e.m.Login(ctx, "3"), usersession.ErrUnknownUser) })
	laptop.wantUser("1")
	e.wantSessions("1", 1)
}

func usersTableDelete(t *testing.T, b backend) {
	e := b.startUsers(t, "id", "people")
	one, two := e.browser(), e.browser()
	id := one.login("1")
	two.login("2")
	exec(t, e.db, "DELETE FROM people WHERE id = 1")
	one.wantUser("")
	two.wantUser("2")
	e.wantSessions("1", 0)
	e.want(e.m.RevokeSession(t.Context(), "1", id), usersession.ErrSessionNotFound)
	if res := e.prune(); res.UserDeleted != 1 {
		t.Errorf("%+v, want one whose user is gone", res)
	}
	s, ok := e.ended(id)
	if !ok || s.UserID != "" || s.Reason != usersession.ReasonUserDeleted {
		t.Errorf("the row %v: %+v", ok, s)
	}
	e.wantDead(one.token())
	e.wantStored(1)
}

func usersTableColumn(t *testing.T, b backend) {
	e := b.startUsers(t, "person", "people(person)")
	laptop := e.browser()
	laptop.login("1")
	laptop.wantUser("1")
	laptop.do(func(ctx context.Context) { e.want(e.m.Login(ctx, "3"), usersession.ErrUnknownUser) })
}

// hasSchemas reports whether a database knows schemas.
func hasSchemas(db *sqlx.DB) bool { return db.DriverName() != "sqlite" }
