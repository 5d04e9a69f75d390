package explore

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// adopting is a world with one session of plain scs, which two replicas of ours adopt
// beside a replica of plain scs.
type adopting struct {
	name          string
	hashed, rekey bool

	sql   *sqlx.DB
	db    *gatedDB
	store *gateStore
	plain *scs.SessionManager
	ours  [2]*usersession.Manager

	token    string // another one in each schedule: a Manager remembers what it has touched
	names    []string
	outcomes []*outcome
	revoked  int // by "revoke all", as it says
}

// listing is a gateStore that can iterate its keys, which is no step.
type listing struct{ *gateStore }

func (l listing) Keys(context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, k := range l.keys() {
			if !yield(k, nil) {
				return
			}
		}
	}
}

func newPlain(hashed bool) *scs.SessionManager {
	sm := scs.New()
	sm.HashTokenInStore = hashed
	return sm
}

// adoptingKinds are the kinds of worlds of adoption.
var adoptingKinds = []string{"tokens", "hashed", "rekey", "hashed, rekey"}

func openAdopting(t *testing.T, name string) *adopting {
	t.Helper()
	hashed, rekey := strings.Contains(name, "hashed"), strings.Contains(name, "rekey")
	a := &adopting{name: name, hashed: hashed, rekey: rekey, plain: newPlain(hashed)}
	a.store = &gateStore{clock: newClock(), data: map[string]entry{}, atomic: true}
	a.plain.Store = scsStore{a.store}
	a.plain.ErrorFunc = func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusServiceUnavailable) }
	var err error
	if a.sql, a.db, err = openGated(newClock()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.sql.Close() })
	for i := range a.ours {
		a.ours[i], err = usersession.New(a.sql, &usersession.Options{
			SCS: newPlain(hashed), Store: listing{a.store}, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
			Adopt: &usersession.Adopt{Rekey: rekey, UserID: func(values map[string]any) string { s, _ := values["user"].(string); return s }},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := a.ours[0].Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *adopting) kind() string { return a.name }

func (a *adopting) tick() {
	a.db.clock.advance(time.Millisecond)
	a.store.clock.advance(time.Millisecond)
}

// oldKey is that of plain scs.
func (a *adopting) oldKey() string {
	if a.hashed {
		return keyOf(a.token)
	}
	return a.token
}

func (a *adopting) label(key string) string {
	switch key {
	case a.oldKey():
		return "old"
	case keyOf(a.token):
		return "hash"
	}
	return "alias"
}

func (a *adopting) reset(names []string) error {
	for _, table := range []string{"user_sessions", "user_sessions_fences"} {
		if _, err := a.db.exec("DELETE FROM "+table, nil); err != nil {
			return err
		}
	}
	now := time.Now().UnixMicro()
	a.db.clock.us.Store(now)
	a.store.clock.us.Store(now)
	var b [32]byte
	rand.Read(b[:])
	a.token = base64.RawURLEncoding.EncodeToString(b[:])
	data, err := scs.GobCodec{}.Encode(time.Now().Add(lifetime), map[string]any{"user": user})
	a.store.data = map[string]entry{a.oldKey(): {data, now + lifetime.Microseconds()}}
	a.names, a.outcomes, a.revoked = names, make([]*outcome, len(names)), 0
	return err
}

// manager is what a request needs of scs, and of ours.
type manager interface {
	LoadAndSave(http.Handler) http.Handler
	GetInt(context.Context, string) int
	Put(context.Context, string, any)
}

// ask sends a request with the token. who says whose it is.
func (a *adopting) ask(ctx context.Context, m manager, who func(context.Context) string, write bool) (out outcome) {
	h := m.LoadAndSave(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		out.as = who(r.Context())
		out.mark = fmt.Sprint(m.GetInt(r.Context(), "n"))
		if _, ours := m.(*usersession.Manager); ours && out.as != "" && !a.hasRow() {
			out.wrong = "I1 Listed: a session is served, and no row says whose it is"
		}
		if write && out.as != "" {
			m.Put(r.Context(), "n", 1)
		}
		rw.WriteHeader(http.StatusOK)
	}))
	r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: "session", Value: a.token})
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	out.status, out.ok = rec.Code, rec.Code == http.StatusOK
	if rec.Header().Get("Set-Cookie") != "" && m != manager(a.plain) {
		out.wrong = "I12 Kept: the cookie is changed"
	}
	return out
}

func (a *adopting) askOurs(ctx context.Context, i int, write bool) outcome {
	return a.ask(ctx, a.ours[i], a.ours[i].UserID, write)
}

func (a *adopting) askPlain(ctx context.Context, write bool) outcome {
	return a.ask(ctx, a.plain, func(ctx context.Context) string { return a.plain.GetString(ctx, "user") }, write)
}

func (a *adopting) hasRow() bool {
	res, err := a.db.query("SELECT id FROM user_sessions WHERE session_key = '"+keyOf(a.token)+"'", nil)
	return err == nil && len(res.(*readRows).rows) == 1
}

