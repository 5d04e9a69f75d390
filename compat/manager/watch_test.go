package manager_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/goroutines"
	"github.com/seed-296ca7ab/usersession/internal/sqlspy"
	"github.com/seed-296ca7ab/usersession/usersessiontest"
)

// watching is two replicas on one database, in a bubble.
type watching struct {
	t           *testing.T
	db          *sqlx.DB
	spy         *sqlspy.Spy
	here, there *usersession.Manager
	handler     http.Handler // of here
	over        chan error   // why a stream has ended
}

// inWatching runs a test in a bubble. The streams of here end by what there does.
func inWatching(t *testing.T, opts *usersession.Options, test func(*watching)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &watching{t: t, over: make(chan error, 100)}
		// Somebody polls for as long as the test waits, so no wait would end by itself.
		defer time.AfterFunc(1000*time.Hour, func() { panic("the test waits for something that does not come") }).Stop()
		db := opendb.Connect(t, "sqlite", "file:"+t.TempDir()+"/test.db?_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_pragma=synchronous(OFF)")
		w.spy, db = opendb.Spied(t, db)
		db.SetMaxOpenConns(1)
		usersessiontest.InBubble(t, db.DB)
		db.MustExec("CREATE TABLE users (id TEXT PRIMARY KEY)")
		db.MustExec("INSERT INTO users VALUES ('ann'), ('bob')")
		w.db = db
		var o usersession.Options
		if opts != nil {
			o = *opts
		}
		o.UsersTable = "users"
		managers := []**usersession.Manager{&w.here, &w.there}
		for _, m := range managers {
			var err error
			if *m, err = usersession.New(db, &o); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.here.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.handler = mwRoutes(w.here, map[string]http.HandlerFunc{
			"/stream": func(_ http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				w.over <- context.Cause(r.Context())
			},
			"/outlive": func(_ http.ResponseWriter, r *http.Request) {
				ctx, err := w.here.Watch(context.WithoutCancel(r.Context()))
				if err != nil {
					w.over <- err
					return
				}
				context.AfterFunc(ctx, func() { w.over <- context.Cause(ctx) })
			},
		})
		test(w)
	})
}

// stream begins a stream of a session. stop is what its client can do.
func (w *watching) stream(token string) (stop context.CancelFunc) {
	ctx, stop := context.WithCancel(context.Background())
	w.t.Cleanup(stop)
	go mwGetContext(ctx, w.handler, "/stream", token)
	synctest.Wait()
	return stop
}

// ended waits for the time in which a stream must have ended, and checks how many have.
func (w *watching) ended(within time.Duration, want int) {
	w.t.Helper()
	time.Sleep(within) // sleep: the clock of a bubble
	synctest.Wait()
	for got := 0; ; got++ {
		select {
		case err := <-w.over:
			if err != usersession.ErrSessionEnded {
				w.t.Errorf("a stream ended with %v", err)
			}
		default:
			if got != want {
				w.t.Errorf("%d streams ended within %v, want %d", got, within, want)
			}
			return
		}
	}
}

const soon = usersession.DefaultWatchInterval + time.Millisecond

