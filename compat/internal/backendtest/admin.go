package backendtest

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
)

// Calls across users.
var adminBehaviours = []behaviour{
	{"matching: everyone", matchingEveryone},
	{"matching: except the current session", matchingExceptCurrent},
	{"matching: refused filters", matchingRefused},
	{"tx: commit, then finish", txCommit},
	{"tx: of database/sql", txPlain},
	{"tx: roll back", txRollback},
	{"tx: a login after the first read", txLoginAfterSnapshot},
	{"tx: a login before the commit", txLoginBeforeCommit},
	{"tx: logins before and after finish", txLoginAroundFinish},
	{"tx: finish says that nothing has ended", txNotCommitted},
	{"tx: finish reports each ending once", txEvents},
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
	for _, tx := range []usersession.Tx{nil, (*sql.Tx)(nil), (*sqlx.Tx)(nil), e.db, e.db.DB} {
		if _, err := e.m.RevokeMatchingTx(t.Context(), tx, usersession.Filter{Everyone: true}); err == nil {
			t.Errorf("%T (nil or no transaction) is taken", tx)
		}
	}
	alice.wantUser("alice")
}

const passwordsSQL = "CREATE TABLE passwords (hash VARCHAR(20) NOT NULL)"

// appTx is a transaction as an application has it.
type appTx interface {
	usersession.Tx
	Commit() error
	Rollback() error
}

// inTx calls RevokeMatchingTx in a transaction that also writes a table of the
// program's own, and wants it to end so many sessions.
func (e *env) inTx(ctx context.Context, f usersession.Filter, want int) (*sqlx.Tx, *usersession.Revocation) {
	e.Helper()
	exec(e.T, e.db, passwordsSQL)
	tx, err := e.db.BeginTxx(ctx, nil)
	if err != nil {
		e.Fatal(err)
	}
	rev, err := e.revokeIn(ctx, tx, f, want)
	if err != nil {
		e.Fatal(err)
	}
	return tx, rev
}

// revokeIn is inTx in a transaction that has begun. It does not end the test, so
// handlers may call it.
func (e *env) revokeIn(ctx context.Context, tx appTx, f usersession.Filter, want int) (*usersession.Revocation, error) {
	e.Helper()
	if _, err := tx.ExecContext(ctx, "INSERT INTO passwords (hash) VALUES ('new')"); err != nil {
		return nil, err
	}
	rev, err := e.m.RevokeMatchingTx(ctx, tx, f)
	if err != nil {
		return nil, err
	}
	if n := rev.Count(); n != want {
		e.Errorf("counted %d, want %d", n, want)
	}
	return rev, nil
}

func txCommit(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone, bob := e.browser(), e.browser(), e.browser()
	laptop.login("alice")
	phone.login("alice")
	bob.login("bob")
	exec(t, e.db, passwordsSQL)
	laptop.do(func(ctx context.Context) {
		tx, err := e.db.BeginTxx(ctx, nil)
		if err != nil {
			t.Error(err)
			return
		}
		rev, err := e.revokeIn(ctx, tx, usersession.Filter{UserIDs: []string{"alice"}, ExceptCurrent: true}, 1)
		if err != nil {
			t.Errorf("RevokeMatchingTx: %v", err)
			e.ok(tx.Rollback())
			return
		}
		e.ok(tx.Commit())
		e.ok(rev.Finish(ctx))
		e.ok(rev.Finish(ctx)) // twice is once
	})
	laptop.wantUser("alice")
	phone.wantUser("")
	bob.wantUser("bob")
	e.wantDead(phone.token())
	e.wantSessions("alice", 1)
	e.wantStored(2)
}

