package backendtest

import (
	"context"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
)

// Calls across users.
var adminBehaviours = []behaviour{
	{"matching: everyone", matchingEveryone},
	{"matching: except the current session", matchingExceptCurrent},
	{"matching: refused filters", matchingRefused},
	{"tx: commit, then finish", txCommit},
	{"tx: roll back", txRollback},
	{"tx: finish is never called", txNoFinish},
	{"tx: with a request in flight", txInFlight},
}

func matchingEveryone(t *testing.T, b backend) {
	e := b.start(t)
	var all []*browser
	for _, user := range []string{"alice", "alice", "bob", "carol"} {
		d := e.browser()
		d.login(user)
		all = append(all, d)
	}
	visitor := e.browser()
	visitor.put("cart", 7)
	for _, want := range []int{4, 0} {
		if n, err := e.m.RevokeMatching(t.Context(), usersession.Filter{Everyone: true}); n != want || err != nil {
			t.Errorf("%d, %v; want %d", n, err, want)
		}
	}
	for _, d := range all {
		d.wantUser("")
	}
	if got := visitor.get("cart"); got != 7 {
		t.Errorf("a visitor's cart %v, want 7", got)
	}
	e.wantStored(1)
}

func matchingExceptCurrent(t *testing.T, b backend) {
	e := b.start(t)
	admin, other, alice := e.browser(), e.browser(), e.browser()
	admin.login("admin")
	other.login("admin")
	alice.login("alice")
	admin.do(func(ctx context.Context) {
		if n, err := e.m.RevokeMatching(ctx, usersession.Filter{Everyone: true, ExceptCurrent: true}); n != 2 || err != nil {
			t.Errorf("%d, %v; want 2", n, err)
		}
	})
	admin.wantUser("admin")
	other.wantUser("")
	alice.wantUser("")
}

func matchingRefused(t *testing.T, b backend) {
	e := b.start(t)
	alice := e.browser()
	alice.login("alice")
	for _, f := range []usersession.Filter{{}, {ExceptCurrent: true}, {Meta: map[string]string{}}, {UserIDs: []string{}}} {
		n, err := e.m.RevokeMatching(t.Context(), f)
		e.want(err, usersession.ErrEmptyFilter)
		if n != 0 {
			t.Errorf("%d revoked", n)
		}
		tx, err := e.db.Beginx()
		e.ok(err)
		_, err = e.m.RevokeMatchingTx(t.Context(), tx, f)
		e.want(err, usersession.ErrEmptyFilter)
		e.ok(tx.Rollback())
	}
	if _, err := e.m.RevokeMatching(t.Context(), usersession.Filter{Everyone: true, Ended: true}); err == nil {
		t.Error("ended sessions can be revoked")
	}
	if _, err := e.m.RevokeMatchingTx(t.Context(), nil, usersession.Filter{Everyone: true}); err == nil {
		t.Error("a nil tx is taken")
	}
	alice.wantUser("alice")
}

// inTx calls RevokeMatchingTx in a transaction that also writes a table of the
// program's own.
func (e *env) inTx(ctx context.Context, f usersession.Filter) (*sqlx.Tx, func(context.Context) error) {
	e.Helper()
	exec(e.T, e.db, "CREATE TABLE passwords (hash VARCHAR(20) NOT NULL)")
	tx, err := e.db.BeginTxx(ctx, nil)
	if err != nil {
		e.Fatal(err)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO passwords (hash) VALUES ('new')"); err != nil {
		e.Fatal(err)
	}
	finish, err := e.m.RevokeMatchingTx(ctx, tx, f)
	if err != nil {
		e.Fatalf("RevokeMatchingTx: %v", err)
	}
	return tx, finish
}

func txCommit(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone, bob := e.browser(), e.browser(), e.browser()
	laptop.login("alice")
	phone.login("alice")
	bob.login("bob")
	laptop.do(func(ctx context.Context) {
		tx, finish := e.inTx(ctx, usersession.Filter{UserIDs: []string{"alice"}, ExceptCurrent: true})
		e.ok(tx.Commit())
		e.ok(finish(ctx))
		e.ok(finish(ctx)) // twice is once
	})
	laptop.wantUser("alice")
	phone.wantUser("")
	bob.wantUser("bob")
	e.wantDead(phone.token())
	e.wantSessions("alice", 1)
	e.wantStored(2)
}

func txRollback(t *testing.T, b backend) {
	e := b.start(t)
	phone := e.browser()
	phone.login("alice")
	tx, finish := e.inTx(t.Context(), usersession.Filter{UserIDs: []string{"alice"}})
	e.ok(tx.Rollback())
	e.ok(finish(t.Context()))
	phone.wantUser("alice")
	e.wantSessions("alice", 1)
	e.wantStored(1)
}

func txNoFinish(t *testing.T, b backend) {
	e := b.start(t)
	phone := e.browser()
	id := phone.login("alice")
	tx, _ := e.inTx(t.Context(), usersession.Filter{UserIDs: []string{"alice"}})
	e.ok(tx.Commit())
	e.wantSessions("alice", 0)
	if e.verified() {
		e.wantDead(phone.token())
	}
	e.shift(id, "purge_at", -2*60e9)
	if res := e.prune(); res.Redeleted != 1 {
		t.Errorf("%+v, want the janitor to finish", res)
	}
	e.wantDead(phone.token())
	e.wantStored(0)
}

func txInFlight(t *testing.T, b backend) {
	e := b.start(t)
	phone := e.browser()
	phone.login("alice")
	slow := phone.begin(func(ctx context.Context) { e.m.Put(ctx, "cart", 1) })
	tx, finish := e.inTx(t.Context(), usersession.Filter{UserIDs: []string{"alice"}})
	e.ok(tx.Commit())
	e.ok(finish(t.Context()))
	e.wantRefused(slow.finish())
	e.wantDead(phone.token())
}