// endings are the ways in which another request, a replica or time ends the session of
// bob's stream, and within which time the stream must have ended.
var endings = []struct {
	name   string
	opts   *usersession.Options
	within time.Duration
	end    func(w *watching, token, id string) error
}{
	{"logout in another tab", nil, 0, func(w *watching, token, _ string) error {
		return wantStatus(mwGet(w.handler, "/logout", token), 200)
	}},
	{"logout at another replica", nil, soon, func(w *watching, token, _ string) error {
		return wantStatus(mwGet(mwRoutes(w.there, nil), "/logout", token), 200)
	}},
	{"revoked here", nil, 0, func(w *watching, _, id string) error {
		return w.here.RevokeSession(w.t.Context(), "bob", id)
	}},
	{"revoked there", nil, soon, func(w *watching, _, id string) error {
		return w.there.RevokeSession(w.t.Context(), "bob", id)
	}},
	{"all revoked", nil, soon, func(w *watching, _, _ string) error {
		return mwErr(w.there.RevokeAllSessions(w.t.Context(), "bob"))
	}},
	{"revoked by a filter", nil, soon, func(w *watching, _, _ string) error {
		return mwErr(w.there.RevokeMatching(w.t.Context(), usersession.Filter{Everyone: true}))
	}},
	{"a transaction that is not finished", nil, 61 * time.Second, func(w *watching, _, _ string) error {
		tx, err := w.db.Beginx()
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err = w.there.RevokeMatchingTx(w.t.Context(), tx, usersession.Filter{UserIDs: []string{"bob"}}); err != nil {
			return err
		}
		return tx.Commit()
	}},
	{"the account is disabled", nil, soon, func(w *watching, _, _ string) error {
		return mwErr(w.there.AccountDisabled(w.t.Context(), "bob"))
	}},
	{"evicted", &usersession.Options{MaxSessions: 1}, soon, func(w *watching, _, _ string) error {
		return wantStatus(mwGet(mwRoutes(w.there, nil), "/login?u=bob", ""), 200)
	}},
	{"another login in this browser", nil, soon, func(w *watching, token, _ string) error {
		return wantStatus(mwGet(mwRoutes(w.there, nil), "/login?u=ann", token), 200)
	}},
	{"destroyed through scs", nil, soon, func(w *watching, token, _ string) error {
		h := mwRoutes(w.there, map[string]http.HandlerFunc{"/destroy": func(_ http.ResponseWriter, r *http.Request) {
			w.there.SessionManager.Destroy(r.Context())
		}})
		return wantStatus(mwGet(h, "/destroy", token), 200)
	}},
	{"the user is deleted, and the janitor comes", nil, soon, func(w *watching, _, _ string) error {
		w.db.MustExec("DELETE FROM users WHERE id = 'bob'")
		return mwErr(w.there.Prune(w.t.Context()))
	}},
	{"the user is deleted", nil, 61 * time.Second, func(w *watching, _, _ string) error {
		return mwErr(w.db.Exec("DELETE FROM users WHERE id = 'bob'"))
	}},
	{"the row is deleted", nil, 61 * time.Second, func(w *watching, _, _ string) error {
		return mwErr(w.db.Exec("DELETE FROM user_sessions"))
	}},
	{"idle", &usersession.Options{IdleTimeout: 10 * time.Minute}, 10*time.Minute + soon, func(*watching, string, string) error { return nil }},
	{"over", &usersession.Options{Lifetime: 10 * time.Minute, IdleTimeout: usersession.NoIdleTimeout}, 10*time.Minute + soon,
		func(*watching, string, string) error { return nil }},
}

func wantStatus(w *httptest.ResponseRecorder, want int) error {
	if w.Code != want {
		return fmt.Errorf("the answer is %d %s", w.Code, w.Body)
	}
	return nil
}

// A stream ends with its session, whoever ends it, and so does what has outlived its
// handler. Those of another session go on.
func TestStreamEndsWithItsSession(t *testing.T) {
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			inWatching(t, e.opts, func(w *watching) {
				token := mwLogin(t, w.handler, "bob")
				id := mwIDs(t, w.here, "bob")[0]
				w.stream(token)
				if err := wantStatus(mwGet(w.handler, "/outlive", token), 200); err != nil {
					t.Fatal(err)
				}
				others := 0
				if e.within <= soon && e.name != "revoked by a filter" {
					w.stream(mwLogin(t, w.handler, "ann"))
					others = 1
				}
				w.ended(5*soon, 0) // it is known by now
				if err := e.end(w, token, id); err != nil {
					t.Fatal(err)
				}
				w.ended(e.within, 2)
				if others == 1 {
					if err := mwErr(w.there.RevokeAllSessions(t.Context(), "ann")); err != nil {
						t.Fatal(err)
					}
					w.ended(soon, 1)
				}
			})
		})
	}
}

