package manager_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/memstore"
)

// reuses returns the events of tokens from before a renewal since the last call.
func (s *deviceSite) reuses() (list []usersession.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Kind == usersession.EventTokenReused {
			list = append(list, e)
		}
	}
	s.events = nil
	return list
}

// reuseStores are those that differ in who says that a session is live.
var reuseStores = map[string]func(o *usersession.Options){
	"sql":               func(*usersession.Options) {},
	"memstore":          func(o *usersession.Options) { o.Store = memstore.New() },
	"memstore verified": func(o *usersession.Options) { o.Store, o.VerifyEveryRequest = memstore.New(), true },
}

func TestTokenReuse(t *testing.T) {
	for name, store := range reuseStores {
		for _, policy := range []usersession.ReusePolicy{usersession.ReuseIgnored, usersession.ReuseReported, usersession.ReuseEnds} {
			inPlainSite(t, func(o *usersession.Options) {
				store(o)
				o.TokenReuse, o.Retention = policy, time.Hour
			}, func(t *testing.T, s *deviceSite) {
				laptop := s.browser()
				laptop.ip, laptop.agent = "192.0.2.1", "laptop"
				laptop.login("alice")
				id := s.live("alice")[0].ID
				for range 2 {
					s.later(time.Hour / 2)
					laptop.want("alice")
				}
				thief := laptop.thief()
				thief.ip, thief.agent = "198.51.100.9", "thief"
				thief.want("alice")
				laptop.send("POST", "/renew")
				for range 2 { // the other requests of the page
					thief.want("")
					s.later(29 * time.Second)
				}
				if got := s.reuses(); len(got) > 0 {
					t.Errorf("%s: within the minute: %v", name, got)
				}
				s.later(3 * time.Second)
				laptop.want("alice")
				both := laptop.thief()
				both.ip, both.agent, both.cookies = laptop.ip, laptop.agent, map[string]string{}
				if w := both.send("GET", "/me", "Cookie", "__Host-session="+thief.cookies["__Host-session"]+"; __Host-session="+laptop.cookies["__Host-session"]); w.Body.String() != "alice" || len(s.reuses()) > 0 {
					t.Errorf("%s: a browser that sends both: %q, and an event", name, w.Body)
				}
				thief.want("")
				got := s.reuses()
				if want := policy != usersession.ReuseIgnored; (len(got) == 1) != want || want && (got[0].SessionID != id || got[0].UserID != "alice" || got[0].Err != nil ||
					got[0].IP.String() != "198.51.100.9" || got[0].LastIP.String() != "192.0.2.1" || got[0].UserAgent != "thief" || got[0].LastUserAgent != "laptop") {
					t.Fatalf("%s, policy %d: %+v", name, policy, got)
				}
				if want := map[bool]string{true: usersession.ReasonTokenReused}[policy == usersession.ReuseEnds]; len(got) > 0 && got[0].Reason != want {
					t.Errorf("%s, policy %d: the reason is %q, want %q", name, policy, got[0].Reason, want)
				}
				if policy == usersession.ReuseEnds {
					laptop.want("")
					ended, err := s.m.ListEndedSessions(t.Context(), "alice", 1)
					if err != nil || len(ended) != 1 || ended[0].Reason != usersession.ReasonTokenReused || ended[0].EndedBy != "" {
						t.Errorf("%s: %v, %v", name, ended, err)
					}
					thief.want("")
					if got := s.reuses(); len(got) > 0 {
						t.Errorf("%s: of an ended session: %v", name, got)
					}
					return
				}
				laptop.want("alice")
				// Two renewals later it is a token like any other that is dead.
				laptop.send("POST", "/reauthenticate")
				s.later(2 * time.Minute)
				thief.want("")
				if got := s.reuses(); len(got) > 0 {
					t.Errorf("%s: of the token before the one before: %v", name, got)
				}
			})
		}
	}
}

// A renewal that was made while nobody asked for it is not told of, and neither is one
// that is still under way.
func TestTokenReuseUnknown(t *testing.T) {
	inPlainSite(t, func(o *usersession.Options) { o.TokenReuse = usersession.ReuseEnds }, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		laptop.login("alice")
		thief := laptop.thief()
		laptop.send("POST", "/renew")
		opendb.MustExec(t, s.db, "UPDATE user_sessions SET renewed_at = NULL")
		s.later(time.Hour / 2)
		thief.want("")
		laptop.want("alice")
		opendb.MustExec(t, s.db, "UPDATE user_sessions SET renewed_at = 0, other_key = '+' || other_key")
		thief.want("")
		laptop.want("alice")
		if got := s.reuses(); len(got) > 0 {
			t.Errorf("%v", got)
		}
	})
}

