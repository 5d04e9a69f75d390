package backendtest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// What the index has about a person, and how it goes.
var personalBehaviours = []behaviour{
	{"personal: a user is purged", personalPurge},
	{"personal: very many sessions of a user are exported and purged", personalCrowd},
	{"personal: addresses and User-Agents are blanked", personalBlank},
}

// countRows counts rows by a condition.
func (e *env) countRows(table, cond string, args ...any) (n int) {
	e.Helper()
	if err := e.db.GetContext(e.Context(), &n, e.db.Rebind("SELECT COUNT(*) FROM "+quoted(e.db, table)+" WHERE "+cond), args...); err != nil {
		e.Fatal(err)
	}
	return n
}

// isPersonal is of rows that tell anything about a person.
const isPersonal = "user_id IS NOT NULL OR ip <> '' OR user_agent <> '' OR last_ip IS NOT NULL OR last_user_agent IS NOT NULL OR ended_by <> ''"

// usedElsewhere has every session used last from elsewhere than at its login.
func (e *env) usedElsewhere() {
	e.Helper()
	exec(e.T, e.db, "UPDATE "+quoted(e.db, e.table)+" SET last_ip = '198.51.100.9', last_user_agent = 'curl/8'")
}

func personalPurge(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.Retention = time.Hour })
	laptop, phone, gone, bob := e.browser(), e.browser(), e.browser(), e.browser()
	ids := []string{
		laptop.login("alice", usersession.WithMeta(map[string]string{"name": "Alice's laptop"})), phone.login("alice"), gone.login("alice"),
	}
	tokens := []string{laptop.token(), phone.token(), gone.token()}
	e.usedElsewhere()
	bob.login("bob")
	e.ok(e.m.RevokeSession(usersession.ContextWithActor(t.Context(), "carol"), "alice", ids[2]))
	_, err := e.m.AccountDisabled(t.Context(), "alice")
	e.ok(err)
	e.ok(e.m.AccountEnabled(t.Context(), "alice"))
	phone.login("alice")
	tokens = append(tokens, phone.token())
	_, err = e.m.AccountDisabled(t.Context(), "alice")
	e.ok(err)

	late := e.browser()
	late.do(func(ctx context.Context) { // a login that has begun before
		if n, err := e.m.PurgeUser(t.Context(), "alice"); n != 4 || err != nil {
			t.Errorf("PurgeUser = %d, %v; want 4 rows", n, err)
		}
		e.want(e.m.Login(ctx, "alice"), usersession.ErrRevokedMeanwhile)
	})
	late.wantUser("")
	for _, token := range tokens {
		e.wantDead(token)
	}
	bob.wantUser("bob")
	e.wantStored(1)
	if n := e.countRows(e.table, "("+isPersonal+") AND (user_id IS NULL OR user_id <> 'bob')"); n != 0 {
		t.Errorf("%d rows tell something about a person who is gone", n)
	}
	for s, err := range e.m.ListMatching(t.Context(), usersession.Filter{Ended: true}, usersession.Page{}) {
		if e.ok(err); s.UserID != "" || len(s.Meta) != 0 || s.Reason != usersession.ReasonUserDeleted {
			t.Errorf("left of a row is %+v", s)
		}
	}
	if n, err := e.m.PurgeUser(t.Context(), "alice"); n != 0 || err != nil {
		t.Errorf("once more: %d, %v", n, err)
	}

	// A new user of that ID inherits nothing.
	laptop = e.browser()
	laptop.login("alice")
	e.wantSessions("alice", 1)
	if ended, err := e.m.ListEndedSessions(t.Context(), "alice", 9); len(ended) != 0 || err != nil {
		t.Errorf("the new user has ended sessions: %v, %v", ended, err)
	}
	for _, token := range tokens {
		e.wantDead(token)
	}

	// The janitor goes on with what is left, and leaves nothing.
	for _, id := range ids {
		e.shift(id, "purge_at", -2*time.Minute)
	}
	if res := e.prune(); res.Redeleted != len(ids) || res.Pruned != 0 {
		t.Errorf("%+v, want %d deleted again", res, len(ids))
	}
	for _, id := range ids {
		for _, column := range []string{"purge_at", "ended_at", "expires_at"} {
			e.shift(id, column, -100*24*time.Hour)
		}
	}
	if res := e.prune(); res.Pruned != len(ids) {
		t.Errorf("%+v, want %d rows pruned", res, len(ids))
	}
	laptop.wantUser("alice")
	e.ok(e.m.RevokeSession(t.Context(), "alice", e.list("alice")[0].ID))
	if n, err := e.m.PurgeUser(t.Context(), "alice"); n != 1 || err != nil {
		t.Errorf("the new user: %d, %v", n, err)
	}
	e.age()
	e.prune()
	if n := e.countRows(e.table+"_fences", "user_id = ?", "alice"); n != 0 {
		t.Error("the fence is kept for ever")
	}
}

