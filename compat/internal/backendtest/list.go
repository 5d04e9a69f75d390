package backendtest

import (
	"context"
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession"
)

var listBehaviours = []behaviour{
	{"list: the most recently seen first", listOrder},
	{"list: every field", listFields},
	{"list: current is the session of the context", listCurrent},
	{"list: one user's, and logged-in ones only", listOthers},
	{"list: no secret in the JSON", listSecrets},
	{"session: found, unknown, foreign", sessionByID},
	{"current: nobody is no session", currentNobody},
}

func listOrder(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone, tablet := e.browser().login("alice"), e.browser().login("alice"), e.browser().login("alice")
	e.shift(laptop, "last_seen_at", -20*time.Minute)
	e.shift(phone, "last_seen_at", -10*time.Minute)
	e.shift(tablet, "last_seen_at", -30*time.Minute)
	var got []string
	for _, s := range e.list("alice") {
		got = append(got, s.ID)
	}
	if want := []string{phone, laptop, tablet}; !slices.Equal(got, want) {
		t.Errorf("order %q, want %q", got, want)
	}
}

func listFields(t *testing.T, b backend) {
	e := b.start(t)
	before := time.Now()
	id := e.browser().login("alice",
		usersession.WithIP(netip.MustParseAddr("2001:db8::7")),
		usersession.WithMethod("passkey"), usersession.WithMeta(map[string]string{"büro": `"wien"`}))
	e.shift(id, "last_seen_at", -10*time.Minute)
	list := e.list("alice")
	if len(list) != 1 {
		t.Fatalf("%d sessions, want 1", len(list))
	}
	s := list[0]
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`).MatchString(s.ID) || s.ID != id {
		t.Errorf("ID %q, want %q", s.ID, id)
	}
	if s.UserID != "alice" {
		t.Errorf("UserID %q", s.UserID)
	}
	if !within(s.CreatedAt, before, time.Minute) || !s.AuthenticatedAt.Equal(s.CreatedAt) {
		t.Errorf("CreatedAt %v, AuthenticatedAt %v, want about %v", s.CreatedAt, s.AuthenticatedAt, before)
	}
	if seen := before.Add(-10 * time.Minute); !within(s.LastSeenAt, seen, time.Minute) {
		t.Errorf("LastSeenAt %v, want about %v", s.LastSeenAt, seen)
	}
	if want := s.LastSeenAt.Add(usersession.DefaultIdleTimeout); !s.ExpiresAt.Equal(want) {
		t.Errorf("ExpiresAt %v, want %v", s.ExpiresAt, want)
	}
	if s.IP != netip.MustParseAddr("2001:db8::7") || s.UserAgent != firefox || s.Device() != "Firefox on Linux" {
		t.Errorf("client %v, %q, %q", s.IP, s.UserAgent, s.Device())
	}
	if len(s.Meta) != 2 || s.Meta[usersession.MetaMethod] != "passkey" || s.Meta["büro"] != `"wien"` {
		t.Errorf("Meta %q", s.Meta)
	}
	if s.Current || !s.EndedAt.IsZero() || s.EndedBy != "" || s.Reason != "" {
		t.Errorf("Current %v, EndedAt %v, EndedBy %q, Reason %q", s.Current, s.EndedAt, s.EndedBy, s.Reason)
	}

	plain := e.browser()
	id = plain.login("bob")
	if s, err := e.m.Session(t.Context(), "bob", id); err != nil || !s.IP.IsLoopback() || s.Meta == nil {
		t.Errorf("without options: IP %v, Meta %v, %v; want the client's address and an empty map", s.IP, s.Meta, err)
	}
}

func listCurrent(t *testing.T, b backend) {
	e := b.start(t)
	laptop, phone := e.browser(), e.browser()
	id := laptop.login("alice")
	phone.login("alice")
	laptop.do(func(ctx context.Context) {
		list, err := e.m.ListSessions(ctx, "alice")
		e.ok(err)
		current := 0
		for _, s := range list {
			if s.Current {
				current++
			}
			if s.Current != (s.ID == id) {
				t.Errorf("Current is %v in the wrong row", s.Current)
			}
		}
		if current != 1 {
			t.Errorf("%d current sessions, want 1", current)
		}
		s, err := e.m.Current(ctx)
		e.ok(err)
		if s.ID != id || !s.Current {
			t.Errorf("Current: %q, %v; want %q, true", s.ID, s.Current, id)
		}
	})
	for _, s := range e.list("alice") {
		if s.Current {
			t.Error("a current session without a request")
		}
	}
}

func listOthers(t *testing.T, b backend) {
	e := b.start(t)
	e.browser().login("alice")
	e.browser().login("bob")
	e.browser().put("cart", 1)
	e.wantSessions("alice", 1)
	e.wantSessions("bob", 1)
	list, err := e.m.ListSessions(t.Context(), "carol")
	if err != nil || list == nil || len(list) != 0 {
		t.Errorf("nobody's list: %v, %v; want an empty one", list, err)
	}
}

func listSecrets(t *testing.T, b backend) {
	e := b.start(t)
	laptop := e.browser()
	laptop.login("alice")
	text, err := json.Marshal(e.list("alice"))
	e.ok(err)
	for what, secret := range map[string]string{"token": laptop.token(), "key": keyOf(laptop.token())} {
		if secret == "" || strings.Contains(string(text), secret) {
			t.Errorf("the %s %q is in %s", what, secret, text)
		}
	}
	var back []usersession.UserSession
	e.ok(json.Unmarshal(text, &back))
	if len(back) != 1 || back[0].ID != e.list("alice")[0].ID || back[0].IP != e.list("alice")[0].IP {
		t.Errorf("read back: %v", back)
	}
}

func sessionByID(t *testing.T, b backend) {
	e := b.start(t)
	alice, bob := e.browser().login("alice"), e.browser().login("bob")
	s, err := e.m.Session(t.Context(), "alice", alice)
	if err != nil || s.ID != alice || s.UserID != "alice" {
		t.Errorf("own: %v, %v", s, err)
	}
	for name, id := range badIDs(bob) {
		if _, err := e.m.Session(t.Context(), "alice", id); err != usersession.ErrSessionNotFound {
			t.Errorf("%s: %v, want ErrSessionNotFound", name, err)
		}
		if err := e.m.InSession(t.Context(), "alice", id, func(context.Context) error {
			t.Errorf("%s: InSession calls the function", name)
			return nil
		}); err != usersession.ErrSessionNotFound {
			t.Errorf("InSession, %s: %v, want ErrSessionNotFound", name, err)
		}
	}
}

// badIDs returns IDs that all have the same answer.
func badIDs(foreign string) map[string]string {
	return map[string]string{
		"foreign": foreign, "unknown": "AAAAAAAAAAAAAAAAAAAAAA", "empty": "", "no ID": "' OR 1=1 --",
		"NUL": "AAAAAAAAAAAAAAAAAAAAA\x00", "long": strings.Repeat("A", 10<<10), "not UTF-8": "\xff\xfe",
	}
}

func currentNobody(t *testing.T, b backend) {
	e := b.start(t)
	e.browser().do(func(ctx context.Context) {
		_, err := e.m.Current(ctx)
		e.want(err, usersession.ErrNoSession)
		_, err = e.m.RevokeOtherSessions(ctx)
		e.want(err, usersession.ErrNoSession)
		e.want(e.m.Reauthenticate(ctx), usersession.ErrNoSession)
	})
	_, err := e.m.Current(t.Context())
	e.want(err, usersession.ErrNoSession)
	e.want(e.m.Login(t.Context(), "alice"), usersession.ErrNoSession)
	e.want(e.m.Logout(t.Context()), usersession.ErrNoSession)
	if u := e.m.UserID(t.Context()); u != "" {
		t.Errorf("UserID %q without a session", u)
	}
	e.wantSessions("alice", 0)
}
