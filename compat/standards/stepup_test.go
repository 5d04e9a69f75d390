package standards

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

// withLevels adds routes to the program that note a level or need one.
func (s *site) withLevels() *site {
	mux := http.NewServeMux()
	mux.Handle("/", s.h)
	add := func(pattern string, fn func(ctx context.Context, user string, level usersession.LoginOption) error) {
		mux.Handle(pattern, s.m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			level, _ := strconv.Atoi(r.FormValue("level"))
			err := fn(r.Context(), r.FormValue("user"), usersession.WithLevel(usersession.Level(level)))
			if errors.Is(err, usersession.ErrOtherUser) || errors.Is(err, usersession.ErrImpersonated) {
				http.Error(w, "refused", http.StatusForbidden)
			} else if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
			}
		})))
	}
	add("POST /enter", func(ctx context.Context, user string, level usersession.LoginOption) error {
		return s.m.Login(ctx, user, level)
	})
	add("POST /proof", func(ctx context.Context, user string, level usersession.LoginOption) error {
		return s.m.Reauthenticate(ctx, level, usersession.WithUserID(user))
	})
	add("POST /impersonate", func(ctx context.Context, user string, _ usersession.LoginOption) error {
		return s.m.Impersonate(ctx, user)
	})
	for path, guard := range map[string]func(http.Handler) http.Handler{
		"POST /transfer": s.m.RequireLevel(usersession.AAL2, 5*time.Minute),
		"POST /keys":     s.m.RequireLevel(usersession.AAL3, 0),
	} {
		mux.Handle(path, s.m.LoadAndSave(guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("done")) }))))
	}
	s.h = mux
	return s
}

// try fails the test if a request is not answered with a status. done is what a handler
// has done.
func (b *browser) try(path string, status int, form ...string) answer {
	b.Helper()
	a := b.post(path, form...)
	if a.status != status || (a.status != http.StatusOK && a.body == "done") {
		b.Errorf("%s %v: %d %q, want %d", path, form, a.status, a.body, status)
	}
	return a
}

func TestASVS_7_5_3_BeforeATransaction(t *testing.T) {
	meets(t, "ASVS 7.5.3", "3", byOption("`RequireLevel` and `Reauthenticate`"), "who does something very sensitive proves again who they are, with a second factor. A script is told which proof is needed, and can tell the refusal from that of nobody")
	s := newSite(t).withLevels()
	b := s.browser()
	needs := func() {
		t.Helper()
		got := b.try("/transfer", http.StatusUnauthorized).header.Get("WWW-Authenticate")
		for _, want := range []string{`error="insufficient_user_authentication"`, `acr_values="AAL2"`, `max_age="300"`} {
			if !strings.Contains(got, want) {
				t.Errorf("WWW-Authenticate is %q, want %s", got, want)
			}
		}
	}
	b.try("/enter", http.StatusOK, "user", "alice", "level", "1")
	needs()
	b.try("/proof", http.StatusOK, "user", "alice", "level", "2")
	b.try("/transfer", http.StatusOK)
	s.later(6*time.Minute, func() {
		needs()
		b.try("/proof", http.StatusOK, "user", "alice", "level", "2")
		b.try("/transfer", http.StatusOK)
	})
	if got := s.browser().try("/transfer", http.StatusUnauthorized).header.Get("WWW-Authenticate"); strings.Contains(got, "insufficient") {
		t.Error("nobody is told that their proof is old")
	}
}

func TestNIST_63B_5_1_LevelOfTheLogin(t *testing.T) {
	meets(t, "NIST 63B 5.1", "SHALL NOT", byOption("`WithLevel` and `RequireLevel`"), "a session counts for no more than its authentication did. Its level is on the server, and a weaker proof makes none fresh")
	s := newSite(t).withLevels()
	b := s.browser()
	level := func(want usersession.Level) {
		t.Helper()
		if got := s.list("alice")[0].Level(); got != want {
			t.Errorf("the level is %v, want %v", got, want)
		}
	}
	b.login("alice") // of whose proof nothing was noted
	b.try("/transfer", http.StatusUnauthorized)
	b.try("/enter", http.StatusOK, "user", "alice", "level", "1")
	level(usersession.AAL1)
	b.try("/transfer", http.StatusUnauthorized)
	before := b.token()
	b.try("/proof", http.StatusOK, "user", "alice", "level", "2")
	level(usersession.AAL2)
	b.try("/transfer", http.StatusOK)
	b.try("/keys", http.StatusUnauthorized)
	s.wantUser(before, "")
	s.later(6*time.Minute, func() {
		b.try("/proof", http.StatusOK, "user", "alice", "level", "1")
		b.try("/transfer", http.StatusUnauthorized)
	})
}

