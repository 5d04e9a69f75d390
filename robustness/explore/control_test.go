package explore

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jmoiron/sqlx"
)

const controlKind = "plain scs"

// control is what people write today: scs as it is, with a table of tokens and
// users beside it, over the same Store and the same database.
type control struct {
	sql   *sqlx.DB
	db    *gatedDB
	store *gateStore
	scs   *scs.SessionManager

	template               map[string]entry
	began                  int64
	first, second, visitor browser

	names    []string
	outcomes []*outcome
	seen     []browser
}

// scsStore is a store as scs has them: Commit writes, whatever is there.
type scsStore struct{ s *gateStore }

func (c scsStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	return c.s.Find(ctx, token)
}
func (c scsStore) DeleteCtx(ctx context.Context, token string) error { return c.s.Delete(ctx, token) }
func (c scsStore) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	return c.s.do(ctx, "Commit", true, func() { c.s.data[token] = entry{b, c.s.expiryAt(token, expiry)} }, token)
}
func (c scsStore) Find(token string) ([]byte, bool, error) {
	return c.FindCtx(context.Background(), token)
}
func (c scsStore) Delete(token string) error { return c.DeleteCtx(context.Background(), token) }
func (c scsStore) Commit(token string, b []byte, expiry time.Time) error {
	return c.CommitCtx(context.Background(), token, b, expiry)
}

func openControl(t *testing.T) *control {
	t.Helper()
	c := &control{store: &gateStore{clock: newClock(), data: map[string]entry{}}, scs: scs.New()}
	var err error
	if c.sql, c.db, err = openGated(newClock()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.sql.Close() })
	c.scs.Store, c.scs.IdleTimeout = scsStore{c.store}, idle
	c.scs.ErrorFunc = func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusServiceUnavailable) }
	c.sql.MustExec("CREATE TABLE devices (token TEXT PRIMARY KEY, user_id TEXT)")
	ctx := context.Background()
	c.first = c.request(ctx, "", c.login).cookie
	c.second = c.request(ctx, "", c.login).cookie
	c.visitor = c.request(ctx, "", c.put).cookie
	c.sql.MustExec("CREATE TABLE template AS SELECT * FROM devices")
	c.template, c.began = maps.Clone(c.store.data), c.store.clock.now()
	return c
}

func (c *control) kind() string { return controlKind }
func (c *control) tick()        { c.store.clock.advance(time.Millisecond) }

func (c *control) reset(names []string) error {
	c.sql.MustExec("DELETE FROM devices")
	c.sql.MustExec("INSERT INTO devices SELECT * FROM template")
	c.store.data = maps.Clone(c.template)
	c.store.clock.us.Store(c.began)
	if slices.Contains(names, "expire") {
		e := c.store.data[c.first.token]
		e.expiry = c.began + time.Second.Microseconds()
		c.store.data[c.first.token] = e
	}
	c.names, c.outcomes = names, make([]*outcome, len(names))
	c.seen = []browser{c.first, c.second, c.visitor}
	return nil
}

func (c *control) label(key string) string {
	switch key {
	case c.first.token:
		return "first"
	case c.second.token:
		return "second"
	case c.visitor.token:
		return "visitor"
	}
	return "new:" + key[:4]
}

func (c *control) request(ctx context.Context, token string, act func(ctx context.Context) error) outcome {
	var out outcome
	h := c.scs.LoadAndSave(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		out.as = c.scs.GetString(r.Context(), "user")
		if err := act(r.Context()); err != nil {
			rw.WriteHeader(http.StatusConflict)
			return
		}
		rw.WriteHeader(http.StatusOK)
	}))
	r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
	if token != "" {
		r.AddCookie(&http.Cookie{Name: c.scs.Cookie.Name, Value: token})
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	out.status, out.ok = rec.Code, rec.Code == http.StatusOK
	for _, k := range rec.Result().Cookies() {
		out.cookie.token = k.Value
	}
	return out
}

