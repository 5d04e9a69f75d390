package browsertest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/dbsc"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

const shortCookie = "__Host-session-bound"

// deviceSite is a program whose sessions are bound, and the Chromium that visits it. The
// keys of Chromium are in software here, because a machine for tests has no TPM.
type deviceSite struct {
	*site
	srv   *httptest.Server
	other string // the URL of another site, with a link

	mu  sync.Mutex
	log []string // the requests of package dbsc, with their answers
}

func startDevices(t *testing.T) (*deviceSite, *tab) {
	t.Helper()
	testserver.Chromium(t)
	db, err := sqlx.Connect("sqlite", "file:"+filepath.Join(t.TempDir(), "devices.db")+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	sessions, err := usersession.New(db, &usersession.Options{ReadTimeout: time.Minute, WriteTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := sessions.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	devices, err := dbsc.New(sessions, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &deviceSite{site: &site{t: t, db: db, sessions: sessions}}
	page := func(w http.ResponseWriter, text string) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!DOCTYPE html><html lang="en"><title>x</title><link rel="icon" href="data:,"><p>%s</p>`, text)
	}
	mux := http.NewServeMux()
	mux.Handle(dbsc.Path, devices)
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.Login(r.Context(), "ada"); err != nil {
			t.Error(err)
		}
		page(w, "welcome")
	})
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) { page(w, "user: "+sessions.UserID(r.Context())) })
	mux.Handle("/user", sessions.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { page(w, "a user") })))
	mux.Handle("/pay", devices.RequireBound(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { page(w, "paid") })))
	app := sessions.LoadAndSave(devices.Protect(mux))
	d.srv = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Host, "app.") {
			page(w, `<a href="`+d.url+`/">there</a>`)
			return
		}
		w = &answered{w, 200}
		app.ServeHTTP(w, r)
		if what, ok := strings.CutPrefix(r.URL.Path, dbsc.Path); ok {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.log = append(d.log, fmt.Sprint(what, " ", w.(*answered).status))
		}
	}))
	d.srv.StartTLS()
	t.Cleanup(d.srv.Close)
	port := d.srv.URL[strings.LastIndex(d.srv.URL, ":"):]
	d.url, d.other = "https://app.example.com"+port, "https://news.example.org"+port
	key := sha256.Sum256(d.srv.Certificate().RawSubjectPublicKeyInfo)
	browser := newBrowser(t,
		chromedp.Flag("enable-features", "NetworkService,NetworkServiceInProcess,DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting"),
		chromedp.Flag("host-resolver-rules", "MAP *.example.com 127.0.0.1, MAP *.example.org 127.0.0.1"),
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(key[:])),
	)
	return d, d.open(browser, look{})
}

// answered is a response that tells its status.
type answered struct {
	http.ResponseWriter
	status int
}

func (a *answered) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// took returns what Chromium has asked of package dbsc since the last call.
func (d *deviceSite) took() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	log := strings.Join(d.log, ", ")
	d.log = nil
	return log
}

// wants compares what Chromium has asked.
func (d *deviceSite) wants(want string) {
	d.t.Helper()
	if got := d.took(); got != want {
		d.t.Errorf("Chromium has asked for %q, want %q", got, want)
	}
}

// bind logs Chromium in and waits until its session is bound.
func (d *deviceSite) bind(p *tab) {
	d.t.Helper()
	p.visit("/login")
	for end := time.Now().Add(patience); !strings.Contains(p.text(), "paid"); p.visit("/pay") {
		if time.Now().After(end) {
			p.fail("the session is not bound")
		}
	}
	if got := d.took(); !strings.HasPrefix(got, "register 200") { // a page may have offered it once more
		d.t.Errorf("Chromium has asked for %q, want a registration", got)
	}
	d.exec("UPDATE user_sessions SET device_bound_at = 0") // long ago
}

// cookies returns the cookies of Chromium.
func (d *deviceSite) cookies(p *tab) (all []*http.Cookie) {
	d.t.Helper()
	for _, c := range call(p, network.GetCookies, network.GetCookiesParams{URLs: []string{d.url}}).Cookies {
		all = append(all, &http.Cookie{Name: c.Name, Value: c.Value})
	}
	return all
}

// forgets takes the short cookie from Chromium, as if it had ended.
func (d *deviceSite) forgets(p *tab) {
	d.t.Helper()
	call(p, network.DeleteCookies, network.DeleteCookiesParams{Name: shortCookie, URL: d.url + "/"})
}

// as sends a request of a program that has copied cookies.
func (d *deviceSite) as(cookies []*http.Cookie, path string) (status int, body string) {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, d.srv.URL+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	r.Host = strings.TrimPrefix(d.url, "https://")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	res, err := d.srv.Client().Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// soon waits until the page says a text.
func (p *tab) soon(text string) {
	p.t.Helper()
	p.do(chromedp.WaitVisible(fmt.Sprintf(`//p[contains(., "%s")]`, text)))
}

// The whole promise, with a browser that binds.
func TestStolenCookie(t *testing.T) {
	depth.OnlyFull(t)
	d, p := startDevices(t)
	d.bind(p)
	stolen := d.cookies(p)
	if len(stolen) != 2 {
		t.Fatalf("Chromium has the cookies %v, want two", stolen)
	}
	if _, body := d.as(stolen, "/"); !strings.Contains(body, "user: ada") {
		t.Errorf("the copied cookies are served %q, want ada", body)
	}

	inside.Advance(dbsc.DefaultCookieLifetime) // for the server, as for a thief who waits
	t.Cleanup(func() { inside.Advance(-dbsc.DefaultCookieLifetime) })
	d.forgets(p)
	for range 3 {
		if status, _ := d.as(stolen, "/user"); status != http.StatusUnauthorized {
			t.Errorf("the copied cookies: %d after the short one has ended, want 401", status)
		}
		p.visit("/")
		p.wantText("user: ada")
	}
	d.wants("refresh 403, refresh 200")

	// The page of another site leads here: the refresh is not taken for that site's.
	d.forgets(p)
	p.visitRaw(d.other + "/")
	p.click("a", "there")
	p.soon("user: ada")
	d.wants("refresh 200")

	list, err := d.sessions.ListSessions(t.Context(), "ada")
	if err != nil || len(list) != 1 || !list[0].Bound {
		t.Fatalf("the list: %v, %v", list, err)
	}
	fresh := d.cookies(p)
	if err := d.sessions.RevokeSession(t.Context(), "ada", list[0].ID); err != nil {
		t.Fatal(err)
	}
	if status, _ := d.as(fresh, "/user"); status != http.StatusUnauthorized {
		t.Errorf("all cookies after the revocation: %d, want 401", status)
	}
	p.visit("/user")
	p.wantText("Unauthorized")
	d.wants("")
	d.forgets(p)
	p.visit("/user")
	p.wantText("Unauthorized")
	d.wants("refresh 401")
	for range 3 {
		p.visit("/user")
		p.wantText("Unauthorized")
	}
	d.wants("") // it has dropped its session
}
