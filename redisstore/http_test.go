package redisstore_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/redis/go-redis/v9"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	_ "modernc.org/sqlite"
)

func TestMainJob(t *testing.T) {
	mainJob(t, newClient(t, testserver.Redis(t)), func(client redis.UniversalClient, trips *recorder) { client.AddHook(trips) })
}

// mainJob lets two browsers log in, lists them, and revokes one while a request
// of it is in flight. Sessions are in Redis, the index is in SQLite.
func mainJob(t *testing.T, client redis.UniversalClient, record func(redis.UniversalClient, *recorder)) {
	t.Helper()
	db := sqlx.MustConnect("sqlite", "file:"+filepath.Join(t.TempDir(), "index.db")+"?_pragma=busy_timeout(60000)")
	defer db.Close()
	sessions, err := usersession.New(db, &usersession.Options{
		Store: newStore(t, client), ReadTimeout: time.Minute, WriteTimeout: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := sessions.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}

	entered, revoked := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.Login(r.Context(), "42"); err != nil {
			t.Errorf("Login: %v", err)
		}
		sessions.Put(r.Context(), "browser", r.UserAgent())
	})
	mux.Handle("GET /me", sessions.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s with %s", sessions.UserID(r.Context()), sessions.GetString(r.Context(), "browser"))
	})))
	mux.Handle("POST /slow", sessions.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-revoked
		sessions.Put(r.Context(), "cart", "late")
		fmt.Fprint(w, "saved")
	})))
	mux.Handle("POST /others", sessions.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := sessions.RevokeOtherSessions(r.Context())
		fmt.Fprint(w, n, err)
	})))
	server := httptest.NewTLSServer(sessions.LoadAndSave(mux))
	defer server.Close()
	browser := func(name string) func(method, path string) (int, string) {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		c := &http.Client{Jar: jar, Transport: server.Client().Transport}
		return func(method, path string) (int, string) {
			r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
			if err != nil {
				t.Error(err)
				return 0, ""
			}
			r.Header.Set("User-Agent", name)
			response, err := c.Do(r)
			if err != nil {
				t.Error(err)
				return 0, ""
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Error(err)
			}
			return response.StatusCode, string(body)
		}
	}
	want := func(what string, wantCode int, wantBody string) func(int, string) {
		return func(code int, body string) {
			t.Helper()
			if code != wantCode || !strings.Contains(body, wantBody) {
				t.Errorf("%s: %d %q, want %d %q", what, code, body, wantCode, wantBody)
			}
		}
	}

	phone, laptop := browser("phone"), browser("laptop")
	want("login", 200, "")(phone("POST", "/login"))
	want("login", 200, "")(laptop("POST", "/login"))
	want("read", 200, "42 with phone")(phone("GET", "/me"))
	list, err := sessions.ListSessions(t.Context(), "42")
	if len(list) != 2 || err != nil {
		t.Fatalf("ListSessions: %d, %v; want 2", len(list), err)
	}

	slow := make(chan func(func(int, string)))
	go func() {
		code, body := phone("POST", "/slow")
		slow <- func(check func(int, string)) { check(code, body) }
	}()
	<-entered
	want("revoke the others", 200, "1 <nil>")(laptop("POST", "/others"))
	close(revoked)
	(<-slow)(want("the request in flight", 401, ""))
	want("the next one", 401, "")(phone("GET", "/me"))
	want("and the next", 401, "")(phone("GET", "/me"))
	if list, err := sessions.ListSessions(t.Context(), "42"); len(list) != 1 || err != nil || list[0].UserAgent != "laptop" {
		t.Errorf("ListSessions: %v, %v; want the laptop", list, err)
	}

	// Without its database the index answers nothing, so what is served now
	// needs no SQL.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var trips recorder
	record(client, &trips)
	want("a read without the index", 200, "42 with laptop")(laptop("GET", "/me"))
	if got := trips.list(); !slices.Equal(got, []string{"get"}) {
		t.Errorf("round trips of a read: %q, want one get", got)
	}
}
