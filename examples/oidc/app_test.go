package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
)

// start serves the application and the provider.
func start(t *testing.T) (appURL, providerURL string) {
	t.Helper()
	apps, providers := httptest.NewUnstartedServer(nil), httptest.NewUnstartedServer(nil)
	appURL, providerURL = "http://"+apps.Listener.Addr().String(), "http://"+providers.Listener.Addr().String()
	p, err := newProvider(providerURL, appURL)
	if err != nil {
		t.Fatal(err)
	}
	providers.Config.Handler = p
	providers.Start()
	t.Cleanup(providers.Close)
	db := sqlx.MustConnect("sqlite", ":memory:")
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	a, err := newApp(t.Context(), db, appURL, providerURL)
	if err != nil {
		t.Fatal(err)
	}
	apps.Config.Handler = a.handler()
	apps.Start()
	t.Cleanup(apps.Close)
	return appURL, providerURL
}

// browser keeps its cookies and follows redirects.
type browser struct {
	*testing.T
	client        *http.Client
	app, provider string
}

func newBrowser(t *testing.T, app, provider string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar}, app, provider}
}

// page returns the page that a request ends at, and its address.
func (b *browser) page(res *http.Response, err error) (text, at string) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.Fatal(err)
	}
	return string(body), res.Request.URL.String()
}

func (b *browser) login(user string) {
	b.Helper()
	_, form := b.page(b.client.Get(b.app + "/login"))
	if !strings.HasPrefix(form, b.provider+"/authorize?") {
		b.Fatalf("the login leads to %s", form)
	}
	if _, at := b.page(b.client.PostForm(form, url.Values{"user": {user}})); at != b.app+"/" {
		b.Fatalf("the login ends at %s", at)
	}
}

func (b *browser) want(user string) {
	b.Helper()
	text, _ := b.page(b.client.Get(b.app + "/"))
	want := "You are signed out."
	if user != "" {
		want = "You are " + user + "."
	}
	if !strings.Contains(text, want) {
		b.Errorf("the page says %q, want %q", text, want)
	}
}

// TestSignOutAtTheProvider has two browsers of ada, and one of bob.
func TestSignOutAtTheProvider(t *testing.T) {
	app, provider := start(t)
	laptop, phone, bob := newBrowser(t, app, provider), newBrowser(t, app, provider), newBrowser(t, app, provider)
	laptop.login("ada")
	phone.login("ada")
	bob.login("bob")
	laptop.want("ada")
	phone.want("ada")

	laptop.page(laptop.client.PostForm(provider+"/logout", url.Values{"everywhere": {"1"}}))
	laptop.want("")
	phone.want("")
	bob.want("bob")

	bob.page(bob.client.PostForm(provider+"/logout", nil)) // of this browser
	bob.want("")
}

// TestLogin has what must not log in.
func TestLogin(t *testing.T) {
	app, provider := start(t)
	victim := newBrowser(t, app, provider)
	if text, _ := victim.page(victim.client.Get(app + callbackPath + "?code=x&state=")); !strings.Contains(text, "did not begin in this browser") {
		t.Errorf("without a state: %q", text)
	}
	victim.page(victim.client.Get(app + "/login"))
	if text, _ := victim.page(victim.client.Get(app + callbackPath + "?code=x&state=y")); !strings.Contains(text, "did not begin in this browser") {
		t.Errorf("another state: %q", text)
	}
	victim.want("")
	if text, _ := victim.page(victim.client.Get(provider + "/authorize?client_id=" + clientID + "&redirect_uri=https://example.com")); !strings.Contains(text, "unknown application") {
		t.Errorf("another address: %q", text)
	}
}
