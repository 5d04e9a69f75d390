package explore

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
)

const (
	user       = "alice"
	cookieName = "session"
	maxLive    = 3
	idle       = time.Hour      // the default
	lifetime   = 24 * time.Hour // the default
	grace      = 5 * time.Minute

	touchInterval = time.Millisecond

	deviceHeader = "Device" // stands for the short cookie
)

// world is what the operations act on: a user with two sessions and an
// anonymous visitor, on two replicas.
type world struct {
	sql   *sqlx.DB
	db    *gatedDB
	store *gateStore

	replica *usersession.Manager   // serves the operations
	logins  []*usersession.Manager // serve logins
	touches []toucher              // serve those that are to touch
	judge   *usersession.Manager   // is asked at the end

	sealed bool   // the values in the Store
	device string // what each request proves that it comes from the device with; "" if nothing

	template map[string]entry // the store at the beginning
	began    int64            // when that was
	first    browser          // the session most operations are about
	second   browser          // another one of the same user
	visitor  browser          // anonymous

	// extra is asked first, when all operations are over: what a case of its own
	// wants to know.
	extra func(w *world, tasks []*task, faulty bool) []string

	// Of one schedule:
	names    []string
	outcomes []*outcome // of the operations; nil: not answered
	seen     []browser  // every token that has left the process
	userless bool       // the user's row was deleted
	password int        // of the user, as the application has it
	proved   int        // the password that the login has looked at first
	skewed   bool       // the clock of the index is ahead of the Store's, and a session is over by it
	gone     map[string]bool

	refreshed int   // how often the challenge of the first session was used
	known     []row // the rows, as everyStep saw them last
}

// toucher is a replica that touches at every request.
type toucher struct {
	m    *usersession.Manager
	used time.Time
}

// toucher returns a replica that will touch at the next request. A Manager
// remembers, by the clock of the program, what it has touched in its
// TouchInterval, which is the shortest there is.
func (w *world) toucher() *usersession.Manager {
	t := &w.touches[0]
	w.touches = append(w.touches[1:], toucher{t.m, time.Now()})
	time.Sleep(touchInterval + touchInterval/10 - time.Since(t.used))
	return t.m
}

// entrance returns a replica for a login. In one process the logins of a user wait
// for each other, which is no step. So each is in a process of its own.
func (w *world) entrance() *usersession.Manager {
	m := w.logins[0]
	w.logins = append(w.logins[1:], m)
	return m
}

// browser holds a token, the ID of the session it was given for, and what that
// session's data are marked with.
type browser struct {
	token, id, mark string
	by              *usersession.Manager // which gave the token out
}

// outcome is how an operation ended.
type outcome struct {
	ok     bool // it said that it was done
	status int
	as     string // who the request was served as
	mark   string // of the data it was served
	cookie browser
	clears bool   // the cookie
	wrong  string // what only the operation itself can tell
}

func keyOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// newWorld makes a world of a kind. In "atomic" the updates of the Store are
// atomic, and its sessions are not verified against the index; in "verified" they
// are not, and are. "sealed" is "atomic" with sealed values.
func newWorld(kind string) (*world, error) {
	w := &world{store: &gateStore{clock: newClock(), data: map[string]entry{}, atomic: kind != "verified"}}
	var sealed *usersession.Seal
	if kind == "sealed" {
		w.sealed = true
		sealed = &usersession.Seal{Keys: [][]byte{sealKey}, RefuseUnsealed: true}
	}
	var err error
	if w.sql, w.db, err = openGated(newClock()); err != nil {
		return nil, err
	}
	manager := func(touch time.Duration) *usersession.Manager {
		m, merr := usersession.New(w.sql, &usersession.Options{
			Store: w.store, Seal: sealed, InsecureCookies: true, TouchInterval: touch, MaxSessions: maxLive,
			NoTouch: func(r *http.Request) bool { return r.Context().Value(polls{}) != nil },
			// The machine may be slow, and that is not what is looked at.
			ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		})
		if merr != nil {
			err = merr
		}
		return m
	}
	w.replica, w.judge = manager(idle/4), manager(idle/4)
	for range 3 {
		w.logins = append(w.logins, manager(idle/4))
	}
	for range 8 {
		w.touches = append(w.touches, toucher{m: manager(touchInterval)})
	}
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := w.replica.Migrate(ctx); err != nil {
		return nil, err
	}
	marked := func(mark string, act action) browser {
		w.tick()
		b := w.request(ctx, w.replica, browser{}, func(m *usersession.Manager, r *http.Request) error {
			m.Put(r.Context(), "mark", mark)
			return act(m, r)
		}).cookie
		b.mark = mark
		for _, m := range append(w.logins, w.judge) {
			w.request(ctx, m, b, whoami) // touched now, not in the middle of a check
		}
		return b
	}
	w.first = marked("mark-of-first", login)
	w.second = marked("mark-of-second", login)
	w.visitor = marked("mark-of-visitor", put)
	list, err := w.judge.ListSessions(ctx, user)
	if err != nil || len(list) != 2 || w.visitor.token == "" {
		return nil, fmt.Errorf("explore: setup: %d sessions, %v", len(list), err)
	}
	w.template, w.began = maps.Clone(w.store.data), w.db.clock.now()
	w.exec("CREATE TABLE template AS SELECT * FROM user_sessions")
	return w, nil
}

func (w *world) close() { w.sql.Close() }

func (w *world) kind() string {
	if w.sealed {
		return "sealed"
	}
	if w.store.atomic {
		return "atomic"
	}
	return "verified"
}

func (w *world) tick() {
	w.db.clock.advance(time.Millisecond)
	w.store.clock.advance(time.Millisecond)
}

