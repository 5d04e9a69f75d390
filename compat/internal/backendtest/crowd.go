package backendtest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// One user with very many sessions, or very many logins, which must cost no other
// user anything.
var crowdBehaviours = []behaviour{
	{"crowd: the default limit is 100", crowdDefault},
	{"crowd: no limit", crowdUnlimited},
	{"crowd: a login under a new limit ends any number", crowdSurplus},
	{"crowd: logins in flight do not end each other", crowdUnconfirmed},
	{"crowd: logins that wait for their user take no connection", crowdConnections},
	{"crowd: a list is bounded, and its pages are whole", crowdList},
}

// multiply adds n rows to the index that are like that of a session. Their data are
// nowhere.
func (e *env) multiply(id string, n int) {
	e.Helper()
	text := func(bytes int) string {
		b := make([]byte, bytes)
		rand.Read(b)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	for ; n > 0; n -= 400 {
		rows := make([]string, min(n, 400))
		for i := range rows {
			rows[i] = fmt.Sprintf("SELECT '%s' AS new_id, '%s' AS new_key", text(16), text(32))
		}
		const rest = "user_id, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta"
		exec(e.T, e.db, "INSERT INTO "+quoted(e.db, e.table)+" (id, session_key, "+rest+") SELECT new_id, new_key, "+rest+
			" FROM "+quoted(e.db, e.table)+", ("+strings.Join(rows, " UNION ALL ")+") AS more WHERE id = ?", id)
	}
}

// wantCount fails the test if the user has not that many sessions, however many
// they are.
func (e *env) wantCount(user string, want int) {
	e.Helper()
	n, err := e.m.CountMatching(e.Context(), usersession.Filter{UserIDs: []string{user}}, 0)
	if n != want || err != nil {
		e.Errorf("%d sessions of %s, %v; want %d", n, user, err, want)
	}
}

func crowdDefault(t *testing.T, b backend) {
	for _, had := range []int{49, 50, 99} { // where the lock begins, and where the limit is
		e := b.start(t)
		first, bob := e.browser(), e.browser()
		bob.login("bob")
		id := first.login("alice")
		e.multiply(id, had-1)
		e.shift(id, "created_at", -time.Minute)
		second, third := e.browser(), e.browser()
		second.login("alice")
		third.login("alice")
		e.wantCount("alice", min(had+2, usersession.DefaultMaxSessions))
		second.wantUser("alice")
		third.wantUser("alice")
		bob.wantUser("bob")
		if had == 99 {
			first.wantUser("")
			e.wantReason(id, usersession.ReasonEvicted)
		} else {
			first.wantUser("alice")
		}
	}
	e := b.start(t, func(o *usersession.Options) { o.OnLimit = usersession.LimitReject })
	e.multiply(e.browser().login("alice"), 99)
	e.browser().do(func(ctx context.Context) { e.want(e.m.Login(ctx, "alice"), usersession.ErrTooManySessions) })
	e.wantCount("alice", 100)
}

func crowdUnlimited(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.MaxSessions = usersession.NoMaxSessions })
	first := e.browser()
	e.multiply(first.login("alice"), 100)
	e.browser().login("alice")
	first.wantUser("alice")
	e.wantCount("alice", 102)
}

// crowdSurplus is about a program that gets a limit when a user has too many
// sessions already.
func crowdSurplus(t *testing.T, b backend) {
	for _, change := range []func(*usersession.Options){
		func(*usersession.Options) {}, limited(3, usersession.LimitEvictLeastRecent),
	} {
		e := b.start(t, change)
		id := e.browser().login("alice")
		e.multiply(id, 1_200)
		last := e.browser()
		last.login("alice")
		last.wantUser("alice")
		want := 100
		if len(e.list("alice")) == 3 {
			want = 3
		}
		e.wantCount("alice", want)
	}
}

