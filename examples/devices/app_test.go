package main

import (
	"bufio"
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

const password = "correct horse"

func TestMain(m *testing.M) {
	iterations = 1
	testserver.Main(m)
}

// eachDatabase runs a test on everything the application can be told to use, at
// the fast depth on SQLite. TestRun uses the rest, too.
func eachDatabase(t *testing.T, test func(t *testing.T, s *server)) {
	file := func(t *testing.T) string { return filepath.Join(t.TempDir(), "db") }
	t.Run("SQLite", func(t *testing.T) { test(t, start(t, file(t), "")) })
	if !depth.Full() {
		return
	}
	t.Run("PostgreSQL", func(t *testing.T) { test(t, start(t, freshPostgres(t), "")) })
	t.Run("SQLite and Redis", func(t *testing.T) { test(t, start(t, file(t), "redis://"+testserver.Redis(t))) })
}

func freshPostgres(t *testing.T) string {
	return testserver.FreshPostgres(t, func(dsn string) (*sql.DB, error) { return sql.Open("postgres", dsn) })
}

type server struct {
	*httptest.Server
	t   *testing.T
	app *app
}

func start(t *testing.T, database, redis string) *server {
	t.Helper()
	db, err := openDatabase(database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	store, closeStore, err := openStore(ctx, redis)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore() })
	srv := httptest.NewUnstartedServer(nil)
	a, err := newApp(ctx, db, store, "http://"+srv.Listener.Addr().String(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.users.seed(ctx, password, "ada", "bob", adminName); err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = a.handler()
	srv.Start()
	t.Cleanup(srv.Close)
	return &server{srv, t, a}
}

// client is a browser: it has cookies and follows redirects.
type client struct {
	*server
	http  *http.Client
	agent string
}

func (s *server) client(agent string) *client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &client{s, &http.Client{Jar: jar}, agent}
}

// login returns a client in which a user is logged in.
func (s *server) login(name, agent string) *client {
	s.t.Helper()
	c := s.client(agent)
	if at, body := c.post("/login", "name", name, "password", password); at != "/" || !strings.Contains(body, "Hello, "+name) {
		s.t.Fatalf("login of %s: at %s:\n%s", name, at, body)
	}
	return c
}

// get returns where the client ends up, and what it sees there.
func (c *client) get(path string) (at, body string) { return c.send("GET", path, nil) }

func (c *client) post(path string, fields ...string) (at, body string) {
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return c.send("POST", path, form)
}

func (c *client) send(method, path string, form url.Values) (at, body string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("User-Agent", c.agent)
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	resp, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.Request.URL.RequestURI(), string(b)
}

const (
	linux = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
	phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
)

var revokeForm = regexp.MustCompile(`action="\./(sessions/[\w-]+/revoke)"><button aria-label="Sign out ([^,"]+)`)

// rowOf returns the path that ends the session of a device.
func rowOf(t *testing.T, page, device string) string {
	t.Helper()
	for _, m := range revokeForm.FindAllStringSubmatch(page, -1) {
		if m[2] == device {
			return "/devices/" + m[1]
		}
	}
	t.Fatalf("no button for %s in:\n%s", device, page)
	return ""
}

func TestOneBrowserEndsTheOther(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *server) {
		one, other := s.login("ada", linux), s.login("ada", phone)
		_, page := one.get("/devices/")
		at, body := one.post(rowOf(t, page, "Safari on iPhone"))
		if !strings.HasPrefix(at, "/devices/?done=") || !strings.Contains(body, "Safari on iPhone is signed out.") {
			t.Errorf("at %s:\n%s", at, body)
		}
		if at, _ := other.get("/devices/"); at != "/login?return_to=%2Fdevices%2F" {
			t.Errorf("the other browser is at %s, not at the login", at)
		}
		if at, _ := other.post("/login", "name", "ada", "password", password, "return_to", "/devices/"); at != "/devices/" {
			t.Errorf("back after the login: %s", at)
		}
	})
}

