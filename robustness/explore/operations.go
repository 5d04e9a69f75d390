package explore

import (
	"context"
	"net/http"

	"github.com/seed-296ca7ab/usersession"
)

// operation is something a program does through the public API.
type operation struct {
	run func(*world, context.Context) outcome
	// ends says that the operation is meant to end sessions.
	ends bool
	// covers names the browsers whose sessions are ended once the operation
	// has said so.
	covers func(*world) []browser
	// lenient says that the ending is a consequence, not what was asked for:
	// if the Store fails at it, it is pending, and the operation is done.
	lenient bool
}

// kills returns what an outcome promises to be dead.
func (o operation) kills(w *world, out outcome, faulty bool) []browser {
	if !out.ok || o.covers == nil || o.lenient && faulty {
		return nil
	}
	if w.userless() {
		// A written exception: a user's row that is deleted behind our back
		// takes the name from the sessions, until the janitor comes by.
		return nil
	}
	return o.covers(w)
}

func done(err error) outcome { return outcome{ok: err == nil} }

func first(w *world) []browser  { return []browser{w.first} }
func second(w *world) []browser { return []browser{w.second} }
func both(w *world) []browser   { return []browser{w.first, w.second} }

func asFirst(act action) func(*world, context.Context) outcome {
	return func(w *world, ctx context.Context) outcome {
		return w.request(ctx, w.replica, w.first.token, act)
	}
}

func asSecond(act action) func(*world, context.Context) outcome {
	return func(w *world, ctx context.Context) outcome {
		return w.request(ctx, w.replica, w.second.token, act)
	}
}

func revokeOthers(m *usersession.Manager, r *http.Request) error {
	_, err := m.RevokeOtherSessions(r.Context())
	return err
}

func renew(m *usersession.Manager, r *http.Request) error { return m.RenewToken(r.Context()) }

var operations = map[string]operation{
	"login": {run: func(w *world, ctx context.Context) outcome {
		return w.request(ctx, w.replica, w.visitor.token, login)
	}},
	"login over first": {run: asFirst(login), ends: true, covers: first, lenient: true},
	"write":            {run: asFirst(put)},
	"touch": {run: func(w *world, ctx context.Context) outcome {
		return w.request(ctx, w.toucher, w.first.token, whoami)
	}},
	"renew": {run: asFirst(renew)},
	"logout": {ends: true, covers: first, run: asFirst(func(m *usersession.Manager, r *http.Request) error {
		return m.Logout(r.Context())
	})},
	"revoke": {ends: true, covers: first, run: func(w *world, ctx context.Context) outcome {
		return done(w.replica.RevokeSession(ctx, user, w.first.id))
	}},
	"revoke others":             {ends: true, covers: second, run: asFirst(revokeOthers)},
	"revoke others from second": {ends: true, covers: first, run: asSecond(revokeOthers)},
	"revoke all": {ends: true, covers: both, run: func(w *world, ctx context.Context) outcome {
		_, err := w.replica.RevokeAllSessions(ctx, user)
		return done(err)
	}},
	"list": {run: func(w *world, ctx context.Context) outcome {
		_, err := w.replica.ListSessions(ctx, user)
		return done(err)
	}},
	"janitor": {run: func(w *world, ctx context.Context) outcome {
		_, err := w.replica.Prune(ctx)
		return done(err)
	}},
	// What happens to a program: a session is idle for too long (its data
	// expire in the Store), a row of the users table goes.
	"expire": {ends: true, run: func(w *world, ctx context.Context) outcome {
		t := taskOf(ctx)
		t.step("the data of the first session expire")
		delete(w.store.data, keyOf(w.first.token))
		w.outcomes["expire"] = outcome{}
		t.step("its idle time is over in the index")
		// A renewal meanwhile has been a sign of life.
		w.db.Exec("UPDATE user_sessions SET last_seen_at = 1, expires_at = 2 WHERE id = ? AND session_key = ?", w.first.id, keyOf(w.first.token))
		return outcome{ok: true}
	}},
	"user deleted": {ends: true, run: func(w *world, ctx context.Context) outcome {
		taskOf(ctx).step("the user's row is deleted")
		w.outcomes["user deleted"] = outcome{}
		w.db.Exec("UPDATE user_sessions SET user_id = NULL WHERE user_id = ?", user)
		return outcome{ok: true}
	}},
}
