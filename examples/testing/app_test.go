package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/usersessiontest"
)

// openDB returns an empty database in memory.
func openDB(t *testing.T) *sqlx.DB {
	t.Helper()
	db := sqlx.MustConnect("sqlite", ":memory:")
	db.SetMaxOpenConns(1) // each connection to a memory database is another database
	t.Cleanup(func() { db.Close() })
	return db
}

// start returns the program under test.
func start(t *testing.T, db *sqlx.DB) (*usersession.Manager, http.Handler) {
	t.Helper()
	sessions, err := newManager(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return sessions, newHandler(sessions)
}

// status returns the status of a page.
func status(t *testing.T, browser *http.Client, path string) int {
	t.Helper()
	res, err := browser.Get(usersessiontest.Origin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

// A request of a user who is logged in.
func TestInbox(t *testing.T) {
	sessions, app := start(t, openDB(t))
	r := httptest.NewRequest(http.MethodGet, "/inbox", nil)
	r.AddCookie(usersessiontest.Login(t, sessions, "alice"))
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	if got := w.Body.String(); got != "the inbox of alice" {
		t.Errorf("got %d %q", w.Code, got)
	}
}

// The program's own login page, and half an hour of nothing, in no time.
func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openDB(t)
		usersessiontest.InBubble(t, db.DB)
		_, app := start(t, db)
		browser := usersessiontest.Client(app)
		res, err := browser.PostForm(usersessiontest.Origin+"/login", url.Values{"user": {"alice"}, "password": {"demo"}})
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("login: %v, %v", res, err)
		}
		for range 10 {
			time.Sleep(25 * time.Minute) // sleep: the clock of the bubble
			if got := status(t, browser, "/inbox"); got != http.StatusOK {
				t.Fatalf("in use: got %d", got)
			}
		}
		time.Sleep(30 * time.Minute) // sleep: the clock of the bubble
		if got := status(t, browser, "/inbox"); got != http.StatusUnauthorized {
			t.Errorf("after 30 minutes without use: got %d", got)
		}
	})
}

// Payments want a login that is fresh.
func TestPayments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := openDB(t)
		usersessiontest.InBubble(t, db.DB)
		sessions, app := start(t, db)
		browser := usersessiontest.Client(app, usersessiontest.Login(t, sessions, "alice"))
		if got := status(t, browser, "/payments"); got != http.StatusOK {
			t.Errorf("after the login: got %d", got)
		}
		time.Sleep(11 * time.Minute) // sleep: the clock of the bubble
		if got := status(t, browser, "/payments"); got != http.StatusUnauthorized {
			t.Errorf("11 minutes later: got %d", got)
		}
	})
}

// Without a bubble, on any database: one device of two runs out of time.
func TestOneDevice(t *testing.T) {
	sessions, app := start(t, openDB(t))
	phone := usersessiontest.Client(app, usersessiontest.Login(t, sessions, "alice", usersession.WithUserAgent("phone")))
	laptop := usersessiontest.Client(app, usersessiontest.Login(t, sessions, "alice"))
	list, err := sessions.ListSessions(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.UserAgent == "phone" {
			usersessiontest.Idle(t, sessions, s)
		}
	}
	if got := status(t, phone, "/inbox"); got != http.StatusUnauthorized {
		t.Errorf("the phone: got %d", got)
	}
	if got := status(t, laptop, "/inbox"); got != http.StatusOK {
		t.Errorf("the laptop: got %d", got)
	}
}
