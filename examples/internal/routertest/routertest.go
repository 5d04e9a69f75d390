// Package routertest drives the examples that mount usersession in a router: what
// they do has to be the same in each of them.
package routertest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
)

// Run runs an application that newHandler makes of an empty SQLite database:
//
//	POST /login            form user, password ("demo")
//	GET  /                 greets the user
//	POST /note, GET /note  keep a text in the session; the body is read first
//	GET  /events           server-sent events until the client goes
//	/devices/, /admin/sessions/
func Run(t *testing.T, newHandler func(context.Context, *sqlx.DB) (http.Handler, error)) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *site)
	}{
		{"nobody is let in without a login", nobody},
		{"a list shows both browsers, and one ends the other", revoke},
		{"a request in flight does not bring its session back", inFlight},
		{"the admin ends a user's session", admin},
		{"a stream passes the middleware", stream},
		{"forms of other sites are refused", crossSite},
	} {
		t.Run(c.name, func(t *testing.T) {
			db, err := sqlx.Connect("sqlite", "file:"+filepath.Join(t.TempDir(), "db")+"?_txlock=immediate&_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			h, err := newHandler(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			srv := httptest.NewServer(h)
			t.Cleanup(srv.Close)
			c.test(t, &site{t, srv.URL})
		})
	}
}

type site struct {
	t   *testing.T
	url string
}

// browser is a client with cookies that does not follow redirects.
type browser struct {
	*site
	client *http.Client
}

func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ExpectContinueTimeout = time.Minute
	s.t.Cleanup(transport.CloseIdleConnections)
	return &browser{s, &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (s *site) login(user string) *browser {
	s.t.Helper()
	b := s.browser()
	b.want(303, "POST", "/login", form("user", user, "password", "demo"))
	return b
}

func form(fields ...string) io.Reader {
	v := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		v.Set(fields[i], fields[i+1])
	}
	return strings.NewReader(v.Encode())
}

func (b *browser) send(method, path string, body io.Reader, header ...string) *http.Response {
	b.t.Helper()
	resp, err := b.try(method, path, body, header...)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp
}

// try is send for any goroutine: it does not end the test.
func (b *browser) try(method, path string, body io.Reader, header ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return b.client.Do(r)
}

// want sends a request and returns the body of an answer of this status.
func (b *browser) want(status int, method, path string, body io.Reader, header ...string) string {
	b.t.Helper()
	resp := b.send(method, path, body, header...)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if resp.StatusCode != status {
		b.t.Fatalf("%s %s: status %d, want %d:\n%s", method, path, resp.StatusCode, status, text)
	}
	return string(text)
}

// sessions reads a list of the JSON API.
func (b *browser) sessions(path string) (current, others []string) {
	b.t.Helper()
	var list struct {
		Sessions []struct {
			ID      string
			Current bool
		}
	}
	if err := json.Unmarshal([]byte(b.want(200, "GET", path, nil)), &list); err != nil {
		b.t.Fatal(err)
	}
	for _, s := range list.Sessions {
		if s.Current {
			current = append(current, s.ID)
		} else {
			others = append(others, s.ID)
		}
	}
	return current, others
}

func nobody(t *testing.T, s *site) {
	b := s.browser()
	for _, path := range []string{"/", "/note", "/events", "/devices/"} {
		b.want(401, "GET", path, nil)
	}
	b.want(403, "GET", "/admin/sessions/", nil)
	b.want(401, "POST", "/login", form("user", "ada", "password", "guess"))
	b.want(401, "GET", "/", nil)
	if got := s.login("ada").want(200, "GET", "/", nil); !strings.Contains(got, "Hello, ada") {
		t.Errorf("the greeting: %s", got)
	}
}

func revoke(t *testing.T, s *site) {
	laptop, phone := s.login("ada"), s.login("ada")
	s.login("bob")
	phone.want(200, "POST", "/note", strings.NewReader("milk"))
	if got := phone.want(200, "GET", "/note", nil); got != "milk" {
		t.Errorf("the note is %q", got)
	}
	if got := laptop.want(200, "GET", "/note", nil); got != "" {
		t.Errorf("the note of another session is %q", got)
	}
	current, others := laptop.sessions("/devices/")
	if len(current) != 1 || len(others) != 1 {
		t.Fatalf("%d current, %d others; want one of each", len(current), len(others))
	}
	resp := laptop.send("GET", "/devices", nil)
	resp.Body.Close()
	if to, err := resp.Location(); err != nil || to.Path != "/devices/" {
		t.Errorf("the mount without its slash: status %d, to %v, %v", resp.StatusCode, to, err)
	}
	laptop.want(200, "POST", "/devices/sessions/"+others[0]+"/revoke", nil)
	phone.want(401, "GET", "/", nil)
	laptop.want(200, "GET", "/", nil)
}

func inFlight(t *testing.T, s *site) {
	laptop, phone := s.login("ada"), s.login("ada")
	body, send := io.Pipe()
	answer := make(chan int)
	go func() {
		resp, err := phone.try("POST", "/note", body, "Expect", "100-continue")
		if err != nil {
			body.CloseWithError(err) // whoever writes is not kept waiting
			answer <- 0
			return
		}
		resp.Body.Close()
		answer <- resp.StatusCode
	}()
	if _, err := io.WriteString(send, "written too "); err != nil { // the handler reads: its session is loaded
		t.Fatal(err)
	}
	laptop.want(200, "POST", "/devices/revoke-others", nil)
	if _, err := io.WriteString(send, "late"); err != nil {
		t.Fatal(err)
	}
	send.Close()
	// The body is not read on once the session has ended, so the handler may answer first.
	if got := <-answer; got != 401 && got != 413 {
		t.Errorf("the request in flight: status %d, want 401 or 413", got)
	}
	phone.want(401, "GET", "/note", nil)
}

func admin(t *testing.T, s *site) {
	ada, root := s.login("ada"), s.login("admin")
	ada.want(403, "GET", "/admin/sessions/", nil)
	_, others := root.sessions("/admin/sessions/?user=ada")
	if len(others) != 1 {
		t.Fatalf("the admin sees %d sessions of ada", len(others))
	}
	root.want(200, "POST", "/admin/sessions/sessions/"+others[0]+"/revoke", form("user", "ada", "reason", "lost"))
	ada.want(401, "GET", "/", nil)
}

func stream(t *testing.T, s *site) {
	ada := s.login("ada")
	resp := ada.send("GET", "/events", nil)
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if resp.StatusCode != 200 || err != nil || !strings.HasPrefix(line, "data:") {
		t.Errorf("status %d, %q, %v", resp.StatusCode, line, err)
	}
}

func crossSite(t *testing.T, s *site) {
	laptop, phone := s.login("ada"), s.login("ada")
	laptop.want(403, "POST", "/note", strings.NewReader("evil"), "Sec-Fetch-Site", "cross-site")
	laptop.want(403, "POST", "/devices/revoke-others", nil, "Sec-Fetch-Site", "cross-site")
	phone.want(200, "GET", "/", nil)
}
