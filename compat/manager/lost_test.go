package manager_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// A login or renewal whose request has ended before the commit is given up: nobody
// would get its token. What ends a session is carried through.
func TestRequestEndedBeforeTheCommit(t *testing.T) {
	for backend, store := range directBackends {
		for _, limit := range []usersession.LimitPolicy{usersession.LimitReject, usersession.LimitEvictOldest} {
			t.Run(backend+"/"+fmt.Sprint(limit), func(t *testing.T) {
				var refused int
				m := mwNew(t, &usersession.Options{Store: store(), MaxSessions: 1, OnLimit: limit, OnEvent: func(_ context.Context, e usersession.Event) {
					if e.Kind == usersession.EventLoginRefused && errors.Is(e.Err, context.Canceled) {
						refused++
					}
					if e.Kind == usersession.EventStoreFailed {
						t.Errorf("no side is down: %v", e.Err)
					}
				}})
				h := mwRoutes(m, nil)
				run := func(token string, fn func(ctx context.Context, cancel func())) *httptest.ResponseRecorder {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					return mwGetContext(ctx, m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						fn(r.Context(), cancel)
					})), "/", token)
				}

				fresh := ""
				w := run("", func(ctx context.Context, cancel func()) {
					if err := m.Login(ctx, "u"); err != nil {
						t.Error(err)
					}
					m.Put(ctx, "k", "v")
					fresh = m.Token(ctx)
					cancel()
				})
				if got := mwToken(w); w.Code != 503 || got != "" {
					t.Errorf("a login: %d, token %q", w.Code, got)
				}
				if refused != 1 {
					t.Errorf("%d events of a refused login, want 1", refused)
				}
				mwWantUser(t, m, h, fresh, "")
				mwWantSessions(t, m, "u", 0)

				old := mwLogin(t, h, "u") // nobody is locked out
				run("", func(ctx context.Context, cancel func()) {
					cancel()
					if err := m.Login(ctx, "u"); !errors.Is(err, context.Canceled) {
						t.Errorf("Login in a request that has ended: %v", err)
					}
				})
				mwWantUser(t, m, h, old, "u") // the other device is not evicted

				for name, renew := range map[string]func(context.Context) error{"RenewToken": m.RenewToken, "Reauthenticate": func(ctx context.Context) error { return m.Reauthenticate(ctx) },
					"Login": func(ctx context.Context) error { return m.Login(ctx, "u") }} {
					w = run(old, func(ctx context.Context, cancel func()) {
						if err := renew(ctx); err != nil {
							t.Errorf("%s: %v", name, err)
						}
						fresh = m.Token(ctx)
						cancel()
					})
					if got := mwToken(w); got != "" {
						t.Errorf("%s: the token %q", name, got)
					}
					mwWantUser(t, m, h, fresh, "")
					mwWantUser(t, m, h, old, "u")
					mwWantSessions(t, m, "u", 1)
				}

				run(old, func(ctx context.Context, cancel func()) { m.Put(ctx, "k", "w"); cancel() })
				if got := mwGet(h, "/get?k=k", old).Body.String(); got != "w" {
					t.Errorf("a change of a session that is there: k is %q", got)
				}
				w = run("", func(ctx context.Context, cancel func()) { m.Put(ctx, "k", "v"); cancel() })
				if got := mwToken(w); got != "" {
					t.Errorf("a new visitor gets the token %q", got)
				}
				run(old, func(ctx context.Context, cancel func()) {
					cancel()
					if err := m.Logout(ctx); err != nil {
						t.Error(err)
					}
				})
				mwWantUser(t, m, h, old, "")
				mwWantSessions(t, m, "u", 0)
			})
		}
	}
}

// A session that this build cannot read is not replaced by one that nobody gets.
func TestRequestEndedBesideAnUnreadableSession(t *testing.T) {
	for backend, store := range directBackends {
		t.Run(backend, func(t *testing.T) {
			now, other := unreadablePair(t, store(), nil)
			h := mwRoutes(now, nil)
			token := mwLogin(t, h, "u")
			for name, act := range map[string]func(ctx context.Context){
				"Put": func(ctx context.Context) { other.Put(ctx, "k", "v") }, "RenewToken": func(ctx context.Context) { other.RenewToken(ctx) },
				"Login": func(ctx context.Context) { other.Login(ctx, "u") },
			} {
				ctx, cancel := context.WithCancel(t.Context())
				w := mwGetContext(ctx, other.LoadAndSave(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { act(r.Context()); cancel() })), "/", token)
				if w.Code != 503 || mwToken(w) != "" {
					t.Errorf("%s: got %d, token %q", name, w.Code, mwToken(w))
				}
				mwWantUser(t, now, h, token, "u")
				mwWantSessions(t, now, "u", 1)
			}
		})
	}
}

// Without LoadAndSave the context of the call says that nobody waits.
func TestCommitByHandAfterTheEnd(t *testing.T) {
	m := mwNew(t, &usersession.Options{MaxSessions: 1, OnLimit: usersession.LimitReject})
	h := mwRoutes(m, nil)
	old := mwLogin(t, h, "u")
	for name, act := range map[string]func(ctx context.Context) error{
		"Login of another": func(ctx context.Context) error { return m.Login(ctx, "v") }, "RenewToken": m.RenewToken,
		"Reauthenticate": func(ctx context.Context) error { return m.Reauthenticate(ctx) },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		ctx, err := m.Load(ctx, old)
		if err != nil {
			t.Fatal(err)
		}
		if err := act(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, _, err := m.Commit(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", name, err)
		}
		mwWantUser(t, m, h, old, "u")
	}
	ctx, cancel := context.WithCancel(t.Context())
	if ctx, _ = m.Load(ctx, ""); true {
		m.Put(ctx, "k", "v")
	}
	cancel()
	if _, _, err := m.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a new visitor: %v, want context.Canceled", err)
	}
	mwWantSessions(t, m, "v", 0)
}

// http.TimeoutHandler around LoadAndSave has answered before the handler commits.
func TestLoginAfterTheTimeout(t *testing.T) {
	m := mwNew(t, nil)
	done := make(chan struct{})
	login := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), "u"); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
		io.WriteString(w, "welcome")
	}))
	h := http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		login.ServeHTTP(w, r)
	}), 50*time.Millisecond, "too late")
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	<-done
	if res.StatusCode != 503 || len(res.Cookies()) != 0 {
		t.Errorf("got %d with %v", res.StatusCode, res.Cookies())
	}
	mwWantSessions(t, m, "u", 0)
}