// exec runs a statement that is no step.
func (w *world) exec(q string) {
	if _, err := w.db.exec(q, nil); err != nil {
		panic(err)
	}
}

func (w *world) reset(names []string) error {
	w.exec("DELETE FROM user_sessions")
	w.exec("DELETE FROM user_sessions_fences")
	w.exec("DELETE FROM user_sessions_signouts")
	w.exec("INSERT INTO user_sessions SELECT * FROM template")
	w.store.data, w.store.latest = maps.Clone(w.template), nil
	w.db.clock.us.Store(w.began)
	w.store.clock.us.Store(w.began)
	w.names, w.outcomes = names, make([]*outcome, len(names))
	w.seen = []browser{w.first, w.second, w.visitor}
	w.userless, w.skewed, w.known, w.refreshed = false, false, nil, 0
	w.gone = map[string]bool{}
	for _, n := range names {
		key := keyOf(w.first.token)
		e := w.store.data[key]
		switch operationOf(n).ending {
		case idleEnd:
			w.exec(fmt.Sprintf("UPDATE user_sessions SET last_seen_at = %d WHERE id = '%s'", w.began-(idle-time.Second).Microseconds(), w.first.id))
			if w.store.atomic { // the others have the idle timeout in the index alone
				e.expiry = w.began + time.Second.Microseconds()
			}
		case lifetimeEnd:
			e.expiry = w.began + time.Second.Microseconds()
			w.store.latest = map[string]int64{key: e.expiry}
			w.exec(fmt.Sprintf("UPDATE user_sessions SET expires_at = %d WHERE id = '%s'", e.expiry, w.first.id))
		}
		w.store.data[key] = e
	}
	return nil
}

func (w *world) start(i int) *task {
	o := operationOf(w.names[i])
	return start(w.names[i], func(ctx context.Context, _ *task) func() {
		out := o.run(w, ctx)
		if o.silent {
			return nil
		}
		return func() {
			w.outcomes[i] = &out
			if out.cookie.token != "" {
				w.seen = append(w.seen, out.cookie)
			}
		}
	})
}

func (w *world) label(key string) string {
	for _, b := range []struct {
		name string
		browser
	}{{"first", w.first}, {"second", w.second}, {"visitor", w.visitor}} {
		if keyOf(b.token) == key {
			return b.name
		}
	}
	return "new:" + key[:4]
}

type action func(m *usersession.Manager, r *http.Request) error

// request sends a request through the middleware of a replica. It may have the cookies of
// others as well, behind that of its browser.
func (w *world) request(ctx context.Context, m *usersession.Manager, b browser, act action, others ...browser) outcome {
	var out outcome
	h := m.LoadAndSave(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		out.as, out.mark = m.UserID(r.Context()), m.GetString(r.Context(), "mark")
		switch err := act(m, r); {
		case err == errFailing:
			rw.WriteHeader(http.StatusInternalServerError)
			return
		case err != nil:
			rw.WriteHeader(http.StatusConflict)
			return
		}
		rw.WriteHeader(http.StatusOK)
	}))
	r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
	for _, b := range append([]browser{b}, others...) {
		if b.token != "" {
			r.AddCookie(&http.Cookie{Name: cookieName, Value: b.token})
		}
	}
	if w.device != "" {
		r.Header.Set(deviceHeader, w.device)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	out.status, out.ok = rec.Code, rec.Code == http.StatusOK
	if rec.Header().Get("Set-Cookie") == "" {
		return out
	}
	for _, c := range rec.Result().Cookies() {
		if c.Value == "" {
			out.clears = true
			continue
		}
		out.cookie = browser{token: c.Value, id: w.idOf(keyOf(c.Value)), mark: out.mark, by: m}
	}
	return out
}

// idOf returns the ID of the session that a key is or was of, as the index says;
// "" if it is nobody's.
func (w *world) idOf(key string) string {
	for _, r := range w.rows() {
		if r.key == key || r.other == key {
			return r.id
		}
	}
	return ""
}

// servedAs asks who a token is served as; "" is nobody. The replica that has
// given the token out does not touch its row so soon, another one does: either
// counts.
func (w *world) servedAs(b browser) string {
	if !w.store.has(keyOf(b.token)) {
		return "" // nothing can be served
	}
	for _, m := range []*usersession.Manager{b.by, w.replica, w.judge} {
		if m == nil {
			continue
		}
		if out := w.request(context.Background(), m, b, whoami); out.as != "" {
			return out.as
		}
	}
	return ""
}

// row is a row of the index.
type row struct {
	id, key string
	other   string // without the mark of a renewal that is under way
	live    bool   // a list shows it
	ended   bool
}

var rowsSQL = fmt.Sprintf(`
SELECT id, session_key, COALESCE(other_key, ''), ended_at IS NOT NULL,
	ended_at IS NULL AND user_id IS NOT NULL AND expires_at > CAST(unixepoch('subsec') * 1000000 AS INTEGER)
		AND last_seen_at > CAST(unixepoch('subsec') * 1000000 AS INTEGER) - %d
FROM user_sessions`, idle.Microseconds())

func (w *world) rows() []row {
	res, err := w.db.query(rowsSQL, nil)
	if err != nil {
		panic(err)
	}
	var rows []row
	dest := make([]driver.Value, 5)
	for res.Next(dest) == nil {
		rows = append(rows, row{
			id: dest[0].(string), key: dest[1].(string), other: strings.TrimPrefix(dest[2].(string), "+"),
			ended: dest[3] == int64(1), live: dest[4] == int64(1),
		})
	}
	return rows
}