// crowdUnconfirmed logs two more in while one is between its login and its commit.
func crowdUnconfirmed(t *testing.T, b backend) {
	for _, policy := range []usersession.LimitPolicy{usersession.LimitEvictOldest, usersession.LimitEvictLeastRecent} {
		e := b.start(t, limited(2, policy))
		slow, there, last := e.browser(), e.browser(), e.browser()
		flight := slow.begin(func(ctx context.Context) { e.ok(e.m.Login(ctx, "alice")) })
		there.login("alice")
		last.login("alice")
		flight.finish()
		slow.wantUser("alice")
		there.wantUser("")
		last.wantUser("alice")
		e.wantSessions("alice", 2)

		// If there are no others, the oldest makes room for the next.
		var flights []*inFlight
		for range 3 {
			flights = append(flights, e.browser().begin(func(ctx context.Context) { e.ok(e.m.Login(ctx, "bob")) }))
			if list, err := e.m.ListSessions(t.Context(), "bob"); err != nil || len(list) > 2 {
				t.Errorf("%d live sessions, want at most 2; %v", len(list), err)
			}
		}
		for _, f := range flights {
			f.finish()
		}
		e.wantSessions("bob", 2)
	}
}

// crowdConnections has another process hold the session that the next login of a
// user evicts, and logs the user in more often at once than the pool has
// connections.
func crowdConnections(t *testing.T, b backend) {
	if e := b.start(t); e.db.DriverName() == "sqlite" {
		t.Skip("SQLite has one writer: all who write wait for each other")
	}
	const logins, connections = 8, 3
	e := b.start(t, limited(3, usersession.LimitEvictOldest))
	bob := e.browser()
	bob.login("bob")
	oldest := e.browser().login("alice")
	e.browser().login("alice")
	e.browser().login("alice")
	other, err := e.db.BeginTxx(t.Context(), nil)
	e.ok(err)
	defer other.Rollback()
	_, err = other.ExecContext(t.Context(), e.db.Rebind("UPDATE "+quoted(e.db, e.table)+" SET ip = ip WHERE id = ?"), oldest)
	e.ok(err)
	e.db.SetMaxOpenConns(connections) // one is the other process's, and one the login's whose turn it is
	var ready, done sync.WaitGroup
	ready.Add(logins)
	for range logins {
		d := e.browser()
		done.Go(func() {
			d.do(func(ctx context.Context) {
				ready.Done()
				e.ok(e.m.Login(ctx, "alice"))
			})
		})
	}
	ready.Wait()
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := e.m.Session(ctx, "bob", "AAAAAAAAAAAAAAAAAAAAAA")
		cancel()
		if !errors.Is(err, usersession.ErrSessionNotFound) {
			t.Errorf("another user finds no connection: %v", err)
			break
		}
	}
	e.ok(other.Rollback())
	done.Wait()
	bob.wantUser("bob")
	e.wantSessions("alice", 3)
}

func crowdList(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.MaxSessions = usersession.NoMaxSessions })
	old := e.browser().login("alice")
	e.shift(old, "last_seen_at", -time.Minute)
	e.multiply(old, 1_100)
	last := e.browser().login("alice")
	list := e.list("alice")
	if len(list) != 500 || list[0].ID != last {
		t.Fatalf("%d sessions, want 500, the last one first", len(list))
	}
	seen := map[string]bool{}
	for s, err := range e.m.ListMatching(t.Context(), usersession.Filter{UserIDs: []string{"alice"}}, usersession.Page{}) {
		e.ok(err)
		seen[s.ID] = true
	}
	if len(seen) != 1_102 || !seen[old] || !seen[last] {
		t.Errorf("the pages have %d sessions, want 1102", len(seen))
	}
	// What ends them does so in pages of its own.
	if n, err := e.m.RevokeAllSessions(t.Context(), "alice"); n != 1_102 || err != nil {
		t.Errorf("RevokeAllSessions: %d, %v; want 1102", n, err)
	}
}
