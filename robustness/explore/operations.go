package explore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// operation is something a program does through the public API, or something
// that happens to it.
type operation struct {
	run func(*world, context.Context) outcome
	// by says whose request it is, if it is one.
	by func(*world) browser
	// ends says that the operation is meant to end sessions.
	ends bool
	// covers names the browsers whose sessions are ended once the operation
	// has said so.
	covers func(*world) []browser
	// lenient says that the ending is a consequence, not what was asked for:
	// if the Store fails at it, it is pending, and the operation is done.
	lenient bool
	// renews says that the operation may give the first session another token.
	renews bool
	// silent says that there is nobody whom it answers.
	silent bool
	// logout says that the operation takes the cookie away.
	logout bool
	// fails says that the handler answers 500 in any case.
	fails bool
	// ending says which end of the first session is near at the beginning.
	ending deadline
}

// deadline is what ends a session by itself.
type deadline int

const (
	noDeadline deadline = iota
	idleEnd
	lifetimeEnd
)

// kills returns what an outcome promises to be dead.
func (o operation) kills(w *world, out *outcome, faulty bool) []browser {
	if !out.ok || o.covers == nil || o.lenient && faulty {
		return nil
	}
	if w.userless && w.store.atomic {
		// A written exception: a user's row that is deleted behind our back
		// takes the name from the sessions, until the janitor comes by.
		return nil
	}
	return o.covers(w)
}

func done(err error) outcome { return outcome{ok: err == nil} }

func first(w *world) browser   { return w.first }
func second(w *world) browser  { return w.second }
func visitor(w *world) browser { return w.visitor }

func theFirst(w *world) []browser  { return []browser{w.first} }
func theSecond(w *world) []browser { return []browser{w.second} }
func both(w *world) []browser      { return []browser{w.first, w.second} }

// request makes an operation of a request by somebody.
func request(by func(*world) browser, act action, o operation) operation {
	o.by = by
	o.run = func(w *world, ctx context.Context) outcome {
		return w.request(ctx, w.replica, by(w), act)
	}
	return o
}

// loginOf makes an operation of a login by somebody.
func loginOf(by func(*world) browser, o operation) operation {
	o.by = by
	o.run = func(w *world, ctx context.Context) outcome {
		return w.request(ctx, w.entrance(), by(w), login)
	}
	return o
}

func login(m *usersession.Manager, r *http.Request) error { return m.Login(r.Context(), user) }
func put(m *usersession.Manager, r *http.Request) error {
	m.Put(r.Context(), "n", m.GetInt(r.Context(), "n")+1)
	return nil
}
func whoami(*usersession.Manager, *http.Request) error { return nil }

// polls is in the context of a request that does not count as use.
type polls struct{}

// errFailing makes the handler answer 500.
var errFailing = errors.New("the handler fails")

// failing is an action whose handler answers 500 after it, whatever became of it.
func failing(act action) action {
	return func(m *usersession.Manager, r *http.Request) error {
		act(m, r)
		return errFailing
	}
}

func renew(m *usersession.Manager, r *http.Request) error {
	return m.RenewToken(r.Context())
}
func logout(m *usersession.Manager, r *http.Request) error { return m.Logout(r.Context()) }

// scsDestroy is what a program does that calls its own scs manager.
func scsDestroy(m *usersession.Manager, r *http.Request) error {
	return m.SessionManager.Destroy(r.Context())
}
func revokeOthers(m *usersession.Manager, r *http.Request) error {
	_, err := m.RevokeOtherSessions(r.Context())
	return err
}

