package explore

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
)

const (
	user       = "alice"
	cookieName = "session"
	maxLive    = 3
)

// world is what the operations act on: a user with two sessions and an
// anonymous visitor, on two replicas.
type world struct {
	db    *sqlx.DB
	store *gateStore

	replica *usersession.Manager // serves the operations
	toucher *usersession.Manager // serves those that are to touch
	judge   *usersession.Manager // is asked at the end

	template map[string][]byte // the store at the beginning
	first    browser           // the session most operations are about
	second   browser           // another one of the same user
	visitor  browser           // anonymous

	seen     []browser // every token that has left the process
	outcomes map[string]outcome

	replacing   int  // logins over a session that have not been answered
	twoRenewals bool // two operations may renew the same session
}

// browser holds a token and the ID of the session it was given for.
type browser struct{ token, id string }

// outcome is how an operation ended.
type outcome struct {
	ok     bool // it said that it was done
	cookie browser
	status int
}

func keyOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func newWorld(dsn string, atomic bool) (*world, error) {
	w := &world{db: openGated(dsn), store: &gateStore{data: map[string][]byte{}, atomic: atomic}}
	w.db.SetMaxOpenConns(8)
	w.db.SetMaxIdleConns(8)
	manager := func(touch time.Duration) (*usersession.Manager, error) {
		return usersession.New(w.db, &usersession.Options{
			Store: w.store, InsecureCookies: true, TouchInterval: touch, MaxSessions: maxLive,
		})
	}
	var err error
	if w.replica, err = manager(15 * time.Minute); err != nil {
		return nil, err
	}
	if w.toucher, err = manager(time.Millisecond); err != nil {
		return nil, err
	}
	if w.judge, err = manager(15 * time.Minute); err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err := w.replica.Migrate(ctx); err != nil {
		return nil, err
	}
	w.first = w.request(ctx, w.replica, "", login).cookie
	w.second = w.request(ctx, w.replica, "", login).cookie
	w.visitor = w.request(ctx, w.replica, "", put).cookie
	list, err := w.judge.ListSessions(ctx, user)
	if err != nil || len(list) != 2 || w.visitor.token == "" {
		return nil, fmt.Errorf("setup: %d sessions, %v", len(list), err)
	}
	for _, b := range []browser{w.first, w.second, w.visitor} {
		w.request(ctx, w.judge, b.token, whoami) // touched now, not in the middle of a check
	}
	w.template = maps.Clone(w.store.data)
	_, err = w.db.Exec("CREATE TABLE template AS SELECT * FROM user_sessions")
	return w, err
}

// reset puts the world back to the beginning.
func (w *world) reset() error {
	if _, err := w.db.Exec("DELETE FROM user_sessions"); err != nil {
		return err
	}
	if _, err := w.db.Exec("INSERT INTO user_sessions SELECT * FROM template"); err != nil {
		return err
	}
	w.store.data = maps.Clone(w.template)
	w.seen = []browser{w.first, w.second, w.visitor}
	w.outcomes = map[string]outcome{}
	return nil
}

type action func(m *usersession.Manager, r *http.Request) error

func login(m *usersession.Manager, r *http.Request) error { return m.Login(r.Context(), user) }
func put(m *usersession.Manager, r *http.Request) error {
	m.Put(r.Context(), "n", m.GetInt(r.Context(), "n")+1)
	return nil
}
func whoami(*usersession.Manager, *http.Request) error { return nil }

// request sends a request through the middleware of a replica.
func (w *world) request(ctx context.Context, m *usersession.Manager, token string, act action) outcome {
	var id string
	h := m.LoadAndSave(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := act(m, r); err != nil {
			rw.WriteHeader(http.StatusConflict)
			return
		}
		fmt.Fprint(rw, m.UserID(r.Context()))
	}))
	r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
	if token != "" {
		r.AddCookie(&http.Cookie{Name: cookieName, Value: token})
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	out := outcome{status: rec.Code, ok: rec.Code == http.StatusOK}
	for _, c := range rec.Result().Cookies() {
		if c.Value == "" {
			continue
		}
		// Which session the token is for, the index says; that look is no
		// step of the operation.
		w.db.Get(&id, "SELECT id FROM user_sessions WHERE session_key = ?", keyOf(c.Value))
		out.cookie = browser{c.Value, id}
	}
	return out
}

