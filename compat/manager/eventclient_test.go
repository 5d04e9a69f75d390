package manager_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/seed-296ca7ab/usersession"
)

// TestEventsNameTheClient wants an audit log to say from where: of what happened in a
// request, and of nothing else.
func TestEventsNameTheClient(t *testing.T) {
	var events []usersession.Event
	m := mwNew(t, &usersession.Options{MaxSessions: 1, OnLimit: usersession.LimitReject,
		OnEvent: func(_ context.Context, e usersession.Event) { events = append(events, e) }})
	ask := func(token string, fn func(ctx context.Context)) string {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "[::ffff:192.0.2.7]:1234"
		r.Header.Set("User-Agent", "probe")
		if token != "" {
			r.AddCookie(&http.Cookie{Name: m.Cookie.Name, Value: token})
		}
		w := httptest.NewRecorder()
		m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fn(r.Context()) })).ServeHTTP(w, r)
		return mwToken(w)
	}
	login := func(ctx context.Context) { m.Login(ctx, "u") }
	revoke := func(ctx context.Context) {
		if _, err := m.RevokeAllSessions(ctx, "u"); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		name string
		act  func(token string)
		kind usersession.EventKind
		far  bool // in no request
	}{
		{"login", func(string) { revoke(t.Context()); events = nil; ask("", login) }, usersession.EventLogin, false},
		{"login refused", func(string) { ask("", login) }, usersession.EventLoginRefused, false},
		{"renewal", func(token string) { ask(token, func(ctx context.Context) { m.RenewToken(ctx) }) }, usersession.EventRenewed, false},
		{"logout", func(token string) { ask(token, func(ctx context.Context) { m.Logout(ctx) }) }, usersession.EventEnded, false},
		{"revocation in a request", func(token string) { ask(token, revoke) }, usersession.EventEnded, false},
		{"ended meanwhile", func(token string) {
			ask(token, func(ctx context.Context) { revoke(t.Context()); m.Put(ctx, "k", "v"); events = nil })
		}, usersession.EventEndedMeanwhile, false},
		{"revocation elsewhere", func(string) { revoke(t.Context()) }, usersession.EventEnded, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			revoke(t.Context())
			token := ask("", login)
			events = nil
			c.act(token)
			if len(events) != 1 || events[0].Kind != c.kind {
				t.Fatalf("events %+v, want one, %s", events, c.kind)
			}
			ip, agent := netip.MustParseAddr("192.0.2.7"), "probe"
			if c.far {
				ip, agent = netip.Addr{}, ""
			}
			if e := events[0]; e.IP != ip || e.UserAgent != agent {
				t.Errorf("from %v with %q, want %v with %q", e.IP, e.UserAgent, ip, agent)
			}
		})
	}
}
