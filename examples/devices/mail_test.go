package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/dbsc"
	"github.com/seed-296ca7ab/usersession/internal/softdevice"
)

var notMeLink = regexp.MustCompile(`href="(http[^"]*)(/not-me/\?link=([\w-]+))"`)

func TestMailEndsANewDevice(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *server) {
		ada := s.login("ada", linux)
		if _, page := ada.get("/mail"); !strings.Contains(page, "There is no mail") {
			t.Errorf("the first sign-in is mailed:\n%s", page)
		}
		thief := s.login("ada", phone)
		again := s.login("ada", phone) // it is no new device by now
		_, page := ada.get("/mail")
		link := notMeLink.FindAllStringSubmatch(page, -1)
		if len(link) != 1 || link[0][1] != s.URL || !strings.Contains(page, "Safari on iPhone, from 127.0.0.1") {
			t.Fatalf("the mail:\n%s", page)
		}
		anybody := s.client(linux) // signed in nowhere, as the reader of a mail may be
		if _, page := anybody.get(link[0][2]); !strings.Contains(page, "This was not me") {
			t.Errorf("the page of the link:\n%s", page)
		}
		if at, _ := thief.get("/"); at != "/" {
			t.Error("a link that was only followed has ended a session")
		}
		if _, page := anybody.post("/not-me/", "link", link[0][3]); !strings.Contains(page, "That device is signed out") {
			t.Errorf("the answer:\n%s", page)
		}
		for name, c := range map[string]*client{"the thief": thief, "what they signed in to later": again} {
			if at, _ := c.get("/"); !strings.HasPrefix(at, "/login") {
				t.Errorf("%s is at %s", name, at)
			}
		}
		if at, _ := ada.get("/"); at != "/" {
			t.Errorf("ada is at %s", at)
		}
	})
}

// The links of mails lead somewhere, also for a program that listens everywhere.
func TestSiteOfAddress(t *testing.T) {
	for addr, want := range map[string]string{":8081": "http://localhost:8081", "127.0.0.1:8081": "http://127.0.0.1:8081", "[::1]:8081": "http://[::1]:8081"} {
		if got := siteAt(addr); got != want {
			t.Errorf("%s is reached at %s, want %s", addr, got, want)
		}
	}
}

// A copied cookie that is used after a renewal ends the session, and is mailed.
func TestMailOfATokenReused(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *server) {
		ada, thief := s.login("ada", linux), s.client(phone)
		for _, c := range ada.http.Jar.Cookies(mustRequest(t, s.URL).URL) {
			thief.http.Jar.SetCookies(mustRequest(t, s.URL).URL, []*http.Cookie{c})
		}
		if at, _ := ada.post("/reauth", "password", password); at != "/" {
			t.Fatalf("at %s", at)
		}
		minutes := map[string]string{"sqlite": "renewed_at - 120000000", "postgres": "renewed_at - interval '2 minutes'"}
		if _, err := s.app.db.Exec("UPDATE user_sessions SET renewed_at = " + minutes[s.app.db.DriverName()]); err != nil {
			t.Fatal(err)
		}
		thief.get("/")
		if at, _ := ada.get("/"); !strings.HasPrefix(at, "/login") {
			t.Errorf("ada is at %s", at)
		}
		if _, page := s.login("ada", linux).get("/mail"); !strings.Contains(page, "You have been signed out") || !strings.Contains(page, "Safari on iPhone from 127.0.0.1, and Firefox on Linux from 127.0.0.1. Sign in again.") {
			t.Errorf("the mail:\n%s", page)
		}
	})
}

// A session that goes on is not said to have ended.
func TestMailOfATokenReported(t *testing.T) {
	a := new(app)
	a.notice(t.Context(), usersession.Event{Kind: usersession.EventTokenReused, UserID: "ada"})
	if got := a.mails.of("ada"); len(got) != 1 || strings.Contains(fmt.Sprint(got), "igned out") || strings.Contains(fmt.Sprint(got), "Sign in") {
		t.Errorf("%v", got)
	}
}

func mustRequest(t *testing.T, target string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Over https a session is bound to its device.
func TestBound(t *testing.T) {
	db, err := openDatabase(filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a, err := newApp(ctx, db, nil, "https://example.com", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.users.seed(t.Context(), password, "ada"); err != nil {
		t.Fatal(err)
	}
	h, cookies := a.handler(), map[string]string{}
	send := func(method, path, body string, fields ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, "https://example.com"+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		for k, v := range cookies {
			r.AddCookie(&http.Cookie{Name: k, Value: v})
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		for _, c := range w.Result().Cookies() {
			cookies[c.Name] = c.Value
		}
		return w
	}
	device, err := softdevice.New()
	if err != nil {
		t.Fatal(err)
	}
	w := send("POST", "/login", "name=ada&password=correct+horse")
	registration, err := device.Registration(softdevice.Offered(w.Header()))
	if err != nil {
		t.Fatal(err)
	}
	if w := send("POST", dbsc.Path+"register", "", "Secure-Session-Response", registration); w.Code != http.StatusOK {
		t.Fatalf("the registration: %d %s", w.Code, w.Body)
	}
	page, err := io.ReadAll(send("GET", "/devices/", "").Body)
	if err != nil || !strings.Contains(string(page), "Bound to its device") {
		t.Errorf("%v, the devices:\n%s", err, page)
	}
}
