package manager_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/dbsc"
	"github.com/seed-296ca7ab/usersession/internal/softdevice"
	"github.com/seed-296ca7ab/usersession/usersessiontest"
)

const boundCookie = "__Host-session-bound"

// deviceSite is a program whose sessions are bound to devices.
type deviceSite struct {
	*testing.T
	m       *usersession.Manager
	db      *sqlx.DB
	handler http.Handler

	mu     sync.Mutex
	events []usersession.Event
}

// inDeviceSite runs a test in a bubble.
func inDeviceSite(t *testing.T, configure func(*usersession.Options), opts *dbsc.Options, test func(t *testing.T, s *deviceSite)) {
	t.Helper()
	inSite(t, configure, func(m *usersession.Manager) http.Handler { return deviceRoutes(t, m, opts) }, test)
}

// inPlainSite is inDeviceSite without package dbsc.
func inPlainSite(t *testing.T, configure func(*usersession.Options), test func(t *testing.T, s *deviceSite)) {
	t.Helper()
	inSite(t, configure, plainRoutes, test)
}

func plainRoutes(m *usersession.Manager) http.Handler {
	return mwRoutes(m, map[string]http.HandlerFunc{
		"/renew":          func(_ http.ResponseWriter, r *http.Request) { m.RenewToken(r.Context()) },
		"/reauthenticate": func(_ http.ResponseWriter, r *http.Request) { m.Reauthenticate(r.Context()) },
	})
}

func inSite(t *testing.T, configure func(*usersession.Options), routes func(*usersession.Manager) http.Handler, test func(t *testing.T, s *deviceSite)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		db, err := sqlx.Open("sqlite", ":memory:")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		db.SetMaxOpenConns(1)
		usersessiontest.InBubble(t, db.DB)
		s := &deviceSite{T: t, db: db}
		o := &usersession.Options{OnEvent: func(_ context.Context, e usersession.Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
		}}
		if configure != nil {
			configure(o)
		}
		if s.m, err = usersession.New(db, o); err != nil {
			t.Fatal(err)
		}
		if err := s.m.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.handler = routes(s.m)
		test(t, s)
	})
}

// later lets time pass, which takes none.
func (s *deviceSite) later(d time.Duration) {
	time.Sleep(d) // sleep: the clock of the bubble
}

func deviceRoutes(t *testing.T, m *usersession.Manager, opts *dbsc.Options) http.Handler {
	t.Helper()
	devices, err := dbsc.New(m, opts)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(dbsc.Path, devices)
	answer := func(fn func(r *http.Request) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := fn(r); err != nil {
				http.Error(w, err.Error(), http.StatusTeapot)
			}
		}
	}
	mux.HandleFunc("/login", answer(func(r *http.Request) error { return m.Login(r.Context(), r.FormValue("u")) }))
	mux.HandleFunc("/reauthenticate", answer(func(r *http.Request) error { return m.Reauthenticate(r.Context()) }))
	mux.HandleFunc("/renew", answer(func(r *http.Request) error { return m.RenewToken(r.Context()) }))
	mux.HandleFunc("/logout", answer(func(r *http.Request) error { return m.Logout(r.Context()) }))
	mux.HandleFunc("/put", func(w http.ResponseWriter, r *http.Request) { m.Put(r.Context(), r.FormValue("k"), r.FormValue("v")) })
	mux.HandleFunc("/me", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, m.UserID(r.Context())) })
	mux.Handle("/pay", devices.RequireBound(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "paid") })))
	mux.Handle("/user", m.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "user") })))
	return m.LoadAndSave(devices.Protect(mux))
}

// took returns how many events of a kind there were since the last call.
func (s *deviceSite) took(kind usersession.EventKind) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Kind == kind {
			n++
		}
	}
	s.events = slices.DeleteFunc(s.events, func(e usersession.Event) bool { return e.Kind == kind })
	return n
}

// deviceBrowser keeps cookies for ever, so that the server has the last word.
type deviceBrowser struct {
	*deviceSite
	device    *softdevice.Device
	cookies   map[string]string
	id        string // session_identifier
	challenge string // for the next refresh
	ip, agent string // of each request, if set
}