func (c *control) login(ctx context.Context) error {
	former := c.scs.Token(ctx)
	if err := c.scs.RenewToken(ctx); err != nil {
		return err
	}
	c.scs.Put(ctx, "user", user)
	if former != "" {
		if _, err := c.sql.ExecContext(ctx, "DELETE FROM devices WHERE token = ?", former); err != nil {
			return err
		}
	}
	_, err := c.sql.ExecContext(ctx, "INSERT INTO devices (token, user_id) VALUES (?, ?)", c.scs.Token(ctx), user)
	return err
}

func (c *control) put(ctx context.Context) error {
	c.scs.Put(ctx, "n", c.scs.GetInt(ctx, "n")+1)
	return nil
}

func (c *control) renew(ctx context.Context) error {
	former := c.scs.Token(ctx)
	if err := c.scs.RenewToken(ctx); err != nil {
		return err
	}
	_, err := c.sql.ExecContext(ctx, "UPDATE devices SET token = ? WHERE token = ?", c.scs.Token(ctx), former)
	return err
}

func (c *control) logout(ctx context.Context) error {
	if _, err := c.sql.ExecContext(ctx, "DELETE FROM devices WHERE token = ?", c.scs.Token(ctx)); err != nil {
		return err
	}
	return c.scs.Destroy(ctx)
}

// revoke deletes what the table names: the session first, the row second.
func (c *control) revoke(ctx context.Context, cond string, args ...any) error {
	var tokens []string
	if err := c.sql.SelectContext(ctx, &tokens, "SELECT token FROM devices WHERE "+cond+" ORDER BY rowid", args...); err != nil {
		return err
	}
	for _, token := range tokens {
		if err := c.store.Delete(ctx, token); err != nil {
			return err
		}
		if _, err := c.sql.ExecContext(ctx, "DELETE FROM devices WHERE token = ?", token); err != nil {
			return err
		}
	}
	return nil
}

func (c *control) revokeOthers(ctx context.Context) error {
	if c.scs.GetString(ctx, "user") == "" {
		return errors.New("nobody is logged in")
	}
	return c.revoke(ctx, "user_id = ? AND token <> ?", user, c.scs.Token(ctx))
}

// prune deletes the rows whose sessions are over.
func (c *control) prune(ctx context.Context) error {
	var tokens []string
	if err := c.sql.SelectContext(ctx, &tokens, "SELECT token FROM devices ORDER BY rowid"); err != nil {
		return err
	}
	for _, token := range tokens {
		if _, found, err := c.store.Find(ctx, token); err != nil || found {
			continue
		}
		if _, err := c.sql.ExecContext(ctx, "DELETE FROM devices WHERE token = ?", token); err != nil {
			return err
		}
	}
	return nil
}

func (c *control) start(i int) *task {
	by := func(b browser, act func(context.Context) error) func(context.Context) outcome {
		return func(ctx context.Context) outcome { return c.request(ctx, b.token, act) }
	}
	call := func(fn func(ctx context.Context) error) func(context.Context) outcome {
		return func(ctx context.Context) outcome { return done(fn(ctx)) }
	}
	run := map[string]func(context.Context) outcome{
		"login":                     by(c.visitor, c.login),
		"login over first":          by(c.first, c.login),
		"write":                     by(c.first, c.put),
		"touch":                     by(c.first, func(context.Context) error { return nil }),
		"renew":                     by(c.first, c.renew),
		"logout":                    by(c.first, c.logout),
		"scs destroy":               by(c.first, c.logout),
		"revoke others":             by(c.first, c.revokeOthers),
		"revoke others from second": by(c.second, c.revokeOthers),
		"revoke":                    call(func(ctx context.Context) error { return c.revoke(ctx, "token = ?", c.first.token) }),
		"revoke all":                call(func(ctx context.Context) error { return c.revoke(ctx, "user_id = ?", user) }),
		"janitor":                   call(c.prune),
		"list": call(func(ctx context.Context) error {
			var tokens []string
			return c.sql.SelectContext(ctx, &tokens, "SELECT token FROM devices WHERE user_id = ?", user)
		}),
		"expire": call(func(ctx context.Context) error {
			if ok, _ := taskOf(ctx).step(step{side: timeSide, name: "2s pass"}); ok {
				c.store.clock.advance(2 * time.Second)
			}
			return nil
		}),
		"user deleted": call(func(ctx context.Context) error {
			_, err := c.sql.ExecContext(ctx, "DELETE FROM devices WHERE user_id = ?", user)
			return err
		}),
	}[c.names[i]]
	return start(c.names[i], func(ctx context.Context, _ *task) func() {
		out := run(ctx)
		return func() {
			c.outcomes[i] = &out
			if out.cookie.token != "" {
				c.seen = append(c.seen, out.cookie)
			}
		}
	})
}

