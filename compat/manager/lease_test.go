package manager_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/seed-296ca7ab/usersession"
)

// leased are the endings of the watched, by a replica that has a lease and by one that has
// none, of a session that here serves from memory.
func (w *watching) leased(test func(h http.Handler, token, id string)) {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.here.Run(ctx)
	}()
	time.Sleep(15 * time.Second) // sleep: the clock of a bubble
	h := mwRoutes(w.here, nil)
	token := mwLogin(w.t, h, "bob")
	id := mwIDs(w.t, w.here, "bob")[0]
	if got := mwGet(h, "/me", token).Body.String(); got != "bob" {
		w.t.Fatalf("bob is served as %q", got)
	}
	w.statements()
	if got := mwGet(h, "/me", token).Body.String(); got != "bob" {
		w.t.Fatalf("bob is served as %q from memory", got)
	}
	if n := w.statements(); n != 0 {
		w.t.Fatalf("a request that is served from memory sends %d statements", n)
	}
	test(h, token, id)
	stop()
	<-done
	var rows int
	if err := w.db.Get(&rows, "SELECT (SELECT COUNT(*) FROM user_sessions_replicas) + (SELECT COUNT(*) FROM user_sessions_inbox)"); err != nil || rows != 0 {
		w.t.Errorf("%d rows are left of the lease, %v", rows, err)
	}
}

// statements returns how many there were that are not about the lease itself.
func (w *watching) statements() (n int) {
	for _, c := range w.spy.Take() {
		if !strings.Contains(c.Query, "_replicas") && !strings.Contains(c.Query, "_inbox") {
			n++
		}
	}
	return n
}

func TestLease(t *testing.T) {
	for _, e := range endings {
		if e.within > soon { // nobody of ours ends it, or time does
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			o := usersession.Options{}
			if e.opts != nil {
				o = *e.opts
			}
			o.ReadLease = 3 * time.Second
			inWatching(t, &o, func(w *watching) {
				w.leased(func(h http.Handler, token, id string) {
					began := time.Now()
					if err := e.end(w, token, id); err != nil {
						t.Fatal(err)
					}
					if took := time.Since(began); took > 3*time.Second {
						t.Errorf("it took %v", took)
					} else {
						t.Logf("it took %v", took)
					}
					if got := mwGet(h, "/me", token).Body.String(); got != "" {
						t.Errorf("%s is served after that", got)
					}
				})
			})
		})
	}
}

// leasing is inWatching with a lease of three seconds.
func leasing(t *testing.T, o usersession.Options, test func(w *watching, h http.Handler, token, id string)) {
	t.Helper()
	o.ReadLease = 3 * time.Second
	inWatching(t, &o, func(w *watching) {
		w.leased(func(h http.Handler, token, id string) { test(w, h, token, id) })
	})
}

// What moves a session to another token, or its end nearer, is heard everywhere as well.
func TestLeaseOfARenewal(t *testing.T) {
	for name, renew := range map[string]func(w *watching, r *http.Request) error{
		"RenewToken":     func(w *watching, r *http.Request) error { return w.there.RenewToken(r.Context()) },
		"Reauthenticate": func(w *watching, r *http.Request) error { return w.there.Reauthenticate(r.Context()) },
		"RenewToken of scs": func(w *watching, r *http.Request) error {
			return w.there.SessionManager.RenewToken(r.Context())
		},
	} {
		t.Run(name, func(t *testing.T) {
			leasing(t, usersession.Options{}, func(w *watching, h http.Handler, token, id string) {
				there := mwRoutes(w.there, map[string]http.HandlerFunc{"/renew": func(_ http.ResponseWriter, r *http.Request) {
					if err := renew(w, r); err != nil {
						t.Error(err)
					}
				}})
				renewed := mwToken(mwGet(there, "/renew", token))
				if got := mwGet(h, "/me", token).Body.String(); got != "" {
					t.Errorf("the former token is served as %q", got)
				}
				if got := mwGet(h, "/me", renewed).Body.String(); got != "bob" {
					t.Errorf("the new token is served as %q", got)
				}
			})
		})
	}
	t.Run("SetDeadline", func(t *testing.T) {
		leasing(t, usersession.Options{}, func(w *watching, h http.Handler, token, id string) {
			there := mwRoutes(w.there, map[string]http.HandlerFunc{"/shorten": func(_ http.ResponseWriter, r *http.Request) {
				w.there.SetDeadline(r.Context(), time.Now().Add(10*time.Millisecond))
			}})
			if err := wantStatus(mwGet(there, "/shorten", token), 200); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond) // sleep: the clock of a bubble
			if got := mwGet(h, "/me", token).Body.String(); got != "" {
				t.Errorf("after its deadline the session is served as %q", got)
			}
		})
	})
}