// servedAs asks who a token is served as; "" is nobody. The replica that has
// given the token out does not touch its row so soon, another one does: either
// counts.
func (w *world) servedAs(token string) string {
	for _, m := range []*usersession.Manager{w.replica, w.judge} {
		h := m.LoadAndSave(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			fmt.Fprint(rw, m.UserID(r.Context()))
		}))
		r := httptest.NewRequest("GET", "/", nil)
		r.AddCookie(&http.Cookie{Name: cookieName, Value: token})
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		if who := rec.Body.String(); who != "" {
			return who
		}
	}
	return ""
}

// displaced reports whether the row of a session names another key than that of
// the token, which only a crash brings about.
func (w *world) displaced(b browser) bool {
	for _, r := range w.rows() {
		if r.ID == b.id {
			return r.Key != keyOf(b.token)
		}
	}
	return false
}

type row struct {
	ID         string  `db:"id"`
	Key        string  `db:"session_key"`
	Other      *string `db:"other_key"`
	Live       bool    `db:"live"`
	Ended      bool    `db:"ended"`
	PurgeAt    *int64  `db:"purge_at"`
	SecondPass bool    `db:"second"`
}

func (w *world) rows() []row {
	var rows []row
	err := w.db.Select(&rows, `
SELECT id, session_key, other_key, ended_at IS NOT NULL AS ended, purge_at,
	ended_at IS NULL AND expires_at > CAST(unixepoch('subsec') * 1000000 AS INTEGER) AND user_id IS NOT NULL AS live,
	COALESCE(purge_at = max(expires_at, ended_at), 0) AS second
FROM user_sessions`)
	if err != nil {
		panic(err)
	}
	return rows
}

// everyStep are the invariants that hold at every instant.
func (w *world) everyStep() []string {
	var broken []string
	rows := w.rows()
	live := 0
	byKey := map[string]row{}
	byID := map[string]row{}
	for _, r := range rows {
		byKey[r.Key], byID[r.ID] = r, r
		if r.Other != nil {
			byKey[strings.TrimPrefix(*r.Other, "+")] = r
		}
		if r.Live {
			live++
		}
	}
	// A login over a session of its own browser replaces that one when it is
	// committed; until then both are there.
	if limit := maxLive + w.replacing; live > limit {
		broken = append(broken, fmt.Sprintf("I6 Capped: %d live sessions, at most %d", live, limit))
	}
	for _, b := range w.seen {
		if b.id == "" || !w.store.has(keyOf(b.token)) {
			continue
		}
		// The data are there: a row must be live, or be one that an ending
		// has marked and the janitor will come back to.
		if r, ok := byID[b.id]; !ok || !r.Live && !r.Ended && !w.expiredByHand() && !w.userless() {
			broken = append(broken, "I1 Listed: a token is good, and no row says whose it is")
		}
	}
	for _, key := range w.store.keys() {
		if w.twoRenewals {
			// Of two renewals at once the later takes over the row, and the
			// former deletes what it created when it finds out; if it dies
			// before, that stays until it expires. Nobody has its token.
			break
		}
		if _, ok := byKey[key]; !ok && key != keyOf(w.visitor.token) && !w.anonymous(key) {
			broken = append(broken, "I8 Tidy: data under a key that no row covers")
		}
	}
	return broken
}

// anonymous reports whether the data under a key say that they are nobody's: the
// trailer of an anonymous session is 42 bytes.
func (w *world) anonymous(key string) bool {
	d := w.store.data[key]
	return len(d) > 6 && int(d[len(d)-6])<<8|int(d[len(d)-5]) == 42
}

func (w *world) expiredByHand() bool { _, ok := w.outcomes["expire"]; return ok }
func (w *world) userless() bool      { _, ok := w.outcomes["user deleted"]; return ok }