// accepted says who a token would be served as.
func (c *control) accepted(token string) string {
	b, found, _ := c.store.Find(context.Background(), token)
	if !found {
		return ""
	}
	_, values, err := c.scs.Codec.Decode(b)
	if err != nil {
		return ""
	}
	u, _ := values["user"].(string)
	return u
}

// everyStep asks nothing of the control: only what stays wrong counts.
func (c *control) everyStep([]*task) []string { return nil }

func (c *control) atEnd(tasks []*task, _ bool) []string {
	if slices.Contains(c.names, "user deleted") {
		return nil // ours has a written exception for this one, too
	}
	covers := map[string][]browser{
		"login over first": {c.first}, "logout": {c.first}, "scs destroy": {c.first}, "revoke": {c.first}, "revoke others from second": {c.first},
		"revoke others": {c.second}, "revoke all": {c.first, c.second},
	}
	var broken []string
	for i, out := range c.outcomes {
		if out == nil || !out.ok {
			continue
		}
		for _, b := range covers[c.names[i]] {
			if c.accepted(b.token) != "" {
				broken = append(broken, "I2 Revoked: after "+c.names[i]+" said it was done, the session is served")
			}
		}
	}
	for _, b := range c.seen {
		var n int
		if c.accepted(b.token) != "" && errors.Is(c.sql.Get(&n, "SELECT 1 FROM devices WHERE token = ?", b.token), sql.ErrNoRows) {
			broken = append(broken, "I1 Listed: a token is served and no list shows its session")
		}
	}
	return broken
}

// TestControl shows that the explorer finds what is wrong where something is:
// plain scs with an index written by hand breaks I1 and I2 without any fault. A
// world of ours is driven beside it with -figures, in the same orders.
func TestControl(t *testing.T) {
	begin(t)
	names := slices.Sorted(maps.Keys(operations))
	theirs, ours := openControl(t), map[string]*world{}
	if *figures != "" { // otherwise TestPairs is enough
		for _, kind := range kinds {
			ours[kind] = openWorld(t, kind)
		}
	}
	var control, library sum
	rules := map[string]int{}
	t.Logf("schedules without a fault that break an invariant:")
	for i, a := range names {
		for _, b := range names[i:] {
			e := &explorer{sys: theirs, names: []string{a, b}, keepGoing: true}
			v := e.all()
			control.counts.add(e.counts)
			var own sum
			for _, w := range ours {
				o := &explorer{sys: w, names: []string{a, b}, keepGoing: true}
				if v := o.all(); v != nil {
					t.Errorf("ours: %v", v)
				}
				own.counts.add(o.counts)
			}
			library.counts.add(own.counts)
			if v == nil {
				continue
			}
			t.Logf("%-45s plain scs %3d of %3d, ours %d of %d", a+" with "+b, e.violations, e.schedules, own.violations, own.schedules)
			for _, text := range v.broken {
				rule, _, _ := strings.Cut(text, " ")
				rules[rule]++
				if rules[rule] == 1 {
					t.Logf("for instance: %v", v)
				}
			}
		}
	}
	t.Logf("all pairs: plain scs %d of %d, ours %d of %d", control.violations, control.schedules, library.violations, library.schedules)
	for _, rule := range []string{"I1", "I2"} {
		if rules[rule] == 0 {
			t.Errorf("the control never breaks %s: then the explorer would not notice if we did", rule)
		}
	}
	report(t, "plain scs with an index by hand", &control, 0)
	report(t, "ours beside it", &library, 0)
}
