package manager_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
)

const (
	onLinux   = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
	onLinux2  = "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"
	onWindows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)

func TestNewDevice(t *testing.T) {
	for _, notices := range []bool{true, false} {
		var got []usersession.Event
		m, db := mwNewDB(t, &usersession.Options{NoticeNewDevices: notices, OnEvent: func(_ context.Context, e usersession.Event) {
			if e.Kind == usersession.EventNewDevice {
				got = append(got, e)
			}
		}})
		login := func(user, ip, agent string, opts ...usersession.LoginOption) (id string) {
			t.Helper()
			opts = append(opts, usersession.WithUserAgent(agent))
			if ip != "" {
				opts = append(opts, usersession.WithIP(netip.MustParseAddr(ip)))
			}
			h := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := m.Login(r.Context(), user, opts...); err != nil {
					t.Error(err)
				}
				s, err := m.Current(r.Context())
				if id = s.ID; err != nil {
					t.Error(err)
				}
			}))
			r := httptest.NewRequestWithContext(t.Context(), "POST", "https://example.com/", nil)
			r.RemoteAddr = "" // it is what the options say
			h.ServeHTTP(httptest.NewRecorder(), r)
			return id
		}
		wants := func(what, id string, is bool) {
			t.Helper()
			if want := is && notices; (len(got) == 1) != want || want && (got[0].SessionID != id || got[0].Err != nil) {
				t.Errorf("%s: %v, want an event: %v", what, got, want)
			}
			got = nil
		}
		wants("the first login", login("alice", "192.0.2.1", onLinux), false)
		wants("the same again", login("alice", "192.0.2.1", onLinux), false)
		wants("a newer browser, from near by", login("alice", "192.0.77.1", onLinux2), false)
		wants("somebody else's", login("bob", "198.51.100.1", onWindows), false)
		thief := login("alice", "198.51.100.1", onLinux)
		wants("from elsewhere", thief, true)
		wants("another browser", login("alice", "192.0.2.1", onWindows), true)
		wants("the same once more", login("alice", "192.0.2.1", onWindows), false)
		wants("from nowhere that is known", login("alice", "", onWindows), false)
		wants("IPv6", login("alice", "2001:db8::1", onLinux), true)
		wants("IPv6, of the same provider", login("alice", "2001:db8:7::1", onLinux), false)
		if err := m.RevokeSession(t.Context(), "alice", thief); err != nil {
			t.Fatal(err)
		}
		wants("a thief whose session was revoked", login("alice", "198.51.100.1", onLinux), true)

		// A device that has only signed out is known.
		carol := login("carol", "192.0.2.1", onLinux)
		login("carol", "192.0.2.1", onWindows)
		got = nil
		if err := m.RevokeSession(usersession.ContextWithReason(t.Context(), usersession.ReasonLogout), "carol", carol); err != nil {
			t.Fatal(err)
		}
		wants("a device that has signed out", login("carol", "192.0.2.1", onLinux), false)

		// What cannot be read is said.
		opendb.MustExec(t, db, "ALTER TABLE user_sessions RENAME COLUMN ended_by TO moved")
		func() {
			h := m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := m.Login(r.Context(), "carol"); err != nil {
					t.Error(err)
				}
			}))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "https://example.com/", nil))
			if w.Code != 200 {
				t.Errorf("a login whose known ones cannot be read: %d", w.Code)
			}
		}()
		if notices && (len(got) != 1 || got[0].Err == nil) || !notices && len(got) > 0 {
			t.Errorf("the known ones cannot be read: %v", got)
		}
	}
}