func TestPasswordChangeEndsTheOthers(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *server) {
		one, other, bob := s.login("ada", linux), s.login("ada", phone), s.login("bob", phone)
		if _, body := one.post("/password", "password", "wrong", "new", "battery staple"); !strings.Contains(body, "The password is wrong") {
			t.Errorf("a wrong password:\n%s", body)
		}
		if _, body := one.post("/password", "password", password, "new", "short"); !strings.Contains(body, "at least 8") {
			t.Errorf("a short password:\n%s", body)
		}
		if at, _ := other.get("/"); at != "/" {
			t.Fatal("the other session is ended too early")
		}
		at, body := one.post("/password", "password", password, "new", "battery staple")
		if at != "/devices/?done=others" || !strings.Contains(body, "You are signed out everywhere else.") || !strings.Contains(body, "Password changed") {
			t.Errorf("at %s:\n%s", at, body)
		}
		if at, _ := other.get("/"); !strings.HasPrefix(at, "/login") {
			t.Errorf("the other session is at %s", at)
		}
		if at, _ := bob.get("/"); at != "/" {
			t.Errorf("bob is at %s", at)
		}
		if _, body := s.client(linux).post("/login", "name", "ada", "password", password); !strings.Contains(body, "is wrong") {
			t.Error("the old password is good")
		}
		if at, _ := s.client(linux).post("/login", "name", "ada", "password", "battery staple"); at != "/" {
			t.Error("the new password is not good")
		}
	})
}

var passwordChanges = flag.Int("changes", 0, "how many changes TestOldPasswordKeepsNoSession makes; 0: a few")

// TestOldPasswordKeepsNoSession changes a password while others log in with it all
// the time. With -args -changes 100 it does so a hundred times.
func TestOldPasswordKeepsNoSession(t *testing.T) {
	defer func(n int) { iterations = n }(iterations)
	iterations = 20_000 // a login takes time between the look at the hash and its session
	changes := *passwordChanges
	switch {
	case changes > 0:
	case depth.Full():
		changes = 5
	default:
		changes = 2
	}
	eachDatabase(t, func(t *testing.T, s *server) {
		owner, old := s.login("ada", linux), password
		for n := range changes {
			changed, attempts := make(chan struct{}), make(chan struct{}, 1)
			var bots sync.WaitGroup
			for range 2 {
				bot := s.client(phone)
				bots.Go(func() {
					for {
						resp, err := bot.http.PostForm(s.URL+"/login", url.Values{"name": {"ada"}, "password": {old}})
						if err != nil {
							t.Error(err)
						} else {
							resp.Body.Close()
						}
						select {
						case attempts <- struct{}{}:
						case <-changed:
							return
						default:
						}
					}
				})
			}
			<-attempts
			next := fmt.Sprint("battery staple ", n)
			if at, body := owner.post("/password", "password", old, "new", next); at != "/devices/?done=others" {
				t.Errorf("the owner is at %s:\n%s", at, body)
			}
			close(changed)
			bots.Wait()
			if list, err := s.app.sessions.ListSessions(t.Context(), "ada"); len(list) != 1 || err != nil {
				t.Fatalf("%d sessions after change %d, %v; want the owner's", len(list), n, err)
			}
			old = next
		}
	})
}

func TestStaleLoginIsAskedForThePassword(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *server) {
		one, other := s.login("ada", linux), s.login("ada", phone)
		list, err := s.app.sessions.ListSessions(t.Context(), "ada")
		if err != nil || len(list) != 2 {
			t.Fatal(len(list), err)
		}
		shift := "UPDATE user_sessions SET authenticated_at = authenticated_at - " + map[string]string{
			"sqlite": "600000000", "postgres": "interval '10 minutes'",
		}[s.app.db.DriverName()]
		if _, err := s.app.db.Exec(shift); err != nil {
			t.Fatal(err)
		}
		at, body := one.get("/devices/revoke-others")
		if at != "/reauth?return_to=%2Fdevices%2Frevoke-others" || !strings.Contains(body, "Is it you, ada?") {
			t.Fatalf("at %s:\n%s", at, body)
		}
		if _, body := one.post("/reauth", "password", "wrong", "return_to", "/devices/revoke-others"); !strings.Contains(body, "is wrong") || !strings.Contains(body, `value="/devices/revoke-others"`) {
			t.Errorf("a wrong password:\n%s", body)
		}
		if at, _ := one.post("/reauth", "password", password, "return_to", "/devices/revoke-others"); at != "/devices/revoke-others" {
			t.Errorf("back at %s", at)
		}
		if at, _ := one.post("/devices/revoke-others"); at != "/devices/?done=others" {
			t.Errorf("at %s", at)
		}
		if at, _ := other.get("/"); !strings.HasPrefix(at, "/login") {
			t.Errorf("the other session is at %s", at)
		}
		if at, _ := one.post("/reauth", "password", password, "return_to", "//evil.example/"); at != "/" {
			t.Errorf("sent to %s", at)
		}
	})
}

