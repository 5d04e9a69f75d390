package backendtest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/dbsc"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/internal/softdevice"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

var deviceBehaviours = []behaviour{
	{"devices: bound, refreshed, listed and ended", deviceBound},
	{"devices: this was not me", deviceNotMe},
}

// longAgo is a time in a column, before which a session is not just bound.
var longAgo = map[string]string{"sqlite": "0", "postgres": "'2020-01-01'", "pgx": "'2020-01-01'", "mysql": "'2020-01-01'"}

func deviceBound(t *testing.T, b backend) {
	e := b.start(t)
	devices, err := dbsc.New(e.m, nil)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(dbsc.Path, devices)
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) { e.ok(e.m.Login(r.Context(), "alice")) })
	mux.HandleFunc("/me", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, e.m.UserID(r.Context())) })
	handler := e.m.LoadAndSave(devices.Protect(mux))
	cookies := map[string]string{}
	send := func(path string, want int, fields ...string) *httptest.ResponseRecorder {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://example.com"+path, nil)
		for k, v := range cookies {
			r.AddCookie(&http.Cookie{Name: k, Value: v})
		}
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		for _, c := range w.Result().Cookies() {
			cookies[c.Name] = c.Value
		}
		if w.Code != want {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, want)
		}
		return w
	}
	device, err := softdevice.New()
	if err != nil {
		t.Fatal(err)
	}
	registration, err := device.Registration(softdevice.Offered(send("/login", 200).Header()))
	if err != nil {
		t.Fatal(err)
	}
	send(dbsc.Path+"register", 200, "Secure-Session-Response", registration)
	exec(t, e.db, "UPDATE "+quoted(e.db, e.table)+" SET device_bound_at = "+longAgo[e.db.DriverName()])
	if got := send("/me", 200).Body.String(); got != "alice" {
		t.Errorf("with its cookie: %q", got)
	}
	delete(cookies, "__Host-session-bound")
	if got := send("/me", 200).Body.String(); got != "" {
		t.Errorf("without its cookie: %q", got)
	}
	list, err := e.m.ListSessions(t.Context(), "alice")
	if err != nil || len(list) != 1 || !list[0].Bound {
		t.Fatalf("the list: %v, %v", list, err)
	}
	if n, err := e.m.CountMatching(t.Context(), usersession.Filter{Bound: true}, 0); n != 1 || err != nil {
		t.Errorf("Filter.Bound: %d, %v", n, err)
	}
	// A driver that lost an answer asks again with all it has asked before.
	x, binding := inside.DevicesOf(e.m).Index(), &trailer.Binding{ID: list[0].ID, UserID: "alice"}
	row, _, err := x.DeviceByID(t.Context(), binding)
	e.ok(err)
	for _, next := range []string{"next", "next", "another"} {
		ok, err := x.RefreshDevice(t.Context(), binding, row.Key, row.Challenge, next, true, index.Client{})
		if ok != (next == "next") || err != nil {
			t.Errorf("the challenge is used for %q: %v, %v", next, ok, err)
		}
	}
	session := []string{"Sec-Secure-Session-Id", `"` + list[0].ID + `"`}
	challenge := softdevice.Challenged(send(dbsc.Path+"refresh", 403, session...).Header())
	proof, err := device.Proof(challenge)
	if err != nil {
		t.Fatal(err)
	}
	signed := append(session, "Secure-Session-Response", proof)
	for _, want := range []int{200, 403, 403} { // a challenge is good once
		send(dbsc.Path+"refresh", want, signed...)
	}
	if got := send("/me", 200).Body.String(); got != "alice" {
		t.Errorf("refreshed: %q", got)
	}
	e.ok(e.m.RevokeSession(t.Context(), "alice", list[0].ID))
	send(dbsc.Path+"refresh", 401, signed...)
	_, err = e.m.PurgeUser(t.Context(), "alice")
	e.ok(err)
	var left int
	e.ok(e.db.Get(&left, "SELECT COUNT(*) FROM "+quoted(e.db, e.table)+" WHERE COALESCE(device_key, device_secret, device_challenge, device_challenge_before) IS NOT NULL OR device_bound_at IS NOT NULL"))
	if left != 0 {
		t.Errorf("after PurgeUser %d rows name a device", left)
	}
}

// The link of a login ends its session and those of the user that began with it or later,
// also once it has ended.
func deviceNotMe(t *testing.T, b backend) {
	e := b.start(t)
	h, err := sessionui.NotMe(e.m, &sessionui.NotMeOptions{URL: "https://example.com/not-me", Keys: [][]byte{[]byte("a key of thirty-two random bytes")}})
	if err != nil {
		t.Fatal(err)
	}
	before := e.browser().login("alice")
	e.shift(before, "created_at", -time.Hour)
	thief := e.browser().login("alice")
	e.shift(thief, "created_at", -30*time.Minute)
	again, bob := e.browser(), e.browser()
	later := again.login("alice")
	bob.login("bob")
	e.ok(e.m.RevokeSession(usersession.ContextWithReason(t.Context(), usersession.ReasonReplaced), "alice", thief))
	link, err := url.Parse(h.Link(usersession.Event{UserID: "alice", SessionID: thief, Time: time.Now()}))
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPost} {
		r := httptest.NewRequestWithContext(t.Context(), method, link.String(), strings.NewReader(link.RawQuery))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
		want := map[bool]string{true: before + " " + later, false: before}[method == http.MethodGet]
		var got []string
		list, err := e.m.ListSessions(t.Context(), "alice")
		for _, s := range list {
			got = append([]string{s.ID}, got...)
		}
		if len(got) == 2 && got[0] != before {
			got[0], got[1] = got[1], got[0]
		}
		if strings.Join(got, " ") != want || err != nil {
			t.Errorf("after %s: %q, %v, want %q", method, got, err, want)
		}
	}
	if list, err := e.m.ListSessions(t.Context(), "bob"); len(list) != 1 || err != nil {
		t.Errorf("another user has %v, %v", list, err)
	}
}