func personalCrowd(t *testing.T, b backend) {
	e := b.start(t, func(o *usersession.Options) { o.MaxSessions = usersession.NoMaxSessions })
	laptop, bob := e.browser(), e.browser()
	bob.login("bob")
	id := laptop.login("alice", usersession.WithIdleTimeout(2*time.Hour), usersession.WithMeta(map[string]string{"name": "laptop"}))
	const more = 1100
	e.multiply(id, more)
	e.ok(e.m.RevokeSession(t.Context(), "alice", id))
	_, err := e.m.RevokeMatching(t.Context(), usersession.Filter{UserIDs: []string{"bob"}, ExceptCurrent: true})
	e.ok(err)

	seen, ended := map[string]bool{}, 0
	for r, err := range e.m.ExportUser(t.Context(), "alice") {
		e.ok(err)
		if r.Session == nil || r.Session.UserID != "alice" || seen[r.Session.ID] || r.Deadline.IsZero() {
			t.Fatalf("exported: %+v", r)
		}
		if seen[r.Session.ID] = true; r.Session.ID == id {
			ended++
			form, err := json.Marshal(r)
			if e.ok(err); !strings.Contains(string(form), `"idle_timeout_seconds":7200`) || !strings.Contains(string(form), `"reason":"revoked"`) || strings.Contains(string(form), keyOf(laptop.token())) {
				t.Errorf("as JSON: %s", form)
			}
		}
	}
	if len(seen) != more+1 || ended != 1 {
		t.Errorf("%d sessions are exported, %d ended; want %d, 1", len(seen), ended, more+1)
	}
	if n, err := e.m.PurgeUser(t.Context(), "alice"); n != more+1 || err != nil {
		t.Errorf("PurgeUser = %d, %v; want %d", n, err, more+1)
	}
	records := 0
	for r, err := range e.m.ExportUser(t.Context(), "alice") {
		if e.ok(err); r.Session != nil || r.Disabled || time.Since(r.RevokedAt) > patience {
			t.Errorf("left is %+v", r)
		}
		records++
	}
	if n := e.countRows(e.table, "user_id = ?", "alice"); records != 1 || n != 0 {
		t.Errorf("%d records, %d rows; want the time alone", records, n)
	}
}

func personalBlank(t *testing.T, b backend) {
	db := b.open(t)
	start := func(p usersession.Privacy) *env {
		return b.startOn(t, db, nil, func(o *usersession.Options) { o.Privacy = p })
	}
	e := start(usersession.Privacy{})
	old, new, gone := e.browser(), e.browser(), e.browser()
	at := time.Now().Add(-2 * time.Hour)
	ids := map[string]string{"old": old.login("alice"), "new": new.login("alice"), "gone": gone.login("alice")}
	e.usedElsewhere()
	e.shift(ids["old"], "created_at", time.Until(at))
	e.ok(e.m.RevokeSession(t.Context(), "alice", ids["gone"]))
	kept := func(when string, want map[string]string) {
		t.Helper()
		for r, err := range e.m.ExportUser(t.Context(), "alice") {
			e.ok(err)
			s := r.Session
			for name, id := range ids {
				got := fmt.Sprint(s.IP.IsValid(), s.UserAgent != "")
				if s.LastIP.IsValid() != s.IP.IsValid() || (s.LastUserAgent == "") != (s.UserAgent == "") {
					t.Errorf("%s: of the last use there are %v, %q", when, s.LastIP, s.LastUserAgent)
				}
				if id == s.ID && got != want[name] {
					t.Errorf("%s: of %s there are %s, want %s", when, name, got, want[name])
				}
			}
		}
	}
	all := "true true"
	if res := e.prune(); res.Blanked != 0 {
		t.Errorf("without retention: %+v", res)
	}
	kept("without retention", map[string]string{"old": all, "new": all, "gone": all})

	e = start(usersession.Privacy{IPRetention: time.Hour, UserAgentRetention: usersession.UntilEnd})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.m.Prune(over); err == nil {
		t.Error("a pass that has no time returned nil")
	}
	if res := e.prune(); res.Blanked != 2 {
		t.Errorf("%+v, want 2 blanked", res)
	}
	then := map[string]string{"old": "false true", "new": all, "gone": "true false"}
	kept("a pass", then)
	old.wantUser("alice")
	e.shift(ids["new"], "created_at", time.Until(at))
	if res := e.prune(); res.Blanked != 0 {
		t.Errorf("it looks again within the hour: %+v", res)
	}
	kept("a pass within the hour", then)
	e = start(usersession.Privacy{IPRetention: time.Hour})
	e.multiply(ids["new"], 600)
	if res := e.prune(); res.Blanked != 601 {
		t.Errorf("%+v, want 601 blanked", res)
	}
	kept("another pass", map[string]string{"old": "false true", "new": "false true", "gone": "true false"})
}