func (s *deviceSite) browser() *deviceBrowser {
	s.Helper()
	d, err := softdevice.New()
	if err != nil {
		s.Fatal(err)
	}
	return &deviceBrowser{deviceSite: s, device: d, cookies: map[string]string{}}
}

// thief has all cookies of the browser, and not its key.
func (b *deviceBrowser) thief() *deviceBrowser {
	stolen := b.deviceSite.browser()
	for k, v := range b.cookies {
		stolen.cookies[k] = v
	}
	stolen.id = b.id
	return stolen
}

// send sends a request with pairs of header fields.
//
//sourcetest:goroutine
func (b *deviceBrowser) send(method, path string, fields ...string) *httptest.ResponseRecorder {
	b.later(time.Millisecond)
	r := httptest.NewRequestWithContext(context.Background(), method, "https://example.com"+path, nil)
	for k, v := range b.cookies {
		r.AddCookie(&http.Cookie{Name: k, Value: v})
	}
	if b.ip != "" {
		r.RemoteAddr = b.ip + ":1"
		r.Header.Set("User-Agent", b.agent)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	if c := softdevice.Challenged(w.Header()); c != "" {
		b.challenge = c
	}
	return w
}

func (b *deviceBrowser) want(user string) {
	b.Helper()
	if got := b.send("GET", "/me").Body.String(); got != user {
		b.Errorf("is served as %q, want %q", got, user)
	}
}

// login logs in and returns the challenge of the offer.
func (b *deviceBrowser) login(user string) (challenge string) {
	b.Helper()
	w := b.send("POST", "/login?u="+user)
	if w.Code != 200 {
		b.Fatalf("login: %d %s", w.Code, w.Body)
	}
	return softdevice.Offered(w.Header())
}

// register answers an offer.
func (b *deviceBrowser) register(challenge string) *httptest.ResponseRecorder {
	b.Helper()
	response, err := b.device.Registration(challenge)
	if err != nil {
		b.Fatal(err)
	}
	return b.send("POST", "/.well-known/dbsc/register", "Secure-Session-Response", response)
}

// bind logs in, binds the session, and lets the time pass in which requests may be under
// way that were sent before.
func (b *deviceBrowser) bind(user string) {
	b.Helper()
	w := b.register(b.login(user))
	var got struct {
		ID string `json:"session_identifier"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); w.Code != 200 || err != nil || got.ID == "" {
		b.Fatalf("the registration: %d %s, %v", w.Code, w.Body, err)
	}
	b.id = got.ID
	b.later(61 * time.Second)
}

// refresh asks for another short cookie; proof is "" without one.
func (b *deviceBrowser) refresh(proof string) *httptest.ResponseRecorder {
	b.Helper()
	fields := []string{"Sec-Secure-Session-Id", `"` + b.id + `"`}
	if proof != "" {
		fields = append(fields, "Secure-Session-Response", proof)
	}
	return b.send("POST", "/.well-known/dbsc/refresh", fields...)
}

// proof signs a challenge.
func (b *deviceBrowser) proof(challenge string) string {
	b.Helper()
	p, err := b.device.Proof(challenge)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// refreshes does it as a browser does, in one or two requests.
func (b *deviceBrowser) refreshes() {
	b.Helper()
	if b.challenge == "" {
		if w := b.refresh(""); w.Code != 403 || b.challenge == "" {
			b.Fatalf("a refresh without a proof: %d, challenge %q, want 403 with one", w.Code, b.challenge)
		}
	}
	if w := b.refresh(b.proof(b.challenge)); w.Code != 200 {
		b.Fatalf("a refresh: %d %s", w.Code, w.Body)
	}
}

// live returns the sessions of a user.
func (s *deviceSite) live(user string) []usersession.UserSession {
	s.Helper()
	list, err := s.m.ListSessions(s.Context(), user)
	if err != nil {
		s.Fatal(err)
	}
	return list
}

// clearsNothing wants a response that sets no cookie.
func (s *deviceSite) clearsNothing(w *httptest.ResponseRecorder) {
	s.Helper()
	if got := w.Header().Values("Set-Cookie"); len(got) > 0 {
		s.Errorf("the response sets %q", strings.Join(got, "; "))
	}
}