var operations = map[string]operation{
	"login":            loginOf(visitor, operation{}),
	"login over first": loginOf(first, operation{ends: true, covers: theFirst, lenient: true, renews: true}),
	"write":            request(first, put, operation{}),
	"touch": {by: first, run: func(w *world, ctx context.Context) outcome {
		return w.request(ctx, w.toucher(), w.first, whoami)
	}},
	"renew":                     request(first, renew, operation{renews: true}),
	"logout":                    request(first, logout, operation{ends: true, covers: theFirst, logout: true}),
	"scs destroy":               request(first, scsDestroy, operation{ends: true, covers: theFirst, logout: true}),
	"revoke others":             request(first, revokeOthers, operation{ends: true, covers: theSecond}),
	"revoke others from second": request(second, revokeOthers, operation{ends: true, covers: theFirst}),
	"revoke": {ends: true, covers: theFirst, run: func(w *world, ctx context.Context) outcome {
		return done(w.replica.RevokeSession(ctx, user, w.first.id))
	}},
	"revoke all": {ends: true, covers: both, run: func(w *world, ctx context.Context) outcome {
		_, err := w.replica.RevokeAllSessions(ctx, user)
		return done(err)
	}},
	"list": {run: func(w *world, ctx context.Context) outcome {
		list, err := w.replica.ListSessions(ctx, user)
		out := done(err)
		if err == nil {
			out.wrong = w.compareList(list)
		}
		return out
	}},
	"janitor": {run: func(w *world, ctx context.Context) outcome {
		_, err := w.replica.Prune(ctx)
		return done(err)
	}},
	// What happens to a program. The clocks of the Store and of the index are
	// two, and the Store's is the faster one.
	"expire": {ends: true, ending: idleEnd, run: timePasses(2 * time.Second)},
	"user deleted": {ends: true, run: func(w *world, ctx context.Context) outcome {
		if ok, _ := taskOf(ctx).step(step{side: sqlSide, name: "the user's row is deleted", write: true}); ok {
			w.userless = true
			w.exec("UPDATE user_sessions SET user_id = NULL WHERE user_id = '" + user + "'")
		}
		return outcome{ok: true}
	}},
}

// special operations are in no pair, but in cases of their own.
var special = map[string]operation{
	"idle time over": {ends: true, ending: idleEnd, silent: true, run: atOnce(2 * time.Second)},
	"lifetime over":  {ends: true, ending: lifetimeEnd, silent: true, run: atOnce(2 * time.Second)},
	"index ahead": {ends: true, ending: idleEnd, silent: true, run: func(w *world, ctx context.Context) outcome {
		if ok, _ := taskOf(ctx).step(step{side: timeSide, name: "the clock of the index runs ahead"}); ok {
			w.skewed = true
			w.db.clock.advance(2 * time.Second)
		}
		return outcome{}
	}},
	"six minutes later": {ends: true, silent: true, run: atOnce(6 * time.Minute)},
	"login, looking twice": {by: visitor, run: func(w *world, ctx context.Context) outcome {
		return w.request(ctx, w.entrance(), w.visitor, func(m *usersession.Manager, r *http.Request) error {
			look := func(ctx context.Context) (int, error) {
				_, err := taskOf(ctx).step(step{side: timeSide, name: "the password is read"})
				return w.password, err
			}
			var err error
			if w.proved, err = look(r.Context()); err != nil {
				return err
			}
			return m.Login(r.Context(), user, usersession.WithRecheck(func(ctx context.Context) error {
				now, err := look(ctx)
				if err == nil && now != w.proved {
					err = errors.New("the password has changed")
				}
				return err
			}))
		})
	}},
	"login, looking once": {by: visitor, run: func(w *world, ctx context.Context) outcome {
		return w.request(ctx, w.entrance(), w.visitor, func(m *usersession.Manager, r *http.Request) error {
			_, err := taskOf(r.Context()).step(step{side: timeSide, name: "the password is read"})
			if w.proved = w.password; err != nil {
				return err
			}
			return m.Login(r.Context(), user)
		})
	}},
	"login by a provider": {by: visitor, run: func(w *world, ctx context.Context) outcome {
		return w.request(ctx, w.entrance(), w.visitor, func(m *usersession.Manager, r *http.Request) error {
			_, err := taskOf(r.Context()).step(step{side: timeSide, name: "the provider is asked"})
			if w.proved = w.password; err != nil {
				return err
			}
			return m.Login(r.Context(), user, usersession.WithIdP(provider.Issuer, provider.Subject, provider.Session), usersession.WithCheckedAt(time.Now()))
		})
	}},
	"signed out at the provider": {ends: true, run: func(w *world, ctx context.Context) outcome {
		ok, err := taskOf(ctx).step(step{side: timeSide, name: "the user signs out there"})
		if ok {
			w.password++
		}
		if err != nil {
			return outcome{}
		}
		_, err = w.replica.RevokeMatching(ctx, usersession.Filter{IdP: provider})
		return done(err)
	}},
	"logout of two cookies": {by: second, ends: true, covers: both, logout: true, run: func(w *world, ctx context.Context) outcome {
		return w.request(ctx, w.replica, w.second, logout, w.first)
	}},
	"login over two cookies": {by: second, ends: true, covers: theSecond, lenient: true, run: func(w *world, ctx context.Context) outcome {
		return w.request(ctx, w.entrance(), w.second, login, w.first)
	}},
	"purge": {ends: true, covers: both, run: func(w *world, ctx context.Context) outcome {
		_, err := w.replica.PurgeUser(ctx, user)
		return done(err)
	}},
	"poll": {by: first, run: func(w *world, ctx context.Context) outcome {
		return w.request(context.WithValue(ctx, polls{}, true), w.toucher(), w.first, whoami)
	}},
	"stream": {by: first, run: func(w *world, ctx context.Context) outcome {
		return w.request(ctx, w.replica, w.first, func(m *usersession.Manager, r *http.Request) error { return m.Touch(r.Context()) })
	}},
	"failing login":            {by: visitor, run: failingLogin(visitor), fails: true},
	"failing login over first": {by: first, run: failingLogin(first), fails: true},
	"failing renewal":          request(first, failing(renew), operation{fails: true}),
	"failing write":            request(first, failing(put), operation{fails: true}),
	"password changed": {ends: true, covers: both, run: func(w *world, ctx context.Context) outcome {
		ok, err := taskOf(ctx).step(step{side: timeSide, name: "the password is changed"})
		if ok {
			w.password++
		}
		if err != nil {
			return outcome{}
		}
		_, err = w.replica.RevokeAllSessions(ctx, user)
		return done(err)
	}},
}

