package manager_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/sqlspy"
)

// askingHandler is a log handler that adds the user, as many do.
type askingHandler struct {
	slog.Handler
	m **usersession.Manager
}

func (h askingHandler) Handle(ctx context.Context, r slog.Record) error {
	(*h.m).UserID(ctx)
	return nil
}

// A logger may ask the context for its user while a commit fails.
func TestLoggerMayAskForTheUser(t *testing.T) {
	store := mwNewStore()
	var m *usersession.Manager
	m = mwNew(t, &usersession.Options{Store: store, Logger: slog.New(askingHandler{slog.NewTextHandler(io.Discard, nil), &m})})
	store.before = func(op, _ string) error {
		if op == "create" {
			return errors.New("down")
		}
		return nil
	}
	done := make(chan int)
	go func() { done <- mwGet(mwRoutes(m, nil), "/login?u=u", "").Code }()
	select {
	case code := <-done:
		if code != 503 {
			t.Errorf("got %d, want 503", code)
		}
	case <-time.After(time.Minute):
		t.Fatal("the login never returns")
	}
}

// Destroy inside InSession ends the session, also if its browser has another
// token by now.
func TestInSessionDestroyAfterRenewal(t *testing.T) {
	m := mwNew(t, &usersession.Options{Store: mwNewStore()})
	h := mwRoutes(m, map[string]http.HandlerFunc{"/renew": func(w http.ResponseWriter, r *http.Request) {
		m.RenewToken(r.Context())
	}})
	token := mwLogin(t, h, "u")
	err := m.InSession(t.Context(), "u", mwIDs(t, m, "u")[0], func(ctx context.Context) error {
		token = mwToken(mwGet(h, "/renew", token))
		if m.Token(ctx) != "" {
			t.Error("the token of another session is shown")
		}
		return m.Destroy(ctx)
	})
	if err != nil {
		t.Error(err)
	}
	mwWantUser(t, m, h, token, "")
	mwWantSessions(t, m, "u", 0)
}

// Logout clears the cookie whatever becomes of the commit after it.
func TestLogoutClearsTheCookieThoughTheCommitFails(t *testing.T) {
	store := mwNewStore()
	m := mwNew(t, &usersession.Options{Store: store})
	h := mwRoutes(m, map[string]http.HandlerFunc{"/x": func(w http.ResponseWriter, r *http.Request) {
		m.Logout(r.Context())
		m.Put(r.Context(), "flash", "bye")
	}})
	token := mwLogin(t, h, "u")
	store.before = func(op, _ string) error {
		if op == "create" {
			return errors.New("down")
		}
		return nil
	}
	w := mwGet(h, "/x", token)
	if cs := w.Result().Cookies(); w.Code != 503 || len(cs) != 1 || cs[0].MaxAge >= 0 {
		t.Errorf("got %d with cookies %v, want 503 and a cleared one", w.Code, cs)
	}
}

// A filter that came out empty or broken selects nobody, and never everybody.
func TestFiltersNeverWiden(t *testing.T) {
	m := mwNew(t, nil)
	mwLogin(t, mwRoutes(m, nil), "u")
	for name, f := range map[string]usersession.Filter{
		"empty UserIDs": {UserIDs: []string{}, CreatedBefore: time.Now().Add(time.Hour)},
		"invalid IP":    {UserIDs: []string{"u"}, IP: netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 99)},
	} {
		if n, err := m.RevokeMatching(t.Context(), f); err == nil || n != 0 {
			t.Errorf("%s: %d, %v; want an error", name, n, err)
		}
		for _, err := range m.ListMatching(t.Context(), f, usersession.Page{}) {
			if err == nil {
				t.Errorf("%s: ListMatching yields a session", name)
			}
		}
	}
	mwWantSessions(t, m, "u", 1)
}

// A driver may take a lost answer for a bad connection, and database/sql asks
// again by itself: what was done is done a second time.
func TestStatementsRepeatedByTheDriver(t *testing.T) {
	for _, c := range []struct {
		name, path string
		statements string // whose answers are lost, all one after the other
		want       int
	}{
		{"renewal: noted", "/renew", "SET other_key = ", 200},
		{"renewal: swapped", "/renew", "SET authenticated_at = ", 200},
		{"login: confirmed", "/login?u=u", "SET expires_at = ", 200},
		{"logout", "/logout", "SET ended_by = ", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			direct, path := mwOpen(t)
			var lost atomic.Int32
			spy := sqlspy.Spy{Lost: func(query string) bool { return strings.Contains(query, c.statements) && lost.Add(1) == 1 }}
			pool, err := spy.Open(direct.DriverName(), path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { pool.Close() })
			m := opendb.Migrated(t, sqlx.NewDb(pool, direct.DriverName()), &usersession.Options{Store: mwNewStore()})
			h := mwRoutes(m, map[string]http.HandlerFunc{
				"/renew":  func(w http.ResponseWriter, r *http.Request) { m.RenewToken(r.Context()) },
				"/logout": func(w http.ResponseWriter, r *http.Request) { m.Logout(r.Context()) },
			})
			lost.Store(1)
			before := mwLogin(t, h, "u")
			lost.Store(0)
			answer := mwGet(h, c.path, before)
			if answer.Code != c.want || lost.Load() < 2 {
				t.Fatalf("got %d after %d statements, want %d", answer.Code, lost.Load(), c.want)
			}
			mwWantUser(t, m, h, before, "")
			if c.path == "/logout" {
				mwWantSessions(t, m, "u", 0)
				return
			}
			mwWantUser(t, m, h, mwToken(answer), "u")
			mwWantSessions(t, m, "u", 1)
		})
	}
}

// A Login that is refused leaves the browser its session, also where the program has
// renewed the token through scs before.
func TestLoginRefusedAfterRenewToken(t *testing.T) {
	for backend, store := range directBackends {
		t.Run(backend, func(t *testing.T) {
			m := mwNew(t, &usersession.Options{Store: store(), MaxSessions: 1, OnLimit: usersession.LimitReject})
			h := mwRoutes(m, nil)
			mwLogin(t, h, "other")
			token := mwLogin(t, h, "u")
			id := mwIDs(t, m, "u")
			w := directRun(m, token, func(ctx context.Context) {
				if err := m.SessionManager.RenewToken(ctx); err != nil {
					t.Error(err)
				}
				if err := m.Login(ctx, "other"); !errors.Is(err, usersession.ErrTooManySessions) {
					t.Errorf("Login: %v", err)
				}
			})
			if u := mwGet(h, "/me", mwToken(w)).Body.String(); u != "u" || !slices.Equal(mwIDs(t, m, "u"), id) {
				t.Errorf("after a response of %d the browser is %q", w.Code, u)
			}
			if u := mwGet(h, "/me", token).Body.String(); u != "" {
				t.Errorf("the old token is still %q", u)
			}

			visitor := mwToken(directRun(m, "", func(ctx context.Context) { m.Put(ctx, "k", "v") }))
			w = directRun(m, visitor, func(ctx context.Context) {
				m.SessionManager.RenewToken(ctx)
				if err := m.Login(ctx, "other"); !errors.Is(err, usersession.ErrTooManySessions) {
					t.Errorf("Login: %v", err)
				}
			})
			directRun(m, mwToken(w), func(ctx context.Context) {
				if k := m.GetString(ctx, "k"); k != "v" {
					t.Errorf("after a response of %d the visitor has %q", w.Code, k)
				}
			})
		})
	}
}
