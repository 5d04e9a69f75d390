// Package shoptest drives the shop of examples/adopt, before and after.
package shoptest

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/jmoiron/sqlx"
)

// A Shop is one running shop, with the database and the store it was given.
type Shop struct {
	URL   string
	DB    *sqlx.DB
	Store scs.Store
}

// Start runs a shop until the test ends.
func Start(t *testing.T, newHandler func(context.Context, *sqlx.DB, scs.Store) http.Handler) *Shop {
	t.Helper()
	db, err := sqlx.Connect("sqlite", filepath.Join(t.TempDir(), "shop.db")+"?_pragma=busy_timeout(60000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	store := memstore.NewWithCleanupInterval(0)
	server := httptest.NewServer(newHandler(t.Context(), db, store))
	t.Cleanup(server.Close)
	return &Shop{URL: server.URL, DB: db, Store: store}
}

// Browse is what customers do. It is the same before and after.
func (s *Shop) Browse(t *testing.T) {
	t.Helper()
	b := s.Browser(t)
	b.Want(t, 401, "GET", "/me")
	b.Want(t, 200, "POST", "/cart") // before the login: it is kept
	b.Want(t, 401, "POST", "/login", "user=nobody")
	cookie := b.Want(t, 200, "POST", "/login", "user=alice").Header.Get("Set-Cookie")
	name, rest, _ := strings.Cut(cookie, "=")
	if _, attributes, _ := strings.Cut(rest, "; "); name != "shop" || attributes != "Path=/; HttpOnly; SameSite=Strict" {
		t.Errorf("the cookie is %s=…; %s", name, attributes)
	}
	b.Want(t, 200, "POST", "/cart")
	if got := body(t, b.Want(t, 200, "GET", "/me")); got != "alice, 2 in the cart" {
		t.Errorf("me: %s", got)
	}
	b.Want(t, 200, "POST", "/logout")
	b.Want(t, 401, "GET", "/me")
}

// A Browser is a client with a cookie jar of its own.
type Browser struct {
	url    string
	client *http.Client
}

// Browser returns a new browser.
func (s *Shop) Browser(t *testing.T) *Browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Browser{s.URL, &http.Client{Jar: jar}}
}

// Want sends a request and checks the status of the answer.
func (b *Browser) Want(t *testing.T, status int, method, path string, form ...string) *http.Response {
	t.Helper()
	values, err := url.ParseQuery(strings.Join(form, "&"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(values.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Body.Close() })
	if w.StatusCode != status {
		t.Fatalf("%s %s: %d %s, want %d", method, path, w.StatusCode, body(t, w), status)
	}
	return w
}

func body(t *testing.T, w *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