// heal lets the janitor pass twice, with every waiting time over.
func (w *world) heal() error {
	ctx := context.Background()
	for range 2 {
		if _, err := w.db.Exec("UPDATE user_sessions SET purge_at = 1 WHERE purge_at IS NOT NULL AND purge_at <> ended_at"); err != nil {
			return err
		}
		if _, err := w.judge.Prune(ctx); err != nil {
			return err
		}
	}
	return nil
}

// atEnd are the invariants that an outcome promises.
func (w *world) atEnd(names []string, faulty bool) []string {
	var broken []string
	mustBeDead := func(b browser, rule string) {
		if who := w.servedAs(b.token); who != "" {
			broken = append(broken, rule)
		}
	}
	check := func(when string) {
		faulty := faulty && when == "at once"
		for name, out := range w.outcomes {
			for _, b := range operations[name].kills(w, out, faulty) {
				mustBeDead(b, "I2 Revoked: after "+name+" said it was done, the session is served "+when)
			}
			if strings.HasPrefix(name, "renew") && out.ok && out.cookie.token != "" {
				mustBeDead(w.first, "I4 Fresh: the token from before "+name+" is served "+when)
			}
		}
		for _, b := range w.seen {
			if w.servedAs(b.token) == "" {
				continue
			}
			list, err := w.judge.ListSessions(context.Background(), user)
			if err != nil || !slices.ContainsFunc(list, func(s usersession.UserSession) bool { return s.ID == b.id }) {
				// A fault may leave the end of a session half done, which the
				// janitor then finishes.
				if when == "in the end" || !faulty && !w.userless() {
					broken = append(broken, "I1 Listed: a token is served and no list shows its session")
				}
			}
		}
	}
	check("at once")
	if err := w.heal(); err != nil {
		return append(broken, "the janitor failed: "+err.Error())
	}
	check("in the end")
	if !faulty {
		broken = append(broken, w.nothingLost(names)...)
	}
	return append(broken, w.usable()...)
}

// usable checks that whatever happened, a session that is served can be renewed:
// nothing is stuck.
func (w *world) usable() []string {
	served := map[string]browser{}
	for _, b := range w.seen {
		if w.servedAs(b.token) == user {
			served[b.id] = b
		}
	}
	var broken []string
	for _, b := range served {
		if w.displaced(b) {
			// The process died after it had swapped the keys of a renewal and
			// before it deleted the old one. Nobody has the new token; the
			// old one dies at its next touch, and the session with it.
			for range 1000 { // the touch before may be less than its interval ago
				w.request(context.Background(), w.toucher, b.token, whoami)
				if !w.store.has(keyOf(b.token)) {
					break
				}
			}
			if w.servedAs(b.token) != "" {
				broken = append(broken, "I4 Fresh: a key that its row has given up survives a touch")
			}
			continue
		}
		out := w.request(context.Background(), w.judge, b.token, renew)
		if !out.ok || w.servedAs(out.cookie.token) != user {
			broken = append(broken, fmt.Sprintf("a session is stuck: its renewal is answered %d", out.status))
		}
	}
	return broken
}

// nothingLost checks, where nothing went wrong, that what was said to be done
// is: a login that was answered is served unless something ended it.
func (w *world) nothingLost(names []string) []string {
	logins := 0
	for _, n := range names {
		if operations[n].ends {
			return nil
		}
		if n == "login" {
			logins++
		}
	}
	if 2+logins > maxLive {
		return nil // somebody was evicted
	}
	var broken []string
	for name, out := range w.outcomes {
		// A request in flight on the token that a renewal gives up is refused:
		// that is what the renewal is for.
		inFlight := slices.Contains(names, "renew") && (name == "write" || name == "touch")
		if !out.ok && !w.twoRenewals && !inFlight {
			broken = append(broken, fmt.Sprintf("%s is refused with %d, and nothing is in its way", name, out.status))
		}
		if out.cookie.token == "" || out.cookie.id == "" {
			continue
		}
		if w.servedAs(out.cookie.token) != user {
			broken = append(broken, "a session is lost: the token of "+name+" is served to nobody")
		}
	}
	if !slices.Contains(names, "renew") && !slices.Contains(names, "login over first") && w.servedAs(w.first.token) != user {
		broken = append(broken, "a session is lost: nothing ended the first one")
	}
	return broken
}
