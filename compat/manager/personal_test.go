package manager_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// records counts what the index has about a user, without the time of the revocation.
func records(t *testing.T, m *usersession.Manager, user string) (n int) {
	t.Helper()
	for r, err := range m.ExportUser(t.Context(), user) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Session != nil {
			n++
		}
	}
	return n
}

// kept counts the keys of a Store.
func kept(t *testing.T, s usersession.KeyLister) (n int) {
	t.Helper()
	for _, err := range s.Keys(t.Context()) {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestPurgeUserMeetsWhatIsInFlight purges a user in the middle of a request, after which
// nothing may be left that is accepted.
func TestPurgeUserMeetsWhatIsInFlight(t *testing.T) {
	for name, store := range directBackends {
		m, db := mwNewDB(t, &usersession.Options{Store: store()})
		h := mwRoutes(m, nil)
		purge := func() {
			t.Helper()
			if _, err := m.PurgeUser(t.Context(), "u"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for what, act := range map[string]func(ctx context.Context){
			"login":          func(ctx context.Context) { m.Login(ctx, "u"); purge() },
			"login after":    func(ctx context.Context) { purge(); m.Login(ctx, "u") },
			"renewal":        func(ctx context.Context) { m.RenewToken(ctx); purge() },
			"reauthenticate": func(ctx context.Context) { m.Reauthenticate(ctx); purge() },
			"data":           func(ctx context.Context) { m.Put(ctx, "k", "v"); purge() },
			"own": func(ctx context.Context) {
				m.PurgeUser(ctx, "u")
				if m.UserID(ctx) != "" {
					t.Errorf("%s: the request that purges its user goes on as they", name)
				}
			},
		} {
			token := mwLogin(t, h, "u")
			w := directRun(m, token, act)
			for _, tok := range []string{token, mwToken(w)} {
				if got := mwGet(h, "/me", tok).Body.String(); got != "" {
					t.Errorf("%s, %s: a token is accepted as %q", name, what, got)
				}
			}
			if n := records(t, m, "u"); n != 0 {
				t.Errorf("%s, %s: %d records are left", name, what, n)
			}
			if _, err := db.Exec("DELETE FROM user_sessions_fences"); err != nil { // the next login begins close to it
				t.Fatal(err)
			}
		}
	}
}

// TestPurgeUserWaitsForTheStore keeps a row by which the data can be found until they are
// deleted, and says so.
func TestPurgeUserWaitsForTheStore(t *testing.T) {
	store := mwNewStore()
	m := mwNew(t, &usersession.Options{Store: store})
	h := mwRoutes(m, nil)
	token := mwLogin(t, h, "u")
	store.before = func(op, _ string) error {
		if op == "delete" {
			return errors.New("down")
		}
		return nil
	}
	if _, err := m.AccountDisabled(t.Context(), "u"); !errors.Is(err, usersession.ErrRevocationPending) {
		t.Fatal(err)
	}
	for range 2 {
		if n, err := m.PurgeUser(t.Context(), "u"); !errors.Is(err, usersession.ErrRevocationPending) || !strings.HasPrefix(err.Error(), "usersession: PurgeUser: ") || n > 2 {
			t.Errorf("PurgeUser = %d, %v", n, err)
		}
		if n := records(t, m, "u"); n == 0 {
			t.Error("the row whose data could not be deleted is gone")
		}
	}
	store.before = nil
	if n, err := m.PurgeUser(t.Context(), "u"); n == 0 || err != nil {
		t.Errorf("called again: %d, %v", n, err)
	}
	if n := records(t, m, "u"); n != 0 || kept(t, store) != 0 {
		t.Errorf("%d records and %d data are left", n, kept(t, store))
	}
	mwWantUser(t, m, h, token, "")
	mwLogin(t, h, "u") // a new user, who is not disabled
}

// TestPurgeUserElsewhere leaves the data in another Store to the program that has it.
func TestPurgeUserElsewhere(t *testing.T) {
	db, _ := mwOpen(t)
	made := func() *usersession.Manager {
		m, err := usersession.New(db, &usersession.Options{Store: memstore.New(), ReadTimeout: time.Minute, WriteTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	here, there := made(), made()
	if err := here.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := mwRoutes(here, nil)
	token := mwLogin(t, h, "u")
	if n, err := there.PurgeUser(t.Context(), "u"); n != 0 || !errors.Is(err, usersession.ErrRevocationPending) {
		t.Errorf("elsewhere: %d, %v", n, err)
	}
	if n, err := here.PurgeUser(t.Context(), "u"); n != 1 || err != nil {
		t.Errorf("here: %d, %v", n, err)
	}
	mwWantUser(t, here, h, token, "")
	if n, err := there.PurgeUser(t.Context(), "u"); n != 0 || err != nil || records(t, here, "u") != 0 {
		t.Errorf("elsewhere again: %d, %v", n, err)
	}
}

// TestPurgedCookieStaysRefused brings the data of a purged session back, as a failover
// that has lost a deletion does. What is left of its row has the janitor delete them.
func TestPurgedCookieStaysRefused(t *testing.T) {
	store := mwNewStore()
	m, db := mwNewDB(t, &usersession.Options{Store: store, VerifyEveryRequest: true})
	h := mwRoutes(m, nil)
	token := mwLogin(t, h, "u")
	var key string
	var data []byte
	for k := range store.written {
		if d, found, err := store.Store.Find(t.Context(), k); err == nil && found {
			key, data = k, d
		}
	}
	if _, err := m.PurgeUser(t.Context(), "u"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := store.Store.Create(t.Context(), key, data, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		mwWantUser(t, m, h, token, "")
		store.Store.Delete(t.Context(), key)
	}
	if err := store.Store.Create(t.Context(), key, data, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("UPDATE user_sessions SET purge_at = purge_at - 120000000"); err != nil {
		t.Fatal(err)
	}
	if res, err := m.Prune(t.Context()); err != nil || res.Redeleted != 1 || kept(t, store) != 0 {
		t.Errorf("%+v, %v, and %d data", res, err, kept(t, store))
	}
}

// TestPrivacyOfTexts looks at what is kept of an address and a User-Agent, in rows and in
// events.
func TestPrivacyOfTexts(t *testing.T) {
	const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	for _, c := range []struct {
		name           string
		p              usersession.Privacy
		remote, ip, ua string
	}{
		{"full", usersession.Privacy{}, "192.0.2.77:1", "192.0.2.77", firefox},
		{"IPv4", usersession.Privacy{IP: usersession.IPTruncated}, "192.0.2.77:1", "192.0.2.0", firefox},
		{"IPv4 in IPv6", usersession.Privacy{IP: usersession.IPTruncated}, "[::ffff:192.0.2.77]:1", "192.0.2.0", firefox},
		{"IPv6", usersession.Privacy{IP: usersession.IPTruncated}, "[2001:db8:1:2:3:4:5:6%eth0]:1", "2001:db8:1::", firefox},
		{"no address", usersession.Privacy{IP: usersession.IPTruncated}, "pipe", "", firefox},
		{"family", usersession.Privacy{UserAgent: usersession.UserAgentFamily}, "192.0.2.77:1", "192.0.2.77", "Firefox/0 (Linux)"},
		{"off", usersession.Privacy{IP: usersession.IPOff, UserAgent: usersession.UserAgentOff}, "192.0.2.77:1", "", ""},
	} {
		var event usersession.Event
		m := mwNew(t, &usersession.Options{Privacy: c.p, OnEvent: func(_ context.Context, e usersession.Event) { event = e }})
		login := func(opts ...usersession.LoginOption) (s usersession.UserSession) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.remote
			r.Header.Set("User-Agent", firefox)
			recordOf(m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := m.Login(r.Context(), "u", opts...); err != nil {
					t.Error(err)
				}
				s, _ = m.Current(r.Context())
			})), r)
			return s
		}
		want := netip.Addr{}
		if c.ip != "" {
			want = netip.MustParseAddr(c.ip)
		}
		if s := login(); s.IP != want || s.UserAgent != c.ua {
			t.Errorf("%s: the row has %v, %q", c.name, s.IP, s.UserAgent)
		}
		if event.IP != want || event.UserAgent != c.ua {
			t.Errorf("%s: the event has %v, %q", c.name, event.IP, event.UserAgent)
		}
		if want.IsValid() || c.p.IP == usersession.IPOff {
			given := netip.MustParseAddr("192.0.2.77")
			if c.name == "IPv6" {
				given = netip.MustParseAddr("2001:db8:1:2:3:4:5:6")
			}
			if s := login(usersession.WithIP(given), usersession.WithUserAgent(firefox)); s.IP != want || s.UserAgent != c.ua {
				t.Errorf("%s: of WithIP and WithUserAgent the row has %v, %q", c.name, s.IP, s.UserAgent)
			}
		}
	}
}

func TestPrivacyIsChecked(t *testing.T) {
	db, _ := mwOpen(t)
	for field, p := range map[string]usersession.Privacy{
		"IP": {IP: "some"}, "UserAgent": {UserAgent: "some"}, "IPRetention": {IPRetention: -2}, "UserAgentRetention": {UserAgentRetention: time.Millisecond},
	} {
		if _, err := usersession.New(db, &usersession.Options{Privacy: p}); err == nil || !strings.Contains(err.Error(), "Options.Privacy."+field+": ") {
			t.Errorf("%s: %v", field, err)
		}
	}
	m := mwNew(t, &usersession.Options{})
	if _, err := m.PurgeUser(t.Context(), ""); !errors.Is(err, usersession.ErrNoUserID) {
		t.Errorf("PurgeUser of nobody: %v", err)
	}
	for _, err := range m.ExportUser(t.Context(), "") {
		if !errors.Is(err, usersession.ErrNoUserID) {
			t.Errorf("ExportUser of nobody: %v", err)
		}
	}
}

// TestPurgeUserBeforeFinish: PurgeUser takes out of a row by what a Revocation knows that
// its transaction is committed.
func TestPurgeUserBeforeFinish(t *testing.T) {
	for purged, other := range map[string]string{"a": "b", "b": "a"} { // the row that is asked is that of either
		m, db := mwNewDB(t, &usersession.Options{Store: memstore.New()})
		h := mwRoutes(m, nil)
		mwLogin(t, h, purged)
		token := mwLogin(t, h, other)
		revoke := func(end func(tx *sqlx.Tx) error) *usersession.Revocation {
			t.Helper()
			tx, err := db.Beginx()
			if err != nil {
				t.Fatal(err)
			}
			rev, err := m.RevokeMatchingTx(usersession.ContextWithActor(t.Context(), "admin"), tx, usersession.Filter{UserIDs: []string{"a", "b"}})
			if err == nil {
				err = end(tx)
			}
			if err != nil {
				t.Fatal(err)
			}
			return rev
		}
		never := revoke((*sqlx.Tx).Rollback)
		rev := revoke((*sqlx.Tx).Commit)
		if _, err := m.PurgeUser(t.Context(), purged); err != nil {
			t.Fatal(err)
		}
		if err := rev.Finish(t.Context()); err != nil {
			t.Errorf("%s is purged: after the commit: %v", purged, err)
		}
		// The clock of SQLite may not have gone on since the one that was rolled back.
		if _, err := db.Exec("UPDATE user_sessions SET ended_at = ended_at + 1"); err != nil {
			t.Fatal(err)
		}
		if err := never.Finish(t.Context()); !errors.Is(err, usersession.ErrNotCommitted) {
			t.Errorf("%s is purged: after a rollback: %v", purged, err)
		}
		mwWantUser(t, m, h, token, "")
	}
}