// A revocation in a transaction of the application takes effect with Finish.
func TestLeaseOfATransaction(t *testing.T) {
	leasing(t, usersession.Options{}, func(w *watching, h http.Handler, token, id string) {
		tx, err := w.db.Beginx()
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		rev, err := w.there.RevokeMatchingTx(w.t.Context(), tx, usersession.Filter{UserIDs: []string{"bob"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := rev.Finish(w.t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := mwGet(h, "/me", token).Body.String(); got != "" {
			t.Errorf("%s is served after that", got)
		}
	})
}

// A replica that has died is waited for once.
func TestLeaseOfTheDead(t *testing.T) {
	leasing(t, usersession.Options{}, func(w *watching, h http.Handler, token, id string) {
		w.db.MustExec("INSERT INTO user_sessions_replicas (id, beats, lease) VALUES ('dead', 7, 3000000)")
		mwLogin(t, h, "ann")
		want := 3 * time.Second
		for _, user := range []string{"bob", "ann"} {
			began := time.Now()
			if _, err := w.here.RevokeAllSessions(w.t.Context(), user); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < want || took > want+100*time.Millisecond {
				t.Errorf("the revocation of %s took %v, want %v", user, took, want)
			}
			want = 0
		}
	})
}

// The sessions of two cookies end, also if the first has waited for longer than a write
// may take.
func TestLeaseOfTheDeadAndTwoCookies(t *testing.T) {
	leasing(t, usersession.Options{WriteTimeout: 4 * time.Second}, func(w *watching, h http.Handler, token, id string) {
		ann := mwLogin(t, h, "ann")
		w.db.MustExec("INSERT INTO user_sessions_replicas (id, beats, lease) VALUES ('dead', 7, 5000000)")
		if res := withCookies(h, "/logout", "__Host-session", token, ann); res.Code != http.StatusOK {
			t.Errorf("the logout is answered %d %s", res.Code, res.Body)
		}
		for _, user := range []string{"bob", "ann"} {
			if ids := mwIDs(t, w.here, user); len(ids) != 0 {
				t.Errorf("%d sessions of %s live", len(ids), user)
			}
		}
	})
}

// What needs session data gets those that are there now, and they are committed.
func TestLeaseAndData(t *testing.T) {
	leasing(t, usersession.Options{}, func(w *watching, h http.Handler, token, id string) {
		there := mwRoutes(w.there, nil)
		for _, value := range []string{"1", "2"} {
			if err := wantStatus(mwGet(there, "/put?k=n&v="+value, token), 200); err != nil {
				t.Fatal(err)
			}
			if got := mwGet(h, "/get?k=n", token).Body.String(); got != value {
				t.Errorf("here has %q, and there has written %q", got, value)
			}
		}
		if err := wantStatus(mwGet(h, "/put?k=n&v=3", token), 200); err != nil {
			t.Fatal(err)
		}
		if got := mwGet(there, "/get?k=n", token).Body.String(); got != "3" {
			t.Errorf("there has %q, and here has written 3", got)
		}
		if err := wantStatus(mwGet(h, "/logout", token), 200); err != nil {
			t.Fatal(err)
		}
		if got := mwGet(there, "/me", token).Body.String(); got != "" {
			t.Errorf("%s is served after a logout", got)
		}
	})
}

// Session data that cannot be loaded any more are not taken for empty ones.
func TestLeaseWithoutData(t *testing.T) {
	for name, want := range map[string]int{"ended": http.StatusUnauthorized, "lost": http.StatusUnauthorized, "unreadable": http.StatusServiceUnavailable} {
		t.Run(name, func(t *testing.T) {
			leasing(t, usersession.Options{}, func(w *watching, _ http.Handler, token, id string) {
				went := false
				h := mwRoutes(w.here, map[string]http.HandlerFunc{"/both": func(rw http.ResponseWriter, r *http.Request) {
					if got := w.here.UserID(r.Context()); got != "bob" {
						t.Errorf("it begins as %q", got)
					}
					switch name {
					case "ended":
						w.db.MustExec("UPDATE user_sessions SET ended_at = 1, purge_at = 1")
					case "lost":
						w.db.MustExec("DELETE FROM sessions")
					case "unreadable":
						w.db.MustExec("ALTER TABLE sessions RENAME TO elsewhere")
					}
					rw.Header().Set("X-Mine", "1")
					w.here.GetString(r.Context(), "n")
					went = true
				}})
				rec := mwGet(h, "/both", token)
				if rec.Code != want || went || rec.Header().Get("X-Mine") != "" {
					t.Errorf("the answer is %d %q, want %d; the handler has gone on: %v", rec.Code, rec.Header(), want, went)
				}
			})
		})
	}
}

// A session is served from memory no longer than it lives, and is touched as without.
func TestLeaseAndTime(t *testing.T) {
	leasing(t, usersession.Options{IdleTimeout: 4 * time.Minute}, func(w *watching, h http.Handler, token, id string) {
		for range 60 { // ten minutes of use
			time.Sleep(10 * time.Second) // sleep: the clock of a bubble
			if got := mwGet(h, "/me", token).Body.String(); got != "bob" {
				t.Fatalf("bob is served as %q while he is there", got)
			}
		}
		s, err := w.there.Session(w.t.Context(), "bob", id)
		if lag := time.Since(s.LastSeenAt); err != nil || lag > time.Minute+2*time.Second {
			t.Errorf("bob was seen %v ago, %v", lag, err)
		}
		time.Sleep(4*time.Minute - time.Second) // sleep: the clock of a bubble
		time.Sleep(2 * time.Second)             // sleep: the clock of a bubble
		if got := mwGet(h, "/me", token).Body.String(); got != "" {
			t.Errorf("%s is served after the idle timeout", got)
		}
	})
	leasing(t, usersession.Options{Lifetime: time.Minute, IdleTimeout: usersession.NoIdleTimeout}, func(w *watching, h http.Handler, token, id string) {
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Second) { // sleep: the clock of a bubble
			mwGet(h, "/me", token)
		}
		if got := mwGet(h, "/me", token).Body.String(); got != "" {
			t.Errorf("%s is served after the lifetime", got)
		}
	})
}

// The goroutines of a handler load the data once, whoever comes first.
func TestLeaseManyGoroutines(t *testing.T) {
	leasing(t, usersession.Options{}, func(w *watching, _ http.Handler, token, id string) {
		h := mwRoutes(w.here, map[string]http.HandlerFunc{"/many": func(_ http.ResponseWriter, r *http.Request) {
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					ctx := r.Context()
					if got := w.here.UserID(ctx); got != "bob" {
						t.Errorf("UserID is %q", got)
					}
					w.here.Put(ctx, fmt.Sprint("k", i), i)
					if s, err := w.here.Current(ctx); err != nil || s.ID != id {
						t.Errorf("Current is %v, %v", s.ID, err)
					}
					if got := w.here.GetInt(ctx, fmt.Sprint("k", i)); got != i || w.here.UserID(ctx) != "bob" {
						t.Errorf("%d is %d", i, got)
					}
				})
			}
			wg.Wait()
		}})
		if err := wantStatus(mwGet(h, "/many", token), 200); err != nil {
			t.Error(err)
		}
		if got := mwGet(mwRoutes(w.there, map[string]http.HandlerFunc{"/keys": func(rw http.ResponseWriter, r *http.Request) {
			fmt.Fprint(rw, len(w.there.Keys(r.Context())))
		}}), "/keys", token).Body.String(); got != "8" {
			t.Errorf("%s keys are saved, want 8", got)
		}
	})
}