var adoptions = map[string]func(a *adopting, ctx context.Context) outcome{
	"read":           func(a *adopting, ctx context.Context) outcome { return a.askOurs(ctx, 0, false) },
	"read elsewhere": func(a *adopting, ctx context.Context) outcome { return a.askOurs(ctx, 1, false) },
	"write":          func(a *adopting, ctx context.Context) outcome { return a.askOurs(ctx, 0, true) },
	"adopt all": func(a *adopting, ctx context.Context) outcome {
		_, err := a.ours[1].AdoptAll(ctx)
		return done(err)
	},
	"plain scs writes": func(a *adopting, ctx context.Context) outcome { return a.askPlain(ctx, true) },
	"revoke all": func(a *adopting, ctx context.Context) outcome {
		n, err := a.ours[1].RevokeAllSessions(ctx, user)
		if err == nil {
			a.revoked = n
		}
		return done(err)
	},
}

func (a *adopting) start(i int) *task {
	return start(a.names[i], func(ctx context.Context, _ *task) func() {
		out := adoptions[a.names[i]](a, ctx)
		return func() { a.outcomes[i] = &out }
	})
}

func (a *adopting) everyStep([]*task) []string { return nil }

// answer returns how an operation ended; nil if it was not answered.
func (a *adopting) answer(name string) (*outcome, int) {
	if i := slices.Index(a.names, name); i >= 0 {
		return a.outcomes[i], i
	}
	return nil, -1
}

func (a *adopting) atEnd(tasks []*task, faulty bool) []string {
	var broken []string
	wrong := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	ctx := context.Background()
	revoke, at := a.answer("revoke all")
	covered := revoke != nil && revoke.ok && a.revoked > 0
	for i, out := range a.outcomes {
		if out == nil {
			continue
		}
		if out.wrong != "" {
			wrong("%s: %s", a.names[i], out.wrong)
		}
		if covered && out.as != "" && a.names[i] != "plain scs writes" && tasks[i].startedAt > tasks[at].answeredAt {
			wrong("I2 Revoked: %s began after the revocation, and was served", a.names[i])
		}
		if !faulty && at < 0 && !out.ok {
			wrong("%s is answered %d, and nothing is in its way", a.names[i], out.status)
		}
	}
	served := func(when string) {
		for i := range a.ours {
			out := a.askOurs(ctx, i, false)
			switch {
			case out.wrong != "":
				wrong("%s, %s", out.wrong, when)
			case covered && out.as != "":
				wrong("I2 Revoked: a replica serves the session %s", when)
			case !faulty && at < 0 && out.as != user:
				wrong("I12 Kept: a replica has logged the user out %s", when)
			}
			for _, name := range []string{"write", "plain scs writes"} {
				if w, _ := a.answer(name); w != nil && w.ok && out.as != "" && out.mark != "1" && !faulty {
					wrong("what %s has written is lost %s", name, when)
				}
			}
		}
	}
	if _, in := a.answer("plain scs writes"); covered && !faulty && in < 0 && a.askPlain(ctx, false).as != "" {
		wrong("I2 Revoked: a roll-back revives the session")
	}
	served("at once")
	if out := a.askPlain(ctx, false); !a.rekey && !faulty && at < 0 && out.as != user {
		wrong("I12 Kept: a roll-back logs the user out")
	}
	list, err := a.ours[0].ListSessions(ctx, user)
	if out := a.askOurs(ctx, 0, false); err != nil || out.as != "" && len(list) != 1 || len(list) > 1 {
		wrong("I1 Listed: %d sessions of the user, who is served as %q, %v", len(list), out.as, err)
	}
	if covered {
		// A replica of plain scs comes late.
		data, _ := scs.GobCodec{}.Encode(time.Now().Add(lifetime), map[string]any{"user": user})
		a.store.data[a.oldKey()] = entry{data, a.store.clock.now() + lifetime.Microseconds()}
		served("after plain scs has written it once more")
		if a.store.has(a.oldKey()) {
			wrong("I8 Tidy: what plain scs has written once more is still there")
		}
	}
	for range 2 {
		a.db.clock.advance(time.Minute + time.Second)
		a.store.clock.advance(time.Minute + time.Second)
		if _, err := a.ours[0].Prune(ctx); err != nil {
			wrong("the janitor: %v", err)
		}
	}
	served("in the end")
	return broken
}

// TestAdoption tries every order of what may happen to a session of plain scs while it
// is adopted: twice at once, in bulk, beside a revocation, and beside plain scs.
func TestAdoption(t *testing.T) {
	begin(t)
	const read, elsewhere, write, all, revoke, plain = "read", "read elsewhere", "write", "adopt all", "revoke all", "plain scs writes"
	var total sum
	for kind, cases := range map[string][][]string{ // the first two at the fast depth
		"tokens":        {{read, revoke}, {read, plain}, {read, elsewhere}, {write, elsewhere}, {all, write}, {all, plain}, {revoke, plain}, {all, revoke}},
		"hashed":        {{read, revoke}, {all, plain}, {read, elsewhere}, {write, elsewhere}, {all, write}, {revoke, plain}},
		"rekey":         {{read, revoke}, {all, revoke}, {all, write}, {write, elsewhere}}, // plain scs runs nowhere any more
		"hashed, rekey": {{all, write}, {write, elsewhere}},
	} {
		t.Run(kind, func(t *testing.T) {
			a := openAdopting(t, kind)
			if !depth.Full() {
				cases = cases[:2]
			}
			for _, names := range cases {
				// Moving takes so many steps that two writes of it at once have too many orders.
				faults := depth.Full() && !(a.rekey && slices.Contains(names, write))
				t.Run(strings.Join(names, " with "), func(t *testing.T) {
					e := &explorer{sys: a, names: names, faults: faults}
					total.explore(t, e, e.all)
				})
			}
		})
	}
	report(t, "adoption", &total, 0)
}
