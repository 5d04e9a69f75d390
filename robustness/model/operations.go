package model

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-296ca7ab/usersession"
)

// actions are the operations. The one without a name is the comparison.
func (w *world) actions() map[string]func(*rapid.T) {
	w.idle = map[string]bool{}
	for i := range w.browsers {
		w.browsers[i].cart = -1
	}
	actions := map[string]func(*rapid.T){
		"login": w.login, "put": w.put, "renew": w.renew, "reauthenticate": w.reauthenticate, "logout": w.logout,
		"revoke one": w.revokeOne, "revoke its own": w.revokeOwn, "revoke others": w.revokeOthers, "revoke all": w.revokeAll,
		"revoke matching": w.revokeMatching, "in session": w.inSession, "foreign IDs": w.foreign, "prune": w.prune,
	}
	if w.sql {
		// Elsewhere the idle time of a session is in the Store, whose clock goes
		// as it goes.
		actions["time passes"] = w.timePasses
	}
	if w.devices {
		actions["bind"], actions["refresh"] = w.bind, w.refresh
	}
	for name, action := range actions {
		actions[name] = func(t *rapid.T) {
			w.clock++
			<-time.After(tick)
			action(t) // which a skip does not come back from
			atomic.AddInt64(&w.stats.Operations, 1)
		}
	}
	actions[""] = w.compare
	return actions
}

func drawBrowser(t *rapid.T) int { return rapid.IntRange(0, browsers-1).Draw(t, "browser") }
func drawUser(t *rapid.T) int    { return rapid.IntRange(0, users-1).Draw(t, "user") }

// drawSession draws one of the live sessions; it skips the operation if there is
// none. Their IDs are random, so it draws the age.
func (w *world) drawSession(t *rapid.T) *session {
	if len(w.sessions) == 0 {
		t.Skip("this operation is left out: there is no session")
	}
	list := slices.SortedFunc(maps.Values(w.sessions), func(a, b *session) int { return int(a.created - b.created) })
	return list[rapid.IntRange(0, len(list)-1).Draw(t, "session")]
}

// request sends a request from a browser. It returns the status.
func (w *world) request(t *rapid.T, n int, fn func(ctx context.Context)) int {
	t.Helper()
	b := &w.browsers[n]
	status, token := w.send(b.token, fn)
	switch {
	case token == "-":
		b.token = ""
	case token != "":
		if b.token != "" && b.token != token {
			w.dead = append(w.dead, b.token)
		}
		b.token = token
	}
	return status
}

// send sends a request with a token, from the device that every session is bound to, if
// it is. It returns the token of the cookie that the response sets; "-" if it clears it.
func (w *world) send(token string, fn func(ctx context.Context)) (status int, newToken string) {
	return w.sendFrom(deviceSecret, token, fn)
}

// sendFrom is send that proves something else.
func (w *world) sendFrom(device, token string, fn func(ctx context.Context)) (status int, newToken string) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set(deviceHeader, device)
	if token != "" {
		r.AddCookie(&http.Cookie{Name: cookieName, Value: token})
	}
	rec := httptest.NewRecorder()
	w.m.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { fn(r.Context()) })).ServeHTTP(rec, r)
	for _, line := range rec.Header().Values("Set-Cookie") {
		if c, err := http.ParseSetCookie(line); err == nil {
			if newToken = c.Value; newToken == "" {
				newToken = "-"
			}
		}
	}
	return rec.Code, newToken
}

func (w *world) login(t *rapid.T) {
	n, user := drawBrowser(t), w.user(drawUser(t))
	former := w.of(n)
	cart := w.browsers[n].cart
	if former != nil {
		cart = former.cart
		if former.user != user {
			cart = -1 // another user's data are cleared
		}
	}
	replaced := ""
	if former != nil {
		replaced = former.id
	}
	var evicted []*session
	refused := false
	if w.max > 0 {
		by := created
		if w.policy == usersession.LimitEvictLeastRecent {
			by = seen
		}
		live := w.all(user, by, replaced)
		if excess := len(live) - w.max + 1; excess > 0 {
			if refused = w.policy == usersession.LimitReject; !refused {
				evicted = live[:excess]
			}
		}
	}
	var err error
	id := ""
	status := w.request(t, n, func(ctx context.Context) {
		if err = w.m.Login(ctx, user); err != nil {
			return
		}
		cur, cerr := w.m.Current(ctx)
		id, err = cur.ID, cerr
	})
	t.Logf("browser %d: login as %s: %d, %v", n, user, status, err)
	if refused {
		if !errors.Is(err, usersession.ErrTooManySessions) {
			t.Fatalf("login: %v, want ErrTooManySessions", err)
		}
		if former != nil {
			former.seen = w.clock // a refused login renews the token
		}
		return
	}
	if err != nil || status != http.StatusOK {
		t.Fatalf("login: %d, %v", status, err)
	}
	token := w.browsers[n].token
	w.end(evicted...)
	if former != nil {
		delete(w.sessions, former.id)
		w.ended = append(w.ended, former.id)
	}
	if w.dead = slices.DeleteFunc(w.dead, func(d string) bool { return d == token }); id == "" {
		t.Fatal("login: no ID")
	}
	w.sessions[id] = &session{id: id, user: user, cart: cart, holder: n, created: w.clock, seen: w.clock}
	w.browsers[n].cart = -1
}