// provider is who the user is at an identity provider.
var provider = usersession.IdP{Issuer: "https://idp.example/", Subject: "248289761001", Session: "08a5019c"}

func failingLogin(by func(*world) browser) func(*world, context.Context) outcome {
	return func(w *world, ctx context.Context) outcome {
		return w.request(ctx, w.entrance(), by(w), failing(login))
	}
}

func operationOf(name string) operation {
	if o, ok := operations[name]; ok {
		return o
	}
	o, ok := special[name]
	if !ok {
		panic("explore: no operation " + name)
	}
	return o
}

func timePasses(d time.Duration) func(*world, context.Context) outcome {
	return func(w *world, ctx context.Context) outcome {
		for _, c := range []*clock{w.store.clock, w.db.clock} {
			who := "the index"
			if c == w.store.clock {
				who = "the store"
			}
			if ok, _ := taskOf(ctx).step(step{side: timeSide, name: fmt.Sprintf("%v pass by the clock of %s", d, who)}); ok {
				c.advance(d)
			}
		}
		return outcome{ok: true}
	}
}

// atOnce lets time pass by both clocks in one step.
func atOnce(d time.Duration) func(*world, context.Context) outcome {
	return func(w *world, ctx context.Context) outcome {
		if ok, _ := taskOf(ctx).step(step{side: timeSide, name: fmt.Sprintf("%v pass", d)}); ok {
			w.store.clock.advance(d)
			w.db.clock.advance(d)
		}
		return outcome{ok: true}
	}
}

// compareList says what is wrong with a list that was read just now.
func (w *world) compareList(list []usersession.UserSession) string {
	var shown, live []string
	for _, s := range list {
		shown = append(shown, s.ID)
	}
	for _, r := range w.rows() {
		if r.live {
			live = append(live, r.id)
		}
	}
	slices.Sort(shown)
	slices.Sort(live)
	if !slices.Equal(shown, live) {
		return fmt.Sprintf("I1 Listed: a list shows %d sessions, and %d are live", len(shown), len(live))
	}
	return ""
}