// A session that ends before anything was read of it is found, too.
func TestStreamEndsAtOnce(t *testing.T) {
	inWatching(t, nil, func(w *watching) {
		token := mwLogin(t, w.handler, "bob")
		w.stream(token)
		if _, err := w.there.RevokeAllSessions(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		w.ended(soon, 1)
		mwGet(w.handler, "/outlive", mwLogin(t, w.handler, "bob"))
		if _, err := w.there.RevokeAllSessions(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		w.ended(soon, 1)
	})
}

// Renewals and use end nothing, however the token is renewed.
func TestStreamOutlivesRenewals(t *testing.T) {
	inWatching(t, &usersession.Options{IdleTimeout: 5 * time.Minute}, func(w *watching) {
		h := mwRoutes(w.there, map[string]http.HandlerFunc{
			"/renew": func(_ http.ResponseWriter, r *http.Request) {
				if err := w.there.RenewToken(r.Context()); err != nil {
					t.Error(err)
				}
			},
			"/again": func(_ http.ResponseWriter, r *http.Request) {
				if err := w.there.Reauthenticate(r.Context()); err != nil {
					t.Error(err)
				}
			},
			// Between its halves the session is in no list.
			"/scs": func(_ http.ResponseWriter, r *http.Request) {
				if err := w.there.SessionManager.RenewToken(r.Context()); err != nil {
					t.Error(err)
				}
				time.Sleep(2 * time.Minute) // sleep: the clock of a bubble
			},
		})
		token := mwLogin(t, w.handler, "bob")
		w.stream(token)
		mwGet(w.handler, "/outlive", token)
		for range 4 {
			for _, path := range []string{"/renew", "/again", "/scs", "/me"} {
				res := mwGet(h, path, token)
				if res.Code != 200 {
					t.Fatalf("%s: %d %s", path, res.Code, res.Body)
				}
				if next := mwToken(res); next != "" {
					token = next
				}
				w.ended(2*time.Minute, 0)
			}
		}
		w.ended(5*time.Minute, 2) // it was idle
	})
}

// A client that goes, or a handler that returns, ends the context as ever.
func TestStreamEndsWithItsClient(t *testing.T) {
	inWatching(t, nil, func(w *watching) {
		token := mwLogin(t, w.handler, "bob")
		w.stream(token)()
		synctest.Wait()
		if err := <-w.over; err != context.Canceled {
			t.Errorf("the context ended with %v", err)
		}
		var kept context.Context
		h := w.here.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			kept = r.Context()
			kept.Done()
		}))
		mwGet(h, "/", token)
		if kept.Err() != context.Canceled || context.Cause(kept) != context.Canceled {
			t.Errorf("after the handler: %v", context.Cause(kept))
		}
	})
}

// A long upload is not read on, and whoever answers in the place of a refused handler
// is not stopped.
func TestUploadEndsWithItsSession(t *testing.T) {
	var answered error
	opts := &usersession.Options{OnUnauthenticated: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answered = r.Context().Err()
		w.WriteHeader(http.StatusUnauthorized)
	})}
	inWatching(t, opts, func(w *watching) {
		token := mwLogin(t, w.handler, "bob")
		var failed error
		h := w.here.LoadAndSave(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.here.Put(r.Context(), "k", "v")
			_, failed = io.ReadAll(r.Body)
		}))
		body, feed := io.Pipe()
		done := make(chan struct{})
		res := httptest.NewRecorder()
		go func() {
			defer close(done)
			r := httptest.NewRequest("POST", "/", body)
			r.Header.Set("Cookie", "__Host-session="+token)
			r.Header.Set("X-Forwarded-Proto", "https")
			h.ServeHTTP(res, r)
		}()
		io.WriteString(feed, "some")
		if _, err := w.there.RevokeAllSessions(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(soon) // sleep: the clock of a bubble
		io.WriteString(feed, "more")
		<-done
		if failed != usersession.ErrSessionEnded || res.Code != http.StatusUnauthorized || answered != nil {
			t.Errorf("the upload: %v, the answer %d, with a context that is %v", failed, res.Code, answered)
		}
	})
}