// Replicas may have different policies, while a program is deployed for instance. A renewal
// by one without any is as if nobody had noted it: the page's other requests are not told of
// by the time of the renewal before.
func TestTokenReuseBesideReplicaWithout(t *testing.T) {
	inPlainSite(t, func(o *usersession.Options) { o.TokenReuse = usersession.ReuseEnds }, func(t *testing.T, s *deviceSite) {
		without, err := usersession.New(s.db, &usersession.Options{})
		if err != nil {
			t.Fatal(err)
		}
		with := s.handler
		laptop := s.browser()
		laptop.login("alice")
		laptop.send("POST", "/renew")
		s.later(10 * time.Minute)
		laptop.want("alice")
		page := laptop.thief() // a request of the same page, under way
		s.handler = plainRoutes(without)
		laptop.send("POST", "/renew")
		s.handler = with
		page.want("")
		laptop.want("alice")
		if got := s.reuses(); len(got) > 0 {
			t.Errorf("an alarm at once: %v", got)
		}
		laptop.send("POST", "/renew")
		s.later(2 * time.Minute)
		page.want("")
		laptop.want("alice")
		if got := s.reuses(); len(got) > 0 {
			t.Errorf("of the token before the one before: %v", got)
		}
	})
}

// A copied token cannot end a session that is bound to a device, and is reported.
func TestTokenReuseOfBoundSession(t *testing.T) {
	inDeviceSite(t, func(o *usersession.Options) { o.TokenReuse = usersession.ReuseEnds }, nil, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		laptop.bind("alice")
		thief := laptop.thief()
		laptop.send("POST", "/renew")
		s.later(2 * time.Minute)
		thief.want("")
		if got := s.reuses(); len(got) != 1 || got[0].SessionID != laptop.id || got[0].Reason != "" {
			t.Errorf("%+v", got)
		}
		laptop.want("alice")
		thief.want("")
		if got := s.reuses(); len(got) > 0 {
			t.Errorf("told again at once: %+v", got)
		}
		s.later(usersession.DefaultTouchInterval)
		laptop.refreshes()
		thief.want("")
		if got := s.reuses(); len(got) != 1 {
			t.Errorf("of a later interval: %+v", got)
		}
		s.handler = plainRoutes(opendb.Migrated(t, s.db, &usersession.Options{TokenReuse: usersession.ReuseEnds}))
		thief.want("")
		if list := s.live("alice"); len(list) > 0 {
			t.Errorf("a replica without the package leaves %v", list)
		}
	})
}

// An end that fails is no end, and the next request ends it.
func TestTokenReuseEndFails(t *testing.T) {
	inPlainSite(t, func(o *usersession.Options) { o.TokenReuse = usersession.ReuseEnds }, func(t *testing.T, s *deviceSite) {
		laptop := s.browser()
		laptop.login("alice")
		thief := laptop.thief()
		laptop.send("POST", "/renew")
		s.later(2 * time.Minute)
		opendb.MustExec(t, s.db, "CREATE TRIGGER stop BEFORE UPDATE OF ended_at ON user_sessions BEGIN SELECT RAISE(ABORT, 'stopped'); END")
		thief.want("")
		thief.want("")
		if got := s.reuses(); len(got) != 1 || got[0].Err == nil || got[0].Reason != "" {
			t.Errorf("while it fails: %+v", got)
		}
		laptop.want("alice")
		opendb.MustExec(t, s.db, "DROP TRIGGER stop")
		thief.want("")
		if got := s.reuses(); len(got) != 1 || got[0].Err != nil || got[0].Reason != usersession.ReasonTokenReused {
			t.Errorf("once it does not: %+v", got)
		}
		laptop.want("")
	})
}

// Whoever does not use it only takes the time of a renewal away. Who does has not one
// statement more.
func TestTokenReuseStatements(t *testing.T) {
	for _, policy := range []usersession.ReusePolicy{usersession.ReuseIgnored, usersession.ReuseReported} {
		spy, spied := opendb.Spied(t, opendb.SQLite(t)(t))
		m := opendb.Migrated(t, spied, &usersession.Options{TokenReuse: policy})
		s := &deviceSite{T: t, m: m, handler: plainRoutes(m)}
		laptop := s.browser()
		spy.Take()
		laptop.login("alice")
		laptop.send("POST", "/renew")
		laptop.want("alice")
		of := func() (list []string) {
			for _, c := range spy.Take() {
				if !c.Prepare {
					list = append(list, c.Query)
				}
			}
			return list
		}
		all := of()
		renewals := slices.DeleteFunc(slices.Clone(all), func(q string) bool { return !strings.Contains(q, "renewed_at") })
		if len(renewals) != 1 || strings.Contains(renewals[0], "renewed_at = NULL,") != (policy == usersession.ReuseIgnored) {
			t.Errorf("policy %d: %v", policy, all)
		}
		unknown := s.browser()
		unknown.cookies["__Host-session"] = strings.Repeat("A", 43)
		unknown.want("")
		if got := of(); len(got) != 2 || strings.Contains(got[1], "other_key = ") != (policy != usersession.ReuseIgnored) {
			t.Errorf("policy %d: an unknown token costs %q, want two statements", policy, got)
		}
	}
	if _, err := usersession.New(opendb.SQLite(t)(t), &usersession.Options{TokenReuse: 3}); err == nil || !strings.Contains(err.Error(), "Options.TokenReuse: is 3, which is none of") {
		t.Errorf("New: %v", err)
	}
}