func TestNIST_63B_5_1_NotTheUser(t *testing.T) {
	meets(t, "NIST 63B 5.1", "SHALL NOT", byOption("`Impersonate`"), "a session in which support acts for a user counts for no proof of that user, however surely support has proved who they are, and the user can end it")
	s := newSite(t).withLevels()
	alice, admin := s.browser(), s.browser()
	alice.login("alice")
	admin.try("/enter", http.StatusOK, "user", "admin", "level", "3")
	admin.try("/keys", http.StatusOK)
	admin.try("/impersonate", http.StatusOK, "user", "alice")
	admin.want("alice")
	for _, path := range []string{"/email", "/transfer", "/keys", "/proof", "/impersonate"} {
		admin.try(path, http.StatusForbidden, "user", "alice", "level", "3")
	}
	admin.want("alice")
	alice.try("/email", http.StatusOK)
	alice.post("/devices/revoke-others", "csrf_token", alice.csrf())
	admin.want("")
	alice.want("alice")
}

func TestASVS_16_2_1_WhoActsForAnother(t *testing.T) {
	meets(t, "ASVS 16.2.1", "2", byOption("`Impersonate`"), "who acts for another user is noted: in the list that the user sees, in each event, and with the end")
	s := newSite(t).withLevels()
	alice, admin := s.browser(), s.browser()
	alice.login("alice")
	admin.login("admin")
	admin.try("/impersonate", http.StatusOK, "user", "alice")
	if page := alice.get("/devices/").body; !strings.Contains(page, "Support (admin)") {
		t.Errorf("the user does not see who it is:\n%s", page)
	}
	admin.try("/logout", http.StatusOK)
	var actors []string
	for _, e := range s.happened(usersession.EventLogin) {
		if e.UserID == "alice" {
			actors = append(actors, e.Actor)
		}
	}
	if strings.Join(actors, ",") != ",admin" {
		t.Errorf("the actors of the logins are %q", actors)
	}
	n := 0
	for row, err := range s.m.ListMatching(t.Context(), usersession.Filter{UserIDs: []string{"alice"}, Ended: true}, usersession.Page{}) {
		if s.ok(err); row.EndedBy != "admin" || row.Impersonator() != "admin" {
			t.Errorf("the row is %+v", row)
		}
		n++
	}
	if n != 1 {
		t.Errorf("%d rows have ended, want 1", n)
	}
}

func TestCVE_2023_6787_AnotherUserProves(t *testing.T) {
	meets(t, "CVE-2023-6787", "–", byOption("`WithUserID`"), "Keycloak: another user proves who they are in the midst of a session, which goes on under its identifier. Here the proof is refused, and a login begins another session")
	s := newSite(t).withLevels()
	b := s.browser()
	first := b.login("alice")
	b.post("/put", "key", "k", "value", "of alice")
	id := s.list("alice")[0].ID
	s.later(6*time.Minute, func() {
		b.try("/proof", http.StatusForbidden, "user", "mallory", "level", "3")
		b.want("alice")
		b.try("/email", http.StatusUnauthorized) // the proof made nothing fresh
		b.try("/keys", http.StatusUnauthorized)
	})
	b.login("mallory")
	if list := s.list("mallory"); len(list) != 1 || list[0].ID == id || b.get("/get?key=k").body != "" {
		t.Errorf("the session of alice goes on: %+v", list)
	}
	s.wantUser(first, "")
	s.wantSessions("alice", 0)
}

func TestGHSA_xg6x_h9c9_2m83_BeforeTheSecondFactor(t *testing.T) {
	meets(t, "GHSA-xg6x-h9c9-2m83", "–", byOption("`RequireLevel`"), "Better Auth: a copy of the session in the cookie counts before the second factor is proved. Here nobody is logged in until `Login`, and the level is that of the server in each request")
	s := newSite(t).withLevels()
	b := s.browser()
	b.post("/put", "key", "after the password", "value", "alice")
	b.try("/transfer", http.StatusUnauthorized)
	if a := b.get("/account"); a.status != http.StatusUnauthorized {
		t.Errorf("before the second factor: %d", a.status)
	}
	s.wantSessions("alice", 0)
	b.try("/enter", http.StatusOK, "user", "alice", "level", "2")
	b.try("/transfer", http.StatusOK)
	raised := b.token()
	b.try("/enter", http.StatusOK, "user", "alice", "level", "1")
	b.try("/transfer", http.StatusUnauthorized)
	b.plant(raised) // the cookie of before does not bring the level back
	b.try("/transfer", http.StatusUnauthorized)
}