func TestWatchErrors(t *testing.T) {
	inWatching(t, nil, func(w *watching) {
		if _, err := w.here.Watch(t.Context()); err != usersession.ErrNoSession {
			t.Errorf("without a session: %v", err)
		}
		token := mwLogin(t, w.handler, "bob")
		id := mwIDs(t, w.here, "bob")[0]
		h := w.here.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			err := w.here.InSession(r.Context(), "bob", id, func(ctx context.Context) error { return mwErr(w.here.Watch(ctx)) })
			if err != usersession.ErrOtherSession {
				t.Errorf("in another session: %v", err)
			}
			if _, err := w.there.RevokeAllSessions(t.Context(), "bob"); err != nil {
				t.Error(err)
			}
			if _, err := w.here.Watch(r.Context()); err != usersession.ErrSessionEnded {
				t.Errorf("of an ended session: %v", err)
			}
			w.db.Close()
			if _, err := w.here.Watch(r.Context()); err == nil || errors.Is(err, usersession.ErrSessionEnded) || !strings.Contains(err.Error(), "Watch: ") {
				t.Errorf("of an index that cannot be read: %v", err)
			}
		}))
		mwGet(h, "/", token)
	})
}

// Requests that are over before anybody would have noticed have no goroutine, no
// statement and no subscription, though each asks for its context and its children.
func TestWatchCostsShortRequestsNothing(t *testing.T) {
	subscribed := subscribing{make(chan struct{}, 1)}
	inWatching(t, &usersession.Options{Watch: usersession.WatchOptions{Channel: subscribed}}, func(w *watching) {
		count := goroutines.Counter(t)
		token := mwLogin(t, w.handler, "bob")
		h := w.here.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			w.spy.Take() // what loaded the session
			for range 2 {
				ctx, cancel := context.WithTimeout(r.Context(), time.Hour)
				defer cancel()
				ctx.Done()
			}
			<-time.After(time.Millisecond)
		}))
		mwGet(h, "/", token)
		synctest.Wait()
		before := count()
		requests := 500
		if depth.Full() {
			requests = 10_000
		}
		for range requests {
			mwGet(h, "/", token)
			if calls := w.spy.Take(); len(calls) > 0 {
				t.Fatalf("a statement beside those of the request: %v", calls)
			}
		}
		time.Sleep(10 * time.Minute) // sleep: the clock of a bubble
		synctest.Wait()
		if after := count(); after != before {
			t.Errorf("%d goroutines after %d requests, %d before", after, requests, before)
		}
		if calls := w.spy.Take(); len(calls) > 0 || len(subscribed.done) > 0 {
			t.Errorf("a statement after the requests, or a subscription: %v", calls)
		}
	})
}

// subscribing notes that somebody subscribes.
type subscribing struct{ done chan struct{} }

func (subscribing) Publish(context.Context, []string) error { return nil }

func (s subscribing) Subscribe(ctx context.Context, _ func([]string)) error {
	s.done <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// A subscription is there while a stream is, and a minute longer.
func TestSubscriptionEndsWithTheStreams(t *testing.T) {
	subscribed := subscribing{make(chan struct{}, 1)}
	inWatching(t, &usersession.Options{Watch: usersession.WatchOptions{Channel: subscribed}}, func(w *watching) {
		count := goroutines.Counter(t)
		token := mwLogin(t, w.handler, "bob")
		synctest.Wait()
		before := count()
		for range 2 {
			stop := w.stream(token)
			time.Sleep(time.Hour / 3) // sleep: the clock of a bubble
			if len(subscribed.done) != 1 {
				t.Fatalf("%d subscriptions", len(subscribed.done))
			}
			<-subscribed.done
			stop()
			<-w.over
			time.Sleep(2 * time.Minute) // sleep: the clock of a bubble
			synctest.Wait()
			if after := count(); after != before {
				t.Errorf("%d goroutines after the stream, %d before", after, before)
			}
		}
	})
}
