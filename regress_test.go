package usersession_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
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
	case <-time.After(10 * time.Second):
		t.Fatal("the login never returns")
	}
}

// Destroy inside WithSession ends the session, also if its browser has another
// token by now.
func TestWithSessionDestroyAfterRenewal(t *testing.T) {
	m := mwNew(t, &usersession.Options{Store: mwNewStore()})
	h := mwRoutes(m, map[string]http.HandlerFunc{"/renew": func(w http.ResponseWriter, r *http.Request) {
		m.RenewToken(r.Context())
	}})
	token := mwLogin(t, h, "u")
	err := m.WithSession(t.Context(), "u", mwIDs(t, m, "u")[0], func(ctx context.Context) error {
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
		for _, err := range m.Sessions(t.Context(), f) {
			if err == nil {
				t.Errorf("%s: Sessions yields a session", name)
			}
		}
	}
	mwWantSessions(t, m, "u", 1)
}