// The placeholders are not the transaction's: sqlx is not needed.
func txPlain(t *testing.T, b backend) {
	e := b.start(t)
	phone, bob := e.browser(), e.browser()
	phone.login("alice")
	bob.login("bob")
	exec(t, e.db, passwordsSQL)
	tx, err := e.db.DB.BeginTx(t.Context(), nil)
	e.ok(err)
	rev, err := e.revokeIn(t.Context(), tx, usersession.Filter{UserIDs: []string{"alice"}, SeenBefore: time.Now().Add(time.Hour)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	e.ok(tx.Commit())
	e.ok(rev.Finish(t.Context()))
	phone.wantUser("")
	bob.wantUser("bob")
	e.wantStored(1)
}

func txRollback(t *testing.T, b backend) {
	e := b.start(t)
	phone := e.browser()
	phone.login("alice")
	tx, rev := e.inTx(t.Context(), usersession.Filter{UserIDs: []string{"alice"}}, 1)
	e.ok(tx.Rollback())
	e.want(rev.Finish(t.Context()), usersession.ErrNotCommitted)
	phone.wantUser("alice")
	e.wantSessions("alice", 1)
	e.wantStored(1)
}

// levels are the isolation levels in which somebody else can log in while a
// transaction is open. In SQLite nobody can, once it has written.
func (e *env) levels() map[string]sql.IsolationLevel {
	if e.db.DriverName() == "sqlite" {
		e.Skip("SQLite has one writer")
	}
	return map[string]sql.IsolationLevel{
		"default": sql.LevelDefault, "read committed": sql.LevelReadCommitted,
		"repeatable read": sql.LevelRepeatableRead, "serializable": sql.LevelSerializable,
	}
}

// A transaction that reads the password and verifies it sees the past from then
// on, where it sees a snapshot.
func txLoginAfterSnapshot(t *testing.T, b backend) {
	e := b.start(t)
	exec(t, e.db, passwordsSQL)
	for name, level := range e.levels() {
		t.Run(name, func(t *testing.T) {
			e := e.with(t)
			laptop, thief := e.browser(), e.browser()
			laptop.login("alice")
			tx, err := e.db.BeginTxx(t.Context(), &sql.TxOptions{Isolation: level})
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			var hashes []string
			e.ok(tx.SelectContext(t.Context(), &hashes, "SELECT hash FROM passwords"))
			thief.login("alice")
			rev, err := e.m.RevokeMatchingTx(t.Context(), tx, usersession.Filter{UserIDs: []string{"alice"}})
			if err != nil {
				t.Fatal(err)
			}
			if e.db.DriverName() == "mysql" && rev.Count() != 2 {
				t.Errorf("the transaction ends %d sessions, want 2", rev.Count())
			}
			e.ok(tx.Commit())
			e.ok(rev.Finish(t.Context()))
			laptop.wantUser("")
			thief.wantUser("")
			e.wantSessions("alice", 0)
			e.wantStored(0)
		})
	}
}

func txLoginBeforeCommit(t *testing.T, b backend) {
	e := b.start(t)
	exec(t, e.db, passwordsSQL)
	for name, level := range e.levels() {
		if e.db.DriverName() == "mysql" && level != sql.LevelReadCommitted {
			continue // the login would wait for the commit
		}
		for _, users := range []struct{ before, want int }{{1, 1}, {0, 0}} {
			t.Run(fmt.Sprintf("%s, %d found", name, users.want), func(t *testing.T) {
				e := e.with(t)
				laptop, admin, thief := e.browser(), e.browser(), e.browser()
				admin.login("bob")
				for range users.before {
					laptop.login("alice")
				}
				tx, err := e.db.BeginTxx(t.Context(), &sql.TxOptions{Isolation: level})
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Rollback()
				rev, err := e.revokeIn(t.Context(), tx, usersession.Filter{UserIDs: []string{"alice"}}, users.want)
				if err != nil {
					t.Fatal(err)
				}
				thief.login("alice")
				e.ok(tx.Commit())
				e.ok(rev.Finish(t.Context()))
				laptop.wantUser("")
				thief.wantUser("")
				admin.wantUser("bob")
				e.wantSessions("alice", 0)
				e.ok(e.m.RevokeSession(t.Context(), "bob", e.list("bob")[0].ID))
				e.wantStored(0)
			})
		}
	}
}

// Finish cannot know when the commit was, only that its first call was later.
func txLoginAroundFinish(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone, thief, tablet := e.browser(), e.browser(), e.browser(), e.browser()
	laptop.login("alice")
	phone.login("alice")
	tx, rev := e.inTx(t.Context(), usersession.Filter{UserIDs: []string{"alice"}}, 2)
	e.ok(tx.Commit())
	thief.login("alice")
	e.wantOK(laptop.do(func(ctx context.Context) {
		e.ok(e.m.Login(ctx, "alice")) // with the new password
		e.ok(rev.Finish(ctx))
	}))
	tablet.login("alice")
	e.ok(rev.Finish(t.Context()))
	laptop.wantUser("alice")
	phone.wantUser("")
	thief.wantUser("")
	tablet.wantUser("alice")
	e.wantSessions("alice", 2)
	e.wantStored(2)
}

func txNotCommitted(t *testing.T, b backend) {
	e := b.start(t)
	phone := e.browser()
	phone.login("alice")
	tx, rev := e.inTx(t.Context(), usersession.Filter{UserIDs: []string{"alice"}}, 1)
	e.want(rev.Finish(t.Context()), usersession.ErrNotCommitted)
	e.wantStored(1)
	// What the transaction has ended itself is not committed either.
	again, err := e.m.RevokeMatchingTx(t.Context(), tx, usersession.Filter{UserIDs: []string{"alice"}})
	e.ok(err)
	e.want(again.Finish(t.Context()), usersession.ErrNotCommitted)
	e.ok(tx.Commit())
	e.ok(rev.Finish(t.Context()))
	e.ok(again.Finish(t.Context()))
	phone.wantUser("")
	e.wantStored(0)
}

func txEvents(t *testing.T, b backend) {
	var events recorder
	e := b.start(t, func(o *usersession.Options) { o.OnEvent = events.add })
	phone := e.browser()
	id := phone.login("alice")
	ctx := usersession.ContextWithReason(t.Context(), "password changed")
	tx, rev := e.inTx(ctx, usersession.Filter{UserIDs: []string{"alice"}}, 1)
	e.ok(tx.Rollback())
	phone.do(func(ctx context.Context) { e.ok(e.m.Logout(ctx)) })
	events.take()
	e.want(rev.Finish(ctx), usersession.ErrNotCommitted)
	e.wantEvents(&events, "rolled back, and logged out")
	e.wantReason(id, usersession.ReasonLogout)

	id = phone.login("alice")
	tx, err := e.db.BeginTxx(t.Context(), nil)
	e.ok(err)
	rev, err = e.revokeIn(ctx, tx, usersession.Filter{UserIDs: []string{"alice"}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	e.ok(tx.Commit())
	events.take()
	e.ok(rev.Finish(ctx))
	e.ok(rev.Finish(ctx))
	e.wantEvents(&events, "committed", usersession.Event{Kind: usersession.EventEnded, UserID: "alice", SessionID: id, Reason: "password changed"})
}

func txNoFinish(t *testing.T, b backend) {
	e := b.start(t)
	phone := e.browser()
	id := phone.login("alice")
	tx, _ := e.inTx(t.Context(), usersession.Filter{UserIDs: []string{"alice"}}, 1)
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
	tx, rev := e.inTx(t.Context(), usersession.Filter{UserIDs: []string{"alice"}}, 1)
	e.ok(tx.Commit())
	e.ok(rev.Finish(t.Context()))
	e.wantRefused(slow.finish())
	e.wantDead(phone.token())
}