// Another session inside a request that is served from memory is another one, and is read.
func TestLeaseAndOtherSessions(t *testing.T) {
	leasing(t, usersession.Options{}, func(w *watching, h http.Handler, token, id string) {
		mwLogin(t, h, "ann")
		ann := mwIDs(t, w.here, "ann")[0]
		h = mwRoutes(w.here, map[string]http.HandlerFunc{"/other": func(_ http.ResponseWriter, r *http.Request) {
			err := w.here.InSession(r.Context(), "ann", ann, func(ctx context.Context) error {
				if got := w.here.UserID(ctx); got != "ann" {
					t.Errorf("inside InSession UserID is %q", got)
				}
				return nil
			})
			if got := w.here.UserID(r.Context()); err != nil || got != "bob" {
				t.Errorf("after InSession UserID is %q, %v", got, err)
			}
		}, "/iterate": func(_ http.ResponseWriter, r *http.Request) {
			seen := map[string]bool{}
			w.here.Iterate(r.Context(), func(ctx context.Context) error {
				seen[w.here.UserID(ctx)] = true
				return nil
			})
			if len(seen) != 2 || !seen["ann"] || !seen["bob"] {
				t.Errorf("Iterate has seen %v", seen)
			}
		}})
		for _, path := range []string{"/other", "/iterate"} {
			if err := wantStatus(mwGet(h, path, token), 200); err != nil {
				t.Error(err)
			}
		}
	})
}

