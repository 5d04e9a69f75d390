package backendtest

import (
	"context"
	"slices"
	"strings"
	"testing"
)

var questionBehaviours = []behaviour{
	{"scs issue 86: finding all sessions belonging to a specific user", foundingQuestion},
}

// foundingQuestion is the question this package answers, with the four things
// that stand in the way of an answer inside scs.
func foundingQuestion(t *testing.T, b backend) {
	e := b.start(t)
	ids := func(user string) (ids []string) {
		for _, s := range e.list(user) {
			ids = append(ids, s.ID)
		}
		slices.Sort(ids)
		return ids
	}
	laptop, phone, bob := e.browser(), e.browser(), e.browser()
	want := []string{laptop.login("alice"), phone.login("alice")}
	slices.Sort(want)
	bob.login("bob")
	if got := ids("alice"); !slices.Equal(got, want) {
		t.Fatalf("alice's sessions %q, want %q", got, want)
	}

	t.Run("a store's commit sees only bytes", func(t *testing.T) {
		// The values of the program are in another encoding than whose
		// session it is: whatever they are, the list is the same.
		e := e.with(t)
		(&browser{env: e, jar: laptop.jar}).put("user", "mallory")
		if got := ids("alice"); !slices.Equal(got, want) {
			t.Errorf("alice's sessions %q, want %q", got, want)
		}
		e.wantSessions("mallory", 0)
	})
	t.Run("the token is unknown until the commit", func(t *testing.T) {
		e := e.with(t)
		tablet := e.browser()
		id := ""
		slow := tablet.begin(func(ctx context.Context) {
			e.ok(e.m.Login(ctx, "alice"))
			s, err := e.m.Current(ctx)
			e.ok(err)
			id = s.ID
		})
		if tablet.token() != "" {
			t.Error("there is a token before the commit")
		}
		if got := ids("alice"); len(got) != 3 || !slices.Contains(got, id) {
			t.Errorf("alice's sessions %q, want %q among them", got, id)
		}
		e.wantOK(slow.finish())
		if got := ids("alice"); len(got) != 3 || !slices.Contains(got, id) || tablet.token() == "" {
			t.Errorf("after the commit: alice's sessions %q, want %q among them", got, id)
		}
		e.ok(e.m.RevokeSession(t.Context(), "alice", id))
		tablet.wantUser("")
	})
	t.Run("a renewal changes the token", func(t *testing.T) {
		e := e.with(t)
		before := laptop.token()
		laptop.do(func(ctx context.Context) { e.ok(e.m.SessionManager.RenewToken(ctx)) })
		if laptop.token() == before {
			t.Error("the token is the same")
		}
		if got := ids("alice"); !slices.Equal(got, want) {
			t.Errorf("alice's sessions %q, want %q", got, want)
		}
	})
	t.Run("the row must be there before the session", func(t *testing.T) {
		if b.store.New == nil {
			t.Skip("row and session are in one database")
		}
		b.rowFirst(t)
	})

	if n, err := e.m.RevokeAllSessions(t.Context(), "alice"); n != 2 || err != nil {
		t.Errorf("revoked %d, %v; want 2", n, err)
	}
	laptop.wantUser("")
	phone.wantUser("")
	bob.wantUser("bob")
	if strings.Join(ids("alice"), "") != "" {
		t.Error("alice has sessions")
	}
}

// rowFirst looks at the index at the moment the Store is asked to create the
// session: whatever happens next, there is a row for it.
func (b backend) rowFirst(t *testing.T) {
	e := b.startFaulty(t)
	asked := 0
	e.faults.before("Create", func() {
		asked++
		e.wantSessions("alice", 1)
	})
	laptop := e.browser()
	laptop.login("alice")
	if asked != 1 {
		t.Errorf("the Store was asked %d times", asked)
	}
	e.wantSessions("alice", 1)
	// The other way round at the end: the row has ended when the data go.
	e.faults.before("Delete", func() {
		asked++
		e.wantSessions("alice", 0)
	})
	_, err := e.m.RevokeAllSessions(t.Context(), "alice")
	e.ok(err)
	if asked != 2 {
		t.Errorf("the Store was asked %d times", asked)
	}
}