func TestAdminEndsAUser(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *server) {
		ada, bob, admin := s.login("ada", linux), s.login("bob", linux), s.login(adminName, linux)
		if _, body := ada.get("/admin/sessions/"); !strings.Contains(body, "You may not see this.") {
			t.Errorf("ada sees the admin's page:\n%s", body)
		}
		if _, body := admin.get("/admin/sessions/revoke?user=ada"); !strings.Contains(body, "1 session will be ended.") {
			t.Errorf("preview:\n%s", body)
		}
		at, body := admin.post("/admin/sessions/revoke", "user", "ada", "count", "1", "reason", "stolen")
		for range 60 {
			if strings.Contains(body, "Done") {
				break
			}
			_, body = admin.get(at) // waits for a moment
		}
		if !strings.Contains(body, "1 of about 1 ended") {
			t.Errorf("at %s:\n%s", at, body)
		}
		if at, _ := ada.get("/"); !strings.HasPrefix(at, "/login") {
			t.Errorf("ada is at %s", at)
		}
		if at, _ := bob.get("/"); at != "/" {
			t.Errorf("bob is at %s", at)
		}
	})
}

// TestASVS_7_4_4_LogoutOnEveryPage wants a way out on each page behind the login.
func TestASVS_7_4_4_LogoutOnEveryPage(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "db"), "")
	ada := s.login("ada", linux)
	for _, page := range []string{"/", "/password", "/reauth", "/live"} {
		if at, body := ada.get(page); at != page || !strings.Contains(body, `action="/logout"`) {
			t.Errorf("%s: no logout at %s", page, at)
		}
	}
}

func TestLogout(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *server) {
		ada := s.login("ada", linux)
		if at, _ := ada.post("/logout"); at != "/login" {
			t.Errorf("at %s", at)
		}
		if at, _ := ada.get("/"); !strings.HasPrefix(at, "/login") {
			t.Errorf("at %s", at)
		}
	})
}

// A stream ends when its session does, and not before.
func TestStreamEndsWithItsSession(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *server) {
		one, other := s.login("ada", linux), s.login("ada", phone)
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := other.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for n := 0; n < 3 && lines.Scan(); { // it goes on as long as nobody ends it
			if strings.HasPrefix(lines.Text(), "data: ") {
				n++
			}
		}
		if at, _ := one.post("/devices/revoke-others"); at != "/devices/?done=others" {
			t.Fatalf("at %s", at)
		}
		var rest []string
		for lines.Scan() {
			rest = append(rest, lines.Text())
		}
		if err := lines.Err(); err != nil || !slices.Contains(rest, "event: ended") {
			t.Errorf("after the revocation: %q, %v", rest, err)
		}
		if at, _ := other.get("/stream"); !strings.HasPrefix(at, "/login") {
			t.Errorf("a new stream of the session: at %s", at)
		}
	})
}

// TestRun starts the program as its users do, logs in and stops it: a stream
// that is open does not keep it.
func TestRun(t *testing.T) {
	t.Setenv("DEMO_PASSWORD", password)
	for name, args := range map[string]func(t *testing.T) []string{
		"SQLite": func(t *testing.T) []string { return []string{"-database", filepath.Join(t.TempDir(), "db")} },
		"PostgreSQL and Redis": func(t *testing.T) []string {
			return []string{"-database", freshPostgres(t), "-redis", "redis://" + testserver.Redis(t)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			args := args(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			r, w := io.Pipe()
			go func() {
				done <- run(ctx, append(args, "-addr", "127.0.0.1:0"), w)
				w.Close()
			}()
			said, err := bufio.NewReader(r).ReadString('\n')
			if err != nil {
				t.Fatal("ended:", <-done)
			}
			url := strings.TrimSuffix(strings.TrimPrefix(said, "Listening on "), "\n")
			s := &server{Server: &httptest.Server{URL: url}, t: t}
			ada := s.login("ada", linux)
			resp, err := ada.http.Get(s.URL + "/stream")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Error("the stream:", err)
			}
		})
	}
}

func TestRunNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name, says string
		args       []string
	}{
		{"a flag that is none", "not defined", []string{"-dtabase", "x"}},
		{"a Redis that is none", "invalid URL scheme", []string{"-database", filepath.Join(t.TempDir(), "db"), "-redis", "127.0.0.1"}},
		{"no PostgreSQL", "refused", []string{"-database", "postgres://127.0.0.1:1/none?sslmode=disable"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := run(t.Context(), c.args, io.Discard); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
}