// With VerifyEveryRequest nothing is served from memory.
func TestLeaseAndVerifyEveryRequest(t *testing.T) {
	inWatching(t, &usersession.Options{ReadLease: 3 * time.Second, VerifyEveryRequest: true}, func(w *watching) {
		ctx, stop := context.WithCancel(w.t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.here.Run(ctx)
		}()
		time.Sleep(15 * time.Second) // sleep: the clock of a bubble
		token := mwLogin(t, w.handler, "bob")
		for range 3 {
			w.statements()
			if got := mwGet(w.handler, "/me", token).Body.String(); got != "bob" || w.statements() == 0 {
				t.Errorf("%q is served without a look", got)
			}
		}
		stop()
		<-done
	})
}

// A lease that could not work is refused, and the error names the field.
func TestLeaseOptions(t *testing.T) {
	db, _ := mwOpen(t)
	for _, o := range []usersession.Options{
		{ReadLease: -1}, {ReadLease: time.Millisecond}, {ReadLease: time.Minute},
		{ReadLease: 3 * time.Second, SCS: scs.New(), Adopt: &usersession.Adopt{UserID: func(map[string]any) string { return "" }}},
	} {
		if _, err := usersession.New(db, &o); err == nil || !strings.Contains(err.Error(), "Options.ReadLease: ") {
			t.Errorf("%v: %v", o.ReadLease, err)
		}
	}
}

// If replicas cannot be told, the ending says so, and the next call tells them.
func TestLeaseWhenNobodyCanBeTold(t *testing.T) {
	leasing(t, usersession.Options{}, func(w *watching, h http.Handler, token, id string) {
		w.db.MustExec("ALTER TABLE user_sessions_inbox RENAME TO elsewhere")
		n, err := w.there.RevokeAllSessions(w.t.Context(), "bob")
		if n != 1 || !errors.Is(err, usersession.ErrRevocationPending) {
			t.Errorf("%d are revoked, %v", n, err)
		}
		if strings.Contains(err.Error(), "delete") || !strings.Contains(err.Error(), "could not be told") {
			t.Errorf("the Store has deleted the data, and the error is %q", err)
		}
		w.db.MustExec("ALTER TABLE elsewhere RENAME TO user_sessions_inbox")
		if _, err := w.there.RevokeAllSessions(w.t.Context(), "bob"); err != nil {
			t.Error(err)
		}
		if got := mwGet(h, "/me", token).Body.String(); got != "" {
			t.Errorf("%s is served after that", got)
		}
	})
}