func (w *world) put(t *rapid.T) {
	n, v := drawBrowser(t), rapid.IntRange(0, 99).Draw(t, "value")
	status := w.request(t, n, func(ctx context.Context) { w.m.Put(ctx, "cart", v) })
	t.Logf("browser %d: put %d: %d", n, v, status)
	if status != http.StatusOK {
		t.Fatalf("put: %d", status)
	}
	if s := w.of(n); s != nil {
		s.cart = v
	} else {
		w.browsers[n].cart = v
	}
}

func (w *world) renew(t *rapid.T) {
	n := drawBrowser(t)
	s := w.of(n)
	if s == nil {
		t.Skip("this operation is left out: nobody is logged in")
	}
	var err error
	before := w.browsers[n].token
	status := w.request(t, n, func(ctx context.Context) { err = w.m.RenewToken(ctx) })
	t.Logf("browser %d: renew: %d, %v", n, status, err)
	if err != nil || status != http.StatusOK || w.browsers[n].token == before {
		t.Fatalf("renew: %d, %v, same token %v", status, err, w.browsers[n].token == before)
	}
	s.seen = w.clock
}

func (w *world) reauthenticate(t *rapid.T) {
	n := drawBrowser(t)
	s := w.of(n)
	var err error
	before := w.browsers[n].token
	status := w.request(t, n, func(ctx context.Context) { err = w.m.Reauthenticate(ctx) })
	t.Logf("browser %d: reauthenticate: %d, %v", n, status, err)
	switch {
	case s == nil && !errors.Is(err, usersession.ErrNoSession):
		t.Fatalf("reauthenticate of nobody: %v, want ErrNoSession", err)
	case s != nil && (err != nil || status != http.StatusOK || w.browsers[n].token == before):
		t.Fatalf("reauthenticate: %d, %v", status, err)
	case s != nil:
		s.seen = w.clock
	}
}

func (w *world) logout(t *rapid.T) {
	n := drawBrowser(t)
	token := w.browsers[n].token
	var err error
	status := w.request(t, n, func(ctx context.Context) { err = w.m.Logout(ctx) })
	t.Logf("browser %d: logout: %d, %v", n, status, err)
	if err != nil || status != http.StatusOK || w.browsers[n].token != "" {
		t.Fatalf("logout: %d, %v, cookie cleared %v", status, err, w.browsers[n].token == "")
	}
	if token != "" {
		w.dead = append(w.dead, token)
	}
	if s := w.of(n); s != nil {
		delete(w.sessions, s.id)
		w.ended = append(w.ended, s.id)
	}
	w.browsers[n].cart = -1
}

func (w *world) revokeOne(t *rapid.T) {
	s := w.drawSession(t)
	err := w.m.RevokeSession(context.Background(), s.user, s.id)
	t.Logf("revoke the session of browser %d: %v", s.holder, err)
	if err != nil {
		t.Fatalf("revoke one: %v", err)
	}
	w.end(s)
}

func (w *world) revokeOwn(t *rapid.T) {
	s := w.drawSession(t)
	var err error
	token := w.browsers[s.holder].token
	status := w.request(t, s.holder, func(ctx context.Context) { err = w.m.RevokeSession(ctx, s.user, s.id) })
	t.Logf("browser %d: revoke its own session: %d, %v", s.holder, status, err)
	if err != nil {
		t.Fatalf("revoke its own: %v", err)
	}
	w.end(s)
	w.dead = append(w.dead, token)
}

