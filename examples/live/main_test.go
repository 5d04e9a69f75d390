package main

import (
	"bufio"
	"context"
	"database/sql"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// browser is a client with cookies.
type browser struct {
	*testing.T
	*http.Client
	url string
}

func browse(t *testing.T, at, user string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t, &http.Client{Jar: jar}, at}
	if page := b.send("POST", "/login", "user", user, "password", "demo"); !strings.Contains(page, "live.js") {
		t.Fatalf("login of %s: %s", user, page)
	}
	return b
}

func (b *browser) open(method, path string, fields ...string) *http.Response {
	b.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	r, err := http.NewRequestWithContext(b.Context(), method, b.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := b.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { res.Body.Close() })
	return res
}

func (b *browser) send(method, path string, fields ...string) string {
	b.Helper()
	body, err := io.ReadAll(b.open(method, path, fields...).Body)
	if err != nil {
		b.Fatal(err)
	}
	return string(body)
}

// chat opens the chat, and waits until it hears itself.
func (b *browser) chat() *websocket.Conn {
	b.Helper()
	conn, _, err := websocket.Dial(b.Context(), b.url+"/chat", &websocket.DialOptions{HTTPClient: b.Client})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.CloseNow() })
	if err := conn.Write(b.Context(), websocket.MessageText, []byte("hi")); err != nil {
		b.Fatal(err)
	}
	if _, text, err := conn.Read(b.Context()); err != nil || !strings.HasSuffix(string(text), ": hi") {
		b.Fatalf("heard %q, %v", text, err)
	}
	return conn
}

// The admin's page ends what ada has open, also at another replica. The browser is told,
// and may ask why. What bob has open goes on.
func TestAdminEndsWhatIsOpen(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { endsWhatIsOpen(t, filepath.Join(t.TempDir(), "db")) })
	t.Run("PostgreSQL", func(t *testing.T) {
		depth.OnlyFull(t)
		endsWhatIsOpen(t, testserver.FreshPostgres(t, func(dsn string) (*sql.DB, error) { return sql.Open("postgres", dsn) }))
	})
}

func endsWhatIsOpen(t *testing.T, database string) {
	var replicas []string
	for range 2 {
		ctx, stop := context.WithCancel(t.Context())
		t.Cleanup(stop)
		h, err := newHandler(ctx, database)
		if err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		replicas = append(replicas, srv.URL)
	}
	ada, bob, admin := browse(t, replicas[0], "ada"), browse(t, replicas[0], "bob"), browse(t, replicas[1], "admin")
	stream := bufio.NewScanner(ada.open("GET", "/stream").Body)
	if stream.Scan(); !strings.Contains(stream.Text(), "Hello ada") {
		t.Fatalf("the stream begins with %q", stream.Text())
	}
	hers, his := ada.chat(), bob.chat()
	if page := admin.send("POST", "/admin/sessions/revoke", "user", "ada", "count", "1", "reason", "stolen"); !strings.Contains(page, "ada") {
		t.Fatalf("the admin's page: %s", page)
	}
	rest := ""
	for stream.Scan() {
		rest += stream.Text() + "\n"
	}
	if !strings.HasSuffix(rest, "event: ended\ndata:\n\n") {
		t.Errorf("the stream ends with %q, %v", rest, stream.Err())
	}
	var err error
	for err == nil { // she may hear bob first
		_, _, err = hers.Read(t.Context())
	}
	if websocket.CloseStatus(err) != sessionEnded {
		t.Errorf("her chat: %v", err)
	}
	if why := ada.send("GET", "/why"); !strings.Contains(why, `"stolen"`) {
		t.Errorf("why: %s", why)
	}
	if err := his.Write(t.Context(), websocket.MessageText, []byte("still here")); err != nil {
		t.Error(err)
	}
	for text := ""; text != "bob: still here"; {
		_, b, err := his.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
}

// Nobody who is not logged in gets anything.
func TestNobodyIsRefused(t *testing.T) {
	h, err := newHandler(t.Context(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/stream": 401, "/chat": 401, "/why": 200, "/": 200, "/login": 200, "/live.js": 200} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want {
			t.Errorf("GET %s = %d, want %d", path, w.Code, want)
		}
	}
}