func (w *world) revokeOthers(t *rapid.T) {
	n := drawBrowser(t)
	s := w.of(n)
	var count int
	var err error
	w.request(t, n, func(ctx context.Context) { count, err = w.m.RevokeOtherSessions(ctx) })
	t.Logf("browser %d: revoke others: %d, %v", n, count, err)
	if s == nil {
		if !errors.Is(err, usersession.ErrNoSession) {
			t.Fatalf("revoke others of nobody: %v, want ErrNoSession", err)
		}
		return
	}
	others := w.all(s.user, created, s.id)
	if err != nil || count != len(others) {
		t.Fatalf("revoke others: %d, %v; want %d", count, err, len(others))
	}
	w.end(others...)
}

func (w *world) revokeAll(t *rapid.T) {
	user := w.user(drawUser(t))
	list := w.all(user, created)
	count, err := w.m.RevokeAllSessions(context.Background(), user)
	t.Logf("revoke all of %s: %d, %v", user, count, err)
	if err != nil || count != len(list) {
		t.Fatalf("revoke all: %d, %v; want %d", count, err, len(list))
	}
	w.end(list...)
}

func (w *world) revokeMatching(t *rapid.T) {
	chosen := rapid.SliceOfNDistinct(rapid.IntRange(0, users-1), 1, users, rapid.ID[int]).Draw(t, "users")
	var f usersession.Filter
	var list []*session
	for _, n := range chosen {
		f.UserIDs = append(f.UserIDs, w.user(n))
		list = append(list, w.all(w.user(n), created)...)
	}
	count, err := w.m.RevokeMatching(context.Background(), f)
	t.Logf("revoke matching %v: %d, %v", f.UserIDs, count, err)
	if err != nil || count != len(list) {
		t.Fatalf("revoke matching: %d, %v; want %d", count, err, len(list))
	}
	w.end(list...)
}

func (w *world) inSession(t *rapid.T) {
	s, v := w.drawSession(t), rapid.IntRange(100, 199).Draw(t, "value")
	err := w.m.InSession(context.Background(), s.user, s.id, func(ctx context.Context) error {
		if got := w.cart(ctx); got != s.cart {
			return fmt.Errorf("it holds %d, want %d", got, s.cart)
		}
		w.m.Put(ctx, "cart", v)
		return nil
	})
	t.Logf("with the session of browser %d: put %d: %v", s.holder, v, err)
	if err != nil {
		t.Fatalf("in session: %v", err)
	}
	s.cart = v
}

// foreign asks for sessions by IDs that are not the user's, or not live.
func (w *world) foreign(t *rapid.T) {
	user := w.user(drawUser(t))
	var ids []string
	for _, s := range w.sessions {
		if s.user != user {
			ids = append(ids, s.id)
		}
	}
	ids = append(ids, w.ended...)
	t.Logf("ask for %d IDs that are not those of live sessions of %s", len(ids), user)
	for _, id := range ids {
		if _, err := w.m.Session(context.Background(), user, id); !errors.Is(err, usersession.ErrSessionNotFound) {
			t.Fatalf("Session of an ID that is not the user's: %v", err)
		}
		if err := w.m.RevokeSession(context.Background(), user, id); !errors.Is(err, usersession.ErrSessionNotFound) && !w.idle[id] {
			t.Fatalf("RevokeSession of an ID that is not the user's: %v", err)
		}
	}
}

func (w *world) prune(t *rapid.T) {
	res, err := w.m.Prune(context.Background())
	t.Logf("prune: %v", err)
	if err != nil || res.UserDeleted > 0 {
		t.Fatalf("prune: %+v, %v", res, err)
	}
}

// timePasses lets one session be idle for too long.
func (w *world) timePasses(t *rapid.T) {
	s := w.drawSession(t)
	column := "last_seen_at"
	q := "UPDATE user_sessions SET " + column + " = " + column + " - ? WHERE id = ?"
	arg := any(tooLong.Microseconds())
	switch w.db.DriverName() {
	case "postgres", "pgx":
		q, arg = "UPDATE user_sessions SET "+column+" = "+column+" - $1::interval WHERE id = $2", fmt.Sprintf("%d seconds", int(tooLong.Seconds()))
	case "mysql":
		q = "UPDATE user_sessions SET " + column + " = " + column + " - INTERVAL ? MICROSECOND WHERE id = ?"
	}
	if _, err := w.db.Exec(q, arg, s.id); err != nil {
		t.Fatal(err)
	}
	t.Logf("time passes for the session of browser %d", s.holder)
	w.idle[s.id] = true
	w.end(s)
}

func (w *world) cart(ctx context.Context) int {
	if !w.m.Exists(ctx, "cart") {
		return -1
	}
	return w.m.GetInt(ctx, "cart")
}
